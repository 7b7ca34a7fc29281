"""A review's verdict: the one door by which a person says that a transaction was fraud, or wasn't."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import CLOCK_SKEW
from fraud_pipelines.storage.connection import Connection, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.late_days import mark_late
from fraud_pipelines.transactions.schema import LABEL_SOURCES
from fraud_pipelines.transactions.timestamps import as_utc
from fraud_pipelines.transactions.verdicts import CONFLICT, NAMED_BY, VERDICT_COLUMNS, store_labels

Outcome = Literal["recorded", "corrected", "repeated", "outdated"]

Naming = Literal["login", "typed"]
"""Where a reviewer's name comes from: the login of the proxy before the page, or the reviewer typed it."""

MAX_REVIEWER_CHARACTERS: Final = 100
MAX_COMMENT_CHARACTERS: Final = 1000


@dataclass(frozen=True)
class Verdict:
    """What became of a verdict.

    Attributes:
        outcome: ``recorded`` as the first of its source, or ``corrected`` an earlier one of it; ``repeated`` what
            was stored already, or ``outdated``, since somebody gave a verdict meanwhile: then nothing was stored.
        known_at: of the verdict that is in force now, naive UTC.
        late_days: processed days that it makes stale.
    """

    transaction_id: str
    actual_fraud: bool
    source: str
    outcome: Outcome
    known_at: datetime
    late_days: tuple[date, ...] = ()


def record_verdict(
    warehouse: Warehouse,
    transaction_id: str,
    *,
    actual_fraud: bool,
    now: datetime,
    skew: timedelta = CLOCK_SKEW,
    source: str = "review",
    known_at: datetime | None = None,
    reviewer: str | None = None,
    named_by: Naming | None = None,
    comment: str | None = None,
    seen: int | None = None,
) -> Verdict:
    """Store one verdict in one DuckDB transaction, or nothing of it.

    To give the same verdict twice is harmless. Another verdict of the same source corrects the earlier one from
    ``known_at`` on, and leaves what was known before.

    Args:
        warehouse: an initialised one.
        transaction_id: of a stored transaction.
        actual_fraud: the verdict.
        now: the time of ingestion; naive UTC, or with a zone.
        skew: how far ``now``, ``known_at`` and the time of the transaction may be apart, since no clocks are in step.
        source: ``review`` or ``chargeback``.
        known_at: when it became known, by default now; the transaction's time, where that is a little later.
        reviewer: who gave it.
        named_by: where that name comes from, where it is known.
        comment: what was noted; line breaks become spaces.
        seen: how many verdicts on the transaction its giver knew of. Where there are others by now, and they say
            something else, the verdict is ``outdated``.

    Raises:
        InvalidInput: the transaction is unknown or happened later, a text is too long, or the source said something
            else at the same time or later.
        WarehouseBusy: another process holds the file.
    """
    now = as_utc(now)
    label = _label(transaction_id, source, reviewer, named_by, comment, actual_fraud=actual_fraud)
    with warehouse.transaction() as connection:
        return _record(connection, label, now=now, skew=skew, known_at=known_at, seen=seen)


def record_verdicts(
    connection: Connection,
    transaction_ids: Sequence[str],
    *,
    actual_fraud: bool,
    now: datetime,
    skew: timedelta = CLOCK_SKEW,
    reviewer: str,
    named_by: Naming | None = None,
    comment: str | None = None,
) -> list[Verdict]:
    """Record one review's verdict on several transactions, as `record_verdict` does, in an open DuckDB transaction.

    Raises:
        InvalidInput: as of one; the caller rolls all of it back.
    """
    labels = [
        _label(each, "review", reviewer, named_by, comment, actual_fraud=actual_fraud) for each in transaction_ids
    ]
    return [_record(connection, label, now=as_utc(now), skew=skew) for label in labels]


