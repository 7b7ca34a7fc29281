"""The pages and the one form of the review server."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from fraud_pipelines.decisions.review import MAX_COMMENT_CHARACTERS, MAX_REVIEWER_CHARACTERS
from fraud_pipelines.errors import FraudPipelinesError, InvalidInput, WarehouseBusy
from fraud_pipelines.pages import case_path
from fraud_pipelines.review.desk import Desk
from fraud_pipelines.review.timeline import draw_timeline
from fraud_pipelines.review.tokens import Tokens, new_session
from fraud_pipelines.web.guard import Guard, same_origin

SESSION_COOKIE: Final = "review_session"
NAME_COOKIE: Final = "review_name"
MAX_FORM_BYTES: Final = 32_768
CASES_SHOWN: Final = 50
MOST_CASES: Final = 2_000

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}

_HERE: Final = Path(__file__).parent


def create_app(desk: Desk, *, names: Collection[str] = ()) -> ASGIApp:
    """The application.

    Args:
        desk: reads and writes the warehouse.
        names: host names it may be asked for under, besides ``localhost`` and addresses.
    """
    pages = _Pages(desk)
    app = Starlette(
        routes=[
            Route("/", pages.queue),
            Route("/case", pages.case),
            Route("/verdict", pages.verdict, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        exception_handlers={
            HTTPException: pages.http_error,
            FraudPipelinesError: pages.failure,
            Exception: pages.unexpected,
        },
    )
    # Around all of it: also an answer to what went wrong gets the headers.
    return Guard(app, names, headers=HEADERS)


class _Pages:
    """The handlers. What reads or writes the warehouse runs in a thread, so that nobody else's page waits for it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._tokens = Tokens()
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["case_path"] = case_path

    def queue(self, request: Request) -> Response:
        shown = min(_count(request.query_params.get("limit", "")) or CASES_SHOWN, MOST_CASES)
        view = self._desk.queue(limit=shown)
        done = request.query_params.get("done", "")
        return self._page(
            "queue.html",
            queue=view.queue,
            recent=view.recent,
            notice=next((each for each in view.recent if each.transaction_id == done), None),
            more=min(view.queue.waiting, shown * 4, MOST_CASES) if view.queue.waiting > shown < MOST_CASES else 0,
        )

    def case(self, request: Request) -> Response:
        transaction_id = request.query_params.get("id", "")
        view = self._desk.case(transaction_id)
        session = request.cookies.get(SESSION_COOKIE, "")
        known = bool(session)
        session = session or new_session()
        seen = len(view.case.labels)
        done = request.query_params.get("done", "")
        page = self._page(
            "case.html",
            case=view.case,
            place=view.place,
            notice=next((each for each in view.recent if each.transaction_id == done), None),
            timeline=draw_timeline(view.case.payments),
            seen=seen,
            token=self._tokens.token(session, transaction_id, seen),
            reviewer=unquote(request.cookies.get(NAME_COOKIE, "")),
            longest_reviewer=MAX_REVIEWER_CHARACTERS,
            longest_comment=MAX_COMMENT_CHARACTERS,
        )
        if not known:
            # Lax and not Strict: a link in a message opens the case with the session that other tabs are in.
            page.set_cookie(SESSION_COOKIE, session, httponly=True, samesite="lax")
        return page

    async def verdict(self, request: Request) -> Response:
        form = await _read_form(request)
        transaction_id, seen = form.get("transaction_id", ""), _count(form.get("seen", ""))
        reviewer = " ".join(form.get("reviewer", "").split())
        if not same_origin(request.headers):
            raise HTTPException(403, "The form did not come from this page.")
        session, token = request.cookies.get(SESSION_COOKIE, ""), form.get("token", "")
        if seen is None or not self._tokens.is_valid(token, session, transaction_id, seen):
            return self._message(
                403,
                "This form has expired.",
                "The page was open since before the server was started last, or cookies are turned off. Nothing was "
                "stored. Open the case again.",
                transaction_id=transaction_id,
            )
        if form.get("verdict") not in ("fraud", "legitimate"):
            raise HTTPException(400, "A verdict is fraud or legitimate.")
        if not reviewer:
            return self._message(400, "Whose verdict is it?", "Fill in your name.", transaction_id=transaction_id)
        try:
            given, following = await run_in_threadpool(
                self._desk.record,
                transaction_id,
                actual_fraud=form["verdict"] == "fraud",
                reviewer=reviewer,
                comment=form.get("comment", ""),
                seen=seen,
            )
        except WarehouseBusy:
            return self._busy(form)
        except InvalidInput as error:
            return self._message(400, "The verdict can't be stored.", str(error), transaction_id=transaction_id)
        if given.outcome == "outdated":
            return self._message(
                409,
                "Somebody has given a verdict meanwhile.",
                "Yours says something else, and was not stored. Look at the case again.",
                transaction_id=transaction_id,
            )
        done = {"done": transaction_id}
        target = case_path(following, **done) if following else "/?" + urlencode(done)
        answer = RedirectResponse(target, status_code=303)
        answer.set_cookie(NAME_COOKIE, quote(reviewer), max_age=31_536_000, httponly=True, samesite="lax")
        return answer

    def http_error(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        missing = {404: "There is no such page.", 405: "A verdict is given with the buttons of a case."}
        page = self._message(error.status_code, missing.get(error.status_code, error.detail), "")
        page.headers.update(error.headers or {})
        return page

    def failure(self, _request: Request, error: Exception) -> Response:
        if isinstance(error, WarehouseBusy):
            return self._busy(None)
        return self._message(404, "There is nothing to show.", str(error))

    def unexpected(self, _request: Request, _error: Exception) -> Response:
        return self._message(500, "Something went wrong.", "The log of the server says what. Nothing was stored.")

    def _busy(self, form: Mapping[str, str] | None) -> Response:
        """With a form, it can be sent again as it was: a verdict that was stored after all counts once."""
        return self._page("busy.html", status=503, headers={"Retry-After": "5"}, form=form)

    def _message(self, status: int, title: str, text: str, *, transaction_id: str = "") -> HTMLResponse:
        return self._page("message.html", status=status, title=title, text=text, transaction_id=transaction_id)

    def _page(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(template).render(values), status, headers)


def _count(text: str) -> int | None:
    """A number that a page of ours can have sent."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of a form, the first value of each.

    Raises:
        HTTPException: it is no form, or larger than one of ours can be.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "A verdict is sent as a form.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413, "The form is too large.")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError as error:
        raise HTTPException(400, "The form can't be read.") from error
    return {name: values[0] for name, values in fields.items()}
