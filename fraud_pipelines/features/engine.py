"""All features of a set of transactions, given what was kept of those before them."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Final, TypeVar

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.catalog import FEATURES, table_schema
from fraud_pipelines.features.declarations import ENTITIES, USER
from fraud_pipelines.features.derived import DERIVED, Derived
from fraud_pipelines.features.feedback import Past, feedback_of, happened_to
from fraud_pipelines.features.fold import TIME_RANK, fold_entity
from fraud_pipelines.features.history import Histories, History
from fraud_pipelines.features.ordering import order_by, time_ranks
from fraud_pipelines.transactions.schema import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, TRANSACTION_COLUMNS

T = TypeVar("T")

SHARD_ROWS: Final = 200_000
"""Rows whose features are computed at a time, by one core."""

FEW_ROWS: Final = 10_000
"""Rows for which handing expressions to other threads costs more than it saves."""

WORKERS: Final = os.cpu_count() or 1


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
    """The transactions, checked, complete, with `TIME_RANK`, and sorted by (user_id, timestamp, transaction_id)."""
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
    known = {name: dtype for name, dtype in TRANSACTION_COLUMNS.items() if name in transactions.columns}
    rows = transactions.select(pl.col(name).cast(dtype) for name, dtype in known.items())
    ranks = time_ranks(rows)
    order, _ = order_by(rows["user_id"], ranks)
    unknown = [pl.lit(None, dtype).alias(name) for name, dtype in TRANSACTION_COLUMNS.items() if name not in known]
    return rows.with_columns(pl.Series(TIME_RANK, ranks))[order].with_columns(
        *unknown, event_date=pl.col("timestamp").dt.date()
    )


def fold_rows(rows: pl.DataFrame, histories: Histories, past: Past) -> tuple[pl.DataFrame, dict[str, History]]:
    """Features of `prepare`-d rows, and the new state of those entities only that occur in them."""
    changed: dict[str, History] = {}
    features = pl.concat(list(fold_in_shards(rows, histories, past, changed)))
    return features, changed


def fold_in_shards(
    rows: pl.DataFrame,
    histories: Histories,
    past: Past,
    changed: dict[str, History],
    *,
    shard_rows: int = SHARD_ROWS,
) -> Iterator[pl.DataFrame]:
    """`fold_rows` in pieces of whole users, so that many rows need neither one core nor room for all features at once.

    Args:
        changed: filled, by the time the last piece has been taken, with the new state of the entities in ``rows``.
        shard_rows: rows of a piece, give or take a user's.
    """
    shared = [entity for entity in ENTITIES if entity != USER]

    def fold(bounds: tuple[int, int]) -> tuple[pl.DataFrame, History]:
        shard = complete.slice(bounds[0], bounds[1] - bounds[0])
        series, history = fold_entity(USER, shard, histories[USER.name])
        features = add_derived(shard.with_columns(*series, *feedback_of(shard, happened)))
        return features.select(*table_schema()), history

    happened = happened_to(rows, past)
    users: list[pl.DataFrame] = []
    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        folded = list(workers.map(lambda entity: fold_entity(entity, rows, histories[entity.name]), shared))
        complete = rows.with_columns(column for series, _ in folded for column in series)
        changed |= {entity.name: history for entity, (_, history) in zip(shared, folded, strict=True)}
        for features, history in _in_order(workers, fold, _shards(rows["user_id"], shard_rows)):
            users.append(history.frame)
            yield features
    changed[USER.name] = History(USER, pl.concat(users))


def _shards(users: pl.Series, shard_rows: int) -> list[tuple[int, int]]:
    """Where to cut the sorted ``users`` so that nobody is cut in two."""
    starts = [0]
    while starts[-1] < len(users):
        end = min(starts[-1] + shard_rows, len(users))
        starts.append(int(users.search_sorted(users[end - 1], side="right")))
    return list(pairwise(starts)) or [(0, 0)]


def _in_order(
    workers: ThreadPoolExecutor, work: Callable[[tuple[int, int]], T], shards: Iterable[tuple[int, int]]
) -> Iterator[T]:
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
