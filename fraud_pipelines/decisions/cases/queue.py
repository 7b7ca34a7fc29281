"""The queue of cases by value, and what reviewers' minutes reach of it today."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from fraud_pipelines.decisions.cases.events import CaseKey
from fraud_pipelines.decisions.cases.policy import CasePolicy
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import Connection, select
from fraud_pipelines.storage.warehouse import Warehouse

State = Literal["open", "waiting", "closed"]
SHOWN: Final = ("open", "mine", "waiting", "second", "unreached", "overdue", "closed")
"""What of the cases can be asked for: those to be worked on, one's own, …, those that somebody else has to agree to."""


@dataclass(frozen=True)
class QueuedCase:
    """A case that is not closed, a row of ``scoring.case_queue``. In a blind review the losses are None.

    Attributes:
        place: in the queue by value, from 1.
        payments, amount, expected_loss, stoppable_loss: of its payments that wait for a verdict.
        minutes: that it takes.
        reached_today: whether today's minutes suffice for it and all before it; None where no reviewer is waited for.
        last_sequence: the last of its events, 0 where there is none.
    """

    place: int
    case_id: str
    column_name: str
    value: str
    number: int
    state: State
    severity: str
    escalated: bool
    payments: int
    blocked: int
    amount: float
    expected_loss: float | None
    stoppable_loss: float | None
    first_payment: datetime | None
    last_payment: datetime | None
    waiting_since: datetime
    due_at: datetime
    claimed_by: str | None
    claimed_until: datetime | None
    waiting_until: datetime | None
    proposed_outcome: str | None
    proposed_by: str | None
    proposed_transactions: list[str] | None
    tags: list[str]
    waiting_transactions: list[str]
    judged_transactions: list[str]
    last_sequence: int
    minutes: float
    reached_today: bool | None

    @property
    def key(self) -> CaseKey:
        return CaseKey(self.column_name, self.value, self.number)


@dataclass(frozen=True)
class Workload:
    """What waits for reviewers, and what today's minutes reach of it.

    Attributes:
        cases, payments, minutes: that wait for a reviewer; cases that wait for something outside are not among them.
        day_minutes: those of all reviewers a day; None where the policy doesn't say.
        spent: of today's, in UTC, by the cases and payments judged.
        unreached_cases, unreached_payments, unreached_loss, unreached_stoppable: what today's minutes don't
            suffice for; the losses are None in a blind review.
        overdue: cases past their due time.
    """

    cases: int
    payments: int
    minutes: float
    day_minutes: float | None
    spent: float
    unreached_cases: int
    unreached_payments: int
    unreached_loss: float | None
    unreached_stoppable: float | None
    overdue: int

    @property
    def in_words(self) -> str:
        """What won't be reached today; empty where the policy doesn't say how many minutes there are."""
        if self.day_minutes is None:
            return ""
        left = max(self.day_minutes - self.spent, 0)
        if not self.unreached_cases:
            return f"All of it is within today's {left:,.0f} minutes of {self.day_minutes:,.0f} that are left."
        cases = f"{self.unreached_cases:,} case{'s' if self.unreached_cases > 1 else ''}"
        loss = (
            ""
            if self.unreached_loss is None
            else f", an expected loss of {self.unreached_loss:,.0f}, of which {self.unreached_stoppable or 0:,.0f} "
            "could still be stopped"
        )
        return (
            f"Not reached today: {cases} with {self.unreached_payments:,} payments{loss}. "
            f"{left:,.0f} minutes of {self.day_minutes:,.0f} are left, and {self.minutes:,.0f} are needed."
        )


def check_case_column(cases: CasePolicy, plan: Plan) -> None:
    """Refuse a policy whose cases are about a column that isn't declared as text or a whole number.

    Raises:
        InvalidInput: it names the column and those there are.
    """
    known = {each.name: each.type for each in plan.attributes}
    usable = ["user_id", *(name for name, kind in known.items() if kind in ("text", "integer") and name != "user_id")]
    if cases.by not in usable:
        raise InvalidInput(
            f"cases.by: {cases.by!r} is no declared column of text or whole numbers; there are {', '.join(usable)}"
        )


