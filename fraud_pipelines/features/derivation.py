"""A day's features in the warehouse, from the day's transactions and the histories as of the day before."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.work_folder import work_folder
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.cold_start import Starts, incomplete, starts, write_starts
from fraud_pipelines.features.daily_distributions import forget_distributions
from fraud_pipelines.features.day_in_shards import Query, export_day, fold_day
from fraud_pipelines.features.engine import Prepared, empty_columns, fold_rows, prepare, uncomputable
from fraud_pipelines.features.feature_plan import FeaturePlan, feature_plan
from fraud_pipelines.features.folded_day import FoldedDay
from fraud_pipelines.features.gaps import gaps_before, mark_late_gaps, require_no_gap
from fraud_pipelines.features.history import History
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.features.label_tables import read_label_events
from fraud_pipelines.features.plan_versions import keep_text
from fraud_pipelines.features.population import Population
from fraud_pipelines.features.population_tables import missing_counts, read_population, write_population
from fraud_pipelines.features.tables import FEATURE_TABLE, create_tables, mark_stale, read_history, write_history
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import Connection, columns_of, overwrite, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.days import require_transactions
from fraud_pipelines.transactions.kinds import IS_REFUND_SQL, PAYMENTS


@dataclass(frozen=True)
class DayReport:
    """What `derive_day` did.

    Attributes:
        rows: transactions of the day, each with its features.
        users: distinct users among them.
        new_users: those without an earlier transaction.
        nulls: how many rows have no value, by feature.
        uncomputable: features that are null throughout since a column they need is unknown, and that column.
        cold: features that are null throughout, since their entity has been declared only lately → the first day on
            which they will be complete, None: once they are rebuilt.
        outdated_days: later days marked in ``raw.stale_days``, since their features came from another history.
    """

    day: date
    rows: int
    users: int
    new_users: int
    nulls: dict[str, int]
    uncomputable: dict[str, str]
    cold: dict[str, date | None]
    outdated_days: tuple[date, ...]


def derive_day(warehouse: Warehouse, day: date, *, plan: Plan, engine: Engine | None = None) -> DayReport:
    """Replace the features of ``day``, and the histories as of its end, in one transaction.

    The day starts from the histories as they stood at its beginning, whatever has been derived since.

    Args:
        warehouse, day, plan: what to derive, and how.
        engine: what computes it; this process by default, in memory.

    Raises:
        MissingData: there are no transactions on ``day``, or an earlier day has some and was never derived.
        InvalidInput: the histories were kept for other declarations than those in force.
        ShardFailed: a shard of the day failed.
    """
    return _derive(warehouse, day, feature_plan(plan), engine, gapless=True)


def derive_earlier_days(
    warehouse: Warehouse, day: date, *, plan: Plan, engine: Engine | None = None
) -> Iterator[DayReport]:
    """Derive what `derive_day` of ``day`` misses: the features of each earlier day that has transactions and none.

    Days that were derived from histories which change by that are derived again, so that ``day`` starts from nothing
    outdated. Their scores and decisions still follow from the features before: they stay in ``raw.stale_days``.
    Days are derived in order, each in a transaction of its own.
    """
    with warehouse.connect(read_only=True) as connection:
        waiting = {gap.day for gap in gaps_before(connection, day)}
    while waiting:
        earliest = min(waiting)
        report = _derive(warehouse, earliest, feature_plan(plan), engine)
        waiting.remove(earliest)
        waiting.update(outdated for outdated in report.outdated_days if outdated < day)
        yield report


def cold_entities(warehouse: Warehouse, *, plan: Plan) -> tuple[str, ...]:
    """The entities that don't know all of their past, in the order of the plan.

    Raises:
        MissingData: no features are stored yet.
    """
    compiled = feature_plan(plan)
    with warehouse.connect(read_only=True) as connection:
        last = _derived_days(connection)[-1]
        cold = starts(connection, compiled, last).cold
    return tuple(each.entity.name for each in compiled.programs if each.entity.name in cold)


def _derived_days(connection: Connection) -> list[date]:
    query = f"SELECT DISTINCT event_date FROM {FEATURE_TABLE} ORDER BY 1"
    days: list[date] = select(connection, query).to_series().to_list()
    if not days:
        raise MissingData("No features are stored yet: there is nothing to rebuild.")
    return days


def rebuild(warehouse: Warehouse, *, plan: Plan, engine: Engine | None = None) -> Iterator[DayReport]:
    """Derive every stored day again, from the first on, where an entity has been declared later than that.

    Features of other entities come out as they are stored. Days are derived in order, each in a transaction of its
    own; what is stopped goes on from there. There is nothing to do where all entities know all of their past.

    Raises:
        MissingData: no features are stored yet.
    """
    compiled = feature_plan(plan)
    with warehouse.connect(read_only=True) as connection:
        days = _derived_days(connection)
        found = starts(connection, compiled, days[-1])
    if not found.cold:
        return
    reached = [found.by_entity[name].rebuilt_through for name in found.cold]
    done = None if None in reached else min(day for day in reached if day is not None)
    for day in days:
        if done is None or day > done:
            yield _derive(warehouse, day, compiled, engine, outdates=False)


@dataclass(frozen=True)
class _Known:
    """What is known as a day begins.

    Attributes:
        missing: counts of the population that no earlier day has stored.
        population: all counts of earlier days.
        starts: where the past of each entity begins.
        unknown: features that are null throughout, see `DayReport.cold`.
    """

    missing: pl.DataFrame
    population: Population
    starts: Starts
    unknown: dict[str, date | None]


def _known(connection: Connection, day: date, compiled: FeaturePlan, *, gapless: bool) -> _Known:
    if gapless:
        require_no_gap(connection, day)
    require_transactions(connection, day)
    missing = missing_counts(connection, day, compiled)
    population = read_population(connection, day - timedelta(days=1))
    if not missing.is_empty():
        population = Population.of_counts([population.frame, missing])
    found = starts(connection, compiled, day)
    ready = incomplete(compiled, found)
    unknown = {name: complete for name, complete in ready.items() if complete is None or complete > day}
    return _Known(missing, population, found, unknown)


def _derive(
    warehouse: Warehouse,
    day: date,
    compiled: FeaturePlan,
    engine: Engine | None,
    *,
    gapless: bool = False,
    outdates: bool = True,
) -> DayReport:
    """Derive a day; ``gapless``: only if no earlier one is missing, ``outdates``: and mark what that makes outdated."""
    if engine is None or engine.shards == 1:
        with warehouse.connect(read_only=True) as connection:
            known = _known(connection, day, compiled, gapless=gapless)
            inputs = _read(connection, day, compiled, known)
        return _store(warehouse, day, compiled, known, _folded(*inputs, known, day), outdates=outdates)
    with work_folder(engine) as folder:
        with warehouse.connect(read_only=True) as connection:
            known = _known(connection, day, compiled, gapless=gapless)
            query = transactions_to_fold(connection, day, compiled)
            files = export_day(connection, day, compiled, query, known.population, shards=engine.shards, folder=folder)
        folded = fold_day(engine, files, day, compiled, unknown=tuple(known.unknown), folder=folder)
        return _store(warehouse, day, compiled, known, folded, outdates=outdates)


def _read(
    connection: Connection, day: date, compiled: FeaturePlan, known: _Known
) -> tuple[Prepared, dict[str, History], LabelEvents]:
    """What the features of a day are computed from, in memory."""
    rows = prepare(select(connection, *transactions_to_fold(connection, day, compiled)), compiled, known.population)
    before = {
        each.entity.name: read_history(connection, each, rows.runs[each.entity.name].keys, day)
        for each in compiled.programs
    }
    return rows, before, read_label_events(connection, compiled.plan.entities, day, rows.transactions)


def _folded(rows: Prepared, before: dict[str, History], past: LabelEvents, known: _Known, day: date) -> FoldedDay:
    """The day's features, computed in memory."""
    plan = rows.compiled.plan
    features, after = fold_rows(rows, before, past, unknown=known.unknown)
    return FoldedDay(
        features=features,
        histories={name: history.frame.with_columns(event_date=pl.lit(day)) for name, history in after.items()},
        counts=rows.counts,
        rows=features.height,
        users=len(after["user"]),
        new_users=len(after["user"]) - len(before["user"]),
        nulls=features.select(pl.col(name).null_count() for name in plan.features).row(0, named=True),
        empty=empty_columns(rows.transactions, plan),
    )


