"""Redelivery: rows that were turned away for what time mends come in when their delivery comes again."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import polars as pl

from fraud_pipelines.plan.types import COMPUTED
from fraud_pipelines.settings import MAX_AGE_YEARS
from fraud_pipelines.storage.connection import Connection, insert, registered, select
from fraud_pipelines.transactions.cleaning import IN_THE_FUTURE
from fraud_pipelines.transactions.currency import Money
from fraud_pipelines.transactions.json_lines import JsonLinesFile
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.repeats import repeat_reasons
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.tokenising import PayloadGuard
from fraud_pipelines.transactions.validation import validate_transactions

QUARANTINE: Final = "raw.rejected_transactions"
TIMESTAMP_IN_THE_FUTURE: Final = f"timestamp {IN_THE_FUTURE}"
_PLACE: Final = ("source", "row_number", "rejected_at", "payload")
"""What tells a row of the quarantine from all others."""
TAKEN_BACK: Final = "repeats a delivery that was taken back"
"""Why a row still is in the quarantine whose first delivery isn't there any more: it comes in when it comes again."""


@dataclass(frozen=True)
class TurnedAway:
    """Rows of an earlier delivery that lie in the quarantine for a reason that may have passed since.

    Attributes:
        table: the quarantine.
        source: the name of the earlier delivery.
        rejected_at: when it was taken in; together they tell its rows from those of others.
        rows: ``row_number`` and ``payload`` of each.
    """

    table: str
    source: str
    rejected_at: datetime
    rows: pl.DataFrame

    @classmethod
    def from_quarantine(
        cls,
        connection: Connection,
        table: str,
        *,
        source: str,
        rejected_at: datetime,
        passing: Collection[str],
    ) -> Self | None:
        """What ``table`` holds of the delivery for one of the ``passing`` reasons; None if that is nothing."""
        rows = select(
            connection,
            f"""
            SELECT row_number, payload FROM {table}
            WHERE source = $source AND rejected_at = $rejected_at AND list_contains($passing, reason)
            """,
            {"source": source, "rejected_at": rejected_at, "passing": list(passing)},
        )
        return cls(table, source, rejected_at, rows) if rows.height else None

    def take(self, connection: Connection, chunk: RecordChunk, *, guard: PayloadGuard | None = None) -> RecordChunk:
        """Those of the rows that ``chunk`` holds, which leave the quarantine; ``guard`` kept of each what is there."""
        positions = chunk.row_number.is_in(self.rows["row_number"].implode()).arg_true()
        payloads = chunk.payloads(positions)
        candidates = pl.DataFrame(
            [
                positions.alias("position"),
                chunk.row_number.gather(positions),
                guard.of(payloads) if guard else payloads,
            ]
        )
        taken = candidates.join(self.rows, on=["row_number", "payload"], how="semi", maintain_order="left")
        with registered(connection, _taken=taken):
            connection.delete(
                self.table,
                "source = $source AND rejected_at = $rejected_at "
                "AND (row_number, payload) IN (SELECT (row_number, payload) FROM _taken)",
                {"source": self.source, "rejected_at": self.rejected_at},
            )
        return chunk.only(taken["position"])

    def put_back(self, connection: Connection, rejected: pl.DataFrame) -> None:
        """Rows that still have to wait go back into the quarantine as rows of the earlier delivery."""
        if rejected.height:
            stamped = rejected.with_columns(source=pl.lit(self.source), rejected_at=pl.lit(self.rejected_at, TIMESTAMP))
            insert(connection, self.table, stamped)


def repeats_of_stored(connection: Connection, rows: pl.DataFrame) -> pl.Series:
    """Why each transaction can't be stored beside those that are, null where it can."""
    with registered(connection, _arrived=rows.select("transaction_id")):
        known = "FROM raw.transactions WHERE transaction_id IN (SELECT transaction_id FROM _arrived)"
        columns = ", ".join(f'"{name}"' for name in rows.columns)
        # To look for the ids alone is cheap, and mostly none is there.
        if select(connection, f"SELECT transaction_id {known} LIMIT 1").is_empty():
            stored = rows.head(0)
        else:
            stored = select(connection, f"SELECT {columns} {known}").cast(rows.schema)
    content = [name for name in rows.columns if name not in {"transaction_id", *COMPUTED}]
    return repeat_reasons(rows, stored, key=["transaction_id"], content=content, noun="transaction")


def rejects_are_open(connection: Connection) -> bool:
    """Whether the quarantine holds transactions that the clock alone had turned away."""
    query = f"SELECT 1 FROM {QUARANTINE} WHERE reason = ? LIMIT 1"
    return not select(connection, query, [TIMESTAMP_IN_THE_FUTURE]).is_empty()


def close_rejects(
    connection: Connection,
    arrived: pl.Series,
    mapping: ColumnMapping,
    *,
    latest: datetime,
    money: Money | None = None,
    max_age_years: int = MAX_AGE_YEARS,
) -> None:
    """Let rows that the clock had turned away say that they repeat a transaction, where they do by now.

    A broker delivers again under another offset, a processor in another file: their rows are new ones.

    Args:
        arrived: ids of transactions that were stored just now.
        mapping: how they were read; the rows in the quarantine are read by it too, from their payload.
        latest: a later timestamp is in the future.
        money: the base currency and the rates, for a mapping with currencies.
        max_age_years: how old a transaction may be.
    """
    found = _open_rejects(connection, arrived, mapping)
    if found.is_empty():
        return
    lines = "\n".join(found["payload"]).encode()
    for chunk in JsonLinesFile([lines], mapping.source_columns).chunks():
        rows = validate_transactions(
            chunk, mapping, latest=latest, source=QUARANTINE, money=money, max_age_years=max_age_years
        )
        places = found[chunk.row_number.gather(rows.positions) - 1]
        closed = places.with_columns(repeats_of_stored(connection, rows.accepted)).drop_nulls("reason")
        with registered(connection, _closed=closed.unique(_PLACE)):
            same = " AND ".join(f"stored.{name} = _closed.{name}" for name in _PLACE)
            connection.update(
                QUARANTINE,
                "reason = _closed.reason",
                f"{same} AND stored.reason = ?",
                [TIMESTAMP_IN_THE_FUTURE],
                using="_closed",
            )


def _open_rejects(connection: Connection, arrived: pl.Series, mapping: ColumnMapping) -> pl.DataFrame:
    """`_PLACE` of the rows that the clock had turned away, and that may be among those that arrived.

    Of an id that no single column holds, these are all.
    """
    query = f"SELECT {', '.join(_PLACE)} FROM {QUARANTINE} WHERE reason = $reason AND json_valid(payload)"
    column = mapping.wanted_columns.get("transaction_id")
    if column is None:
        return select(connection, query, {"reason": TIMESTAMP_IN_THE_FUTURE})
    pointer = "/" + column.replace("~", "~0").replace("/", "~1")
    with registered(connection, _arrived=arrived.to_frame()):
        return select(
            connection,
            f"{query} AND trim(TRY(json_extract_string(payload, $pointer))) IN (SELECT * FROM _arrived)",
            {"reason": TIMESTAMP_IN_THE_FUTURE, "pointer": pointer},
        )
