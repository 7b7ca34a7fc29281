"""Intake: one file goes into the warehouse whole, in one DuckDB transaction, or not at all."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from fraud_pipelines.errors import InaccessibleFile, InvalidInput
from fraud_pipelines.storage.connection import Connection, insert, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.redelivery import TurnedAway
from fraud_pipelines.transactions.row_ids import with_row_ids
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.sources import RecordSource, content_hash
from fraud_pipelines.transactions.tokenising import PayloadGuard
from fraud_pipelines.transactions.waiting import WaitingFile


@dataclass(frozen=True)
class LandingReport:
    """What became of one file: accepted + rejected + left out = read.

    Attributes:
        source: the name that its rows are stored under.
        rows_read: rows of the file, the unreadable included.
        rows_accepted: rows stored.
        rows_duplicate: rows that repeat a stored one; they are among the rejected.
        rows_rejected: rows in the quarantine.
        rows_left_out: rows that the mapping leaves out (``rows.keep``); they are kept in ``raw.left_out_rows``.
        rows_waiting: rows in the quarantine for a reason that time may mend: the same file, delivered again later, has
            them read once more. At the first delivery they are among the rejected.
        rejected_by_reason: how many, by what the reason says before its colon.
        days: UTC days of the accepted rows, sorted.
        late_days: days of rows and of labels that had been processed already, and are stale now.
        unused_columns: columns of the file that nothing was taken from; of JSON lines, those seen at the start.
        already_landed: the same content was taken in before, so nothing was read but rows that had waited.
        told: sentences on how the file was read, where that was not laid down beforehand.
        null_words: (column, word) → in how many rows the word was taken for no value.
        kind: what the file held: ``transactions`` or ``labels``.
    """

    source: str
    rows_read: int = 0
    rows_accepted: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0
    rows_left_out: int = 0
    rows_waiting: int = 0
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    days: tuple[date, ...] = ()
    late_days: tuple[date, ...] = ()
    unused_columns: tuple[str, ...] = ()
    already_landed: bool = False
    told: tuple[str, ...] = ()
    null_words: Mapping[tuple[str, str], int] = field(default_factory=dict)
    kind: str = "transactions"


@dataclass(frozen=True)
class LandedChunk:
    """``days``: the day of each stored row. ``rejected`` and ``left_out``: the others, as ``REJECTED_COLUMNS``.

    ``accepted``: the rows that were stored, as they were, where the intake tells. ``rows_read`` and ``rows_waiting``,
    those in the quarantine for a reason that time may mend: `land_rows` counts them. ``null_words``: see
    `LandingReport`.
    """

    days: pl.Series
    rejected: pl.DataFrame
    accepted: pl.DataFrame = field(default_factory=pl.DataFrame)
    left_out: pl.DataFrame = field(default_factory=pl.DataFrame)
    rows_read: int = 0
    rows_waiting: int = 0
    null_words: Mapping[tuple[str, str], int] = field(default_factory=dict)


class RecordIntake(Protocol):
    """What is done with the records of one kind of file.

    Attributes:
        kind: names the kind in ``raw.landed_files``.
        rejected_table: the quarantine.
        mapping_hash: tells apart deliveries of the same file that are read in different ways.
        source: the name that the rows of the file are stored under.
        now: the time of ingestion, naive UTC.
        columns: those of the file that are read, under its own names; known once it is open.
        passing: reasons to reject a row that time may mend, so that it is worth while to deliver it again.
        told: see `LandingReport`; complete once all is read.
        needs_row_ids: whether ids are made of the content of rows and their count in the file.
        guard: what is kept of a row that is set aside; None for all of it.
    """

    @property
    def kind(self) -> str: ...
    @property
    def rejected_table(self) -> str: ...
    @property
    def mapping_hash(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def now(self) -> datetime: ...
    @property
    def columns(self) -> Collection[str]: ...
    @property
    def passing(self) -> Collection[str]: ...
    @property
    def told(self) -> Sequence[str]: ...
    @property
    def needs_row_ids(self) -> bool: ...
    @property
    def guard(self) -> PayloadGuard | None: ...

    def begin(self, connection: Connection) -> None:
        """Called before the first chunk, in the transaction that stores the file.

        Raises:
            InvalidInput: no file can be taken in as things are.
        """

    def open(self, path: Path) -> RecordSource:
        """Open the file, and make sure it has the columns needed."""

    def land(self, connection: Connection, chunk: RecordChunk) -> LandedChunk:
        """Store what can be."""

    def finish(self, connection: Connection, rows_by_day: Mapping[date, int]) -> tuple[date, ...]:
        """Called after the last chunk; returns the days that were processed already."""


def land_file(warehouse: Warehouse, path: Path, intake: RecordIntake) -> LandingReport:
    """Take in the file at ``path``; of a file whose content was taken in before, only rows that have waited.

    Raises:
        InvalidInput: the file can't be read as a whole; the warehouse is as it was.
    """
    opened = _opened(path, intake)
    with warehouse.transaction() as connection:
        return _land(connection, opened)


def land_together(warehouse: Warehouse, files: Iterable[tuple[Path, RecordIntake]]) -> list[LandingReport]:
    """Take in files as by `land_file`, all in one transaction: of many small ones, most of the time goes into commits.

    Raises:
        InvalidInput: one of them can't be read as a whole; nothing of any is stored.
        OSError: one of them is gone.
    """
    with warehouse.transaction() as connection:
        return [_land(connection, _opened(path, intake)) for path, intake in files]


@dataclass(frozen=True)
class _Opened:
    """A file that is about to be taken in."""

    path: Path
    file: WaitingFile
    digest: str
    records: RecordSource
    intake: RecordIntake


def _opened(path: Path, intake: RecordIntake) -> _Opened:
    file = _looked_at(path)
    return _Opened(path, file, content_hash(path), intake.open(path), intake)


def _land(connection: Connection, opened: _Opened) -> LandingReport:
    path, intake, digest, records = opened.path, opened.intake, opened.digest, opened.records
    intake.begin(connection)
    earlier = _landed_before(connection, intake, digest)
    again = earlier and turned_away(connection, intake, *earlier)
    if earlier and not again:
        return LandingReport(source=intake.source, already_landed=True, kind=intake.kind)
    read = waiting = left_out = 0
    rows_by_day: Counter[date] = Counter()
    reasons: Counter[str] = Counter()
    null_words: Counter[tuple[str, str]] = Counter()
    for landed in land_rows(connection, intake, records.chunks(), again=again):
        read += landed.rows_read
        waiting += landed.rows_waiting
        null_words.update(landed.null_words)
        left_out += landed.left_out.height
        rows_by_day.update(dict(landed.days.value_counts().iter_rows()))
        categories = landed.rejected["reason"].str.split(":").list.first()
        reasons.update(dict(categories.value_counts().iter_rows()))
    late_days = intake.finish(connection, rows_by_day)
    accepted, rejected = rows_by_day.total(), reasons.total()
    counts = {"read": read, "accepted": accepted, "rejected": rejected, "left_out": left_out}
    _record(connection, intake, digest, counts, again=bool(again))
    if opened.file.has_changed():
        raise InvalidInput(
            f"{path} changed while it was read; nothing of it was stored. "
            "Write a file under a name that ends in .part, and rename it when it is whole."
        )
    return LandingReport(
        source=intake.source,
        rows_read=read,
        rows_accepted=accepted,
        rows_duplicate=reasons["duplicate"],
        rows_rejected=rejected,
        rows_left_out=left_out,
        rows_waiting=waiting,
        rejected_by_reason=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        days=tuple(sorted(rows_by_day)),
        late_days=late_days,
        unused_columns=tuple(name for name in records.columns if name not in intake.columns),
        already_landed=bool(earlier),
        told=(*records.told, *intake.told),
        null_words=dict(sorted(null_words.items())),
        kind=intake.kind,
    )


def turned_away(connection: Connection, intake: RecordIntake, source: str, taken_in_at: datetime) -> TurnedAway | None:
    """What of the delivery of that name and time is in the quarantine for a reason that time may have mended."""
    return TurnedAway.from_quarantine(
        connection, intake.rejected_table, source=source, rejected_at=taken_in_at, passing=intake.passing
    )


def land_rows(
    connection: Connection,
    intake: RecordIntake,
    chunks: Iterable[RecordChunk],
    *,
    again: TurnedAway | None = None,
) -> Iterator[LandedChunk]:
    """Store what can be stored of each chunk, and quarantine the other rows.

    Args:
        again: rows of an earlier delivery of the same content. Then only these are read, and those that still have to
            wait stay in the quarantine as they were, and aren't counted as read.
    """
    for chunk in with_row_ids(chunks) if intake.needs_row_ids else chunks:
        wanted = again.take(connection, chunk, guard=intake.guard) if again else chunk
        landed = intake.land(connection, wanted)
        if intake.guard:
            rejected, left_out = intake.guard.on(landed.rejected), intake.guard.on(landed.left_out)
            landed = replace(landed, rejected=rejected, left_out=left_out)
        read, rejected = wanted.rows_read, landed.rejected
        waits = rejected["reason"].is_in(list(intake.passing))
        if again and waits.any():
            again.put_back(connection, rejected.filter(waits))
            rejected = rejected.filter(~waits)
            read -= int(waits.sum())
        if landed.left_out.height:
            stamped = landed.left_out.with_columns(left_out_at=pl.lit(intake.now, TIMESTAMP))
            insert(connection, "raw.left_out_rows", stamped)
        if rejected.height:
            insert(connection, intake.rejected_table, rejected.with_columns(rejected_at=pl.lit(intake.now, TIMESTAMP)))
        yield replace(landed, rejected=rejected, rows_read=read, rows_waiting=int(waits.sum()))


def _looked_at(path: Path) -> WaitingFile:
    try:
        return WaitingFile.of(path, path.name, path.stat())
    except OSError as error:
        raise InaccessibleFile(
            f"{path} can't be read: {error.strerror}. Check the path and its permissions."
        ) from error


def _landed_before(connection: Connection, intake: RecordIntake, digest: str) -> tuple[str, datetime] | None:
    """Under which name and when the same content was taken in."""
    query = "SELECT source, landed_at FROM raw.landed_files WHERE content_hash = ? AND mapping_hash = ? AND kind = ?"
    rows = select(connection, query, [digest, intake.mapping_hash, intake.kind]).rows()
    return rows[0] if rows else None


def _record(
    connection: Connection,
    intake: RecordIntake,
    digest: str,
    counts: Mapping[str, int],
    *,
    again: bool,
) -> None:
    delivery = {
        "content_hash": digest,
        "mapping_hash": intake.mapping_hash,
        "kind": intake.kind,
        "source": intake.source,
        "landed_at": intake.now,
    }
    if again:
        connection.update(
            "raw.landed_files",
            "rows_accepted = rows_accepted + $accepted, rows_rejected = rows_rejected - $accepted",
            "content_hash = $digest AND mapping_hash = $mapping AND kind = $kind",
            {"accepted": counts["accepted"], "digest": digest, "mapping": intake.mapping_hash, "kind": intake.kind},
        )
        insert(connection, "raw.redeliveries", pl.DataFrame([delivery]))
        return
    row = delivery | {f"rows_{name}": count for name, count in counts.items()}
    insert(connection, "raw.landed_files", pl.DataFrame([row]))
