"""Launches the daily job through Dagster in this process, one partition after another."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self

import dagster as dg

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.defs.keys import COMMAND_TAG
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.transactions.landing import days_with_transactions
from fraud_pipelines.transactions.waiting import look_into

JOB_NAME = "fraud_daily_job"
QUIET_LOGS = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class DayRun:
    """How one day went.

    Attributes:
        day: the partition.
        run_id: its run in Dagster.
        failure: what a person should know when it failed; None where it succeeded.
        seconds: how long it took.
        decisions: how many payments got each decision (``approve``, ``review``, ``block``), as far as it came.
    """

    day: date
    run_id: str
    failure: str | None
    seconds: float
    decisions: Mapping[str, int]

    def __str__(self) -> str:
        payments, blocked = sum(self.decisions.values()), self.decisions.get("block", 0)
        alerts = blocked + self.decisions.get("review", 0)
        return f"{self.day}  {payments:,} payments, {alerts:,} alerts, {blocked:,} blocked  ({self.seconds:.0f} s)"


class DailyRuns:
    """Runs ``fraud_daily_job`` for single days. Use as a context manager.

    The runs are ordinary partitioned runs of the code location, and show in the Dagster UI like any other.

    Args:
        settings: where the data lies.
        command: what was called in the shell; a tag of each run says so.
        tell: prints a line for whoever waits, such as that a step waits before it is tried again.
    """

    def __init__(self, settings: Settings, *, command: str, tell: Callable[[str], None]) -> None:
        self.settings = settings
        self._command = command
        self._tell = tell
        self._days_with_transactions: set[date] = set()

    def __enter__(self) -> Self:
        from fraud_pipelines.decisions.configuration import policy_in_force, rules_in_force
        from fraud_pipelines.definitions import defs
        from fraud_pipelines.defs.abandoned_runs import RunNote, close_abandoned_runs
        from fraud_pipelines.defs.shell_runs import ShellRuns
        from fraud_pipelines.transactions.landing import first_transaction_day

        policy_in_force(self.settings)
        rules_in_force(self.settings)
        self._warehouse = live_warehouse(self.settings)
        first = first_transaction_day(self._warehouse)
        if first:
            self.settings.note_first_day(first)
        with ExitStack() as stack:
            self._instance = stack.enter_context(dg.DagsterInstance.get())
            close_abandoned_runs(self._instance)
            self._note = stack.enter_context(RunNote(self._instance))
            self._runs = stack.enter_context(
                ShellRuns(self._instance, defs().resolve_job_def(JOB_NAME), tell=self._tell)
            )
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

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

    def require_no_gap(self, day: date) -> None:
        """Raise :class:`MissingData` where features of earlier days are missing, before anything is run."""
        from fraud_pipelines.features.gaps import require_no_gap

        with self._warehouse.connect(read_only=True) as connection:
            require_no_gap(connection, day)

    def derive_earlier_days(self, day: date) -> Iterator[date]:
        """Take in the files that wait, and derive the features of the earlier days that have none; gives each day."""
        from fraud_pipelines.defs.features.assets import derived_day
        from fraud_pipelines.features.derivation import derive_earlier_days
        from fraud_pipelines.transactions.currency import take_in_rates
        from fraud_pipelines.transactions.landing import land_pending_transactions

        take_in_rates(
            self._warehouse,
            base=self.settings.base_currency,
            rates_file=self.settings.rates_file,
            landing=self.settings.landing_rates,
        )
        landed = land_pending_transactions(
            self._warehouse,
            self.settings.landing_transactions,
            clock=lambda: datetime.now(UTC).replace(tzinfo=None),
            skew=self.settings.clock_skew,
            max_age_years=self.settings.max_age_years,
            attributes=plan_in_force(self.settings).attributes,
        )
        landed.require_usable()
        for report in derive_earlier_days(self._warehouse, day, plan=plan_in_force(self.settings)):
            self._instance.report_runless_asset_event(derived_day(report.day, report.rows))
            yield report.day

    def has_no_input(self, day: date) -> bool:
        """Whether no transactions are stored for ``day``, and no file waits that could hold some."""
        if day in self._days_with_transactions or look_into(self.settings.landing_transactions).files:
            return False
        self._days_with_transactions = set(days_with_transactions(self._warehouse))
        return day not in self._days_with_transactions

    def run(self, day: date) -> DayRun:
        """Materialize every daily asset of ``day``.

        Raises:
            InvalidInput: ``day`` is no partition.
            KeyboardInterrupt: Ctrl-C; in Dagster the run is cancelled.
        """
        from fraud_pipelines.defs.shell_runs import RunCancelled

        self.check_day(day)
        began = time.monotonic()
        run = self._runs.create(day.isoformat(), run_config=QUIET_LOGS, tags={COMMAND_TAG: self._command})
        self._note.note(run.run_id)
        failures: list[str] = []
        decisions: dict[str, int] = {}
        succeeded = False
        try:
            for event in self._runs.execute(run):
                failures += _failures_of(event)
                decisions |= _decisions_of(event)
                succeeded |= event.event_type == dg.DagsterEventType.RUN_SUCCESS
                if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY:
                    self._tell(f"{day} waits: {_retry_of(event)}")
        except RunCancelled:
            failures = ["the run was cancelled in Dagster"]
        failure = None if succeeded else "\n".join(failures) or "the run failed; its log in the Dagster UI says why"
        return DayRun(day, run.run_id, failure, time.monotonic() - began, decisions)


def days_between(first: date, last: date) -> list[date]:
    """Every day from ``first`` to ``last``, both included.

    Raises:
        InvalidInput: ``last`` lies before ``first``.
    """
    if last < first:
        raise InvalidInput(f"--to {last} lies before --from {first}")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _failures_of(event: dg.DagsterEvent) -> list[str]:
    """What ``event`` says about why a run failed: the message of a step, or of a check that blocks."""
    if event.is_step_failure:
        data = event.step_failure_data
        metadata = data.user_failure_data
        cause = metadata.description if metadata and metadata.description else data.error_display_string
        return [f"{event.step_key}: {cause}"]
    if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        check = event.asset_check_evaluation_data
        if check.blocking and not check.passed:
            return [f"check {check.asset_key.to_user_string()}: {check.check_name} failed"]
    return []


def _decisions_of(event: dg.DagsterEvent) -> dict[str, int]:
    """How many payments got each decision, where ``event`` says that they have been decided."""
    from fraud_pipelines.defs.keys import DECISIONS

    if event.event_type != dg.DagsterEventType.ASSET_MATERIALIZATION or event.asset_key != DECISIONS:
        return {}
    metadata = event.step_materialization_data.materialization.metadata
    return {name: int(str(metadata[name].value)) for name in ("approve", "review", "block")}


def _retry_of(event: dg.DagsterEvent) -> str:
    """Why a step is tried again, and when."""
    data = event.step_retry_data
    failure = data.error.cause or data.error
    message = failure.message.strip().partition(": ")[2] or failure.message.strip()
    return f"{event.step_key} is tried again in {data.seconds_to_wait or 0:.0f} s. {message}"
