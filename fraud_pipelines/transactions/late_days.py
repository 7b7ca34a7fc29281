"""Late days: their rows arrived after they, or later days, had been processed. They wait for a rerun."""

from collections.abc import Mapping
from datetime import date, datetime

import polars as pl

from fraud_pipelines.plan.types import WITH_REFUNDS
from fraud_pipelines.storage.connection import Connection, insert, select, table_exists
from fraud_pipelines.transactions.kinds import payments_of, refunds_in
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.timestamps import as_utc


def mark_late(
    connection: Connection,
    rows_by_day: Mapping[date, int],
    *,
    noun: str,
    source: str,
    now: datetime,
    begins_days: bool = False,
) -> tuple[date, ...]:
    """Mark in ``raw.stale_days`` the days that features had been computed for; returns them, sorted.

    Args:
        connection: in the transaction that stores the rows.
        rows_by_day: how many rows were stored for each day.
        noun: what a row is, such as ``label``.
        source: where they came from.
        now: the time of the mark.
        begins_days: the rows may be the first of their day, as transactions are. Such a day is late where
            features have been computed for a day after it.
    """
    if not rows_by_day:
        return ()
    processed = _days_with_features(connection, since=min(rows_by_day))
    late = [
        day
        for day in sorted(rows_by_day)
        if rows_by_day[day] and (day in processed or (begins_days and day < max(processed, default=day)))
    ]
    if not late:
        return ()
    marks = pl.DataFrame(
        {
            "event_date": late,
            "reason": [_arrived_late(rows_by_day[day], noun, source) for day in late],
            "marked_at": [as_utc(now)] * len(late),
        },
        schema={"event_date": pl.Date, "reason": pl.String, "marked_at": TIMESTAMP},
    )
    insert(connection, "raw.stale_days", marks)
    return tuple(late)


def days_outdated(connection: Connection, rows: pl.DataFrame) -> dict[date, int]:
    """For which days ``rows``, which have only just been stored, may have come too late, and how many they are.

    A payment counts on its own day. A refund counts where a fold sees refunds, and on the first day with features
    that it is folded with; else it changes nothing.
    """
    refunds = refunds_in(rows)
    days = payments_of(rows)["timestamp"].dt.date()
    found = dict(days.value_counts().iter_rows())
    if refunds is None or not _refunds_are_folded(connection):
        return found
    days_of_refunds = rows.filter(refunds)["timestamp"].dt.date()
    first = days_of_refunds.min()
    assert isinstance(first, date)
    processed = sorted(_days_with_features(connection, since=first))
    for day, count in days_of_refunds.value_counts().iter_rows():
        with_it = next((each for each in processed if each >= day), None)
        if with_it:
            found[with_it] = found.get(with_it, 0) + count
    return found


def _refunds_are_folded(connection: Connection) -> bool:
    ending = f"{WITH_REFUNDS}_history"
    return any(table.startswith("features.") and table.endswith(ending) for table in connection.tables())


def _days_with_features(connection: Connection, *, since: date) -> set[date]:
    """The days with features, from ``since`` on."""
    if not table_exists(connection, "features.transaction_features"):
        return set()
    query = "SELECT DISTINCT event_date FROM features.transaction_features WHERE event_date >= ?"
    return set(select(connection, query, [since])["event_date"])


def _arrived_late(rows: int, noun: str, source: str) -> str:
    return f"{rows} {noun}{'s' if rows != 1 else ''} arrived late from {source}"
