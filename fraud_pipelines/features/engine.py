"""All features of a set of transactions, given what was kept of those before them."""

from collections.abc import Sequence

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.catalog import FEATURES, table_schema
from fraud_pipelines.features.declarations import ENTITIES
from fraud_pipelines.features.derived import DERIVED, Derived
from fraud_pipelines.features.feedback import Past, feedback_of
from fraud_pipelines.features.fold import fold_entity
from fraud_pipelines.features.history import Histories, History
from fraud_pipelines.transactions.schema import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, TRANSACTION_COLUMNS

ROW_ORDER = ("user_id", "timestamp", "transaction_id")


def compute_features(
    transactions: pl.DataFrame, histories: Histories | None = None, past: Past | None = None
) -> tuple[pl.DataFrame, dict[str, History]]:
    """Features of ``transactions``, and the histories with them folded in.

    It makes no difference, to the bit, whether transactions come at once or in any number of calls that pass the
    histories on, as long as no entity's transaction precedes, in (timestamp, transaction_id), one folded earlier.

    Args:
        transactions: at least the required transaction columns; a missing optional one counts as unknown.
        histories: of earlier transactions, by `Entity.name`; none for the first ones.
        past: earlier transactions and their labels, for the feedback features; none without labels.

    Returns:
        A frame with the columns of ``features.transaction_features``, sorted by (user_id, timestamp,
        transaction_id), and the histories of all entities.

    Raises:
        InvalidInput: a required column is missing or of another type, or holds a null, or an amount is negative
            or not finite.
    """
    rows = prepare(transactions)
    before = {entity.name: History.empty(entity) for entity in ENTITIES} | dict(histories or {})
    features, changed = fold_rows(rows, before, past or Past.nothing())
    after = {name: before[name].updated(history) for name, history in changed.items()}
    return features, after


def prepare(transactions: pl.DataFrame) -> pl.DataFrame:
    """The transaction columns, checked, complete, and sorted as the fold wants them."""
    missing = [name for name in REQUIRED_COLUMNS if name not in transactions.columns]
    if missing:
        raise InvalidInput(f"transactions lack the columns {missing}; a column mapping can supply them")
    for name, dtype in TRANSACTION_COLUMNS.items():
        if name in transactions.columns and transactions.schema[name] not in (dtype, pl.Null()):
            raise InvalidInput(f"transactions.{name} is {transactions.schema[name]}, expected {dtype}")
    for name in REQUIRED_COLUMNS:
        if transactions[name].null_count():
            raise InvalidInput(f"transactions.{name} holds nulls; validate the transactions first")
    amounts = transactions["amount"]
    if not (amounts.is_finite() & (amounts >= 0)).all():
        raise InvalidInput("transactions.amount holds negative or non-finite values; validate the transactions first")
    absent = [column for column in OPTIONAL_COLUMNS if column not in transactions.columns]
    return (
        transactions.lazy()
        .with_columns([pl.lit(None).alias(column) for column in absent])
        .select(pl.col(name).cast(dtype) for name, dtype in TRANSACTION_COLUMNS.items())
        .with_columns(event_date=pl.col("timestamp").dt.date())
        .sort(*ROW_ORDER)
        .collect()
    )


def fold_rows(rows: pl.DataFrame, histories: Histories, past: Past) -> tuple[pl.DataFrame, dict[str, History]]:
    """Features of `prepare`-d rows, and the new state of those entities only that occur in them."""
    changed: dict[str, History] = {}
    columns: list[pl.Series] = []
    for entity in ENTITIES:
        series, changed[entity.name] = fold_entity(entity, rows, histories[entity.name])
        columns += series
    columns += feedback_of(rows, past)
    return add_derived(rows.with_columns(columns)).select(*table_schema()), changed


def add_derived(rows: pl.DataFrame, expressions: Sequence[Derived] = DERIVED) -> pl.DataFrame:
    """``rows`` with the derived features added.

    A frame of one row is doubled meanwhile: Polars divides a column by a constant by another route if the column
    has a single value, and the two differ in the last bit.
    """
    frame = pl.concat([rows, rows]) if rows.height == 1 else rows
    for each in expressions:
        frame = frame.with_columns(each.expression)
    return frame.head(rows.height)


def uncomputable(transactions: pl.DataFrame) -> dict[str, str]:
    """Features that are null on every row since a column they need is null, and that column."""
    empty = {name for name in OPTIONAL_COLUMNS if transactions[name].null_count() == transactions.height}
    return {name: column for name, feature in FEATURES.items() for column in feature.requires[::-1] if column in empty}
