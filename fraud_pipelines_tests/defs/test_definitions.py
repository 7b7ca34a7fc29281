"""The code location: what a Dagster user finds in it before anything has run."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import CronFreshnessPolicy

LAYERS = {"raw", "features", "models", "scoring", "feedback", "monitoring", "streaming"}
PROCESSED_BATCHES = dg.AssetKey(["streaming", "processed_batches"])
WEEKLY_FIGURES = dg.AssetKey(["monitoring", "weekly_figures"])
NOT_DAILY = {PROCESSED_BATCHES, WEEKLY_FIGURES}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    from fraud_pipelines.definitions import defs

    loaded = defs()
    assert isinstance(loaded, dg.Definitions)
    return loaded


def test_every_asset_is_described_owned_grouped_by_layer_and_partitioned_by_day(definitions: dg.Definitions) -> None:
    specs = list(definitions.resolve_all_asset_specs())

    assert len(specs) >= 11
    for spec in specs:
        layer, noun = spec.key.path
        assert spec.group_name == layer
        assert layer in LAYERS
        assert spec.description, noun
        assert spec.owners == ["team:fraud"]
        assert spec.kinds
        if spec.key not in NOT_DAILY:
            assert isinstance(spec.partitions_def, dg.DailyPartitionsDefinition)


def test_the_daily_job_holds_every_daily_asset_and_its_checks(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("fraud_daily_job")

    daily = {spec.key for spec in definitions.resolve_all_asset_specs()} - NOT_DAILY
    assert job.asset_layer.executable_asset_keys == daily
    assert len(job.asset_layer.asset_graph.asset_check_keys) >= 9


def test_the_stream_goes_before_the_days_of_a_backfill(definitions: dg.Definitions) -> None:
    daily, stream = (definitions.resolve_job_def(name) for name in ("fraud_daily_job", "stream_screening_job"))

    assert int(stream.tags["dagster/priority"]) > int(daily.tags.get("dagster/priority", "0"))


def test_the_report_of_a_week_is_made_on_the_monday_after_it(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("weekly_report_schedule")

    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 5 * * 1", "UTC")
    job = definitions.resolve_job_def("weekly_report_job")
    assert job.asset_layer.executable_asset_keys == {WEEKLY_FIGURES}
    evaluated = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 11, 23, 5, tzinfo=UTC))
    [request] = schedule.evaluate_tick(evaluated).run_requests or ()
    assert request.partition_key == "2026-11-16"


def test_the_schedule_runs_the_day_that_has_ended_at_half_past_midnight_utc(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("fraud_daily_schedule")

    assert schedule.cron_schedule == "30 0 * * *"
    assert schedule.execution_timezone == "UTC"


def test_a_model_is_trained_on_the_days_before_the_one_it_scores(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for backend in ("isolation_forest", "suod", "ecod"):
        mapping = graph.get_partition_mapping(
            dg.AssetKey(["models", backend]), dg.AssetKey(["features", "transaction_features"])
        )
        assert isinstance(mapping, dg.TimeWindowPartitionMapping)
        assert mapping.end_offset == -1
        assert mapping.start_offset < mapping.end_offset


def test_what_scores_a_day_is_decided_after_its_models_are_trained_and_before_it_is_scored(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()
    promotion = graph.get(dg.AssetKey(["models", "model_promotion"]))
    models = {dg.AssetKey(["models", name]) for name in ("isolation_forest", "suod", "ecod", "supervised")}
    assert models | {promotion.key} <= promotion.parent_keys
    assert promotion.key in graph.get(dg.AssetKey(["scoring", "transaction_scores"])).parent_keys


def test_the_code_location_loads_without_the_heavy_libraries(tmp_path: Path) -> None:
    script = (
        "import sys; from fraud_pipelines.definitions import defs; defs();"
        "heavy = {'mlflow', 'pyod', 'sklearn', 'matplotlib', 'numba'} & set(sys.modules); assert not heavy, heavy"
    )
    environment = os.environ | {"FRAUD_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_password_of_an_mlflow_server_is_no_configuration_that_the_ui_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fraud_pipelines.defs.resources import resources

    uri = "https://analyst:s3cret@mlflow.example"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    configured = resources().resources or {}

    assert "s3cret" not in repr(configured)
    with dg.build_resources({"model_registry": configured["model_registry"]}) as built:
        assert built.model_registry.tracking_uri == uri


def test_every_asset_has_a_version_of_its_code_and_no_two_backends_share_one(definitions: dg.Definitions) -> None:
    versions = {spec.key: spec.code_version for spec in definitions.resolve_all_asset_specs()}

    assert all(version and len(version) == 12 for version in versions.values())
    backends = [dg.AssetKey(["models", name]) for name in ("isolation_forest", "suod", "ecod", "supervised")]
    assert len({versions[key] for key in backends}) == len(backends)


def test_a_daily_asset_is_due_after_its_schedule_and_a_run_since_midnight_counts(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("fraud_daily_schedule")
    for spec in definitions.resolve_all_asset_specs():
        policy = spec.freshness_policy
        if spec.key in NOT_DAILY:
            assert policy is None, "nothing is overdue where nothing streams, nor what is made once a week"
            continue
        assert isinstance(policy, CronFreshnessPolicy)
        minute, hour = (int(part) for part in policy.deadline_cron.split()[:2])
        due = timedelta(hours=hour, minutes=minute)
        minute, hour = (int(part) for part in str(schedule.cron_schedule).split()[:2])
        assert due > timedelta(hours=hour, minutes=minute)
        assert policy.lower_bound_delta == due
