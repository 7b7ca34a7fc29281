"""The pages and the one form of the review server."""

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from fraud_pipelines.decisions.review import MAX_COMMENT_CHARACTERS, MAX_REVIEWER_CHARACTERS
from fraud_pipelines.errors import FraudPipelinesError, InvalidInput, WarehouseBusy
from fraud_pipelines.pages import case_path
from fraud_pipelines.review.choosing import Choice, choice_of, form_of, pages_of
from fraud_pipelines.review.desk import Desk
from fraud_pipelines.review.exploring import Exploring
from fraud_pipelines.review.links import queue_path
from fraud_pipelines.review.rendering import FOLDER, Renderer
from fraud_pipelines.review.timeline import draw_timeline
from fraud_pipelines.review.tokens import Tokens, new_session
from fraud_pipelines.review.trying import Trying
from fraud_pipelines.settings import Settings
from fraud_pipelines.web.guard import Guard, same_origin
from fraud_pipelines.web.metrics import Measured, Metric, Metrics, health_routes

SESSION_COOKIE: Final = "review_session"
NAME_COOKIE: Final = "review_name"
MAX_FORM_BYTES: Final = 32_768
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
    pages = _Pages(desk, renderer, settings.reviewer_header)
    exploring, trying = Exploring(desk, renderer), Trying(desk, renderer, settings)
    app = Starlette(
        routes=[
            Route("/", pages.queue),
            Route("/case", pages.case),
            Route("/verdict", pages.verdict, methods=["POST"]),
            Route("/search", exploring.search),
            Route("/payments", exploring.payments),
            Route("/entity", exploring.entity),
            Route("/backtest", trying.backtest),
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

    def __init__(self, desk: Desk, renderer: Renderer, reviewer_header: str) -> None:
        self._desk = desk
        self._renderer = renderer
        self._reviewer_header = reviewer_header
        self._tokens = Tokens()

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
        view = self._desk.case(transaction_id, choice.chosen)
        session = request.cookies.get(SESSION_COOKIE, "")
        known = bool(session)
        session = session or new_session()
        seen = len(view.case.labels)
        done = request.query_params.get("done", "")
        page = self._renderer.page(
            "case.html",
            case=view.case,
            place=view.place,
            notice=next((each for each in view.recent if each.transaction_id == done), None),
            timeline=draw_timeline(view.case.payments),
            seen=seen,
            token=self._tokens.token(session, transaction_id, seen),
            reviewer=self._login(request) or unquote(request.cookies.get(NAME_COOKIE, "")),
            named_by_login=bool(self._reviewer_header),
            longest_reviewer=MAX_REVIEWER_CHARACTERS,
            longest_comment=MAX_COMMENT_CHARACTERS,
            kept=choice.query,
            queue_query=urlencode(choice.query),
            currency=view.currency,
        )
        if not known:
            # Lax and not Strict: a link in a message opens the case with the session that other tabs are in.
            page.set_cookie(SESSION_COOKIE, session, httponly=True, samesite="lax")
        return page

    async def verdict(self, request: Request) -> Response:
        form = await _read_form(request)
        transaction_id, seen = form.get("transaction_id", ""), _count(form.get("seen", ""))
        reviewer = " ".join((self._login(request) if self._reviewer_header else form.get("reviewer", "")).split())
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
            missing = "The proxy before this page did not say who you are." if self._reviewer_header else ""
            text = missing or "Fill in your name."
            return self._message(400, "Whose verdict is it?", text, transaction_id=transaction_id)
        choice = self._choice(dict(parse_qsl(form.get("queue", ""))))
        try:
            given, following = await run_in_threadpool(
                self._desk.record,
                transaction_id,
                actual_fraud=form["verdict"] == "fraud",
                reviewer=reviewer,
                named_by="login" if self._reviewer_header else "typed",
                chosen=choice.chosen,
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
        kept = {**choice.query, "done": transaction_id}
        target = case_path(following, **kept) if following else queue_path(**kept)
        answer = RedirectResponse(target, status_code=303)
        if not self._reviewer_header:
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

    def _login(self, request: Request) -> str:
        """Who asks, as the proxy says; empty where no proxy is expected to."""
        return request.headers.get(self._reviewer_header, "") if self._reviewer_header else ""

    def _choice(self, asked: Mapping[str, str]) -> Choice:
        """What of the queue a case was opened from: all of it, where that can't be read."""
        try:
            return choice_of(asked, self._desk.plan, waiting=True)
        except InvalidInput:
            return choice_of({}, self._desk.plan, waiting=True)

    def _busy(self, form: Mapping[str, str] | None) -> Response:
        """With a form, it can be sent again as it was: a verdict that was stored after all counts once."""
        return self._renderer.page("busy.html", status=503, headers={"Retry-After": "5"}, form=form)

    def _message(self, status: int, title: str, text: str, *, transaction_id: str = "") -> Response:
        return self._renderer.message(status, title, text, transaction_id=transaction_id)


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
