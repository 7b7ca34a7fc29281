"""Micro-batches: what a file or a broker delivers, and how it is taken into the warehouse within a transaction."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from fraud_pipelines.errors import InaccessibleFile, InvalidInput
from fraud_pipelines.plan.plan import column_types
from fraud_pipelines.plan.types import KIND, REFUND, Attribute
from fraud_pipelines.settings import MAX_AGE_YEARS
from fraud_pipelines.storage.connection import Connection, insert, select
from fraud_pipelines.transactions.intake import land_rows, turned_away
from fraud_pipelines.transactions.kinds import refunds_in
from fraud_pipelines.transactions.landing import TransactionIntake, open_transactions
from fraud_pipelines.transactions.landing_zone import nearest_mapping
from fraud_pipelines.transactions.late_days import days_outdated, mark_late
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.sources import content_hash
from fraud_pipelines.transactions.waiting import WaitingFile, printable_name

_DELIVERY: Final = " delivery "
"""Between the id of a batch and the number of a later delivery, of which only rows that had waited were read."""


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

    def finish(self, connection: Connection) -> None:
        """Called in the transaction that stores the rows, and for a batch that was stored before."""


class UnreadableBatch(InvalidInput):
    """A batch that can't be read as a whole; nothing of it, or of what was committed with it, was stored."""

    def __init__(self, batch: Batch, reason: InvalidInput) -> None:
        super().__init__(str(reason))
        self.batch = batch
        self.reason = reason


@dataclass(frozen=True)
class FileBatch:
    """A file of the landing zone, below ``folder``."""

    file: WaitingFile
    folder: Path
    mapping: ColumnMapping

    @classmethod
    def of(
        cls,
        file: WaitingFile,
        folder: Path,
        mappings: dict[Path | None, ColumnMapping],
        attributes: Sequence[Attribute],
    ) -> "FileBatch":
        """The file read by its nearest ``mapping.yaml``; ``mappings`` holds those that were loaded before.

        Raises:
            InvalidInput: the mapping can't be used.
        """
        path = nearest_mapping(file.path, folder)
        if path not in mappings:
            mappings[path] = ColumnMapping.load(path, attributes) if path else ColumnMapping.identity(attributes)
        return cls(file, folder, mappings[path])

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

    def finish(self, connection: Connection) -> None:
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

    def finish(self, connection: Connection) -> None:
        """Nothing: the id of the batch says that it was processed."""


@dataclass(frozen=True)
class BatchReport:
    """What became of one batch: ``accepted`` + ``rejected`` + ``left_out`` = ``transactions``, those read.

    Attributes:
        refunds: how many of the accepted are refunds, which are not decided.
        left_out: rows that the mapping leaves out.
        days: UTC days of the accepted rows, sorted.
        repeated: the batch had been processed before, and nothing was read.
        batch_id: that of the batch; of a later delivery, that and which it is.
    """

    batch_id: str
    source: str
    transactions: int = 0
    accepted: int = 0
    rejected: int = 0
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    refunds: int = 0
    left_out: int = 0
    days: tuple[date, ...] = ()
    repeated: bool = False

    @property
    def decided(self) -> int:
        """How many transactions were decided."""
        return self.accepted - self.refunds


@dataclass(frozen=True)
class LandedBatch:
    """A batch whose rows are in the open transaction.

    Attributes:
        rows: those that were accepted, with the declared columns.
        first_position: how many transactions the stream had decided before.
    """

    report: BatchReport
    rows: pl.DataFrame
    first_position: int = 0


