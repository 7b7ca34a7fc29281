"""``fraud-pipelines run``: the daily job for a range of days, with a progress bar."""

from collections.abc import Iterable
from datetime import date

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fraud_pipelines.cli.daily_runs import DailyRuns, days_between
from fraud_pipelines.cli.simulation import SimulatedAnswers
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.errors import FraudPipelinesError
from fraud_pipelines.settings import Settings

console = terminal()


def run_days(settings: Settings, first: date, last: date, *, simulate_labels: bool = False) -> None:
    """Run every day from ``first`` to ``last``, in order; the first failure stops.

    In a range of days, one without transactions is passed over, and named.

    Raises:
        FraudPipelinesError: a day failed; the message names the day, the step and the cause.
    """
    simulated = SimulatedAnswers.read(settings) if simulate_labels else None
    with DailyRuns(settings) as runs:
        days = days_between(first, last)
        for day in (first, last):
            runs.check_day(day)
        for day in track(days, "Running days"):
            if simulated:
                simulated.drop_labels(day)
            if len(days) > 1 and runs.has_no_input(day):
                console.print(f"{day} has no transactions; passed over.")
                continue
            run_day(runs, day)
    console.print(f"Done: {first} to {last}.")


def run_day(runs: DailyRuns, day: date) -> None:
    """Run one day, and raise what made it fail."""
    outcome = runs.run(day)
    if outcome.failure:
        raise FraudPipelinesError(f"{day} failed (Dagster run {outcome.run_id}):\n{outcome.failure}")


def track(days: Iterable[date], text: str) -> Iterable[date]:
    """Iterate with a progress bar that names the day under way."""
    days = list(days)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(text, total=len(days))
        for day in days:
            progress.update(task, description=f"{text} {day}")
            yield day
            progress.advance(task)
