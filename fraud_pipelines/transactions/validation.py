"""Validation: each row of a source is accepted as a transaction, or rejected with its reason and payload."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from fraud_pipelines.plan.plan import column_types
from fraud_pipelines.plan.types import Attribute
from fraud_pipelines.transactions.cleaning import ChunkCleaner
from fraud_pipelines.transactions.currency import Money, has_currency
from fraud_pipelines.transactions.mapping import ColumnMapping, LabelRule
from fraud_pipelines.transactions.records import RecordChunk

_TRUE: Final = ("true", "yes", "1", "t", "y")
_FALSE: Final = ("false", "no", "0", "f", "n")

REJECTED_COLUMNS: Final[dict[str, pl.DataType]] = {
    "source": pl.String(),
    "row_number": pl.Int64(),
    "reason": pl.String(),
    "payload": pl.String(),
}


@dataclass(frozen=True)
class ValidatedChunk:
    """What became of a chunk: accepted + rejected = read.

    Attributes:
        accepted: exactly the columns of ``mapping.attributes``.
        positions: for each accepted row its position in ``chunk.fields``.
        verdicts: for each accepted row what the label column says (true is fraud), null without one.
        verdict_problems: for each accepted row why its label can't be read, null where it can.
        rejected: ``REJECTED_COLUMNS``, by row number.
    """

    chunk: RecordChunk
    accepted: pl.DataFrame
    positions: pl.Series
    verdicts: pl.Series
    verdict_problems: pl.Series
    rejected: pl.DataFrame


def validate_transactions(
    chunk: RecordChunk, mapping: ColumnMapping, *, latest: datetime, source: str, money: Money | None = None
) -> ValidatedChunk:
    """Judge each row by itself; the first thing wrong with it, in the order of the columns, is its reason.

    Args:
        chunk: rows as read.
        mapping: which of their columns are ours.
        latest: a later timestamp is in the future; naive UTC.
        source: the name that rejected rows are kept under.
        money: the base currency and the rates, for a mapping with currencies.
    """
    cleaner = ChunkCleaner(chunk, mapping.wanted_columns, mapping.constants)
    columns = [_column(cleaner, each, mapping, latest) for each in mapping.attributes]
    types = column_types(mapping.attributes)
    transactions = pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in types.items())
    if has_currency(mapping.attributes):
        transactions = (money or Money.none()).convert(transactions, cleaner)

    # A verdict that can't be read is no reason to turn the payment away.
    label = ChunkCleaner(chunk, {"label": mapping.label.column} if mapping.label else {})
    rule = mapping.label or LabelRule(column="")
    verdicts = label.flag("label", true=rule.fraud_values, false=rule.legitimate_values)

    sound = cleaner.reasons.is_null()
    return ValidatedChunk(
        chunk=chunk,
        accepted=transactions.filter(sound),
        positions=sound.arg_true(),
        verdicts=verdicts.filter(sound),
        verdict_problems=label.reasons.filter(sound),
        rejected=all_rejected(chunk, cleaner.reasons, source=source),
    )


def _column(cleaner: ChunkCleaner, declared: Attribute, mapping: ColumnMapping, latest: datetime) -> pl.Series:
    """A declared column, of the type that it is declared with."""
    name, required = declared.name, declared.required
    if declared.type == "text":
        return cleaner.text(name, required=required)
    if declared.type == "boolean":
        return cleaner.flag(name, true=_TRUE, false=_FALSE, required=required)
    if name == "timestamp":
        return cleaner.timestamp(name, mapping.timestamp, latest=latest)
    if declared.type == "timestamp":
        return cleaner.moment(name, mapping.timestamp, required=required)
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
