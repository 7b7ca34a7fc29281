"""The page with the report of a week: what `fraud-pipelines report` writes into a file."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from fraud_pipelines.decisions.payment_filters import day_of
from fraud_pipelines.evaluation.weekly.rendering import STYLE, as_html
from fraud_pipelines.evaluation.weekly.report import weekly_report
from fraud_pipelines.evaluation.weekly.week import last_full_week, monday_of
from fraud_pipelines.review.desk import Desk, held
from fraud_pipelines.settings import Settings

STYLE_PATH: Final = "/report.css"
_WAIT_SECONDS: Final = 4.0
_WEEK: Final = timedelta(days=7)


class Reporting:
    """The handlers. One report is made at a time, so that nobody's page waits for many."""

    def __init__(self, desk: Desk, settings: Settings) -> None:
        self._desk = desk
        self._settings = settings
        self._running = threading.Lock()

    def report(self, request: Request) -> Response:
        """The week of the day asked for, by default the last that is over.

        Raises:
            InvalidInput: what is asked for is no day.
            MissingData: nothing was decided in the week.
        """
        asked, today = request.query_params.get("week", "").strip(), datetime.now(UTC).date()
        monday = monday_of(day_of("week", asked)) if asked else last_full_week(today)
        with held(self._running, _WAIT_SECONDS), self._desk.reading() as warehouse:
            report = weekly_report(warehouse, self._settings, monday)
        links = [("/", "Fraud review"), (f"/report?week={monday - _WEEK}", "The week before")]
        if monday + _WEEK <= last_full_week(today):
            links.append((f"/report?week={monday + _WEEK}", "The week after"))
        return HTMLResponse(as_html(report, links=links, stylesheet=STYLE_PATH))

    def style(self, _request: Request) -> Response:
        """The stylesheet of the page."""
        return FileResponse(STYLE, media_type="text/css")
