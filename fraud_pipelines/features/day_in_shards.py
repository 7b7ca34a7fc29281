"""A day's features in shards: what the steps of `features.shards` read is written to files, and they are mapped."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple

import polars as pl

from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.features.feature_plan import FeaturePlan
from fraud_pipelines.features.folded_day import FoldedDay
from fraud_pipelines.features.history import History
from fraud_pipelines.features.label_events import with_label_features
from fraud_pipelines.features.label_files import EventFiles, export_events
from fraud_pipelines.features.label_tables import read_label_events_of
from fraud_pipelines.features.population import COUNTS, Population
from fraud_pipelines.features.shards import (
    USER,
    Cut,
    Key,
    OtherShard,
    UserShard,
    cut_by_other_keys,
    fold_other_entities,
    fold_users_of_shard,
    is_users_own,
    other_keys,
    shard_column,
)
from fraud_pipelines.features.tables import export_history
from fraud_pipelines.plan.types import EntityPlan
from fraud_pipelines.storage.connection import Connection, Parameters, select
from fraud_pipelines.storage.row_files import RowFiles, write_rows
from fraud_pipelines.storage.shard_files import export, shard_sql


class Query(NamedTuple):
    """SQL and its parameters."""

    sql: str
    parameters: Parameters


@dataclass(frozen=True)
class DayFiles:
    """What a day is computed from, in files: by shard, the transactions; by the pass or entity, then by shard, the
    histories and the label events. The shards are those of the users, or of the entity's own key.
    """

    transactions: list[RowFiles]
    population: RowFiles
    histories: Mapping[str, list[RowFiles]]
    events: Mapping[str, list[EventFiles]]


def export_day(
    connection: Connection,
    day: date,
    compiled: FeaturePlan,
    transactions: Query,
    population: History,
    *,
    shards: int,
    folder: Path,
) -> DayFiles:
    """Write what the day is computed from.

    Args:
        connection, day, compiled: as in `derivation`.
        transactions: the query for those to fold.
        population: the counts of earlier days.
        shards: how many.
        folder: where to; it exists.

    Raises:
        ShardFailed: the files can't be written.
    """
    further = "".join(f', {shard_sql(key, shards)} AS "{shard_column(key)}"' for key in other_keys(compiled))
    rows = export(
        connection,
        f"SELECT *{further} FROM ({transactions.sql})",
        transactions.parameters,
        key=USER,
        shards=shards,
        folder=folder / "transactions",
    )
    everything = RowFiles.joined(rows)
    met: dict[Key, pl.DataFrame] = {}

    def keys_met(key: Key) -> pl.DataFrame:
        if key not in met:
            met[key] = _distinct(connection, everything, key)
        return met[key]

    histories = {
        each.entity.name: export_history(
            connection,
            each,
            keys_met(each.entity.key),
            day,
            key=_cut_by(each.entity.key),
            shards=shards,
            folder=folder / f"history-{number}",
        )
        for number, each in enumerate(compiled.programs)
    }
    labelled = with_label_features(compiled.plan.entities)
    return DayFiles(
        rows,
        write_rows(population.frame.select(list(COUNTS)), folder / "population.parquet"),
        histories,
        {
            each.name: _export_events(connection, each, day, keys_met(each.key), shards, folder / f"events-{number}")
            for number, each in enumerate(labelled)
        },
    )


def fold_day(
    engine: Engine, files: DayFiles, day: date, compiled: FeaturePlan, *, unknown: tuple[str, ...], folder: Path
) -> FoldedDay:
    """Compute the day's features by the engine, from files into files.

    Args:
        engine: runs the steps.
        files: what they read.
        day, compiled: as in `derivation`.
        unknown: features that are null throughout, since too little of the past is known.
        folder: where to.

    Raises:
        InvalidInput: as `engine.compute_features`.
        ShardFailed: a shard failed.
    """
    plan, shards = compiled.plan, len(files.transactions)
    present = [shard for shard, rows in enumerate(files.transactions) if rows.paths]

    def of_shard(key: Key, shard: int) -> tuple[dict[str, RowFiles], dict[str, EventFiles]]:
        """The histories and events of the entities that are folded in a shard of ``key``."""
        histories = {
            each.entity.name: files.histories[each.entity.name][shard]
            for each in compiled.programs
            if _cut_by(each.entity.key) == key
        }
        events = {
            each.name: files.events[each.name][shard]
            for each in with_label_features(plan.entities)
            if _cut_by(each.key) == key
        }
        return histories, events

    cut = engine.map(
        cut_by_other_keys,
        [Cut(plan, files.transactions[shard], files.population, shards, folder / f"cut-{shard}") for shard in present],
    )
    folded = engine.map(
        fold_other_entities,
        [
            OtherShard(
                plan,
                key,
                shard,
                tuple(each.parts[key] for each in cut),
                *of_shard(key, shard),
                day,
                folder / f"others-{number}-{shard}",
            )
            for number, key in enumerate(other_keys(compiled))
            for shard in range(shards)
        ],
    )
    users = engine.map(
        fold_users_of_shard,
        [
            UserShard(
                plan,
                place,
                files.transactions[shard],
                files.population,
                tuple(each.beside for each in folded),
                *of_shard(USER, shard),
                unknown,
                day,
                folder / f"users-{shard}",
            )
            for place, shard in enumerate(present)
        ],
    )
    written = [done.histories for done in folded] + [done.histories for done in users]
    counts = Population.of_counts(each.counts.select(list(COUNTS)) for each in cut)
    return FoldedDay(
        features=RowFiles.joined(each.features for each in users),
        histories={
            each.entity.name: RowFiles.joined(
                states[each.entity.name] for states in written if each.entity.name in states
            )
            for each in compiled.programs
        },
        counts=counts.frame,
        rows=sum(each.rows for each in users),
        users=sum(each.users for each in users),
        new_users=sum(each.new_users for each in users),
        nulls={name: sum(each.nulls[name] for each in users) for name in plan.features},
        empty=set.intersection(*(each.empty for each in cut)),
    )


def _cut_by(key: Key) -> Key:
    """The columns by which an entity's state is cut: what is a user's own goes with the user."""
    return USER if is_users_own(key) else key


def _distinct(connection: Connection, rows: RowFiles, key: Key) -> pl.DataFrame:
    columns = ", ".join(f'"{column}"' for column in key)
    present = " AND ".join(f'"{column}" IS NOT NULL' for column in key)
    return select(connection, f"SELECT DISTINCT {columns} FROM {rows.sql} WHERE {present}")


def _export_events(
    connection: Connection, entity: EntityPlan, day: date, keys: pl.DataFrame, shards: int, folder: Path
) -> list[EventFiles]:
    folder.mkdir()
    events = read_label_events_of(connection, [entity], day, {entity.name: keys})
    return export_events(connection, entity, events, key=_cut_by(entity.key), shards=shards, folder=folder)
