"""A run from the shell waits for the runs that write, and a backfill is one process."""

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest

from fraud_pipelines.bootstrap import prepare_dagster_home
from fraud_pipelines.cli.daily_runs import JOB_NAME
from fraud_pipelines.definitions import defs
from fraud_pipelines.defs.backfilling import fraud_backfill_job
from fraud_pipelines.defs.shell_runs import ShellRuns
from fraud_pipelines_tests.conftest import Installation

DAY = (datetime.now(UTC).date() - timedelta(days=2)).isoformat()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    installation = Installation(tmp_path / "data")
    home = installation.settings.dagster_home
    with mock.patch.dict(os.environ, installation.environment | {"DAGSTER_HOME": str(home)}, clear=True):
        prepare_dagster_home(home)
        with dg.DagsterInstance.get() as found:
            yield found


def test_a_run_from_the_shell_waits_for_the_one_under_way(instance: dg.DagsterInstance) -> None:
    job = defs().resolve_job_def(JOB_NAME)
    with ShellRuns(instance, job) as runs:
        other = runs.create(DAY, run_config={}, tags={})
    instance.handle_new_event(_started(other))
    told: list[str] = []
    ended_at: list[float] = []

    def end() -> None:
        while not told:
            time.sleep(0.05)
        instance.report_run_failed(other)
        ended_at.append(time.monotonic())

    ending = threading.Thread(target=end)
    ending.start()
    with ShellRuns(instance, job, tell=told.append) as runs:
        runs.create(DAY, run_config={}, tags={})
        created_at = time.monotonic()
    ending.join()
    assert created_at >= ended_at[0]
    assert told == [f"Waiting for the run {other.run_id} of {JOB_NAME} {DAY}."]


def _started(run: dg.DagsterRun) -> dg.EventLogEntry:
    event = dg.DagsterEvent(event_type_value=dg.DagsterEventType.PIPELINE_START.value, job_name=run.job_name)
    return dg.EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None,
        level="debug",
        user_message="",
        run_id=run.run_id,
        timestamp=time.time(),
        job_name=run.job_name,
        dagster_event=event,
    )


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [("2026-11-09", "2026-11-03", "lies before"), ("yesterday", "2026-11-03", "write days as")],
)
def test_a_backfill_that_can_not_be_run_says_why(
    instance: dg.DagsterInstance, first: str, last: str, message: str
) -> None:
    config = {"ops": {"run_days": {"config": {"first": first, "last": last}}}}
    done = fraud_backfill_job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
    assert not done.success
    [failure] = [event for event in done.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data
    assert message in (failure.step_failure_data.user_failure_data.description or "")
