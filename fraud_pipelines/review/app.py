"""The pages and the one form of the review server."""

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from fraud_pipelines.decisions.cases.policy import CasePolicy
from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.decisions.review import MAX_COMMENT_CHARACTERS
from fraud_pipelines.errors import FraudPipelinesError, InvalidInput, WarehouseBusy
from fraud_pipelines.pages import case_path
from fraud_pipelines.review.casework import Casework
from fraud_pipelines.review.choosing import Choice, choice_of, form_of, pages_of
from fraud_pipelines.review.desk import Desk
from fraud_pipelines.review.exploring import Exploring
from fraud_pipelines.review.forms import count, read_form
from fraud_pipelines.review.identity import Identity
from fraud_pipelines.review.links import queue_path
from fraud_pipelines.review.listing import Listing
from fraud_pipelines.review.rendering import FOLDER, Renderer
from fraud_pipelines.review.reporting import STYLE_PATH, Reporting
from fraud_pipelines.review.timeline import draw_timeline
from fraud_pipelines.review.trying import Trying
from fraud_pipelines.settings import Settings
from fraud_pipelines.web.guard import Guard
from fraud_pipelines.web.metrics import Measured, Metric, Metrics, health_routes

WAREHOUSE_AGE: Final = Metric(
    "fraud_warehouse_seconds_since_write", "gauge", "Since anything was written to the live warehouse."
)

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


def create_app(desk: Desk, settings: Settings, *, names: Collection[str] = ()) -> ASGIApp:
    """The application.

    Args:
        desk: reads and writes the warehouse.
        settings: say which rules and policies there are, and in which header a proxy with a login says who asks.
        names: host names it may be asked for under, besides ``localhost`` and addresses.
    """
    renderer = Renderer(desk.plan)
    metrics = Metrics()
    metrics.ask(WAREHOUSE_AGE, desk.seconds_since_write)
    identity = Identity(settings.reviewer_header)
    listing = Listing(desk, renderer, identity, settings)
    cases = policy_in_force(settings).cases
    pages = _Pages(desk, renderer, identity, listing, cases)
    exploring, trying = Exploring(desk, renderer, identity, listing), Trying(desk, renderer, settings)
    reporting = Reporting(desk, settings)
    casework = Casework(desk, renderer, identity, listing, cases)
    app = Starlette(
        routes=[
            Route("/", pages.queue),
            Route("/case", pages.case),
            Route("/verdict", pages.verdict, methods=["POST"]),
            Route("/search", exploring.search),
            Route("/payments", exploring.payments),
            Route("/entity", exploring.entity),
            Route("/cases", casework.cases),
            Route("/cases/case", casework.case),
            Route("/cases/next", casework.next, methods=["POST"]),
            Route("/cases/do", casework.do, methods=["POST"]),
            Route("/cases/export", casework.export),
            Route("/backtest", trying.backtest),
            Route("/report", reporting.report),
            Route(STYLE_PATH, reporting.style),
            Route("/lists", listing.lists),
            Route("/lists/add", listing.add, methods=["POST"]),
            Route("/lists/remove", listing.remove, methods=["POST"]),
            *health_routes(metrics, desk.problem),
            Mount("/static", StaticFiles(directory=FOLDER / "static")),
        ],
        exception_handlers={
            HTTPException: pages.http_error,
            FraudPipelinesError: pages.failure,
            Exception: pages.unexpected,
        },
    )
    # The guard around all of it: also an answer to what went wrong gets the headers.
    pages_told_apart = [route.path for route in app.routes if isinstance(route, Route)]
    return Guard(Measured(app, metrics, pages_told_apart), names, headers=HEADERS)