def queue_of(
    connection: Connection,
    cases: CasePolicy,
    *,
    now: datetime,
    blind: bool,
    condition: str = "true",
    rest: str = "",
    parameters: Mapping[str, object] | None = None,
) -> list[QueuedCase]:
    """The cases that aren't closed and meet a condition over ``scoring.case_queue``, by place."""
    columns = ", ".join(QueuedCase.__dataclass_fields__)
    query = f"SELECT {columns} FROM {_CALL} WHERE {condition} ORDER BY place {rest}"
    rows = select(connection, query, {**_arguments(cases, now=now, blind=blind), **(parameters or {})})
    return [QueuedCase(**row) for row in rows.iter_rows(named=True)]


def find_case(
    connection: Connection, cases: CasePolicy, case_id: str, *, now: datetime, blind: bool
) -> tuple[QueuedCase | None, dict[str, Any] | None, CaseKey]:
    """The case of that id: its row of the queue, None where it is closed; its row of ``feedback.cases``, None where
    nobody has done anything yet; and its key.

    Raises:
        InvalidInput: there is none.
    """
    found = queue_of(
        connection, cases, now=now, blind=blind, condition="case_id = $case_id", parameters={"case_id": case_id}
    )
    stored = select(
        connection,
        "SELECT column_name, value, number, outcome, tags, opened_at, closed_at, closed_by, judged_transactions "
        "FROM feedback.cases_at(?) WHERE case_id = ?",
        [now, case_id],
    ).rows(named=True)
    if not found and not stored:
        raise InvalidInput(f"No case has the id {case_id!r}. Its payments may have been judged meanwhile.")
    of = stored[0] if stored else vars(found[0])
    key = CaseKey(of["column_name"], of["value"], of["number"])
    return found[0] if found else None, stored[0] if stored else None, key


def read_case_queue(
    warehouse: Warehouse,
    cases: CasePolicy,
    *,
    now: datetime,
    limit: int,
    offset: int = 0,
    shown: str = "open",
    tag: str = "",
    person: str = "",
    blind: bool = False,
) -> tuple[list[QueuedCase], int, Workload]:
    """``limit`` of the cases that aren't closed, those after the first ``offset``; how many; and the workload.

    Args:
        shown: one of `SHOWN` but ``closed``.
        tag: only those with it.
        person: whose are shown as ``mine``, and to whose proposals somebody else has to agree.

    Raises:
        InvalidInput: ``shown`` is none of these.
    """
    if shown not in _CONDITIONS:
        raise InvalidInput(f"shown: {shown!r} is none of {', '.join(_CONDITIONS)}")
    condition = _CONDITIONS[shown] + (" AND list_contains(tags, $tag)" if tag else "")
    columns = ", ".join(QueuedCase.__dataclass_fields__)
    parameters: dict[str, object] = {**_arguments(cases, now=now, blind=blind), "limit": limit, "offset": offset}
    parameters |= {"tag": tag} if tag else {}
    parameters |= {"person": person} if "$person" in condition else {}
    with warehouse.connect(read_only=True) as connection:
        rows = select(
            connection,
            f"""
            WITH queue AS MATERIALIZED (FROM {_CALL})
            SELECT totals.*, found.*
            FROM (
                SELECT count(*) FILTER ({_WORK}) AS _cases,
                       coalesce(sum(payments) FILTER ({_WORK}), 0) AS _payments,
                       coalesce(sum(minutes) FILTER ({_WORK}), 0) AS _minutes,
                       count(*) FILTER (NOT reached_today) AS _unreached,
                       coalesce(sum(payments) FILTER (NOT reached_today), 0) AS _unreached_payments,
                       sum(expected_loss) FILTER (NOT reached_today) AS _unreached_loss,
                       sum(stoppable_loss) FILTER (NOT reached_today) AS _unreached_stoppable,
                       count(*) FILTER (due_at < $now AND {_WORK}) AS _overdue,
                       coalesce(any_value(minutes_spent), 0) AS _spent,
                       count(*) FILTER ({condition}) AS _number
                FROM queue
            ) totals
            LEFT JOIN (
                SELECT {columns} FROM queue WHERE {condition} ORDER BY place LIMIT $limit OFFSET $offset
            ) found ON true
            ORDER BY place
            """,
            parameters,
        )
    totals = rows.row(0, named=True)
    workload = Workload(
        totals["_cases"],
        int(totals["_payments"]),
        float(totals["_minutes"]),
        cases.day_minutes,
        float(totals["_spent"]),
        totals["_unreached"],
        int(totals["_unreached_payments"]),
        totals["_unreached_loss"] if totals["_unreached"] and not blind else None,
        totals["_unreached_stoppable"],
        totals["_overdue"],
    )
    found = rows.filter(rows["case_id"].is_not_null()).select(*QueuedCase.__dataclass_fields__)
    return [QueuedCase(**row) for row in found.iter_rows(named=True)], totals["_number"], workload


