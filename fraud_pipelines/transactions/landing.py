"""Landing: transaction files go into the warehouse, with their rejects, their labels and the days they make stale."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.types import KIND, Attribute
from fraud_pipelines.settings import CLOCK_SKEW, MAX_AGE_YEARS
from fraud_pipelines.storage.connection import Connection, insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.currency import COLUMNS, NO_BASE, NO_RATE, Money, has_currency
from fraud_pipelines.transactions.intake import LandedChunk, LandingReport, land_file
from fraud_pipelines.transactions.kinds import PAYMENTS
from fraud_pipelines.transactions.landing_zone import Landed, land_pending, relative_name
from fraud_pipelines.transactions.late_days import days_outdated, mark_late
from fraud_pipelines.transactions.mapping import ColumnMapping, LabelRule
from fraud_pipelines.transactions.numbers import NumbersSoFar
from fraud_pipelines.transactions.recognition import mapping_for
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.redelivery import (
    QUARANTINE,
    TAKEN_BACK,
    TIMESTAMP_IN_THE_FUTURE,
    close_rejects,
    rejects_are_open,
    repeats_of_stored,
)
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.sources import RecordSource, open_records
from fraud_pipelines.transactions.tables import add_columns_of
from fraud_pipelines.transactions.timestamps import as_utc
from fraud_pipelines.transactions.tokenising import guard_of, require_same_key
from fraud_pipelines.transactions.validation import ValidatedChunk, rejected_rows, validate_transactions
from fraud_pipelines.transactions.verdicts import store_labels
from fraud_pipelines.transactions.waiting import printable_name

__all__ = [
    "LandingReport",
    "TransactionIntake",
    "days_with_transactions",
    "first_transaction_day",
    "land_pending_transactions",
    "land_transactions",
    "open_transactions",
]


def land_transactions(
    warehouse: Warehouse,
    path: Path,
    mapping: ColumnMapping,
    *,
    now: datetime,
    skew: timedelta = CLOCK_SKEW,
    max_age_years: int = MAX_AGE_YEARS,
    source: str | None = None,
) -> LandingReport:
    """Take in one file: all of it in one DuckDB transaction, or nothing.

    Args:
        warehouse: an initialised one.
        path: CSV, TSV, Parquet or JSON lines, gzipped or not.
        mapping: how its columns become ours.
        now: the time of ingestion; a later timestamp is in the future.
        skew: by how much more it may be later, since no two clocks are in step.
        max_age_years: how old a transaction may be.
        source: the name to store the rows under; by default the name of the file, after that of the mapping.

    Raises:
        InvalidInput: the file can't be read or lacks a column; nothing was stored.
    """
    return land_file(warehouse, path, TransactionIntake(mapping, source or path.name, now, skew, max_age_years))


def land_pending_transactions(
    warehouse: Warehouse,
    folder: Path,
    *,
    clock: Callable[[], datetime],
    skew: timedelta = CLOCK_SKEW,
    max_age_years: int = MAX_AGE_YEARS,
    attributes: Sequence[Attribute] | None = None,
) -> Landed:
    """Take in what waits below ``folder``, each file by the nearest ``mapping.yaml``, and move it to ``_landed``.

    Args:
        attributes: the columns of a transaction; those that ship by default.
    """

    def intake_for(path: Path) -> TransactionIntake:
        mapping = mapping_for(path, folder, attributes)
        return TransactionIntake(mapping, relative_name(path, folder), clock(), skew, max_age_years)

    return land_pending(warehouse, folder, intake_for)


def first_transaction_day(warehouse: Warehouse) -> date | None:
    """The earliest day that has a payment."""
    day: date | None = warehouse.read(f"SELECT min(event_date) FROM {PAYMENTS}").item()
    return day


def days_with_transactions(warehouse: Warehouse) -> list[date]:
    """All days that have a payment, sorted."""
    query = f"SELECT DISTINCT event_date FROM {PAYMENTS} ORDER BY event_date"
    return warehouse.read(query)["event_date"].to_list()


def open_transactions(path: Path, mapping: ColumnMapping) -> RecordSource:
    """Open a file of transactions.

    Raises:
        InvalidInput: it can't be read, or lacks a column that the mapping needs.
    """
    records = open_records(path, mapping.source_columns, rule=mapping.file_rule)
    mapping.require_columns(records.columns, file=path, sparse=records.sparse)
    return records


class TransactionIntake:
    """Takes in transactions by a mapping."""

    kind = "transactions"
    rejected_table = QUARANTINE
    passing = (TIMESTAMP_IN_THE_FUTURE, NO_RATE, NO_BASE, TAKEN_BACK)

    def __init__(
        self,
        mapping: ColumnMapping,
        source: str,
        now: datetime,
        skew: timedelta,
        max_age_years: int = MAX_AGE_YEARS,
    ) -> None:
        self._mapping = mapping
        self.told: Sequence[str] = mapping.told
        self.now = as_utc(now)
        self._latest = self.now + skew
        self._max_age_years = max_age_years
        self._numbers_so_far = NumbersSoFar()
        self._labels_by_day: Counter[date] = Counter()
        self._outdating: Counter[date] = Counter()
        self._rejects_open: bool | None = None
        self._money: Money | None = None
        self._records: RecordSource | None = None
        self.mapping_hash = mapping.fingerprint
        self.columns = mapping.known_columns
        self.needs_row_ids = mapping.needs_row_ids
        self.guard = guard_of(mapping)
        self.source = printable_name(f"{mapping.source}: {source}" if mapping.source else source)

    def begin(self, connection: Connection) -> None:
        require_same_key(connection, self._mapping.attributes, now=self.now)

    def open(self, path: Path) -> RecordSource:
        self._records = open_transactions(path, self._mapping)
        return self._records

    def land(self, connection: Connection, chunk: RecordChunk) -> LandedChunk:
        validated = validate_transactions(
            chunk,
            self._mapping,
            latest=self._latest,
            source=self.source,
            money=self._money_of(connection),
            max_age_years=self._max_age_years,
            numbers_so_far=self._numbers_so_far,
        )
        if self._money:
            self._money.keep_base(connection)
        rows = validated.accepted
        reasons = repeats_of_stored(connection, rows)
        new = rows.filter(reasons.is_null()).with_columns(
            pl.col("timestamp").dt.date().alias("event_date"),
            pl.lit(self.source).alias("source"),
            pl.lit(self.now, dtype=TIMESTAMP).alias("ingested_at"),
        )
        insert(connection, "raw.transactions", _without_empty(new))
        self._outdating.update(days_outdated(connection, new))
        if self._mapping.rows and validated.left_out.height:
            self.told = (*self._mapping.told, f"Left out, and kept in raw.left_out_rows: {self._mapping.rows.reason}")
        if self._are_rejects_open(connection):
            close_rejects(
                connection,
                new["transaction_id"],
                self._mapping,
                latest=self._latest,
                money=self._money,
                max_age_years=self._max_age_years,
            )
        if self._mapping.label:
            self._land_labels(connection, validated, reasons, self._mapping.label)
        repeated = reasons.is_not_null()
        refused = rejected_rows(
            validated.chunk, validated.positions.filter(repeated), reasons.filter(repeated), source=self.source
        )
        rejected = pl.concat([validated.rejected, refused]).sort("row_number")
        return LandedChunk(
            days=new["event_date"],
            rejected=rejected,
            accepted=new,
            left_out=validated.left_out,
            null_words=validated.null_words,
        )

    def finish(self, connection: Connection, rows_by_day: Mapping[date, int]) -> tuple[date, ...]:
        """Mark the processed days on which a transaction happened, or its label became known.

        Raises:
            InvalidInput: a column that the mapping names and a transaction needs occurred in no row.
        """
        self._require_seen(rows_by_day)
        late = mark_late(
            connection,
            self._outdating if rows_by_day else {},
            noun="transaction",
            source=self.source,
            now=self.now,
            begins_days=True,
        )
        learned = mark_late(connection, self._labels_by_day, noun="label", source=self.source, now=self.now)
        return tuple(sorted({*late, *learned}))

    def _require_seen(self, rows_by_day: Mapping[date, int]) -> None:
        """Tell which columns that the mapping names no row of the file had."""
        absent = set() if self._records is None else {*self._records.absent}
        read = {
            ours: [theirs] for ours, theirs in self._mapping.wanted_columns.items() if ours in self._mapping.columns
        }
        read |= {ours: [*rule.reads.values()] for ours, rule in self._mapping.rules.items()}
        missing = {
            ours: ", ".join(f"{name!r} (columns.{ours})" for name in names if name in absent)
            for ours, names in read.items()
            if absent & {*names}
        }
        needed = [missing[each.name] for each in self._mapping.attributes if each.required and each.name in missing]
        if needed and not rows_by_day:
            raise InvalidInput(
                f"{self.source}: no row has {', '.join(needed)}. Correct the name in the mapping; a dotted path leads "
                "into inner objects (docs/mappings.md)."
            )
        if missing:
            self.told = (*self.told, f"No row has {', '.join(missing.values())}: null throughout")

    def _money_of(self, connection: Connection) -> Money | None:
        """The base currency and the rates, looked up once; None without currencies."""
        if self._money is None and has_currency(self._mapping.attributes):
            # A mapping may say the currency where no declaration does.
            add_columns_of(connection, COLUMNS)
            self._money = Money.read(connection)
        return self._money

    def _are_rejects_open(self, connection: Connection) -> bool:
        """Whether the clock had turned rows away, which what lands now may bring again; looked up once."""
        if self._rejects_open is None:
            self._rejects_open = rejects_are_open(connection)
        return self._rejects_open

    def _land_labels(
        self,
        connection: Connection,
        validated: ValidatedChunk,
        reasons: pl.Series,
        rule: LabelRule,
    ) -> None:
        """Store the verdicts that came with the transactions, also where only the transaction was known before."""
        rows = validated.accepted.select(
            "transaction_id",
            pl.lit(rule.source).alias("source"),
            validated.verdicts.alias("actual_fraud"),
            pl.coalesce(
                validated.known_at, pl.col("timestamp") + pl.duration(seconds=round(rule.delay_days * 86_400))
            ).alias("known_at"),
            validated.positions.alias("position"),
            validated.verdict_problems.alias("problem"),
        )
        of_first = reasons.is_null()
        same_payment = of_first | reasons.str.starts_with("duplicate")
        labels = rows.filter(same_payment & rows["actual_fraud"].is_in(rule.stored_verdicts))
        repeats = store_labels(connection, labels, now=self.now)
        stored = labels.filter(repeats.is_null())["known_at"].dt.date()
        self._labels_by_day.update(dict(stored.value_counts().iter_rows()))
        refused = pl.concat(
            [
                labels.with_columns(repeats.alias("problem")).filter(repeats.str.starts_with("conflict")),
                rows.filter(of_first & rows["problem"].is_not_null()),
            ]
        )
        quarantined = rejected_rows(validated.chunk, refused["position"], refused["problem"], source=self.source)
        if self.guard:
            quarantined = self.guard.on(quarantined)
        insert(
            connection, "feedback.rejected_labels", quarantined.with_columns(rejected_at=pl.lit(self.now, TIMESTAMP))
        )


def _without_empty(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without the columns that are null throughout: to hand nulls over costs as much as values."""
    empty = [name for name in rows.columns if rows[name].null_count() == rows.height and name != KIND]
    return rows.drop(empty)
