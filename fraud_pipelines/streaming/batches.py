"""Micro-batches: what a file or a broker delivers, and how it is taken into the warehouse within a transaction."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import duckdb
import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.warehouse import insert, select
from fraud_pipelines.streaming.files import WaitingFile
from fraud_pipelines.transactions.landing import TransactionIntake, open_transactions
from fraud_pipelines.transactions.landing_zone import nearest_mapping, printable_name
from fraud_pipelines.transactions.late_days import mark_late
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.schema import TIMESTAMP, TRANSACTION_COLUMNS
from fraud_pipelines.transactions.sources import content_hash


class Batch(Protocol):
    """Transactions that are delivered together, and count once."""

    @property
    def batch_id(self) -> str:
        """Names the content: the same delivery has the same id, under whatever name it comes.

        Raises:
            InvalidInput: the content can't be read.
        """

    @property
    def source(self) -> str:
        """The name that the rows are stored under."""

    @property
    def mapping(self) -> ColumnMapping:
        """How its columns become ours."""

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows, in order.

        Raises:
            InvalidInput: they can't be read.
        """

    def finish(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Called in the transaction that stores the rows, and for a batch that was stored before."""


class UnreadableBatch(InvalidInput):
    """A batch that can't be read as a whole; nothing of it, or of what was committed with it, was stored."""

    def __init__(self, batch: Batch, reason: InvalidInput) -> None:
        super().__init__(str(reason))
        self.batch = batch


@dataclass(frozen=True)
class FileBatch:
    """A file of the landing zone, below ``folder``."""

    file: WaitingFile
    folder: Path
    mapping: ColumnMapping

    @classmethod
    def of(cls, file: WaitingFile, folder: Path, mappings: dict[Path | None, ColumnMapping]) -> "FileBatch":
        """The file read by its nearest ``mapping.yaml``; ``mappings`` holds those that were loaded before.

        Raises:
            InvalidInput: the mapping can't be used.
        """
        found = nearest_mapping(file.path, folder)
        if found not in mappings:
            mappings[found] = ColumnMapping.load(found) if found else ColumnMapping.identity()
        return cls(file, folder, mappings[found])

    @property
    def batch_id(self) -> str:
        return content_hash(self.file.path)

    @property
    def source(self) -> str:
        return printable_name(f"stream/{self.file.name}")

    def chunks(self) -> Iterator[RecordChunk]:
        yield from open_transactions(self.file.path, self.mapping).chunks()
        if self.file.has_changed():
            raise InvalidInput(f"{self.file.path} changed while it was read")

    def finish(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Nothing: the id of the batch says that it was processed."""


@dataclass(frozen=True)
class FrameBatch:
    """Transactions that are in memory already, under an id of the caller's: the same id counts once."""

    batch_id: str
    source: str
    rows: pl.DataFrame
    mapping: ColumnMapping = field(default_factory=ColumnMapping.identity)

    def chunks(self) -> Iterator[RecordChunk]:
        yield RecordChunk.of(self.rows)

    def finish(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Nothing: the id of the batch says that it was processed."""


@dataclass(frozen=True)
class BatchReport:
    """What became of one batch: ``accepted`` + ``rejected`` = ``transactions``, those read.

    Attributes:
        days: UTC days of the accepted rows, sorted.
        repeated: the batch had been processed before, and nothing was read.
    """

    batch_id: str
    source: str
    transactions: int = 0
    accepted: int = 0
    rejected: int = 0
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    days: tuple[date, ...] = ()
    repeated: bool = False


@dataclass(frozen=True)
class LandedBatch:
    """A batch whose rows are in the open transaction: ``rows`` were accepted, with `TRANSACTION_COLUMNS`."""

    report: BatchReport
    rows: pl.DataFrame


def land_batch(
    connection: duckdb.DuckDBPyConnection, batch: Batch, *, first_position: int, now: datetime
) -> LandedBatch:
    """Validate the rows of ``batch``, store the sound and new ones, and quarantine the others.

    Args:
        first_position: how many transactions the stream had taken in before.

    Raises:
        UnreadableBatch: it can't be read as a whole.
    """
    try:
        batch_id = batch.batch_id
    except (InvalidInput, FileNotFoundError) as error:
        raise UnreadableBatch(batch, _as_invalid(error)) from error
    if _processed(connection, batch_id):
        return LandedBatch(BatchReport(batch_id, batch.source, repeated=True), _no_rows())
    intake = TransactionIntake(batch.mapping, batch.source, now)
    accepted: list[pl.DataFrame] = []
    reasons: Counter[str] = Counter()
    chunks = batch.chunks()
    read = 0
    while True:
        try:
            chunk = next(chunks, None)
        except (InvalidInput, FileNotFoundError) as error:
            raise UnreadableBatch(batch, _as_invalid(error)) from error
        if chunk is None:
            break
        landed = intake.land(connection, chunk)
        read += chunk.rows_read
        accepted.append(landed.accepted.select(TRANSACTION_COLUMNS.keys()))
        reasons.update(landed.rejected["reason"].str.split(":").list.first().to_list())
        if landed.rejected.height:
            stamped = landed.rejected.with_columns(rejected_at=pl.lit(now, TIMESTAMP))
            insert(connection, intake.rejected_table, stamped)
    if batch.mapping.label:
        intake.finish(connection, {})
    rows = pl.concat(accepted) if accepted else _no_rows()
    report = BatchReport(
        batch_id,
        batch.source,
        transactions=read,
        accepted=rows.height,
        rejected=reasons.total(),
        rejected_by_reason=dict(reasons.most_common()),
        days=tuple(rows["timestamp"].dt.date().unique().sort()),
    )
    processed = {
        "batch_id": batch_id,
        "source": batch.source,
        "transactions": read,
        "accepted": rows.height,
        "rejected": reasons.total(),
        "first_position": first_position,
        "processed_at": now,
    }
    insert(connection, "streaming.processed_batches", pl.DataFrame([processed]))
    return LandedBatch(report, rows)


def mark_late_days(
    connection: duckdb.DuckDBPyConnection, landed: list[LandedBatch], *, now: datetime
) -> tuple[date, ...]:
    """Mark the processed days that the accepted rows belong to; returns them, sorted."""
    rows: Counter[date] = Counter()
    for batch in landed:
        rows.update(dict(batch.rows["timestamp"].dt.date().value_counts().iter_rows()))
    if not rows:
        return ()
    return mark_late(connection, rows, noun="transaction", source="the stream", now=now, begins_days=True)


def _processed(connection: duckdb.DuckDBPyConnection, batch_id: str) -> bool:
    query = "SELECT 1 FROM streaming.processed_batches WHERE batch_id = ?"
    return not select(connection, query, [batch_id]).is_empty()


def _no_rows() -> pl.DataFrame:
    return pl.DataFrame(schema=TRANSACTION_COLUMNS)


def _as_invalid(error: InvalidInput | FileNotFoundError) -> InvalidInput:
    return error if isinstance(error, InvalidInput) else InvalidInput(f"{error.filename} is gone")
