"""``fraud-pipelines run``: the daily job for a range of days, told by a progress bar or a line a day."""

from collections.abc import Iterable
from datetime import date

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fraud_pipelines.cli.daily_runs import DailyRuns, days_between
from fraud_pipelines.cli.simulation import SimulatedAnswers
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.errors import FraudPipelinesError
from fraud_pipelines.settings import Settings

console = terminal()


def run_days(
    settings: Settings, first: date, last: date, *, simulate_labels: bool = False, with_earlier: bool = False
) -> None:
    """Run every day from ``first`` to ``last``, in order; the first failure stops.

    In a range of days, one without transactions is passed over, and named.

    Args:
        settings: where the data lies.
        first: the first day.
        last: the last day.
        simulate_labels: let the simulated reviewers and banks answer before each day.
        with_earlier: derive the features of the days before ``first`` that have none; without, ``first`` is refused.

    Raises:
        FraudPipelinesError: a day failed; the message names the day, the step and the cause.
    """
    simulated = SimulatedAnswers.read(settings) if simulate_labels else None
    with DailyRuns(settings, command="run", tell=console.print) as runs:
        days = days_between(first, last)
        for day in (first, last):
            runs.check_day(day)
        if with_earlier:
            derive_earlier_days(runs, first)
        runs.require_no_gap(first)
        passed_over = 0
        for day in track(days, "Running days"):
            if simulated:
                simulated.drop_labels(day)
            if len(days) > 1 and runs.has_no_input(day):
                console.print(f"{day} has no transactions; passed over.")
                passed_over += 1
                continue
            run_day(runs, day)
    without = f", {passed_over} without transactions passed over" if passed_over else ""
    console.print(f"Done: {first} to {last}, {len(days) - passed_over} days run{without}.")


def run_day(runs: DailyRuns, day: date) -> None:
    """Run one day, and raise what made it fail. Where nobody sees the progress bar, say what the day found."""
    outcome = runs.run(day)
    if outcome.failure:
        raise FraudPipelinesError(f"{day} failed (Dagster run {outcome.run_id}):\n{outcome.failure}")
    if not console.is_terminal:
        console.print(str(outcome), highlight=False)


def derive_earlier_days(runs: DailyRuns, day: date) -> None:
    """Derive the features of the days before ``day`` that have none, and say which these were."""
    with console.status("Looking for earlier days without features ...") as status:
        derived = []
        for earlier in runs.derive_earlier_days(day):
            derived.append(earlier)
            status.update(f"Derived the features of {earlier}; {day} comes after the days before it ...")
    if derived:
        days = f"{len(derived)} earlier days, {derived[0]} to {derived[-1]}" if len(derived) > 1 else str(derived[0])
        console.print(f"Derived the features of {days}: no models, scores or decisions.")
    else:
        console.print(f"Every day before {day} that has transactions has its features.")


def track(days: Iterable[date], text: str) -> Iterable[date]:
    """Iterate, on a terminal with a progress bar that names the day under way."""
    if not console.is_terminal:
        yield from days
        return
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
