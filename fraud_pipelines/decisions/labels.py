"""Labels: the verdicts of reviews and chargebacks, taken in from files as they become known."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.label_tables import days_outdated_by_labels
from fraud_pipelines.features.tables import mark_stale
from fraud_pipelines.plan.types import EntityPlan
from fraud_pipelines.settings import CLOCK_SKEW
from fraud_pipelines.storage.connection import Connection, registered, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.cleaning import IN_THE_FUTURE, ChunkCleaner
from fraud_pipelines.transactions.intake import LandedChunk, LandingReport, land_file
from fraud_pipelines.transactions.landing_zone import Landed, land_pending, relative_name
from fraud_pipelines.transactions.late_days import mark_late
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.redelivery import TAKEN_BACK
from fraud_pipelines.transactions.schema import LABEL_COLUMNS, LABEL_SOURCES
from fraud_pipelines.transactions.sources import RecordSource, open_records
from fraud_pipelines.transactions.timestamps import TimestampRule, as_utc
from fraud_pipelines.transactions.tokenising import PayloadGuard
from fraud_pipelines.transactions.validation import all_rejected
from fraud_pipelines.transactions.verdicts import VERDICT_COLUMNS, store_labels
from fraud_pipelines.transactions.waiting import printable_name

_TRUE: Final = ("true", "1", "yes")
_FALSE: Final = ("false", "0", "no")

UNKNOWN_TRANSACTION: Final = "transaction is unknown"
BEFORE_TRANSACTION: Final = "known_at is before the transaction"


def land_labels(
    warehouse: Warehouse,
    path: Path,
    *,
    now: datetime,
    skew: timedelta = CLOCK_SKEW,
    entities: Sequence[EntityPlan] = (),
    guarded: bool = False,
) -> LandingReport:
    """Take in one file of labels: all of it in one DuckDB transaction, or nothing.

    The file has the columns ``transaction_id``, ``actual_fraud`` (true, false, 1, 0, yes, no), ``source``
    (``review`` or ``chargeback``) and ``known_at`` (ISO 8601; UTC unless it has an offset). A label of an unknown
    transaction, one known before its transaction happened, or in the future goes to ``feedback.rejected_labels``.

    A transaction has one label of each source. Another verdict that became known later corrects it: a reviewer's
    second thought, a chargeback that the bank took back; what was known on a past day stays known as of that day.
    The same verdict again is rejected as a ``duplicate``, and as a ``conflict`` another one that was not known
    later. Where the sources disagree both are kept, and the chargeback counts: see ``feedback.labels_before``.
    The columns ``reviewer``, ``comment`` and ``scenario`` (the kind of fraud) are optional. Where it is ``guarded``,
    rejected rows keep these columns alone: others may say who a person is.

    In the report, ``days`` are those on which the accepted labels became known. Those of them that had been
    processed already are ``late_days``, and marked in ``raw.stale_days``; so are later ones whose features of the
    ``entities`` would have looked at the labels.

    Raises:
        InvalidInput: the file can't be read or lacks a column; nothing was stored.
    """
    return land_file(warehouse, path, _LabelIntake(path.name, now, skew, entities, guarded=guarded))


def land_pending_labels(
    warehouse: Warehouse,
    folder: Path,
    *,
    clock: Callable[[], datetime],
    skew: timedelta = CLOCK_SKEW,
    entities: Sequence[EntityPlan] = (),
    guarded: bool = False,
) -> Landed:
    """Take in every label file below ``folder`` as ``land_labels`` does, and move it to ``_landed``."""
    return land_pending(
        warehouse,
        folder,
        lambda path: _LabelIntake(relative_name(path, folder), clock(), skew, entities, guarded=guarded),
    )


class _LabelIntake:
    """Takes in labels."""

    kind = "labels"
    rejected_table = "feedback.rejected_labels"
    columns = tuple(VERDICT_COLUMNS)
    passing = (f"known_at {IN_THE_FUTURE}", UNKNOWN_TRANSACTION, TAKEN_BACK)
    mapping_hash = ""
    told: Sequence[str] = ()
    needs_row_ids = False

    def __init__(
        self, source: str, now: datetime, skew: timedelta, entities: Sequence[EntityPlan], *, guarded: bool
    ) -> None:
        self.source = printable_name(source)
        self.guard = PayloadGuard(frozenset(VERDICT_COLUMNS)) if guarded else None
        self.now = as_utc(now)
        self._skew = skew
        self._entities = entities
        self._stored: list[pl.DataFrame] = []

    def begin(self, connection: Connection) -> None:
        """Labels can be taken in at any time."""

    def open(self, path: Path) -> RecordSource:
        records = open_records(path, tuple(VERDICT_COLUMNS))
        missing = [name for name in LABEL_COLUMNS if name not in records.columns]
        if missing and not records.sparse:
            raise InvalidInput(
                f"{path} lacks the column {', '.join(missing)}; it has {', '.join(records.columns)}. "
                f"A label file needs {', '.join(LABEL_COLUMNS)}."
            )
        return records

    def land(self, connection: Connection, chunk: RecordChunk) -> LandedChunk:
        cleaner = ChunkCleaner(chunk, {name: name for name in VERDICT_COLUMNS})
        labels = pl.DataFrame(
            [
                cleaner.text("transaction_id", required=True),
                cleaner.flag("actual_fraud", true=_TRUE, false=_FALSE, required=True),
                cleaner.one_of("source", LABEL_SOURCES),
                cleaner.timestamp("known_at", TimestampRule(), latest=self.now + self._skew),
                cleaner.text("reviewer"),
                cleaner.text("comment"),
                cleaner.text("scenario"),
            ]
        ).cast(pl.Schema(VERDICT_COLUMNS))
        landed, stored = land_verdicts(
            connection, chunk, cleaner, labels, source=self.source, now=self.now, skew=self._skew
        )
        self._stored.append(stored)
        return landed

    def finish(self, connection: Connection, rows_by_day: Mapping[date, int]) -> tuple[date, ...]:
        """Mark the processed days on which a label became known, and those that would have looked at it."""
        late = mark_late(connection, rows_by_day, noun="label", source=self.source, now=self.now)
        return mark_outdated(connection, self._stored, self._entities, late, source=self.source)


def mark_outdated(
    connection: Connection,
    labels: Sequence[pl.DataFrame],
    entities: Sequence[EntityPlan],
    late: tuple[date, ...],
    *,
    source: str,
) -> tuple[date, ...]:
    """Mark the derived days, besides those that are ``late``, whose features would have looked at the ``labels``.

    Returns:
        All of them, in order.
    """
    if not labels or not entities:
        return late
    outdated = set(days_outdated_by_labels(connection, entities, pl.concat(labels))) - set(late)
    mark_stale(connection, sorted(outdated), f"labels known by then arrived late from {source}")
    return tuple(sorted({*late, *outdated}))


def land_verdicts(
    connection: Connection,
    chunk: RecordChunk,
    cleaner: ChunkCleaner,
    labels: pl.DataFrame,
    *,
    source: str,
    now: datetime,
    skew: timedelta,
) -> tuple[LandedChunk, pl.DataFrame]:
    """Store those of ``labels`` that the cleaner let pass, whose transaction is known and not later than they are.

    One that seems to have been known up to ``skew`` before its transaction, whose time another clock gave, counts as
    known with it.

    Returns:
        What became of the chunk, and the labels that were stored.
    """
    sound = cleaner.reasons.is_null()
    repeats, stored = store_verdicts(connection, labels.filter(sound), now=now, skew=skew)
    reasons = cleaner.reasons.scatter(sound.arg_true(), repeats)
    rejected = all_rejected(chunk, reasons, source=source)
    return LandedChunk(days=stored["known_at"].dt.date(), rejected=rejected), stored


def store_verdicts(
    connection: Connection, labels: pl.DataFrame, *, now: datetime, skew: timedelta
) -> tuple[pl.Series, pl.DataFrame]:
    """Store those of ``labels`` whose transaction is known, and not later than they are.

    Returns:
        For each row why it wasn't stored, null where it was; and the labels that were stored.
    """
    happened = _happened(connection, labels["transaction_id"])
    labels = labels.with_columns(happened.alias("happened"))
    reasons = labels.select(
        pl.when(pl.col("happened").is_null())
        .then(pl.lit(UNKNOWN_TRANSACTION))
        .when(pl.col("known_at") + skew < pl.col("happened"))
        .then(pl.lit(BEFORE_TRANSACTION))
        .alias("reason")
    ).to_series()
    labels = labels.with_columns(pl.max_horizontal("known_at", "happened").alias("known_at")).drop("happened")
    sound = reasons.is_null()
    reasons = reasons.scatter(sound.arg_true(), store_labels(connection, labels.filter(sound), now=now))
    return reasons, labels.filter(reasons.is_null())


def _happened(connection: Connection, transaction_ids: pl.Series) -> pl.Series:
    """The timestamp of each transaction, null where there is none."""
    ids = transaction_ids.to_frame()
    with registered(connection, _labelled=ids):
        stored = select(
            connection,
            'SELECT transaction_id, "timestamp" FROM raw.transactions '
            "WHERE transaction_id IN (SELECT transaction_id FROM _labelled)",
        )
    return ids.join(stored, on="transaction_id", how="left", maintain_order="left")["timestamp"]
