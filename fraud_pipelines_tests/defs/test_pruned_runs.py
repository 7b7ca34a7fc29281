"""Old runs go with their events and files; that a day was materialized, and its figures, stay."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest

from fraud_pipelines.bootstrap import prepare_dagster_home
from fraud_pipelines.defs.pruned_runs import prune_runs, prune_ticks, shrink_databases
from fraud_pipelines.storage.pruned import Pruned, bytes_of

KEY = dg.AssetKey(["raw", "numbers"])
DAYS = ("2026-10-01", "2026-10-02", "2026-10-03")
LATER = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=5)


@dg.asset(
    key=KEY,
    partitions_def=dg.DailyPartitionsDefinition("2026-10-01"),
    check_specs=[dg.AssetCheckSpec("they_are_few", asset=KEY)],
)
def numbers(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg] # Dagster takes no annotation of two outputs
    return dg.MaterializeResult(
        metadata={"rows": 3, "share": 0.5, "table": dg.MetadataValue.md("| long |" * 500)},
        check_results=[dg.AssetCheckResult(passed=True, check_name="they_are_few")],
        data_version=dg.DataVersion(f"data of {context.partition_key}"),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with five runs; each test has a copy."""
    home = tmp_path_factory.mktemp("dagster")
    with mock.patch.dict(os.environ):
        prepare_dagster_home(home)
        with dg.DagsterInstance.get() as instance:
            for day in (*DAYS, DAYS[0]):
                dg.materialize([numbers], instance=instance, partition_key=day)
            by_sensor = {"dagster/sensor_name": "stream_sensor"}
            dg.materialize([numbers], instance=instance, partition_key=DAYS[2], tags=by_sensor)
    return home


@pytest.fixture
def instance(made: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    with mock.patch.dict(os.environ, {"DAGSTER_HOME": str(tmp_path)}), dg.DagsterInstance.get() as found:
        yield found


def prune(instance: dg.DagsterInstance, days: int = 3, stream_days: int = 3, *, dry_run: bool = False) -> list[Pruned]:
    return prune_runs(instance, kept_days=days, kept_stream_days=stream_days, now=LATER, dry_run=dry_run)


def latest(instance: dg.DagsterInstance) -> dict[str, tuple[str, str]]:
    """Day → the data version and the run of its latest materialization."""
    found = {}
    for record in reversed(instance.fetch_materializations(KEY, limit=100).records):
        made = record.asset_materialization
        assert made
        found[made.partition or ""] = ((made.tags or {})["dagster/data_version"], record.run_id)
    return found


def test_old_runs_go_and_their_days_stay_materialized_with_figures_alone(instance: dg.DagsterInstance) -> None:
    before, home = latest(instance), Path(instance.root_directory)
    size = bytes_of(home / "history")
    would = prune(instance, dry_run=True)
    assert latest(instance) == before
    assert instance.get_runs_count() == 5

    done = prune(instance)
    shrink_databases(instance)

    assert [each.count for each in done] == [each.count for each in would] == [4, 1]
    assert instance.get_runs_count() == 0
    assert latest(instance) == before
    assert instance.get_materialized_partitions(KEY) == set(DAYS)
    for record in instance.fetch_materializations(KEY, limit=100).records:
        made = record.asset_materialization
        assert made
        assert {name: value.value for name, value in made.metadata.items()} == {"rows": 3, "share": 0.5}
    assert list((home / "history" / "runs").glob("*-*.db")) == []
    assert list((home / "storage").iterdir()) == []
    assert bytes_of(home / "history") < size
    assert [each.count for each in prune(instance)] == [0, 0]
    assert dg.materialize([numbers], instance=instance, partition_key=DAYS[1]).success


def test_runs_of_sensors_have_a_limit_of_their_own(instance: dg.DagsterInstance) -> None:
    assert [each.count for each in prune(instance, days=60, stream_days=2)] == [0, 1]
    assert [each.count for each in prune(instance, days=60, stream_days=60)] == [0, 0]
    assert len(instance.fetch_materializations(KEY, limit=100).records) == 5


def test_a_run_that_has_not_ended_stays(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(
        dg.Definitions([numbers]).resolve_implicit_global_asset_job_def(), tags={"dagster/partition": DAYS[0]}
    )
    prune(instance)
    assert [each.run_id for each in instance.get_runs()] == [run.run_id]


def test_what_dies_half_way_is_gone_on_with(instance: dg.DagsterInstance) -> None:
    before = latest(instance)
    dies = mock.patch.object(
        instance.compute_log_manager, "delete_logs", side_effect=[None, KeyboardInterrupt], autospec=True
    )
    with dies, pytest.raises(KeyboardInterrupt):
        prune(instance)
    assert latest(instance) == before
    assert sum(each.count for each in prune(instance)) == 4
    assert latest(instance) == before
    assert instance.get_runs_count() == 0


def test_old_ticks_go(instance: dg.DagsterInstance) -> None:
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus

    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__"), "looking"
    )
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    instance.add_instigator_state(state)
    for age in (1, 20):
        instance.create_tick(
            TickData(
                origin.get_id(),
                "looking",
                InstigatorType.SENSOR,
                TickStatus.SUCCESS,
                (LATER - timedelta(days=age)).replace(tzinfo=UTC).timestamp(),
                run_ids=[],
                selector_id=state.selector_id,
            )
        )
    assert prune_ticks(instance, kept_days=7, now=LATER, dry_run=True).count == 1
    assert prune_ticks(instance, kept_days=7, now=LATER, dry_run=False).count == 1
    assert prune_ticks(instance, kept_days=7, now=LATER, dry_run=False).count == 0
    assert len(instance.get_ticks(origin.get_id(), state.selector_id)) == 1
