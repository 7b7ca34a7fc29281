"""All features of a set of transactions, given what was kept of those before them."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.arrays import Columns
from fraud_pipelines.features.feature_plan import FeaturePlan, feature_plan
from fraud_pipelines.features.fold import fold_piece, to_series
from fraud_pipelines.features.history import Histories, History
from fraud_pipelines.features.keys import key_columns
from fraud_pipelines.features.known_labels import LabelLookup
from fraud_pipelines.features.label_events import LabelEvents, with_label_features
from fraud_pipelines.features.ordering import EntityChunk, EntityRows, in_time
from fraud_pipelines.features.population import (
    COUNTS,
    POPULATION,
    MovingPopulation,
    Population,
    beside,
    counted,
)
from fraud_pipelines.features.program import EntityProgram
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.transactions.kinds import refunds_in

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
T = TypeVar("T")

SHARD_ROWS: Final = 122_880
"""Rows whose features are computed at a time, by one core; as many as DuckDB stores together, in a row group."""

KEY_COLUMNS: Final = ("transaction_id", "user_id", "timestamp")
"""Columns of a transaction that are columns of the feature table, too."""


def worker_count() -> int:
    """As many threads as Polars has: one a core, unless POLARS_MAX_THREADS says otherwise.

    Not a constant: to ask starts the threads, and a process that is forked later waits for them for ever.
    """
    return pl.thread_pool_size()


def compute_features(
    transactions: pl.DataFrame,
    histories: Histories | None = None,
    past: LabelEvents | None = None,
    *,
    plan: Plan | None = None,
) -> tuple[pl.DataFrame, dict[str, History]]:
    """Features of ``transactions``, and the histories with them folded in.

    It makes no difference, to the bit, whether transactions come at once or in any number of calls that pass the
    histories on, as long as no entity's transaction precedes, in (timestamp, transaction_id), one folded earlier.

    Args:
        transactions: at least the required transaction columns; a missing optional one counts as unknown.
        histories: of earlier transactions, by the entity's name; none for the first ones.
        past: earlier transactions and their labels, for the features from labels; none without labels.
        plan: what is declared; what ships by default.

    Returns:
        A frame with the columns of ``features.transaction_features``, sorted by (user_id, timestamp,
        transaction_id), and the histories of all entities and of the population. A refund has no row in it.

    Raises:
        InvalidInput: a required column is missing or a column is of another type, or a required value is null, or a
            number is not finite or beyond its bounds.
    """
    compiled = feature_plan(plan or shipped_plan())
    before = {each.entity.name: History.empty(each) for each in compiled.programs} | dict(histories or {})
    population = before.pop(POPULATION, Population.nothing())
    prepared = prepare(transactions, compiled, population)
    features, changed = fold_rows(prepared, before, past or LabelEvents.nothing(compiled.plan.entities))
    after = {name: before[name].updated(history) for name, history in changed.items()}
    return features, after | {POPULATION: Population.of_counts([population.frame, prepared.counts])}


@dataclass(frozen=True)
class Prepared:
    """Transactions ready to be folded: checked, and their order found; ``runs`` are by the entity's name.

    ``columns`` hold what is usual among all payments on each row's day; ``counts`` are what the rows add to that.
    """

    compiled: FeaturePlan
    transactions: pl.DataFrame
    runs: Mapping[str, EntityRows]
    columns: Columns
    counts: pl.DataFrame


def prepare(transactions: pl.DataFrame, compiled: FeaturePlan, population: History | None = None) -> Prepared:
    """Check transactions and find the order to fold them in. They need all required columns, and may have others.

    Args:
        transactions, compiled: what to fold, and how.
        population: counts of the days before those of the transactions (`Population`); none by default.

    Raises:
        InvalidInput: as `compute_features`.
    """
    rows = checked(transactions, compiled.plan)
    order = in_time(rows)
    keys = compiled.keys(rows)
    with ThreadPoolExecutor(max_workers=worker_count()) as workers:
        users = compiled.users.entity.name
        runs = workers.map(lambda name: EntityRows.of(keys[name], order, ascending=name == users), keys)
        columns, counts = columns_and_counts(rows, compiled, population)
        return Prepared(compiled, rows, dict(zip(keys, runs, strict=True)), columns, counts)


def columns_and_counts(
    rows: pl.DataFrame, compiled: FeaturePlan, population: History | None
) -> tuple[Columns, pl.DataFrame]:
    """What the folds read of checked ``rows``, what is usual on their days included; and what they add to that."""
    columns = compiled.columns(rows)
    counts = counts_of(rows, compiled, columns)
    return with_usual(rows, compiled, columns, counts, MovingPopulation(population)), counts


def counts_of(rows: pl.DataFrame, compiled: FeaturePlan, columns: Columns) -> pl.DataFrame:
    """What the payments among ``rows`` add to the population's counts."""
    refunds = refunds_in(rows)
    payments = None if refunds is None else ~refunds.to_numpy()
    found = [pl.DataFrame(schema=COUNTS)]
    for each in compiled.measured:
        mask = None if each.where is None else columns.masks[each.where]
        if payments is not None:
            mask = payments if mask is None else mask & payments
        found.append(counted(rows, each, columns.values[each.column], mask))
    return pl.concat(found)


