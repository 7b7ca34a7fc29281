"""Alerts in Dagster: a failed run reaches the webhook with its cause, and the webhook's address stays unseen."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus
from dagster_shared.error import SerializableErrorInfo

from fraud_pipelines.defs.monitoring.sensors import failed_run_alert_sensor, failed_tick_alert_sensor
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines_tests.decisions.webhooks import SECRET, webhook


@dg.op
def fails_on_purpose() -> None:
    raise dg.Failure(description="no transactions of 2026-10-01: deliver them")


@dg.op
def breaks() -> None:
    raise ValueError("could not open https://anna:s3cret@example")


@dg.job(executor_def=dg.in_process_executor)
def failing_job() -> None:
    fails_on_purpose()
    breaks()


def run_and_react(tags: dict[str, str]) -> str:
    """Let the daemon's tick find that the job failed, and again from the same cursor, as one that was killed would.

    Returns the id of the run.
    """
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = tick(instance, None)
        done = failing_job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        assert tick(instance, cursor) == tick(instance, cursor) != cursor
        return done.run_id


def tick(instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    """Evaluate the sensor as the daemon does; returns the cursor it left."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, sensor_name=failed_run_alert_sensor.name)
    return failed_run_alert_sensor.evaluate_tick(context).cursor


def test_a_failed_run_becomes_one_alert_that_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = warehouse_at(Settings(data_dir=tmp_path).warehouse_path)
    warehouse.initialise()
    with webhook() as hook:
        monkeypatch.setenv("FRAUD_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("FRAUD_ALERT_WEBHOOK", hook.url)
        run_id = run_and_react({"dagster/partition": "2026-10-01"})

    [text] = hook.texts
    assert text.startswith("failing_job failed for 2026-10-01: ")
    assert "fails_on_purpose: no transactions of 2026-10-01: deliver them" in text
    assert "breaks: ValueError; its log in the Dagster UI says more" in text
    assert "s3cret" not in text
    assert text.endswith(f"Dagster run {run_id}")
    [row] = warehouse.read("FROM monitoring.alerts").rows(named=True)
    assert (row["kind"], row["subject"], row["message"]) == ("failed_run", run_id, text)


def test_a_run_without_a_day_is_told_too_and_so_is_one_that_found_no_warehouse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as hook:
        monkeypatch.setenv("FRAUD_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("FRAUD_ALERT_WEBHOOK", hook.url)
        run_and_react({"dagster/partition": "not-a-day"})
    assert hook.texts
    assert hook.texts[0].startswith("failing_job failed: ")


def test_the_address_of_the_webhook_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_ALERT_WEBHOOK", f"https://hooks.example/{SECRET}")
    settings = Settings.from_environment()
    assert settings.alert_webhook.get_secret_value().endswith(SECRET)
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert SECRET not in shown


def test_a_sensor_that_fails_becomes_one_alert_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_DATA_DIR", str(tmp_path))
    warehouse = warehouse_at(Settings(data_dir=tmp_path).warehouse_path)
    warehouse.initialise()
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__"), "looking_sensor"
    )
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    error = SerializableErrorInfo("could not open https://anna:s3cret@example", [], "ConnectionError")
    now = datetime.now(UTC).timestamp()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_instigator_state(state)
        for status, ago in ((TickStatus.FAILURE, 90), (TickStatus.FAILURE, 60), (TickStatus.SUCCESS, 30)):
            failure = error if status == TickStatus.FAILURE else None
            instance.create_tick(
                TickData(
                    origin.get_id(),
                    "looking_sensor",
                    InstigatorType.SENSOR,
                    status,
                    now - ago,
                    run_ids=[],
                    error=failure,
                    selector_id=state.selector_id,
                )
            )
        cursor = None
        for _ in range(2):
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            done = failed_tick_alert_sensor(context)
            assert isinstance(done, dg.SensorResult)
            cursor = done.cursor
    told = warehouse.read("SELECT kind, message FROM monitoring.alerts").rows()
    days = {datetime.fromtimestamp(now - ago, UTC).date() for ago in (90, 60)}
    assert len(told) == len(days)
    assert set(told) == {
        (
            "failed_tick",
            "looking_sensor failed, and started nothing: ConnectionError; its ticks in the Dagster UI say more",
        )
    }
