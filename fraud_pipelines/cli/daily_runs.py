"""Launches the daily job through Dagster in this process, one partition after another."""

import os
import socket
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Self

import dagster as dg

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.integrity import count_rows
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.landing_zone import pending_files

JOB_NAME = "fraud_daily_job"
PROCESS_TAG = "fraud_pipelines/process"
QUIET_LOGS = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class DayRun:
    """How one day went: the id of its Dagster run, and what a person should know when it failed."""

    day: date
    run_id: str
    failure: str | None


class DailyRuns:
    """Runs ``fraud_daily_job`` for single days. Use as a context manager.

    The runs are ordinary partitioned runs of the instance, and show in the Dagster UI like any other.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __enter__(self) -> Self:
        from fraud_pipelines.decisions.configuration import policy_in_force, rules_in_force
        from fraud_pipelines.definitions import defs
        from fraud_pipelines.transactions.landing import first_transaction_day

        policy_in_force(self.settings)
        rules_in_force(self.settings)
        self._warehouse = Warehouse(self.settings.warehouse_path, wait_seconds=self.settings.warehouse_wait_seconds)
        first = first_transaction_day(self._warehouse)
        if first:
            self.settings.note_first_day(first)
        self._instance = dg.DagsterInstance.get()
        self._job = defs().resolve_job_def(JOB_NAME)
        self._close_abandoned_runs()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._instance.dispose()

    def is_done(self, day: date) -> bool:
        """Whether a run of ``day`` has succeeded, and left its thresholds in this warehouse."""
        tuned = self._warehouse.read(
            "SELECT count(*) FROM monitoring.decision_thresholds WHERE effective_date = ?", [day + timedelta(days=1)]
        ).item()
        succeeded = dg.RunsFilter(
            job_name=JOB_NAME,
            tags={"dagster/partition": day.isoformat()},
            statuses=[dg.DagsterRunStatus.SUCCESS],
        )
        return bool(tuned) and bool(self._instance.get_runs(succeeded, limit=1))

    def check_day(self, day: date) -> None:
        """Raise :class:`InvalidInput` where ``day`` is no partition."""
        first = self.settings.first_partition
        if day < first:
            raise InvalidInput(
                f"{day} lies before the first partition, {first}. Import transactions of that day first "
                "(fraud-pipelines import), or set FRAUD_FIRST_DAY."
            )
        if day >= datetime.now(UTC).date():
            raise InvalidInput(f"{day} has not ended yet (days are in UTC): a day can be run once it is over.")

    def has_no_input(self, day: date) -> bool:
        """Whether no transactions are stored for ``day``, and no file waits that could hold some."""
        if pending_files(self.settings.landing_transactions):
            return False
        with self._warehouse.connect(read_only=True) as connection:
            return count_rows(connection, "raw.transactions", event_date=day) == 0

    def run(self, day: date) -> DayRun:
        """Materialize every daily asset of ``day``."""
        self.check_day(day)
        try:
            result = self._job.execute_in_process(
                partition_key=day.isoformat(),
                instance=self._instance,
                run_config=QUIET_LOGS,
                tags={PROCESS_TAG: _this_process()},
                raise_on_error=False,
            )
        except dg.DagsterExecutionInterruptedError as interrupted:
            raise KeyboardInterrupt from interrupted
        return DayRun(day=day, run_id=result.run_id, failure=None if result.success else _failure_of(result))

    def _close_abandoned_runs(self) -> None:
        """Mark runs whose process was killed as failed; Dagster would show them as running for ever."""
        unfinished = dg.RunsFilter(job_name=JOB_NAME, statuses=[dg.DagsterRunStatus.STARTED])
        for run in self._instance.get_runs(unfinished):
            host, _, pid = run.tags.get(PROCESS_TAG, "").rpartition(":")
            if host == socket.gethostname() and not _is_alive(int(pid)):
                self._instance.report_run_failed(run, "The process that ran it has ended. Run the day again.")
                # Where the instance counts pools by step, a dead run would hold its slot for ever.
                self._instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def days_between(first: date, last: date) -> list[date]:
    """Every day from ``first`` to ``last``, both included.

    Raises:
        InvalidInput: ``last`` lies before ``first``.
    """
    if last < first:
        raise InvalidInput(f"--to {last} lies before --from {first}")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The message of the first step that failed, and the checks that blocked."""
    messages = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            metadata = data.user_failure_data
            cause = metadata.description if metadata and metadata.description else data.error_display_string
            messages.append(f"{event.step_key}: {cause}")
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.blocking:
            messages.append(f"check {evaluation.asset_key.to_user_string()}: {evaluation.check_name} failed")
    return "\n".join(messages) or "the run failed; its log in the Dagster UI says why"
