"""A trial's features: those that are stored, and those that the declarations give as they are now.

Each lies in a warehouse of the trial's own, in the tables in which production has them, so that models are planned,
fitted and scored from them by the code that does so every day. Production is only read, a day at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.derivation import derive_day, transactions_to_fold
from fraud_pipelines.features.engine import fold_rows, prepare
from fraud_pipelines.features.feature_plan import FeaturePlan, feature_plan
from fraud_pipelines.features.label_tables import read_label_events
from fraud_pipelines.features.population_tables import read_population
from fraud_pipelines.features.program import EntityProgram
from fraud_pipelines.features.tables import FEATURE_TABLE, create_tables, history_table, read_history
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import (
    Connection,
    add_columns,
    columns_of,
    insert,
    overwrite,
    select,
    table_exists,
)
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.kinds import payments_of
from fraud_pipelines.transactions.tables import add_declared_columns

_RAW: Final = "raw.transactions"
_SCORES: Final = "scoring.transaction_scores"
_LABELS: Final = ("feedback.labels", "feedback.superseded_labels")
_LABELLED_SQL: Final = f"""
    SELECT * FROM {_RAW} WHERE event_date NOT BETWEEN ? AND ?
    AND transaction_id IN (SELECT transaction_id FROM feedback.label_history)
"""
"""How late labels come is told by all of them."""


@dataclass(frozen=True)
class Refold:
    """Why the features with a history are folded anew, and which of them are then taken from that."""

    why: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class TrialFeatures:
    """Both sets of features.

    Attributes:
        present: the warehouse with the features as they are stored.
        candidate: the one with the features as they are declared now.
        days: those that have features, in order.
        rows: transactions on these days.
        new: features that are declared and have no stored value.
        changed: stored features that come out otherwise now → on how many rows.
        refold: None where the stored features with a history were taken over.
    """

    present: Warehouse
    candidate: Warehouse
    days: tuple[date, ...]
    rows: int
    new: tuple[str, ...]
    changed: Mapping[str, int]
    refold: Refold | None


def trial_features(
    production: Warehouse, folder: Path, first: date, last: date, *, plan: Plan, redefined: bool
) -> TrialFeatures:
    """Copy what a trial needs of ``first`` to ``last`` into ``folder``, and compute there what is declared now.

    Features without a history are computed from the stored ones. Those with a history are folded again, from the
    first stored transaction on, only where one of them is new, an entity keeps another history, or they come out
    otherwise on the last day.

    Args:
        plan: what is declared now.
        redefined: whether a model in force learned from features that are declared otherwise now.

    Raises:
        MissingData: no features are stored for any of these days.
    """
    compiled = feature_plan(plan)
    expressions = [each.name for each in plan.expressions]
    with production.connect(read_only=True) as connection:
        days = _days(connection, first, last)
        refold = _refold(connection, compiled, days, redefined=redefined)
        stored = set(columns_of(connection, FEATURE_TABLE))
        labels = {table: select(connection, f"SELECT * FROM {table}") for table in _LABELS}
        labelled = select(connection, _LABELLED_SQL, [days[0], days[-1]])
    present, candidate = (Warehouse(folder / f"{name}.duckdb") for name in ("present", "candidate"))
    for warehouse in (present, candidate):
        warehouse.initialise()
    rows, valued, changed = 0, dict.fromkeys(plan.features, False), dict.fromkeys(plan.features, 0)
    with present.connect() as to_present, candidate.connect() as to_candidate:
        for connection in (to_present, to_candidate):
            add_declared_columns(connection, plan)
            create_tables(connection, plan)
            for table, frame in labels.items():
                insert(connection, table, frame)
        _add(to_present, _RAW, labelled)
        if refold:
            _fold_from_the_beginning(production, candidate, last, plan)
        for day in days:
            before, transactions, scores = _read_day(production, day)
            now = before.drop(expressions, strict=False)
            if refold:
                folded = select(to_candidate, f"SELECT * FROM {FEATURE_TABLE} WHERE event_date = ?", [day])
                now = _replaced(now, folded, refold.names)
            now = _derived(now, transactions, compiled)
            to_candidate.delete(FEATURE_TABLE, "event_date = ?", [day])
            to_candidate.delete(_RAW, "event_date = ?", [day])
            for connection, rows_of_day in ((to_present, before), (to_candidate, now)):
                _add(connection, FEATURE_TABLE, rows_of_day)
                _add(connection, _RAW, transactions)
                _add(connection, _SCORES, scores)
            rows += before.height
            for name in plan.features:
                if name in stored:
                    valued[name] |= before[name].null_count() < before.height
                    changed[name] += _differing(before[name], now[name])
        if refold:
            to_candidate.delete(FEATURE_TABLE, "event_date < ?", [days[0]])
    new = tuple(name for name in plan.features if not valued[name] and (name not in stored or changed[name]))
    return TrialFeatures(
        present=present,
        candidate=candidate,
        days=tuple(days),
        rows=rows,
        new=new,
        changed={name: count for name, count in changed.items() if count and name not in new},
        refold=refold,
    )


def _add(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    """Append rows of production's table to the trial's, with the columns that are there by declaration."""
    add_columns(connection, table, rows.schema)
    insert(connection, table, rows)


def _days(connection: Connection, first: date, last: date) -> list[date]:
    query = f"SELECT DISTINCT event_date FROM {FEATURE_TABLE} WHERE event_date BETWEEN ? AND ? ORDER BY 1"
    days: list[date] = select(connection, query, [first, last]).to_series().to_list()
    if not days:
        raise MissingData(
            f"No features are stored for {first} to {last}. Run these days first: "
            f"fraud-pipelines run --from {first} --to {last}"
        )
    return days


def _refold(connection: Connection, compiled: FeaturePlan, days: Sequence[date], *, redefined: bool) -> Refold | None:
    """Whether the features with a history have to be folded again, and which.

    A column that has no value yet may be new, or of a young production whose windows reach back to nothing: to derive
    the last day again tells.
    """
    stored = set(columns_of(connection, FEATURE_TABLE))
    folded = _folded(compiled.plan)
    names, why = [name for name in folded if name not in stored], []
    if names:
        why.append(f"{_listed(names)} had never been computed")
    outdated = [
        each for each in compiled.programs if _kept_declarations(connection, each, days[-1]) - {each.fingerprint}
    ]
    for each in outdated:
        names += [aggregate.name for aggregate in each.entity.aggregates]
        why.append(f"of each {each.entity.name} another history is kept now")
    empty = _without_values(connection, days, [name for name in folded if name in stored])
    if not outdated and (empty or redefined):
        differing = [name for name in _differing_on(connection, compiled, days[-1]) if redefined or name in empty]
        names += differing
        if differing:
            why.append(f"{_listed(differing)} came out otherwise on {days[-1]}")
    return Refold(" and ".join(why), tuple(dict.fromkeys(names))) if names else None


def _folded(plan: Plan) -> list[str]:
    """The features with a history."""
    return [name for name, feature in plan.features.items() if feature.entity]


def _kept_declarations(connection: Connection, program: EntityProgram, last: date) -> set[str]:
    """Under which declarations the entity's histories up to ``last`` were kept."""
    table = history_table(program.entity)
    if not table_exists(connection, table):
        return set()
    query = f"SELECT DISTINCT declaration FROM {table} WHERE event_date <= ? AND declaration IS NOT NULL"
    return set(select(connection, query, [last]).to_series())


