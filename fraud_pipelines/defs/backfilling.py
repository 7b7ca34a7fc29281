"""The backfill job: many days in one process, in order, each an ordinary run of its partition."""

import signal
import subprocess
import sys
from datetime import date

import dagster as dg
from pydantic import Field

_STOP_SECONDS = 60.0


class Days(dg.Config):
    """The days to run."""

    first: str = Field(description="The first day, as 2026-11-03.")
    last: str = Field(description="The last day, included.")
    with_earlier: bool = Field(default=False, description="Derive the features of earlier days first that have none.")


@dg.op(description="Runs fraud-pipelines run, which takes its place among the runs that write, day by day.")
def run_days(context: dg.OpExecutionContext, config: Days) -> None:
    try:
        days = [date.fromisoformat(day).isoformat() for day in (config.first, config.last)]
    except ValueError as error:
        raise dg.Failure(f"{error}: write days as 2026-11-03", allow_retries=False) from error
    command = [sys.executable, "-m", "fraud_pipelines.cli", "run", "--from", days[0], "--to", days[1]]
    command += ["--with-earlier"] if config.with_earlier else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            context.log.info(line.rstrip())
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # As Ctrl-C: the day under way is cancelled in Dagster.
        code = process.wait(_STOP_SECONDS)
    if code:
        raise dg.Failure("\n".join(lines[-10:]) or f"fraud-pipelines run ended with {code}", allow_retries=False)


@dg.job(
    name="fraud_backfill_job",
    executor_def=dg.in_process_executor,
    description="Past days in one process, in order. A backfill of fraud_daily_job starts a process for each day.",
)
def fraud_backfill_job() -> None:
    run_days()
