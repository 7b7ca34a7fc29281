"""Intake: one file goes into the warehouse whole, in one DuckDB transaction, or not at all."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import duckdb
import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.warehouse import Warehouse, insert, select
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.sources import RecordSource, content_hash
from fraud_pipelines.transactions.timestamps import as_utc


@dataclass(frozen=True)
class LandingReport:
    """What became of one file: accepted + rejected = read.

    Attributes:
        source: the name that its rows are stored under.
        rows_read: rows of the file, the unreadable included.
        rows_accepted: rows stored.
        rows_duplicate: rows that repeat a stored one; they are among the rejected.
        rows_rejected: rows in the quarantine.
        rejected_by_reason: how many, by what the reason says before its colon.
        days: UTC days of the accepted rows, sorted.
        late_days: days of rows and of labels that had been processed already, and are stale now.
        already_landed: the same content was taken in before, so nothing was read.
    """

    source: str
    rows_read: int = 0
    rows_accepted: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    days: tuple[date, ...] = ()
    late_days: tuple[date, ...] = ()
    already_landed: bool = False


@dataclass(frozen=True)
class LandedChunk:
    """``days``: the day of each row that was stored. ``rejected``: the others, as ``REJECTED_COLUMNS``.

    ``accepted``: the rows that were stored, as they were, where the intake tells.
    """

    days: pl.Series
    rejected: pl.DataFrame
    accepted: pl.DataFrame = field(default_factory=pl.DataFrame)


class RecordIntake(Protocol):
    """What is done with the records of one kind of file.

    Attributes:
        kind: names the kind in ``raw.landed_files``.
        rejected_table: the quarantine.
        mapping_hash: tells apart deliveries of the same file that are read in different ways.
        source: the name that the rows of the file are stored under.
    """

    @property
    def kind(self) -> str: ...
    @property
    def rejected_table(self) -> str: ...
    @property
    def mapping_hash(self) -> str: ...
    @property
    def source(self) -> str: ...

    def open(self, path: Path) -> RecordSource:
        """Open the file, and make sure it has the columns needed."""

    def land(self, connection: duckdb.DuckDBPyConnection, chunk: RecordChunk) -> LandedChunk:
        """Store what can be."""

    def finish(self, connection: duckdb.DuckDBPyConnection, rows_by_day: Mapping[date, int]) -> tuple[date, ...]:
        """Called after the last chunk; returns the days that were processed already."""


def land_file(warehouse: Warehouse, path: Path, intake: RecordIntake, *, now: datetime) -> LandingReport:
    """Take in the file at ``path``; a file whose content was taken in before is skipped.

    Raises:
        InvalidInput: the file can't be read as a whole; the warehouse is as it was.
    """
    before = _state(path)
    digest = content_hash(path)
    records = intake.open(path)
    with warehouse.transaction() as connection:
        if _landed_before(connection, intake, digest):
            return LandingReport(source=intake.source, already_landed=True)
        read = duplicates = 0
        rows_by_day: Counter[date] = Counter()
        reasons: Counter[str] = Counter()
        for chunk in records.chunks():
            landed = intake.land(connection, chunk)
            read += chunk.rows_read
            rows_by_day.update(dict(landed.days.value_counts().iter_rows()))
            categories = landed.rejected["reason"].str.split(":").list.first()
            reasons.update(dict(categories.value_counts().iter_rows()))
            insert(connection, intake.rejected_table, landed.rejected.with_columns(rejected_at=_at(now)))
        duplicates = reasons["duplicate"]
        late_days = intake.finish(connection, rows_by_day)
        accepted, rejected = rows_by_day.total(), reasons.total()
        _record(connection, intake, digest, read=read, accepted=accepted, rejected=rejected, now=now)
        if _state(path) != before:
            raise InvalidInput(
                f"{path} changed while it was read; nothing of it was stored. "
                "Write a file under a name that ends in .part, and rename it when it is whole."
            )
    return LandingReport(
        source=intake.source,
        rows_read=read,
        rows_accepted=accepted,
        rows_duplicate=duplicates,
        rows_rejected=rejected,
        rejected_by_reason=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        days=tuple(sorted(rows_by_day)),
        late_days=late_days,
    )


def _state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}. Check the path and its permissions.") from error
    return status.st_size, status.st_mtime_ns


def _landed_before(connection: duckdb.DuckDBPyConnection, intake: RecordIntake, digest: str) -> bool:
    query = "SELECT 1 FROM raw.landed_files WHERE content_hash = ? AND mapping_hash = ? AND kind = ?"
    return not select(connection, query, [digest, intake.mapping_hash, intake.kind]).is_empty()


def _record(
    connection: duckdb.DuckDBPyConnection,
    intake: RecordIntake,
    digest: str,
    *,
    read: int,
    accepted: int,
    rejected: int,
    now: datetime,
) -> None:
    row = {
        "content_hash": digest,
        "mapping_hash": intake.mapping_hash,
        "kind": intake.kind,
        "source": intake.source,
        "rows_read": read,
        "rows_accepted": accepted,
        "rows_rejected": rejected,
        "landed_at": as_utc(now),
    }
    insert(connection, "raw.landed_files", pl.DataFrame([row]))


def _at(now: datetime) -> pl.Expr:
    return pl.lit(as_utc(now), dtype=pl.Datetime("us"))
