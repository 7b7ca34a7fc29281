"""Which columns of a dispute export say what: found by their names, whatever their case, separators and zone."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.zones import zone_of

ID_NAMES: Final = (
    *("transaction_id", "original_transaction_id", "disputed_transaction_id", "buyer_transaction_id"),
    *("seller_transaction_id", "payment_id", "charge_id", "payment_intent", "payment_intent_id", "charge"),
    *("transaction", "payment", "psp_reference", "payment_psp_reference", "transaction_reference"),
    *("payment_reference", "original_reference", "merchant_reference", "merchant_order_reference", "order_id"),
    *("order_code", "order_number", "invoice_id"),
)
DISPUTE_DATES: Final = (
    *("known_at", "chargeback_date", "dispute_date", "dispute_created", "dispute_created_date", "dispute_created_at"),
    *("dispute_opened", "dispute_opened_at", "dispute_received_date", "disputed_at", "chargeback_created"),
    *("chargeback_created_at", "chargeback_received_date", "chargeback_received_at", "chargeback_at", "record_date"),
    *("case_creation_date", "case_opened", "case_open_date", "case_filing_date", "notification_date", "reported_date"),
)
FURTHER_DATES: Final = (
    *("date_received", "received_at", "received_date", "report_date", "opened_at", "opened", "open_date"),
    *("opened_on", "filing_date", "created_at", "created", "created_date", "created_on", "date"),
)
"""Names that also the date of the payment has, in a file that lists payments."""

REASON_NAMES: Final = (
    *("reason_code", "chargeback_reason_code", "dispute_reason_code", "network_reason_code", "cb_reason_code"),
    *("chargeback_reason", "dispute_reason", "case_reason", "dispute_category", "fraud_type", "reason"),
    *("reason_description", "reason_category", "category"),
)
DISPUTE_STATES: Final = (
    *("dispute_status", "chargeback_status", "dispute_state", "dispute_outcome", "chargeback_outcome", "case_status"),
    *("chargeback_state", "dispute_result", "is_chargeback", "is_disputed", "chargeback", "disputed", "has_dispute"),
    *("chargeback_flag", "dispute_flag"),
)
FURTHER_STATES: Final = ("status", "state", "outcome", "result")
KIND_NAMES: Final = ("dispute_kind", "dispute_type", "case_type", "chargeback_type", "kind", "type")
RECORD_NAMES: Final = ("record_type", "dispute_record_type", "event_type", "event", "dispute_event", "dispute_stage")
ZONE_NAMES: Final = ("record_date_time_zone", "date_time_zone", "time_zone", "timezone", "zone", "utc_offset")
CLOSED_NAMES: Final = (
    *("dispute_closed", "dispute_closed_date", "dispute_closed_at", "closed_at", "closed_date", "closed_on", "closed"),
    *("resolved_at", "resolved_date", "resolution_date", "case_closed_date", "decision_date", "outcome_date"),
    *("won_date", "reversal_date", "date_closed", "date_resolved"),
)
AMOUNT_NAMES: Final = ("disputed_amount", "dispute_amount", "chargeback_amount", "amount_disputed")

_NO_REPORT: Final = re.compile(
    r"due|deadline|respon|repl|evidence|clos|resol|outcome|decision|won|lost|updat|expir|amount|id$"
)
_REPORT_OF_DISPUTE: Final = re.compile(
    r"(disput|chargeback|case).*(date|creat|open|receiv|filed|report|initiat|raised)"
)
_REPORT: Final = re.compile(
    r"(date|time|datetime)?(received|reported|report|filed|opened|open|created|creation|notified|initiated|raised)"
    r"(date|time|datetime|at|on)?"
)
_END: Final = re.compile(
    r"(dispute|case|chargeback)?(date|time)?(closed|resolved|resolution|settled|decided)(date|time|at|on)?"
)
_OF_DISPUTES: Final = re.compile(r"disput|chargeback|^case|^cb[_ ]", re.IGNORECASE)
_OF_PAYMENTS: Final = frozenset(
    {"amount", "status", "currency", "customer", "customerid", "description", "cardbrand", "paymentmethod", "fee"}
)
_CASE_NAMES: Final = frozenset(
    f"{noun}{number}"
    for noun in ("dispute", "case", "chargeback")
    for number in ("id", "number", "reference", "pspreference", "token")
)


@dataclass(frozen=True)
class DisputeColumns:
    """The columns of one file, empty for those that it lacks.

    Attributes:
        ids: those that may hold the id that a transaction has here, the likeliest first.
        date: when it was reported.
        zones: the zones that the names of ``date`` and ``closed`` tell, by column.
        closed: when the dispute ended.
        of_disputes: columns that are filled only where there is a dispute, in a file that lists all payments.
    """

    ids: tuple[str, ...]
    date: str = ""
    reason: str = ""
    state: str = ""
    record: str = ""
    kind: str = ""
    zone: str = ""
    closed: str = ""
    amount: str = ""
    zones: Mapping[str, str] | None = None
    of_disputes: tuple[str, ...] = ()

    @property
    def read(self) -> dict[str, str]:
        """What is read, by what it is taken for; of several ids the likeliest."""
        roles = {
            "transaction_id": next(iter(self.ids), ""),
            "date": self.date,
            "zone": self.zone,
            "reason": self.reason,
            "state": self.state,
            "record type": self.record,
            "kind": self.kind,
            "closed": self.closed,
            "disputed amount": self.amount,
        }
        return {role: name for role, name in roles.items() if name}


def plain(name: str) -> str:
    """A column's name without its zone, separators and case."""
    return re.sub(r"[^a-z0-9]", "", _ZONED.sub("", name).lower())


