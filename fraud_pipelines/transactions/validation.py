"""Validation: each row of a source is accepted as a transaction, or rejected with its reason and payload."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import polars as pl

from fraud_pipelines.plan.plan import column_types
from fraud_pipelines.plan.types import COMPUTED, CURRENCY, DATE_ONLY, JUDGED_ONLY, KIND, LOCAL_TIME, REFUND, Attribute
from fraud_pipelines.settings import MAX_AGE_YEARS
from fraud_pipelines.transactions.cleaning import IN_THE_FUTURE, ChunkCleaner
from fraud_pipelines.transactions.currency import Money, has_currency
from fraud_pipelines.transactions.kinds import told_kind
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.null_words import is_identity
from fraud_pipelines.transactions.numbers import NumbersSoFar
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.rows_rule import kept_rows
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.timestamps import local_times
from fraud_pipelines.transactions.tokenising import tokenised
from fraud_pipelines.transactions.zones import zone_of

_TRUE: Final = ("true", "yes", "1", "t", "y")
_FALSE: Final = ("false", "no", "0", "f", "n")
_KNOWN_AT: Final = "known_at"

REJECTED_COLUMNS: Final[dict[str, pl.DataType]] = {
    "source": pl.String(),
    "row_number": pl.Int64(),
    "reason": pl.String(),
    "payload": pl.String(),
}


@dataclass(frozen=True)
class ValidatedChunk:
    """What became of a chunk: accepted + rejected + left out = read.

    Attributes:
        chunk: the rows that were judged, which are those that the mapping doesn't leave out.
        accepted: exactly the columns of ``mapping.attributes``, tokens in place of ids where a key is set.
        positions: for each accepted row its position in ``chunk.fields``.
        verdicts: for each accepted row what the label column says (true is fraud), null without one.
        verdict_problems: for each accepted row why its label can't be read, null where it can.
        rejected: ``REJECTED_COLUMNS``, by row number.
        known_at: for each accepted row when the source says that its label became known, null where it doesn't.
        null_words: (our column, word) → in how many rows the word was taken as null.
        left_out: the rows that the mapping leaves out, ``REJECTED_COLUMNS``, by row number.
    """

    chunk: RecordChunk
    accepted: pl.DataFrame
    positions: pl.Series
    verdicts: pl.Series
    verdict_problems: pl.Series
    rejected: pl.DataFrame
    known_at: pl.Series
    null_words: Mapping[tuple[str, str], int]
    left_out: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REJECTED_COLUMNS))


def validate_transactions(
    chunk: RecordChunk,
    mapping: ColumnMapping,
    *,
    latest: datetime,
    source: str,
    money: Money | None = None,
    max_age_years: int = MAX_AGE_YEARS,
    numbers_so_far: NumbersSoFar | None = None,
) -> ValidatedChunk:
    """Judge each row by itself; the first thing wrong with it, in the order of the columns, is its reason.

    Args:
        chunk: rows as read.
        mapping: which of their columns are ours.
        latest: a later timestamp is in the future; naive UTC.
        source: the name that rejected rows are kept under.
        money: the base currency and the rates, for a mapping with currencies.
        max_age_years: how far before ``latest`` a timestamp may lie.
        numbers_so_far: what the numbers of the file's earlier chunks have shown; filled in here.

    Raises:
        InvalidInput: numbers of earlier chunks were taken for what they may not be.
    """
    if mapping.rows:
        told = kept_rows(chunk, mapping.rows)
        judged = validate_transactions(
            told.chunk,
            mapping.model_copy(update={"rows": None}),
            latest=latest,
            source=source,
            money=money,
            max_age_years=max_age_years,
            numbers_so_far=numbers_so_far,
        )
        failed = rejected_rows(chunk, told.failed, told.reasons, source=source)
        reasons = pl.repeat(mapping.rows.reason, told.left_out.len(), dtype=pl.String, eager=True)
        return replace(
            judged,
            rejected=pl.concat([judged.rejected, failed]).sort("row_number"),
            left_out=rejected_rows(chunk, told.left_out, reasons, source=source),
        )
    numbers_so_far = numbers_so_far or NumbersSoFar()
    if CURRENCY in mapping.constants:
        numbers_so_far.currencies.setdefault("amount", mapping.constants[CURRENCY].strip().upper())
    cleaner = ChunkCleaner(
        chunk,
        mapping.wanted_columns,
        mapping.constants,
        rules=mapping.rules,
        null_words=mapping.words,
        numbers_so_far=numbers_so_far,
        one_currency=not (has_currency(mapping.attributes) and CURRENCY in mapping.wanted_columns),
    )
    zones = _zones(chunk, mapping)
    clock = _Clock(latest, max_age_years, zones)
    columns = [_column(cleaner, each, mapping, clock) for each in mapping.attributes]
    types = column_types(mapping.attributes)
    transactions = pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in types.items())
    if has_currency(mapping.attributes):
        transactions = (money or Money.none()).convert(transactions, cleaner)

    label, verdicts, known_at = _verdicts(chunk, mapping, transactions["timestamp"], latest, zones)
    refund = pl.when(cleaner.refunds("amount")).then(pl.lit(REFUND))
    no_dates = pl.repeat(False, chunk.fields.height, dtype=pl.Boolean, eager=True)
    date_only = cleaner.date_only.get("timestamp", no_dates)
    clocks = _local_zones(chunk, mapping, cleaner).set(date_only, None)
    transactions = transactions.with_columns(
        refund.otherwise(KIND).alias(KIND),
        local_times(transactions["timestamp"], clocks).alias(LOCAL_TIME),
        pl.when(date_only).then(pl.lit(value=True)).alias(DATE_ONLY),
        pl.lit(mapping.judged_only, pl.Boolean).alias(JUDGED_ONLY),
    )

    sound = cleaner.reasons.is_null()
    return ValidatedChunk(
        chunk=chunk,
        accepted=tokenised(transactions.filter(sound), mapping.attributes),
        positions=sound.arg_true(),
        verdicts=verdicts.filter(sound),
        verdict_problems=label.reasons.filter(sound),
        rejected=all_rejected(chunk, cleaner.reasons, source=source),
        known_at=known_at.filter(sound),
        null_words=cleaner.null_counts,
    )


@dataclass(frozen=True)
class _Clock:
    """The times that a transaction may have, and the zone of each row's, if the source says it."""

    latest: datetime
    max_age_years: int
    zones: pl.Series | None


