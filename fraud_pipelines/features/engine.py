"""All features of a set of transactions, given what was kept of those before them."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.aggregates import entity_features, feedback_features
from fraud_pipelines.features.catalog import FEATURES, KEY_COLUMNS, table_schema
from fraud_pipelines.features.declarations import ENTITIES, USER, Entity
from fraud_pipelines.features.derived import DERIVED, Derived
from fraud_pipelines.features.feedback import Happened, Past, with_feedback
from fraud_pipelines.features.fold import fold_piece, to_series
from fraud_pipelines.features.history import Histories, History
from fraud_pipelines.features.ordering import Piece, Runs, in_time
from fraud_pipelines.transactions.schema import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, TRANSACTION_COLUMNS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
T = TypeVar("T")

SHARD_ROWS: Final = 122_880
"""Rows whose features are computed at a time, by one core; as many as DuckDB stores together, in a row group."""

FEW_ROWS: Final = 10_000
"""Rows for which handing expressions to other threads costs more than it saves."""

WORKERS: Final = os.cpu_count() or 1

FOLDED: Final = [
    feature for name, feature in FEATURES.items() if name not in {derived.feature.name for derived in DERIVED}
]
"""The features that need histories or labels."""


def _read_by_derived() -> dict[str, pl.DataType]:
    """Columns the derived features need; all there are if some choose theirs by a pattern."""
    readable = TRANSACTION_COLUMNS | KEY_COLUMNS | {feature.name: feature.dtype for feature in FOLDED}
    metas = [derived.expression.meta for derived in DERIVED]
    if any(meta.has_multiple_outputs() for meta in metas):
        return readable
    roots = {"amount"}.union(*(meta.root_names() for meta in metas))
    return {name: dtype for name, dtype in readable.items() if name in roots}


READ: Final = _read_by_derived()
"""The columns that derived features read, other derived ones aside."""

_TAKEN: Final = [name for name in TRANSACTION_COLUMNS if name in KEY_COLUMNS or name in READ]


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
    before = {entity.name: History.empty(entity) for entity in ENTITIES} | dict(histories or {})
    features, changed = fold_rows(prepare(transactions), before, past or Past.nothing())
    after = {name: before[name].updated(history) for name, history in changed.items()}
    return features, after


@dataclass(frozen=True)
class Prepared:
    """Transactions ready to be folded: checked, and their order found; ``runs`` are by `Entity.name`."""

    transactions: pl.DataFrame
    runs: Mapping[str, Runs]


def prepare(transactions: pl.DataFrame) -> Prepared:
    """Check transactions and find the order to fold them in. They need all required columns, and may have others.

    Raises:
        InvalidInput: as `compute_features`.
    """
    rows = checked(transactions)
    order = in_time(rows)
    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        runs = workers.map(lambda entity: Runs.of(rows[entity.column], order), ENTITIES)
        return Prepared(rows, {entity.name: found for entity, found in zip(ENTITIES, runs, strict=True)})


def checked(transactions: pl.DataFrame) -> pl.DataFrame:
    """All transaction columns, with their types; null where they are missing.

    Raises:
        InvalidInput: as `compute_features`.
    """
    missing = [name for name in REQUIRED_COLUMNS if name not in transactions.columns]
    if missing:
        raise InvalidInput(f"transactions lack the columns {missing}; a column mapping can supply them")
    for name, dtype in TRANSACTION_COLUMNS.items():
        if name in transactions.columns and transactions.schema[name] not in (dtype, pl.Null()):
            raise InvalidInput(f"transactions.{name} is {transactions.schema[name]}, expected {dtype}")
    for name in REQUIRED_COLUMNS:
        if transactions[name].null_count():
            raise InvalidInput(f"transactions.{name} holds nulls; validate the transactions first")
    amounts = transactions["amount"].to_numpy()
    if not (np.isfinite(amounts) & (amounts >= 0)).all():
        raise InvalidInput("transactions.amount holds negative or non-finite values; validate the transactions first")
    return transactions.select(
        (pl.col(name) if name in transactions.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in TRANSACTION_COLUMNS.items()
    ).rechunk()  # to take rows out of several chunks takes ten times as long


def fold_rows(prepared: Prepared, histories: Histories, past: Past) -> tuple[pl.DataFrame, dict[str, History]]:
    """Features of transactions, and the new state of those entities only that occur in them."""
    changed: dict[str, History] = {}
    features = pl.concat(list(fold_in_shards(prepared, histories, past, changed)))
    return features, changed


def fold_in_shards(
    prepared: Prepared,
    histories: Histories,
    past: Past,
    changed: dict[str, History],
    *,
    shard_rows: int = SHARD_ROWS,
) -> Iterator[pl.DataFrame]:
    """`fold_rows` in pieces of whole users, so that many rows need neither one core nor room for all features at once.

    Args:
        changed: filled, by the time the last piece has been taken, with the new state of the entities in ``prepared``.
        shard_rows: rows of a piece, at most, unless one user has more.
    """
    watched = {column for entity in ENTITIES for column in entity.changes}
    transactions, runs = prepared.transactions[sorted({*_TAKEN, "amount", *watched})], prepared.runs
    del prepared  # and with it, unless the caller holds it, the columns that are read no more
    happened = [Happened.of(entity, past, runs[entity.name].keys) for entity in with_feedback()]
    states: dict[str, list[pl.DataFrame]] = {entity.name: [] for entity in ENTITIES}
    shared: dict[str, Floats] = {}

    def fold_shared(work: tuple[Entity, Piece]) -> History:
        entity, piece = work
        values, history = fold_piece(entity, transactions, piece, histories[entity.name])
        for feature, found in zip(entity_features(entity), values, strict=True):
            shared[feature.name][piece.order] = found
        return history

    def fold_users(piece: Piece) -> tuple[pl.DataFrame, History]:
        values, history = fold_piece(USER, transactions, piece, histories[USER.name])
        found = {feature.name: value for feature, value in zip(entity_features(USER), values, strict=True)}
        found |= {name: values[piece.order] for name, values in shared.items()}
        rows = _taken(transactions, piece.order)
        instant = rows["timestamp"].to_physical().to_numpy().copy()
        for each in happened:
            code = runs[each.entity.name].codes[piece.order].astype(np.int64)
            feedback = each.features(code, code >= 0, instant)
            found |= {
                feature.name: value for feature, value in zip(feedback_features(each.entity), feedback, strict=True)
            }
        features = add_derived(rows.with_columns(to_series(feature, found[feature.name]) for feature in FOLDED))
        return features.select(*table_schema()), history

    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        for entity in ENTITIES:
            if entity != USER:
                shared |= {feature.name: np.full(transactions.height, np.nan) for feature in entity_features(entity)}
        work = [
            (entity, piece) for entity in ENTITIES if entity != USER for piece in runs[entity.name].pieces(shard_rows)
        ]
        for (entity, _), history in zip(work, workers.map(fold_shared, work), strict=True):
            states[entity.name].append(history.frame)
        for features, history in _in_order(workers, fold_users, runs[USER.name].pieces(shard_rows)):
            states[USER.name].append(history.frame)
            yield features
    changed |= {entity.name: History(entity, pl.concat(states[entity.name])) for entity in ENTITIES}


def _taken(transactions: pl.DataFrame, order: Ints) -> pl.DataFrame:
    """The rows at the positions ``order``, with the columns that the table has and the derived features read."""
    return transactions[_TAKEN][order].with_columns(event_date=pl.col("timestamp").dt.date())


def _in_order(workers: ThreadPoolExecutor, work: Callable[[Piece], T], shards: Iterable[Piece]) -> Iterator[T]:
    """Results in the order of the shards, of which one more is begun than there are workers."""
    begun: deque[Future[T]] = deque()
    for shard in shards:
        begun.append(workers.submit(work, shard))
        if len(begun) > WORKERS:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def together(expressions: Iterable[Derived]) -> list[list[pl.Expr]]:
    """The expressions in order, in groups of which none needs another of its own group."""
    groups: list[list[pl.Expr]] = []
    names: set[str] = set()
    for each in expressions:
        if not groups or each.expression.meta.has_multiple_outputs() or names & set(each.expression.meta.root_names()):
            groups.append([])
            names.clear()
        groups[-1].append(each.expression)
        names.add(each.feature.name)
    return groups


_ALL_DERIVED: Final = together(DERIVED)


def add_derived(rows: pl.DataFrame, expressions: Sequence[Sequence[pl.Expr]] = _ALL_DERIVED) -> pl.DataFrame:
    """``rows`` with the derived features added; ``expressions`` in groups, see `together`.

    A frame of one row is doubled meanwhile: Polars divides a column by a constant by another route if the column
    has a single value, and the two differ in the last bit.
    """
    frame = pl.concat([rows, rows]) if rows.height == 1 else rows
    for group in expressions:
        frame = frame.with_columns_seq(group) if rows.height <= FEW_ROWS else frame.with_columns(group)
    return frame.head(rows.height)


def uncomputable(transactions: pl.DataFrame) -> dict[str, str]:
    """Features that are null on every row since a column they need is null, and that column."""
    empty = {name for name in OPTIONAL_COLUMNS if transactions[name].null_count() == transactions.height}
    return {name: column for name, feature in FEATURES.items() for column in feature.requires[::-1] if column in empty}