def case_of_payment(
    warehouse: Warehouse, transaction_id: str, cases: CasePolicy, *, now: datetime, blind: bool = False
) -> QueuedCase | None:
    """The case that collects a payment which waits; None where it doesn't wait."""
    with warehouse.connect(read_only=True) as connection:
        found = queue_of(
            connection,
            cases,
            now=now,
            blind=blind,
            condition="list_contains(waiting_transactions, $transaction)",
            parameters={"transaction": transaction_id},
        )
    return found[0] if found else None


@dataclass(frozen=True)
class ClosedCase:
    """A case that is closed, a row of ``feedback.cases``; ``closed_by`` is None where the name was erased."""

    case_id: str
    column_name: str
    value: str
    number: int
    outcome: str
    judged_transactions: list[str]
    closed_at: datetime
    closed_by: str | None
    tags: list[str]

    @property
    def key(self) -> CaseKey:
        return CaseKey(self.column_name, self.value, self.number)


def read_closed_cases(
    warehouse: Warehouse, *, limit: int, offset: int = 0, tag: str = "", value: str = ""
) -> tuple[list[ClosedCase], int]:
    """The closed cases, the one closed last first, and how many there are; with a ``tag``, or of a ``value``."""
    columns = ", ".join(ClosedCase.__dataclass_fields__)
    asked = {"list_contains(tags, $tag)": ("tag", tag), "value = $value": ("value", value)}
    given = {condition: pair for condition, pair in asked.items() if pair[1]}
    rows = warehouse.read(
        f"""
        SELECT {columns}, count(*) OVER () AS number_of_all FROM feedback.cases
        WHERE {" AND ".join(["state = 'closed'", *given])}
        ORDER BY closed_at DESC, case_id LIMIT $limit OFFSET $offset
        """,
        {**dict(given.values()), "limit": limit, "offset": offset},
    )
    number = rows["number_of_all"][0] if rows.height else 0
    return [ClosedCase(**row) for row in rows.drop("number_of_all").iter_rows(named=True)], number


_WORK: Final = "reached_today IS NOT NULL"
_CONDITIONS: Final[Mapping[str, str]] = {
    "open": "state = 'open'",
    "mine": "claimed_by = $person",
    "waiting": "state = 'waiting'",
    "second": "proposed_by IS NOT NULL AND proposed_by <> $person",
    "unreached": "NOT reached_today",
    "overdue": "state = 'open' AND due_at < $now",
}
_CALL: Final = """scoring.case_queue(
    $now::TIMESTAMP, entity_column := $by, blind := $blind, high_from := $high_from, medium_from := $medium_from,
    high_hours := $high_hours, medium_hours := $medium_hours, low_hours := $low_hours, stop_hours := $stop_hours,
    case_minutes := $case_minutes, payment_minutes := $payment_minutes, day_minutes := $day_minutes
)"""


def _arguments(cases: CasePolicy, *, now: datetime, blind: bool) -> dict[str, Any]:
    said = cases.model_dump(exclude={"claim_minutes", "second_reviewer"})
    return {**said, "now": now, "blind": blind}
