"""Old runs of Dagster go, with their events and what they printed, and old ticks of schedules and sensors.

Dagster's own ``delete_run`` forgets also that a day was materialized, so that a backfill of what is missing would run
it again. Here that is kept: of each asset and partition the latest materialization, with its figures, which the Plots
tab draws, and without its tables and pictures. Dagster's private names that this needs are in this module alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import dagster as dg
import sqlalchemy as sa
from dagster._core.definitions.events import AssetMaterialization
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import deserialize_value, serialize_value

from fraud_pipelines.defs.abandoned_runs import FINISHED
from fraud_pipelines.storage.pruned import Pruned, bytes_of, shrink_database

_BATCH: Final = 200
_OF_SENSOR: Final = "dagster/sensor_name"
_MATERIALIZATION: Final = "ASSET_MATERIALIZATION"
_FIGURES: Final = (dg.IntMetadataValue, dg.FloatMetadataValue)


def prune_runs(
    instance: dg.DagsterInstance, *, kept_days: int, kept_stream_days: int, now: datetime, dry_run: bool
) -> list[Pruned]:
    """Remove runs that have ended and began more than so many days ago; what a sensor started has a limit of its own.

    A run goes last, after its events: what dies half-way is gone on with the next time.

    Args:
        now: naive UTC.

    Returns:
        Runs of days, and runs that sensors started.
    """
    by_sensor, others = "runs that sensors started", "runs"
    found = []
    for what, days in ((others, kept_days), (by_sensor, kept_stream_days)):
        before = (now - timedelta(days=days)).replace(tzinfo=UTC)
        count = size = 0
        for ids in _ended(instance, before, by_sensor=what == by_sensor):
            count += len(ids)
            size += _remove(instance, ids, dry_run=dry_run)
        found.append(Pruned(what, days, count, size))
    return found


def prune_ticks(instance: dg.DagsterInstance, *, kept_days: int, now: datetime, dry_run: bool) -> Pruned:
    """Remove ticks of schedules and sensors that are older than ``kept_days``."""
    storage = instance.schedule_storage
    before = (now - timedelta(days=kept_days)).replace(tzinfo=UTC).timestamp()
    count = size = 0
    for state in instance.all_instigator_state() if storage else ():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, before=before)
        count, size = count + len(ticks), size + sum(len(serialize_value(tick.tick_data)) for tick in ticks)
        if ticks and not dry_run:
            instance.purge_ticks(state.instigator_origin_id, state.selector_id, before=before)
    return Pruned("ticks", kept_days, count, size)


def shrink_databases(instance: dg.DagsterInstance) -> int:
    """Give back to the disk what is empty in Dagster's own SQLite files; returns how many bytes."""
    home = Path(instance.root_directory)
    names = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
    return sum(shrink_database(home / name) for name in names if (home / name).exists())


def _ended(instance: dg.DagsterInstance, before: datetime, *, by_sensor: bool) -> Iterator[list[str]]:
    """The ids of the runs to remove, some at a time."""
    old = dg.RunsFilter(statuses=list(FINISHED), created_before=before)
    ids: list[str] = []
    cursor: str | None = None
    while page := instance.get_runs(old, cursor=cursor, limit=_BATCH):
        ids += [run.run_id for run in page if (_OF_SENSOR in run.tags) is by_sensor]
        cursor = page[-1].run_id
    # Not before all are known: Dagster goes on from the last run of a page, which has to be there yet.
    yield from (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))


def _remove(instance: dg.DagsterInstance, ids: Sequence[str], *, dry_run: bool) -> int:
    """Remove the runs; how many bytes their events and files take."""
    storage = instance.event_log_storage
    size = sum(bytes_of(*_databases(instance, each), Path(instance.storage_directory()) / each) for each in ids)
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            size += _thin_index(connection, ids, dry_run=dry_run)
    if dry_run:
        return size
    for run_id in ids:
        for path in _databases(instance, run_id):
            path.unlink(missing_ok=True)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.run_storage.delete_run(run_id)
    return size


def _databases(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    """The files of a run's own database, where its events are in SQLite."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return []
    database = Path(storage.path_for_shard(run_id))
    return [database.with_name(database.name + ending) for ending in ("", "-wal", "-shm")]


def _thin_index(connection: sa.Connection, run_ids: Sequence[str], *, dry_run: bool) -> int:
    """Remove the runs' events but for the latest materialization of each partition, which loses what is no figure."""
    events, checks = SqlEventLogStorageTable, AssetCheckExecutionsTable
    latest = {
        row[0]
        for row in connection.execute(
            sa.select(sa.func.max(events.c.id))
            .where(events.c.dagster_event_type == _MATERIALIZATION)
            .group_by(events.c.asset_key, events.c.partition)
        )
    }
    size = 0
    gone: list[int] = []
    thinned: list[dict[str, object]] = []
    of_runs = sa.select(events.c.id, events.c.event).where(events.c.run_id.in_(run_ids))
    for number, event in connection.execute(of_runs).fetchall():
        if number not in latest:
            gone.append(number)
            size += len(event)
        elif (thin := _without_pictures(event)) is not None:
            thinned.append({"number": number, "thin": thin})
            size += len(event) - len(thin)
    newest_checks = sa.select(sa.func.max(checks.c.id)).group_by(checks.c.asset_key, checks.c.check_name)
    old_checks = checks.c.run_id.in_(run_ids) & checks.c.id.not_in(newest_checks)
    of_checks = sa.select(sa.func.coalesce(sa.func.sum(sa.func.length(checks.c.evaluation_event)), 0)).where(old_checks)
    size += int(connection.execute(of_checks).scalar_one())
    if dry_run:
        return size
    for some in _pieces(gone):
        connection.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(some)))
        connection.execute(events.delete().where(events.c.id.in_(some)))
    if thinned:
        connection.execute(
            events.update().where(events.c.id == sa.bindparam("number")).values(event=sa.bindparam("thin")), thinned
        )
    connection.execute(checks.delete().where(old_checks))
    return size


def _pieces(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    return (numbers[start : start + _BATCH] for start in range(0, len(numbers), _BATCH))


def _without_pictures(text: str) -> str | None:
    """The event of a materialization with its figures alone; None where it has nothing else."""
    entry = deserialize_value(text, EventLogEntry)
    event = cast("DagsterEvent", entry.dagster_event)
    data = cast("StepMaterializationData", event.event_specific_data)
    materialization: AssetMaterialization = data.materialization
    metadata = materialization.metadata
    figures: dict[str, Any] = {name: value for name, value in metadata.items() if isinstance(value, _FIGURES)}
    if len(figures) == len(metadata):
        return None
    thin = data._replace(materialization=materialization.with_metadata(figures))
    return serialize_value(entry._replace(dagster_event=event._replace(event_specific_data=thin)))