def _zones(chunk: RecordChunk, mapping: ColumnMapping) -> pl.Series | None:
    if mapping.timestamp.zone_column is None:
        return None
    columns = {"zone": mapping.timestamp.zone_column}
    return ChunkCleaner(chunk, columns, null_words=mapping.words).as_written("zone")


def _local_zones(chunk: RecordChunk, mapping: ColumnMapping, cleaner: ChunkCleaner) -> pl.Series:
    """The zone on whose clock each row happened, null where none is declared; a row of an unknown one is rejected."""
    default = pl.repeat(mapping.default_zone, chunk.fields.height, dtype=pl.String, eager=True)
    column = mapping.local_zone_column
    if column is None or column not in chunk.fields.columns:
        return default
    told = ChunkCleaner(chunk, {"zone": column}, null_words=mapping.words).text("zone")
    known = {text: zone_of(text) for text in told.drop_nulls().unique()}
    for text in sorted(text for text, zone in known.items() if zone is None):
        cleaner.reject(told == text, f"local_zone is no time zone: {text}")
    zones = told.replace_strict(known, default=None, return_dtype=pl.String) if known else told.cast(pl.String)
    return zones.zip_with(told.is_not_null(), default)


def _verdicts(
    chunk: RecordChunk, mapping: ColumnMapping, timestamps: pl.Series, latest: datetime, zones: pl.Series | None
) -> tuple[ChunkCleaner, pl.Series, pl.Series]:
    """What the label column says, when that became known, and why a label can't be used.

    A verdict that can't be read is no reason to turn the payment away.
    """
    rule = mapping.label
    no_times = pl.repeat(None, chunk.fields.height, dtype=TIMESTAMP, eager=True)
    if rule is None:
        no_verdicts = pl.repeat(None, chunk.fields.height, dtype=pl.Boolean, eager=True).alias("label")
        return ChunkCleaner(chunk, {}), no_verdicts, no_times
    columns = {"label": rule.column, _KNOWN_AT: rule.known_at_column or ""}
    label = ChunkCleaner(chunk, columns, null_words=mapping.words)
    verdicts = label.flag("label", true=rule.fraud_values, false=rule.legitimate_values, neither=rule.unlabelled_values)
    if rule.known_at_column is None:
        return label, verdicts, no_times
    stated = ChunkCleaner(chunk, columns, null_words=mapping.words)
    known_at = stated.moment(_KNOWN_AT, rule.known_at_rule(mapping.timestamp), zones=zones)
    stated.reject(known_at > latest, f"{_KNOWN_AT} {IN_THE_FUTURE}")
    stated.reject(known_at < timestamps, f"{_KNOWN_AT} is before the transaction")
    for reason in stated.reasons.drop_nulls().unique().sort():
        # Where there is no verdict, it doesn't matter when it became known.
        label.reject((stated.reasons == reason) & verdicts.is_not_null(), reason)
    return label, verdicts.set(label.reasons.is_not_null(), None), known_at


def _column(cleaner: ChunkCleaner, declared: Attribute, mapping: ColumnMapping, clock: _Clock) -> pl.Series:
    """A declared column, of the type that it is declared with."""
    name, required = declared.name, declared.required
    if name in COMPUTED:
        return pl.repeat(None, cleaner.reasons.len(), eager=True).alias(name)
    if declared.type == "text":
        text = cleaner.text(name, required=required, lines=not is_identity(name))
        return told_kind(text) if name == KIND else text
    if declared.type == "boolean":
        return cleaner.flag(name, true=_TRUE, false=_FALSE, required=required)
    if name == "timestamp":
        return cleaner.timestamp(
            name, mapping.timestamp, latest=clock.latest, max_age_years=clock.max_age_years, zones=clock.zones
        )
    if declared.type == "timestamp":
        return cleaner.moment(name, mapping.timestamp, required=required, zones=clock.zones)
    convert = cleaner.integer if declared.type == "integer" else cleaner.number
    return convert(name, required=required, minimum=declared.minimum, maximum=declared.maximum)


def all_rejected(chunk: RecordChunk, reasons: pl.Series, *, source: str) -> pl.DataFrame:
    """The rows that could not be read, and those of ``chunk.fields`` that have a reason, as ``REJECTED_COLUMNS``."""
    positions = reasons.is_not_null().arg_true()
    refused = rejected_rows(chunk, positions, reasons.gather(positions), source=source)
    unreadable = chunk.unreadable.select(pl.lit(source).alias("source"), *chunk.unreadable.columns)
    return pl.concat([unreadable, refused]).sort("row_number")


def rejected_rows(chunk: RecordChunk, positions: pl.Series, reasons: pl.Series, *, source: str) -> pl.DataFrame:
    """The rows at ``positions`` of ``chunk.fields`` with their reasons, as ``REJECTED_COLUMNS``."""
    return pl.DataFrame(
        [
            pl.repeat(source, positions.len(), dtype=pl.String, eager=True).alias("source"),
            chunk.row_number.gather(positions),
            reasons.alias("reason"),
            chunk.payloads(positions),
        ]
    )