def _store(
    warehouse: Warehouse, day: date, compiled: FeaturePlan, known: _Known, folded: FoldedDay, *, outdates: bool
) -> DayReport:
    plan = compiled.plan
    with warehouse.transaction() as connection:
        create_tables(connection, plan)
        overwrite(connection, FEATURE_TABLE, folded.features, event_date=day)
        forget_distributions(connection, [day])
        found = [write_history(connection, each, folded.histories[each.entity.name], day) for each in compiled.programs]
        found.append(write_population(connection, folded.counts, known.missing, day))
        outdated = sorted({late for days in found for late in days})
        write_starts(connection, compiled, known.starts)
        overwrite(connection, "features.derived_days", _derived_by(plan, day), event_date=day)
        keep_text(connection, plan)
        if outdates:
            mark_stale(connection, outdated, f"history changed by a rerun of {day}")
        mark_late_gaps(connection, day)
    return DayReport(
        day=day,
        rows=folded.rows,
        users=folded.users,
        new_users=folded.new_users,
        nulls=folded.nulls,
        uncomputable={
            name: column
            for name, column in uncomputable(folded.empty, plan).items()
            if folded.nulls[name] == folded.rows and name not in known.unknown
        },
        cold=known.unknown,
        outdated_days=tuple(outdated),
    )


def _derived_by(plan: Plan, day: date) -> pl.DataFrame:
    return pl.DataFrame({"event_date": [day], "plan_version": [plan.version]})


def transactions_to_fold(connection: Connection, day: date, compiled: FeaturePlan) -> Query:
    """The query for the payments of ``day``; where an aggregate sees refunds, also for those since the last earlier day
    with payments."""
    stored = columns_of(connection, "raw.transactions")
    columns = ", ".join(f'"{name}"' for name in compiled.plan.attribute_types if name in stored)
    condition = f"event_date = $day AND NOT {IS_REFUND_SQL}"
    if compiled.sees_refunds:
        condition = f"""
            event_date = $day OR (event_date < $day AND {IS_REFUND_SQL} AND event_date > coalesce(
                (SELECT max(event_date) FROM {PAYMENTS} WHERE event_date < $day), DATE '0001-01-01'))
        """
    return Query(f"SELECT {columns} FROM raw.transactions WHERE {condition}", {"day": day})