def _label(
    transaction_id: str,
    source: str,
    reviewer: str | None,
    named_by: Naming | None,
    comment: str | None,
    *,
    actual_fraud: bool,
) -> dict[str, Any]:
    if source not in LABEL_SOURCES:
        raise InvalidInput(f"the source {source!r} is none of {', '.join(LABEL_SOURCES)}")
    return {
        "transaction_id": transaction_id,
        "actual_fraud": actual_fraud,
        "source": source,
        "reviewer": _text("reviewer", reviewer, MAX_REVIEWER_CHARACTERS),
        "comment": _text("comment", comment, MAX_COMMENT_CHARACTERS),
        NAMED_BY: named_by if reviewer else None,
    }


def _record(
    connection: Connection,
    label: Mapping[str, Any],
    *,
    now: datetime,
    skew: timedelta,
    known_at: datetime | None = None,
    seen: int | None = None,
) -> Verdict:
    transaction_id, source, actual_fraud = label["transaction_id"], label["source"], label["actual_fraud"]
    happened = _happened(connection, transaction_id)
    earlier = _verdicts(connection, transaction_id)
    latest = earlier.filter(pl.col("source") == source).tail(1)
    if known_at:
        known_at = max(_checked(transaction_id, as_utc(known_at), happened, now, skew), happened)
    else:
        known_at = _later_than(latest["known_at"], max(now, happened), skew)
    if seen is not None and earlier.height != seen and latest["actual_fraud"].to_list() != [actual_fraud]:
        last = earlier.row(-1, named=True) if earlier.height else {"known_at": known_at}
        return Verdict(transaction_id, actual_fraud, source, "outdated", last["known_at"])
    stored = pl.DataFrame([{**label, "known_at": known_at}], schema={**VERDICT_COLUMNS, NAMED_BY: pl.String()})
    reason = store_labels(connection, stored, now=now).item()
    if reason == CONFLICT:
        raise InvalidInput(
            f"{transaction_id} has another {source} verdict, known at {latest['known_at'].item()}: a correction "
            "must be known later than what it corrects. Leave known_at out, or give a later one."
        )
    if reason:
        return Verdict(transaction_id, actual_fraud, source, "repeated", latest["known_at"].item())
    days = mark_late(connection, {known_at.date(): 1}, noun="label", source=f"a {source}", now=now)
    outcome: Outcome = "corrected" if latest.height else "recorded"
    return Verdict(transaction_id, actual_fraud, source, outcome, known_at, days)


def _verdicts(connection: Connection, transaction_id: str) -> pl.DataFrame:
    return select(
        connection,
        "SELECT source, actual_fraud, known_at FROM feedback.label_history WHERE transaction_id = ? ORDER BY known_at",
        [transaction_id],
    )


def _happened(connection: Connection, transaction_id: str) -> datetime:
    found = select(connection, 'SELECT "timestamp" FROM raw.transactions WHERE transaction_id = ?', [transaction_id])
    if found.is_empty():
        raise InvalidInput(
            f"No transaction is stored under the id {transaction_id!r}. Check the id, or import the transaction first."
        )
    happened: datetime = found["timestamp"][0]
    return happened


def _checked(transaction_id: str, known_at: datetime, happened: datetime, now: datetime, skew: timedelta) -> datetime:
    if known_at + skew < happened:
        raise InvalidInput(
            f"{transaction_id} happened at {happened} UTC: its label can't have been known before, at {known_at}."
        )
    if known_at > now + skew:
        raise InvalidInput(f"known_at {known_at} lies in the future; it is {now:%Y-%m-%d %H:%M} UTC.")
    return known_at


def _later_than(given: pl.Series, known_at: datetime, skew: timedelta) -> datetime:
    """``known_at``, or just after the verdict ``given`` before, which a clock that is ahead may have dated later."""
    if given.is_empty() or not known_at <= given.item() <= known_at + skew:
        return known_at
    last: datetime = given.item()
    return last + timedelta(microseconds=1)


def _text(name: str, value: str | None, longest: int) -> str | None:
    text = " ".join((value or "").split())
    if not text.isprintable():
        raise InvalidInput(f"the {name} has control characters; write plain text")
    if len(text) > longest:
        raise InvalidInput(f"the {name} has {len(text):,} characters; write at most {longest:,}")
    return text or None