_ZONED: Final = re.compile(r"\(([^()]*)\)\s*$")


def zone_in(name: str) -> str | None:
    """The zone that a column's name ends with in brackets: ``Created (UTC)``."""
    told = _ZONED.search(name)
    return zone_of(told.group(1)) if told else None


def lists_payments(there: Iterable[str]) -> bool:
    """Whether a file has the columns of an export of payments."""
    return len(_OF_PAYMENTS & set(map(plain, there))) > 1


def find_columns(path: Path, there: Sequence[str], wanted: Mapping[str, str]) -> DisputeColumns:
    """What the columns of a file are, those in ``wanted`` as they are named there (role → column).

    In a file that lists payments, with columns of its own for disputes, no other column tells of the dispute: a
    payment's status and the day it was created say nothing about it.

    Raises:
        InvalidInput: a wanted column is missing, or there is none for the id.
    """
    for name in filter(None, wanted.values()):
        if name not in there:
            raise InvalidInput(f"{path} has no column {name!r}; it has {', '.join(there)}.")
    by_plain = {plain(name): name for name in reversed(there)}
    by_plain = dict(reversed(by_plain.items()))

    def first(names: Iterable[str], role: str = "") -> str:
        told = wanted.get(role, "")
        return told or next((by_plain[plain(name)] for name in names if plain(name) in by_plain), "")

    named = wanted.get("transaction_id")
    ids = (
        (named,)
        if named
        else tuple(dict.fromkeys(by_plain[plain(name)] for name in ID_NAMES if plain(name) in by_plain))
    )
    if not ids:
        raise InvalidInput(
            f"{path}: none of the columns {', '.join(there)} looks like the id of the transaction. "
            "Name it with --id-column."
        )

    def like(pattern: re.Pattern[str]) -> str:
        return next((by_plain[key] for key in by_plain if pattern.search(key) and not _NO_REPORT.search(key)), "")

    record = first(RECORD_NAMES, "record")
    date = first(DISPUTE_DATES, "date") or like(_REPORT_OF_DISPUTE)
    state, reason = first(DISPUTE_STATES, "state"), first(REASON_NAMES, "reason")
    about_disputes = any(_OF_DISPUTES.search(name) for name in (date, state, reason) if name)
    is_list = record or not lists_payments(there) or _CASE_NAMES & set(by_plain) or (reason and not about_disputes)
    if is_list:
        named = first(FURTHER_DATES)
        date = date or named or next((by_plain[key] for key in by_plain if _REPORT.fullmatch(key)), "")
        state = state or first(FURTHER_STATES)
    ended = next((by_plain[key] for key in by_plain if _END.fullmatch(key)), "")
    closed, amount = first(CLOSED_NAMES) or ended, first(AMOUNT_NAMES)
    told = tuple(filter(None, (date, state, reason, record, amount)))
    return DisputeColumns(
        ids=ids,
        date=date,
        reason=reason,
        state=state,
        record=record,
        kind="" if record else first(KIND_NAMES),
        zone=first(ZONE_NAMES, "zone"),
        closed=closed,
        amount=amount,
        zones={name: zone for name in (date, closed) if name and (zone := zone_in(name))},
        of_disputes=tuple(
            name for name in told if name == record or name in wanted.values() or _OF_DISPUTES.search(name)
        ),
    )
