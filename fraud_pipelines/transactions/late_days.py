"""Late days: those that had been processed before all of their rows arrived, and wait for a rerun."""

from collections.abc import Mapping
from datetime import date, datetime

import duckdb
import polars as pl

from fraud_pipelines.storage.warehouse import insert, select
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.timestamps import as_utc


def mark_late(
    connection: duckdb.DuckDBPyConnection, rows_by_day: Mapping[date, int], *, noun: str, source: str, now: datetime
) -> tuple[date, ...]:
    """Mark in ``raw.stale_days`` the days that features had been computed for; returns them, sorted.

    Args:
        connection: in the transaction that stores the rows.
        rows_by_day: how many rows were stored for each day.
        noun: what a row is, such as ``label``.
        source: where they came from.
        now: the time of the mark.
    """
    late = [day for day in _days_with_features(connection) if rows_by_day.get(day)]
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


def _days_with_features(connection: duckdb.DuckDBPyConnection) -> list[date]:
    exists = "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'features' AND table_name = 'transaction_features'"
    if select(connection, exists).is_empty():
        return []
    query = "SELECT DISTINCT event_date FROM features.transaction_features ORDER BY event_date"
    return select(connection, query)["event_date"].to_list()


def _arrived_late(rows: int, noun: str, source: str) -> str:
    return f"{rows} {noun}{'s' if rows != 1 else ''} arrived late from {source}"