def _without_values(connection: Connection, days: Sequence[date], known: Sequence[str]) -> set[str]:
    """Features with a history whose stored column holds nothing on these days."""
    counts = ", ".join(f'count("{name}")' for name in known)
    query = f"SELECT {counts} FROM {FEATURE_TABLE} WHERE event_date BETWEEN ? AND ?"
    values = select(connection, query, [days[0], days[-1]]).row(0)
    return {name for name, count in zip(known, values, strict=True) if not count}


def _differing_on(connection: Connection, compiled: FeaturePlan, day: date) -> list[str]:
    """Features that come out otherwise than they are stored when the day is derived again from the histories."""
    population = read_population(connection, day - timedelta(days=1))
    prepared = prepare(select(connection, *transactions_to_fold(connection, day, compiled)), compiled, population)
    before = {
        each.entity.name: read_history(connection, each, prepared.runs[each.entity.name].keys, day)
        for each in compiled.programs
    }
    features, _ = fold_rows(
        prepared, before, read_label_events(connection, compiled.plan.entities, day, prepared.transactions)
    )
    stored = select(connection, f"SELECT * FROM {FEATURE_TABLE} WHERE event_date = ?", [day])
    names = [name for name in _folded(compiled.plan) if name in stored.columns]
    now = _replaced(stored, features, names)
    return [name for name in names if _differing(stored[name], now[name])]


def _fold_from_the_beginning(production: Warehouse, candidate: Warehouse, last: date, plan: Plan) -> None:
    """Derive every stored day up to ``last`` in the candidate's warehouse, as the daily run would have."""
    days = production.read(f"SELECT DISTINCT event_date FROM {_RAW} WHERE event_date <= ? ORDER BY 1", [last])
    for day in days.to_series():
        transactions = production.read(f"SELECT * FROM {_RAW} WHERE event_date = ?", [day])
        with candidate.transaction() as connection:
            add_columns(connection, _RAW, transactions.schema)
            overwrite(connection, _RAW, transactions, event_date=day)
        if payments_of(transactions).height:
            derive_day(candidate, day, plan=plan)


def _read_day(production: Warehouse, day: date) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """A day's stored features, the transactions they are of, and the scores these got at the end of the day."""
    with production.connect(read_only=True) as connection:
        features = select(
            connection, f"SELECT * FROM {FEATURE_TABLE} WHERE event_date = ? ORDER BY transaction_id", [day]
        )
        transactions = select(
            connection,
            f"SELECT * FROM {_RAW} WHERE event_date = ? AND transaction_id IN "
            f"(SELECT transaction_id FROM {FEATURE_TABLE} WHERE event_date = ?)",
            [day, day],
        )
        scores = select(connection, f"SELECT * FROM {_SCORES} WHERE event_date = ? AND channel = 'batch'", [day])
    return features, transactions, scores


def _replaced(rows: pl.DataFrame, folded: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """``rows`` with the columns ``names`` of ``folded``, by transaction."""
    return rows.drop(names, strict=False).join(
        folded.select("transaction_id", *names), on="transaction_id", how="left", maintain_order="left"
    )


def _derived(folded: pl.DataFrame, transactions: pl.DataFrame, compiled: FeaturePlan) -> pl.DataFrame:
    """All features as they are declared now, from those with a history and the columns of the transaction."""
    types = compiled.plan.feature_types
    further = [name for name in transactions.columns if name not in folded.columns]
    rows = folded.join(
        transactions.select("transaction_id", *further), on="transaction_id", how="left", maintain_order="left"
    )
    expressions = {each.name for each in compiled.plan.expressions}
    missing = [name for name in types if name not in rows.columns and name not in expressions]
    rows = rows.with_columns(pl.lit(None, dtype=types[name]).alias(name) for name in missing)
    return compiled.expressions.on_frame(rows).select(*types)


def _differing(before: pl.Series, now: pl.Series) -> int:
    """On how many rows two columns aren't equal to the bit."""
    return int(before.ne_missing(now).sum())


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
