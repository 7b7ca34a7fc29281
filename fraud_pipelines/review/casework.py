"""The pages of cases: what is worth a reviewer's minutes most, one case whole, and what people do with it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fraud_pipelines.decisions.cases.case_file import read_case_file
from fraud_pipelines.decisions.cases.export import as_html, as_json, exported
from fraud_pipelines.decisions.cases.policy import CasePolicy
from fraud_pipelines.decisions.cases.queue import (
    SHOWN,
    ClosedCase,
    check_case_column,
    read_case_queue,
    read_closed_cases,
)
from fraud_pipelines.decisions.cases.work import MAX_NOTE_CHARACTERS, OUTCOMES, CaseDesk, CaseTaken, Person
from fraud_pipelines.decisions.entity_lists import list_columns
from fraud_pipelines.errors import InvalidInput, WarehouseBusy
from fraud_pipelines.review.choosing import ROWS, pages_of_list, read_page
from fraud_pipelines.review.desk import Desk
from fraud_pipelines.review.forms import count, read_form
from fraud_pipelines.review.identity import Identity
from fraud_pipelines.review.links import case_of_path, cases_path
from fraud_pipelines.review.listing import Listing
from fraud_pipelines.review.rendering import Renderer
from fraud_pipelines.transactions.currency import base_currency

NEXT: Final = "next case"
"""What the token of the form is about that takes the next case."""
PAYMENT: Final = "payment-"
"""Begins the names of the fields that choose payments."""
_MOST_FIELDS: Final = 250


class Casework:
    """The handlers."""

    def __init__(
        self, desk: Desk, renderer: Renderer, identity: Identity, listing: Listing, policy: CasePolicy
    ) -> None:
        check_case_column(policy, desk.plan)
        self._desk = desk
        self._renderer = renderer
        self._identity = identity
        self._listing = listing
        self._policy = policy

    def cases(self, request: Request) -> Response:
        asked = request.query_params
        shown, tag, number = asked.get("shown", "open"), asked.get("tag", "").strip(), read_page(asked.get("page", ""))
        if shown not in SHOWN:
            return self._renderer.message(400, "There is no such list.", f"{shown!r} is none of {', '.join(SHOWN)}.")
        person = self._identity.asking(request)
        offset, session = (number - 1) * ROWS, self._identity.session(request)
        with self._desk.reading() as warehouse:
            found, total, workload = read_case_queue(
                warehouse,
                self._policy,
                now=_now(),
                limit=ROWS,
                offset=offset,
                shown="open" if shown == "closed" else shown,
                tag=tag,
                person=person["reviewer"],
                blind=self._desk.blind,
            )
            closed: list[ClosedCase] = []
            if shown == "closed":
                closed, total = read_closed_cases(warehouse, limit=ROWS, offset=offset, tag=tag)
            currency = base_currency(warehouse)
        if number > 1 and not (closed if shown == "closed" else found):
            return RedirectResponse(cases_path(shown=shown, tag=tag), status_code=303)
        page = self._renderer.page(
            "cases.html",
            shown=shown,
            lists=SHOWN,
            tag=tag,
            found=found,
            closed=closed,
            number=total,
            workload=workload,
            pages=pages_of_list(number, total),
            kept={"shown": shown, "tag": tag},
            now=_now(),
            done=asked.get("done", ""),
            token=self._identity.token(session, NEXT),
            currency=currency,
            **person,
        )
        return self._identity.keep(page, request, session)

    def case(self, request: Request) -> Response:
        case_id, session = request.query_params.get("id", ""), self._identity.session(request)
        with self._desk.reading() as warehouse:
            now = _now()
            found = read_case_file(warehouse, case_id, self._policy, now=now, blind=self._desk.blind)
            currency = base_currency(warehouse)
        seen = found.last_sequence
        about = {found.key.column_name: found.key.value}
        page = self._renderer.page(
            "customer_case.html",
            case=found,
            queued=found.queued,
            now=now,
            seen=seen,
            done=request.query_params.get("done", ""),
            token=self._identity.token(session, case_id, seen),
            needs_second=bool(found.queued and self._policy.needs_second(found.queued.severity)),
            longest_note=MAX_NOTE_CHARACTERS,
            payment_field=PAYMENT,
            list_form=self._listing.form(request, session, back=case_of_path(case_id), values=about)
            if found.key.column_name in list_columns(self._desk.plan)
            else None,
            currency=currency,
            **self._identity.asking(request),
        )
        return self._identity.keep(page, request, session)

    def export(self, request: Request) -> Response:
        case_id, form = request.query_params.get("id", ""), request.query_params.get("form", "html")
        if form not in ("html", "json"):
            return self._renderer.message(400, "The case can't be exported.", "A case is exported as html or json.")
        with self._desk.reading() as warehouse:
            now = _now()
            found = read_case_file(warehouse, case_id, self._policy, now=now, blind=self._desk.blind)
            content = exported(warehouse, found, now=now, currency=base_currency(warehouse))
        text, kind = (as_html(content), "text/html") if form == "html" else (as_json(content), "application/json")
        headers = {"Content-Disposition": f'attachment; filename="case-{found.case_id}.{form}"'}
        return Response(text, media_type=kind, headers=headers)

    async def next(self, request: Request) -> Response:
        form = await read_form(request)
        if not self._identity.is_valid(request, form.get("token", ""), NEXT):
            return self._renderer.expired()
        return await self._write(request, form, "/cases/next", self._take_next)

    async def do(self, request: Request) -> Response:
        form = await read_form(request, most_fields=_MOST_FIELDS)
        case_id, seen = form.get("case_id", ""), count(form.get("seen", ""))
        if seen is None or not self._identity.is_valid(request, form.get("token", ""), case_id, seen):
            return self._renderer.expired()
        if form.get("action") not in _ACTIONS and form.get("outcome") not in OUTCOMES:
            raise HTTPException(400, "A case is changed with the buttons of its page.")
        return await self._write(request, form, "/cases/do", self._do)

    async def _write(
        self,
        request: Request,
        form: dict[str, str],
        action: str,
        change: Callable[[Mapping[str, str], Person], str],
    ) -> Response:
        """What ``change`` does with the form; it returns where to go on."""
        name = self._identity.reviewer(request, form)
        if not name:
            return self._renderer.message(400, "Who does it?", self._identity.if_missing)
        try:
            target = await run_in_threadpool(change, form, Person(name, self._identity.named_by))
        except WarehouseBusy:
            return self._renderer.busy(form, action=action, noun="change", shown=_shown(form, name))
        except CaseTaken as error:
            return self._refused(409, "Somebody else works on this case.", error, form)
        except InvalidInput as error:
            return self._refused(400, "That can't be done.", error, form)
        return self._identity.remember(RedirectResponse(target, status_code=303), name)

    def _refused(self, status: int, title: str, error: InvalidInput, form: Mapping[str, str]) -> Response:
        """Nothing was stored; the page shows the note again, so that it isn't lost."""
        return self._renderer.page(
            "case_refused.html",
            status=status,
            title=title,
            text=str(error),
            note=form.get("note", "")[: 2 * MAX_NOTE_CHARACTERS],
            case_id=form.get("case_id", ""),
        )

    def _take_next(self, _form: Mapping[str, str], person: Person) -> str:
        with self._desk.writing() as warehouse:
            found = self._on(warehouse).claim_next(person, now=_now())
        return case_of_path(found) if found else cases_path(done="none")

    def _do(self, form: Mapping[str, str], person: Person) -> str:
        case_id, now = form["case_id"], _now()
        with self._desk.writing() as warehouse:
            on = self._on(warehouse)
            if form.get("outcome") in OUTCOMES:
                chosen = [value for name, value in form.items() if name.startswith(PAYMENT)]
                done = on.judge(
                    case_id,
                    person,
                    form["outcome"],
                    now=now,
                    transactions=chosen if form.get("chooses") else None,
                    note=form.get("note", ""),
                    seen=count(form["seen"]),
                )
                if done == "judged":
                    return case_of_path(case_id)
                following = on.claim_next(person, now=now)
                return case_of_path(following, done=case_id) if following else cases_path(done=case_id)
            _ACTIONS[form["action"]](on, form, person, now)
        return case_of_path(case_id)

    def _on(self, warehouse: object) -> CaseDesk:
        return CaseDesk(warehouse, self._policy, blind=self._desk.blind, skew=self._desk.skew)  # type: ignore[arg-type]


