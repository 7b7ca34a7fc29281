"""One case whole: its payments with what was decided on them and why, and all that happened, in order of time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fraud_pipelines.decisions.cases.events import CaseEvent, CaseKey, read_events
from fraud_pipelines.decisions.cases.evidence import decided_payments
from fraud_pipelines.decisions.cases.policy import CasePolicy
from fraud_pipelines.decisions.cases.queue import QueuedCase, find_case
from fraud_pipelines.decisions.entity_lists import ListEntry
from fraud_pipelines.decisions.review_case import CaseLabel
from fraud_pipelines.storage.connection import Connection, select
from fraud_pipelines.storage.warehouse import Warehouse

MOST_PAYMENTS: Final = 200
"""Of a case that are told in full; the riskiest come first."""
_LABELS: Final = """
    SELECT transaction_id, source, actual_fraud, known_at, reviewer, reviewer_named_by, comment, {in_force} AS in_force
    FROM {table} WHERE transaction_id IN (SELECT unnest($ids::VARCHAR[]))
"""


@dataclass(frozen=True)
class CasePayment:
    """A payment of a case.

    Attributes:
        stored: its columns, and ``decisions`` with reasons and features, as `decided_payments` tells them.
        waits: for a verdict.
        labels: every verdict on it, those corrected since included, in order of time.
    """

    transaction_id: str
    stored: dict[str, Any]
    waits: bool
    labels: tuple[CaseLabel, ...]

    @property
    def verdict(self) -> bool | None:
        """Whether it is fraud, by the verdict that holds: a chargeback outranks a review."""
        held = [label for label in self.labels if label.in_force]
        held.sort(key=lambda label: label.source != "chargeback")
        return held[0].actual_fraud if held else None


@dataclass(frozen=True)
class Happening:
    """One line of the timeline.

    Attributes:
        kind: ``payment``, ``hit``, ``label``, ``list`` or, of an event of the case, its action.
        about: the payment, the value on a list, the tag, or the like.
        event: the event of the case; None where it is none.
    """

    at: datetime
    kind: str
    about: str
    words: str
    who: str | None = None
    named_by: str | None = None
    note: str | None = None
    event: CaseEvent | None = None


@dataclass(frozen=True)
class CaseFile:
    """A case with all that belongs to it.

    Attributes:
        state, outcome, tags, opened_at, closed_at, closed_by: as in ``feedback.cases``; ``opened_at`` is None where
            nobody has done anything yet.
        queued: its row of the queue, None where it is closed.
        more_payments: that are not among ``payments``, since there are so many.
    """

    key: CaseKey
    state: str
    outcome: str | None
    tags: tuple[str, ...]
    opened_at: datetime | None
    closed_at: datetime | None
    closed_by: str | None
    queued: QueuedCase | None
    payments: tuple[CasePayment, ...]
    more_payments: int
    entries: tuple[ListEntry, ...]
    events: tuple[CaseEvent, ...]
    timeline: tuple[Happening, ...]

    @property
    def case_id(self) -> str:
        return self.key.case_id

    @property
    def last_sequence(self) -> int:
        """Of its events, 0 where there is none."""
        return self.events[-1].sequence if self.events else 0


def read_case_file(
    warehouse: Warehouse, case_id: str, cases: CasePolicy, *, now: datetime, blind: bool = False
) -> CaseFile:
    """The case of that id, as it is ``now`` (naive UTC).

    Raises:
        InvalidInput: there is none.
    """
    with warehouse.connect(read_only=True) as connection:
        queued, record, key = find_case(connection, cases, case_id, now=now, blind=blind)
        events = read_events(connection, case_id)
        waiting = queued.waiting_transactions if queued else []
        judged = record["judged_transactions"] if record else []
        beside = _judged_beside(connection, key, record, [*waiting, *judged])
        members = list(dict.fromkeys([*waiting, *sorted(judged), *beside]))
        payments = _payments(connection, members[:MOST_PAYMENTS], set(waiting), blind=blind)
        entries = _entries(connection, key, payments)
    return CaseFile(
        key=key,
        state=queued.state if queued else "closed",
        outcome=record["outcome"] if record else None,
        tags=tuple(record["tags"]) if record else (),
        opened_at=record["opened_at"] if record else None,
        closed_at=record["closed_at"] if record else None,
        closed_by=record["closed_by"] if record else None,
        queued=queued,
        payments=payments,
        more_payments=max(len(members) - MOST_PAYMENTS, 0),
        entries=entries,
        events=tuple(events),
        timeline=_timeline(payments, entries, events),
    )


def _judged_beside(connection: Connection, key: CaseKey, record: dict[str, Any] | None, known: list[str]) -> list[str]:
    """Alerts of the same value that a reviewer judged while the case was open, on a page of their own."""
    if record is None:
        return []
    rows = select(
        connection,
        f"""
        SELECT DISTINCT transaction_id
        FROM raw.transactions t
        JOIN scoring.decisions d USING (transaction_id)
        JOIN feedback.labels l USING (transaction_id)
        WHERE t."{key.column_name}"::VARCHAR = $value
          AND (d.decision <> 'approve' OR d.audited)
          AND l.source = 'review' AND l.known_at >= $opened AND l.known_at <= coalesce($closed, 'infinity'::TIMESTAMP)
          AND transaction_id NOT IN (SELECT unnest($known::VARCHAR[]))
        ORDER BY transaction_id LIMIT {MOST_PAYMENTS}
        """,
        {"value": key.value, "opened": record["opened_at"], "closed": record["closed_at"], "known": known},
    )
    return rows["transaction_id"].to_list()


def _payments(
    connection: Connection, transactions: list[str], waiting: set[str], *, blind: bool
) -> tuple[CasePayment, ...]:
    history = select(
        connection,
        f"""
        {_LABELS.format(table="feedback.labels", in_force="true")} UNION ALL
        {_LABELS.format(table="feedback.superseded_labels", in_force="false")} ORDER BY known_at
        """,
        {"ids": transactions},
    )
    labels: dict[str, list[CaseLabel]] = {}
    for row in history.iter_rows(named=True):
        labels.setdefault(row.pop("transaction_id"), []).append(CaseLabel(**row))
    return tuple(
        CasePayment(
            each["transaction_id"],
            each,
            each["transaction_id"] in waiting,
            tuple(labels.get(each["transaction_id"], ())),
        )
        for each in decided_payments(connection, transactions, blind=blind)
    )


def _entries(connection: Connection, key: CaseKey, payments: tuple[CasePayment, ...]) -> tuple[ListEntry, ...]:
    """The entries of lists, ended ones included, about the value of the case or one of its payments."""
    columns = ", ".join(ListEntry.__dataclass_fields__)
    rows = select(connection, f"SELECT {columns} FROM scoring.list_entries ORDER BY added_at, entry_id")
    values = {(key.column_name, key.value)}
    for payment in payments:
        values |= {(name, str(value)) for name, value in payment.stored.items() if isinstance(value, str | int)}
    return tuple(ListEntry(**row) for row in rows.iter_rows(named=True) if (row["column_name"], row["value"]) in values)


def _timeline(
    payments: tuple[CasePayment, ...], entries: tuple[ListEntry, ...], events: list[CaseEvent]
) -> tuple[Happening, ...]:
    told = []
    for payment in payments:
        stored = payment.stored
        told.append(Happening(stored["timestamp"], "payment", payment.transaction_id, f"{stored['amount']:,.2f} paid"))
        for decision in stored["decisions"]:
            words = f"{decision['decision']} ({decision['channel']})"
            told.append(Happening(decision["decided_at"], "hit", payment.transaction_id, words))
        for label in payment.labels:
            words = f"{label.source}: {'fraud' if label.actual_fraud else 'legitimate'}"
            told.append(
                Happening(
                    label.known_at,
                    "label",
                    payment.transaction_id,
                    words + ("" if label.in_force else ", corrected since"),
                    label.reviewer,
                    label.reviewer_named_by,
                    label.comment,
                )
            )
    for entry in entries:
        about = f"{entry.column_name} {entry.value}"
        words = f"put on the list {entry.list_name} until {entry.expires}"
        told.append(Happening(entry.added_at, "list", about, words, entry.author, entry.author_named_by, entry.reason))
        if entry.ended_on:
            ended = datetime.combine(entry.ended_on, datetime.min.time())
            told.append(Happening(ended, "list", about, f"taken off the list {entry.list_name}", entry.ended_by))
    for event in events:
        note = event.note if event.note_digest is None or event.note is not None else "(erased)"
        who = event.author or "(erased)"
        told.append(
            Happening(event.happened_at, event.action, "", _words(event), who, event.author_named_by, note, event)
        )
    # Of what happened at once, a payment comes before what was decided on it, and that before what people did.
    order = {"payment": 0, "hit": 1, "list": 2, "label": 3}
    return tuple(
        sorted(told, key=lambda each: (each.at, order.get(each.kind, 4), each.event.sequence if each.event else 0))
    )


def _words(event: CaseEvent) -> str:
    """What was done, in words."""
    until = f"{event.until:%Y-%m-%d %H:%M}" if event.until else ""
    about = f"{len(event.transactions or [])} payment{'' if len(event.transactions or []) == 1 else 's'}"
    return {
        "claimed": f"claimed until {until}",
        "released": "gave the claim back",
        "noted": "noted",
        "tagged": f"tagged {event.tag}",
        "untagged": f"took the tag {event.tag} off",
        "due": f"set the due time to {until}",
        "escalated": "escalated",
        "waiting": f"set aside{f' until {until}' if until else ''}",
        "resumed": "went on",
        "judged": f"judged {about}: {event.outcome}",
        "proposed": f"proposed for {about}: {event.outcome}",
        "declined": "sent the proposal back",
        "closed": f"closed with {about}: {event.outcome}",
        "reopened": "opened again",
        "erased": f"erased words of event {event.about}",
    }.get(event.action, event.action)