class _Pages:
    """The handlers. What reads or writes the warehouse runs in a thread, so that nobody else's page waits for it."""

    def __init__(self, desk: Desk, renderer: Renderer, identity: Identity, listing: Listing, cases: CasePolicy) -> None:
        self._desk = desk
        self._cases = cases
        self._renderer = renderer
        self._identity = identity
        self._listing = listing

    def queue(self, request: Request) -> Response:
        plan = self._desk.plan
        try:
            choice = choice_of(request.query_params, plan, waiting=True)
        except InvalidInput as error:
            return self._renderer.message(400, "The filters can't be used.", str(error))
        view = self._desk.queue(choice.chosen)
        if choice.page > 1 and not view.queue.cases:
            return RedirectResponse(queue_path(**choice.query), status_code=303)
        done = request.query_params.get("done", "")
        return self._renderer.page(
            "queue.html",
            queue=view.queue,
            recent=view.recent,
            notice=next((each for each in view.recent if each.transaction_id == done), None),
            form=form_of(choice, plan, rules=view.rules, waiting=True),
            pages=pages_of(choice, view.queue.waiting),
            kept=choice.query,
            currency=view.currency,
        )

    def case(self, request: Request) -> Response:
        transaction_id = request.query_params.get("id", "")
        choice = self._choice(request.query_params)
        view = self._desk.case(transaction_id, choice.chosen, cases=self._cases)
        session = self._identity.session(request)
        seen = len(view.case.labels)
        done = request.query_params.get("done", "")
        page = self._renderer.page(
            "case.html",
            case=view.case,
            collected=view.collected,
            place=view.place,
            notice=next((each for each in view.recent if each.transaction_id == done), None),
            timeline=draw_timeline(view.case.payments),
            seen=seen,
            token=self._identity.token(session, transaction_id, seen),
            **self._identity.asking(request),
            entries=view.entries,
            list_form=self._listing.form(
                request, session, back=case_path(transaction_id, **choice.query), values=view.about
            ),
            longest_comment=MAX_COMMENT_CHARACTERS,
            kept=choice.query,
            queue_query=urlencode(choice.query),
            currency=view.currency,
        )
        return self._identity.keep(page, request, session)

    async def verdict(self, request: Request) -> Response:
        form = await read_form(request)
        transaction_id, seen = form.get("transaction_id", ""), count(form.get("seen", ""))
        if seen is None or not self._identity.is_valid(request, form.get("token", ""), transaction_id, seen):
            return self._renderer.expired(transaction_id)
        reviewer = self._identity.reviewer(request, form)
        if form.get("verdict") not in ("fraud", "legitimate"):
            raise HTTPException(400, "A verdict is fraud or legitimate.")
        if not reviewer:
            text = self._identity.if_missing
            return self._message(400, "Whose verdict is it?", text, transaction_id=transaction_id)
        choice = self._choice(dict(parse_qsl(form.get("queue", ""))))
        try:
            given, following = await run_in_threadpool(
                self._desk.record,
                transaction_id,
                actual_fraud=form["verdict"] == "fraud",
                reviewer=reviewer,
                named_by=self._identity.named_by,
                chosen=choice.chosen,
                comment=form.get("comment", ""),
                seen=seen,
            )
        except WarehouseBusy:
            return self._renderer.busy(form, action="/verdict", noun="verdict", shown=_shown(form, reviewer))
        except InvalidInput as error:
            return self._message(400, "The verdict can't be stored.", str(error), transaction_id=transaction_id)
        if given.outcome == "outdated":
            return self._message(
                409,
                "Somebody has given a verdict meanwhile.",
                "Yours says something else, and was not stored. Look at the case again.",
                transaction_id=transaction_id,
            )
        kept = {**choice.query, "done": transaction_id}
        target = case_path(following, **kept) if following else queue_path(**kept)
        return self._identity.remember(RedirectResponse(target, status_code=303), reviewer)

    def http_error(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        missing = {404: "There is no such page.", 405: "A verdict or an entry is sent with the buttons of a page."}
        page = self._message(error.status_code, missing.get(error.status_code, error.detail), "")
        page.headers.update(error.headers or {})
        return page

    def failure(self, _request: Request, error: Exception) -> Response:
        if isinstance(error, WarehouseBusy):
            return self._renderer.busy()
        return self._message(404, "There is nothing to show.", str(error))

    def unexpected(self, _request: Request, _error: Exception) -> Response:
        return self._message(500, "Something went wrong.", "The log of the server says what. Nothing was stored.")

    def _choice(self, asked: Mapping[str, str]) -> Choice:
        """What of the queue a case was opened from: all of it, where that can't be read."""
        try:
            return choice_of(asked, self._desk.plan, waiting=True)
        except InvalidInput:
            return choice_of({}, self._desk.plan, waiting=True)

    def _message(self, status: int, title: str, text: str, *, transaction_id: str = "") -> Response:
        return self._renderer.message(status, title, text, transaction_id=transaction_id)


def _shown(form: Mapping[str, str], reviewer: str) -> dict[str, str]:
    """What a verdict that waits holds, in words."""
    held = {"Transaction": form["transaction_id"], "Verdict": form["verdict"], "By": reviewer}
    return held | ({"Comment": form["comment"]} if form.get("comment") else {})