_Act = Callable[[CaseDesk, Mapping[str, str], Person, datetime], object]


def _act(name: str, *fields: str) -> _Act:
    """The method ``name`` of a `CaseDesk`, given fields of the form."""

    def act(on: CaseDesk, form: Mapping[str, str], person: Person, now: datetime) -> object:
        given = [form.get(each, "") for each in fields]
        return getattr(on, name)(form["case_id"], person, *given, now=now, seen=count(form["seen"]))

    return act


_ACTIONS: Final[Mapping[str, _Act]] = {
    "claim": _act("claim"),
    "release": _act("release"),
    "escalate": _act("escalate", "note"),
    "resume": _act("resume"),
    "decline": _act("decline", "note"),
    "reopen": _act("reopen", "note"),
    "note": lambda on, form, person, now: on.note(form["case_id"], person, form.get("note", ""), now=now),
    "tag": lambda on, form, person, now: on.tag(form["case_id"], person, form.get("tag", ""), now=now),
    "untag": lambda on, form, person, now: on.tag(form["case_id"], person, form.get("tag", ""), now=now, remove=True),
    "due": lambda on, form, person, now: on.set_due(
        form["case_id"], person, moment_of("due", form.get("until", "")), now=now, seen=count(form["seen"])
    ),
    "wait": lambda on, form, person, now: on.wait(
        form["case_id"],
        person,
        form.get("note", ""),
        now=now,
        until=moment_of("until", form["until"]) if form.get("until") else None,
        seen=count(form["seen"]),
    ),
}


def moment_of(field: str, text: str) -> datetime:
    """A moment as a form sends it, in UTC.

    Raises:
        InvalidInput: it is none; the message names the field.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M")
    except ValueError as error:
        raise InvalidInput(
            f"{field}: {text[:40]!r} is no day and time; write them as 2026-11-30T18:00, in UTC"
        ) from error


def _shown(form: Mapping[str, str], name: str) -> dict[str, str]:
    """What a change that waits holds, in words."""
    held = {
        "Case": form.get("case_id", "the next one"),
        "What": form.get("outcome") or form.get("action", "take"),
        "By": name,
    }
    return held | {
        word: form[field]
        for word, field in (("Comment", "note"), ("Tag", "tag"), ("Until", "until"))
        if form.get(field)
    }


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