def with_usual(
    rows: pl.DataFrame, compiled: FeaturePlan, columns: Columns, counts: pl.DataFrame, population: MovingPopulation
) -> Columns:
    """``columns``, and beside them what is usual among all payments on each row's day.

    Args:
        rows, compiled, columns: the rows, and what the folds read of them.
        counts: what the rows add to the population, see `counts_of`.
        population: of the days before; the counts are added to it.
    """
    if not compiled.measured:
        return columns
    by_day = {}
    added = {day: of_day for (day,), of_day in counts.group_by("event_date")}
    for day in rows["timestamp"].dt.date().unique().sort():
        by_day[day] = population.figures(day)
        if day in added:
            population.add(added[day])
    return columns._replace(values={**columns.values, **beside(rows, compiled.measured, by_day)})


def checked(transactions: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """All transaction columns, with their types; null where they are missing.

    Raises:
        InvalidInput: as `compute_features`.
    """
    types = plan.attribute_types
    missing = [each.name for each in plan.attributes if each.required and each.name not in transactions.columns]
    if missing:
        raise InvalidInput(f"transactions lack the columns {missing}; a column mapping can supply them")
    for each in plan.attributes:
        if each.name not in transactions.columns:
            continue
        values = transactions[each.name]
        if values.dtype not in (types[each.name], pl.Null()):
            raise InvalidInput(f"transactions.{each.name} is {values.dtype}, expected {types[each.name]}")
        if each.required and values.null_count():
            raise InvalidInput(f"transactions.{each.name} holds nulls; validate the transactions first")
        low = -math.inf if each.minimum is None else each.minimum
        if values.dtype.is_float() and not (values.is_finite() & (values >= low)).fill_null(value=True).all():
            wrong = "negative or non-finite values" if low == 0 else f"values that are not finite or below {low:g}"
            raise InvalidInput(f"transactions.{each.name} holds {wrong}; validate the transactions first")
    return transactions.select(
        (pl.col(name) if name in transactions.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in types.items()
    ).rechunk()  # to take rows out of several chunks takes ten times as long


def fold_rows(
    prepared: Prepared, histories: Histories, past: LabelEvents, *, unknown: Collection[str] = ()
) -> tuple[pl.DataFrame, dict[str, History]]:
    """Features of transactions, and the new state of those entities only that occur in them.

    Args:
        unknown: features that are null throughout, since too little of the past is known.
    """
    changed: dict[str, History] = {}
    features = pl.concat(list(fold_in_shards(prepared, histories, past, changed)))
    types = prepared.compiled.plan.feature_types
    return features.with_columns(pl.lit(None, types[name]).alias(name) for name in unknown), changed


def fold_in_shards(
    prepared: Prepared,
    histories: Histories,
    past: LabelEvents,
    changed: dict[str, History],
    *,
    shard_rows: int = SHARD_ROWS,
) -> Iterator[pl.DataFrame]:
    """`fold_rows` in pieces of whole users, so that many rows need neither one core nor room for all features at once.

    Args:
        changed: filled, by the time the last piece has been taken, with the new state of the entities in ``prepared``.
        shard_rows: rows of a piece, at most, unless one user has more.
    """
    compiled, runs, columns = prepared.compiled, prepared.runs, prepared.columns
    rows = transactions_read(prepared.transactions, compiled)
    del prepared  # and with it, unless the caller holds it, the columns that are read no more
    timestamp = rows["timestamp"].to_physical().to_numpy()
    lookups = [
        (
            LabelLookup.of(entity, past, pl.DataFrame(key_columns(runs[entity.name].keys.alias("key"), entity.key))),
            runs[entity.name].codes,
        )
        for entity in with_label_features(compiled.plan.entities)
    ]
    others = [each for each in compiled.programs if each is not compiled.users]
    beside = fold_others(others, columns, timestamp, runs, histories, changed, shard_rows=shard_rows)
    users = runs[compiled.users.entity.name]
    yield from fold_users(compiled, rows, columns, users, histories, lookups, beside, changed, shard_rows=shard_rows)


def transactions_read(transactions: pl.DataFrame, compiled: FeaturePlan) -> pl.DataFrame:
    """Of checked transactions, the keys and what expressions read.

    An expression takes a column that is not there for null: to hand on one that is null throughout would cost time.
    """
    plan = compiled.plan
    raw = [n for n in compiled.raw if n in plan.features or transactions[n].null_count() < transactions.height]
    return transactions[list(dict.fromkeys([*KEY_COLUMNS, *raw]))]


class Beside(NamedTuple):
    """Features of entities other than the user, by row, shape (rows, names); NaN for null."""

    names: list[str]
    values: Floats


def fold_others(
    programs: Sequence[EntityProgram],
    columns: Columns,
    timestamp: Ints,
    runs: Mapping[str, EntityRows],
    histories: Histories,
    changed: dict[str, History],
    *,
    shard_rows: int = SHARD_ROWS,
) -> Beside:
    """The features of entities that rows of several users have in common.

    A row's features lie side by side: they are filled by one entity's order, and read by another's.

    Args:
        programs: of the entities.
        columns, timestamp: of all rows; in µs.
        runs: the rows of each entity, by its name.
        histories: as of before the rows, by the entity's name.
        changed: filled with the new states.
        shard_rows: rows that are folded at a time, at most, unless one entity has more.
    """
    names = [name for each in programs for name in each.names]
    values = np.full((timestamp.size, len(names)), np.nan)
    states: dict[str, list[pl.DataFrame]] = {each.entity.name: [] for each in programs}

    def fold_shared(work: tuple[EntityProgram, EntityChunk]) -> History:
        program, piece = work
        found, history = fold_piece(program, columns, timestamp, piece, histories[program.entity.name])
        first = names.index(program.names[0]) if program.names else 0
        values[piece.order, first : first + len(program.names)] = found.T
        return history

    with ThreadPoolExecutor(max_workers=worker_count()) as workers:
        work = [(each, piece) for each in programs for piece in runs[each.entity.name].pieces(shard_rows)]
        for (each, _), history in zip(work, workers.map(fold_shared, work), strict=True):
            states[each.entity.name].append(history.frame)
    changed |= {each.entity.name: History(each, pl.concat(states[each.entity.name])) for each in programs}
    return Beside(names, values)


def fold_users(
    compiled: FeaturePlan,
    transactions: pl.DataFrame,
    columns: Columns,
    users: EntityRows,
    histories: Histories,
    lookups: Sequence[tuple[LabelLookup, NDArray[np.int32]]],
    beside: Beside,
    changed: dict[str, History],
    *,
    shard_rows: int = SHARD_ROWS,
) -> Iterator[pl.DataFrame]:
    """All features of the rows, in pieces of whole users: those of the users themselves, and those given.

    Args:
        compiled: the plan.
        transactions: `transactions_read`.
        columns: what the users' fold reads.
        users: the rows of each user.
        histories: of the users, by the entity's name.
        lookups: the label features to look up, each with the position of each row's entity in its keys.
        beside: features of other entities, by row.
        changed: filled, by the time the last piece has been taken, with the users' new states.
        shard_rows: rows of a piece, at most, unless one user has more.
    """
    program, plan = compiled.users, compiled.plan
    timestamp = transactions["timestamp"].to_physical().to_numpy()
    states: list[pl.DataFrame] = []

    def fold_piece_of_users(piece: EntityChunk) -> tuple[pl.DataFrame, History]:
        values, history = fold_piece(program, columns, timestamp, piece, histories[program.entity.name])
        found = dict(zip(program.names, values, strict=True))
        found |= zip(beside.names, np.ascontiguousarray(beside.values[piece.order].T), strict=True)
        rows = transactions[piece.order].with_columns(event_date=pl.col("timestamp").dt.date())
        instant = timestamp[piece.order]
        for lookup, codes in lookups:
            code = codes[piece.order].astype(np.int64)
            found |= lookup.features(code, code >= 0, instant)
        series = [to_series(name, plan.features[name].dtype, values) for name, values in found.items()]
        return compiled.expressions.on_frame(rows.hstack(series)).select(*plan.feature_types), history

    with ThreadPoolExecutor(max_workers=worker_count()) as workers:
        for features, history in _in_order(workers, fold_piece_of_users, users.pieces(shard_rows)):
            states.append(history.frame)
            yield features
    changed[program.entity.name] = History(program, pl.concat(states))


def _in_order(
    workers: ThreadPoolExecutor, work: Callable[[EntityChunk], T], shards: Iterable[EntityChunk]
) -> Iterator[T]:
    """Results in the order of the shards, of which one more is begun than there are workers."""
    begun: deque[Future[T]] = deque()
    for shard in shards:
        begun.append(workers.submit(work, shard))
        if len(begun) > worker_count():
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def empty_columns(transactions: pl.DataFrame, plan: Plan) -> set[str]:
    """The optional columns that are null on every row."""
    optional = [each.name for each in plan.attributes if not each.required]
    return {name for name in optional if transactions[name].null_count() == transactions.height}


def uncomputable(empty: Collection[str], plan: Plan) -> dict[str, str]:
    """Features that are null on every row since a column they need is null, and that column, one of ``empty``."""
    found = {}
    for name in plan.features:
        read = [column for column in plan.columns_read([name]) if column in empty]
        if read:
            found[name] = read[0]
    return found