def land_batch(
    connection: Connection,
    batch: Batch,
    *,
    attributes: Sequence[Attribute],
    first_position: int,
    now: datetime,
    skew: timedelta,
    max_age_years: int = MAX_AGE_YEARS,
) -> LandedBatch:
    """Validate the rows of ``batch``, store the sound and new ones, and quarantine the others.

    Of a batch that was processed before, only rows are read that the clock had turned away.

    Args:
        attributes: the columns of a transaction.
        first_position: how many transactions the stream had taken in before.
        now: the time of processing, naive UTC.
        skew: how much later a timestamp may be.
        max_age_years: how old a transaction may be.

    Raises:
        UnreadableBatch: it can't be read as a whole.
    """
    try:
        batch_id = batch.batch_id
    except (InvalidInput, OSError) as error:
        raise UnreadableBatch(batch, _as_invalid(error)) from error
    types = column_types(attributes)
    no_rows = pl.DataFrame(schema=types)
    intake = TransactionIntake(batch.mapping.declared_by(attributes), batch.source, now, skew, max_age_years)
    intake.begin(connection)
    earlier = _processed(connection, batch_id)
    again = earlier and turned_away(connection, intake, *earlier)
    if earlier and not again:
        return LandedBatch(BatchReport(batch_id, batch.source, repeated=True), no_rows)
    accepted: list[pl.DataFrame] = []
    reasons: Counter[str] = Counter()
    read = left_out = 0
    try:
        for landed in land_rows(connection, intake, batch.chunks(), again=again):
            read += landed.rows_read
            left_out += landed.left_out.height
            accepted.append(landed.accepted.select(list(types)))
            reasons.update(landed.rejected["reason"].str.split(":").list.first().to_list())
    except (InvalidInput, OSError) as error:
        raise UnreadableBatch(batch, _as_invalid(error)) from error
    if again and not read:
        return LandedBatch(BatchReport(batch_id, batch.source, repeated=True), no_rows)
    if batch.mapping.label:
        intake.finish(connection, {})
    if again:
        batch_id = _count_apart(connection, batch_id, read)
    rows = pl.concat(accepted) if accepted else no_rows
    are_refunds = refunds_in(rows)
    refunds = 0 if are_refunds is None else int(are_refunds.sum())
    report = BatchReport(
        batch_id,
        batch.source,
        transactions=read,
        accepted=rows.height,
        rejected=reasons.total(),
        rejected_by_reason=dict(reasons.most_common()),
        refunds=refunds,
        left_out=left_out,
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
        "refunds": refunds,
        "left_out": left_out,
    }
    insert(connection, "streaming.processed_batches", pl.DataFrame([processed]))
    return LandedBatch(report, rows, first_position)


def store_refunds(connection: Connection, landed: Iterable[LandedBatch]) -> None:
    """Keep which of the rows are refunds, and where they stand in the stream: nothing else of it tells."""
    for batch in landed:
        if batch.report.refunds:
            refunds = batch.rows.filter(pl.col(KIND) == REFUND).select(
                pl.lit(batch.report.batch_id).alias("batch_id"),
                "transaction_id",
                pl.col("timestamp").dt.date().alias("event_date"),
                pl.lit(batch.first_position, dtype=pl.Int64).alias("position"),
            )
            insert(connection, "streaming.refunds", refunds)


def mark_late_days(connection: Connection, landed: list[LandedBatch], *, now: datetime) -> tuple[date, ...]:
    """Mark the processed days that the accepted rows belong to; returns them, sorted."""
    rows: Counter[date] = Counter()
    for batch in landed:
        rows.update(days_outdated(connection, batch.rows))
    if not rows:
        return ()
    return mark_late(connection, rows, noun="transaction", source="the stream", now=now, begins_days=True)


def _processed(connection: Connection, batch_id: str) -> tuple[str, datetime] | None:
    """Under which name and when the batch was processed before."""
    query = "SELECT source, processed_at FROM streaming.processed_batches WHERE batch_id = ?"
    rows = select(connection, query, [batch_id]).rows()
    return rows[0] if rows else None


def _count_apart(connection: Connection, batch_id: str, rows: int) -> str:
    """Let ``rows`` of a batch count with this delivery and no longer with its first; returns the id of this one.

    The stream's place in time is a count of transactions, so what comes later can't count with the first delivery.
    """
    connection.update(
        "streaming.processed_batches",
        "transactions = transactions - $rows, rejected = rejected - $rows",
        "batch_id = $batch_id",
        {"rows": rows, "batch_id": batch_id},
    )
    query = (
        "SELECT count(*) FROM streaming.processed_batches WHERE batch_id = $id OR starts_with(batch_id, $id || $mark)"
    )
    deliveries = select(connection, query, {"id": batch_id, "mark": _DELIVERY}).item()
    return f"{batch_id}{_DELIVERY}{deliveries + 1}"


def _as_invalid(error: InvalidInput | OSError) -> InvalidInput:
    return error if isinstance(error, InvalidInput) else InaccessibleFile(str(error))
