"""What a day costs: CPU, wall time and peak memory of each asset, for a first run and for a rerun.

    python benchmarks/daily.py                                   # 3,000 payments a day, 16 days
    python benchmarks/daily.py --large                           # the day after ten of 1,000,000 payments a day
    python benchmarks/daily.py --days 200 --transactions-per-day 300 --users 150     # is day 200 as cheap as day 30?

Everything lies in a directory of its own. Machines differ by two and more: compare the ratios, to the CPU of fitting
the last day's isolation forest with scikit-learn alone and scoring those rows. Peak memory is the process's,
the simulated truth included; it needs Linux.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import dagster as dg

    from fraud_pipelines.defs.shell_runs import ShellRuns
    from fraud_pipelines.settings import Settings

LARGE: Final = {"days": 11, "transactions_per_day": 1_000_000, "users": 300_000}
TOTAL: Final = "the whole run"


@dataclass(frozen=True)
class Cost:
    """CPU and wall time in seconds, peak memory in bytes."""

    cpu: float
    wall: float
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=16)
    parser.add_argument("--transactions-per-day", type=int, default=3000)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--large", action="store_true", help="eleven days of 1,000,000 payments of 300,000 users")
    parser.add_argument("--directory", type=Path, help="keep the data there; an empty or new one")
    arguments = parser.parse_args()
    wanted = LARGE if arguments.large else {name: getattr(arguments, name) for name in LARGE}
    with tempfile.TemporaryDirectory() as temporary:
        directory = (arguments.directory or Path(temporary)).resolve()
        os.environ.update(FRAUD_DATA_DIR=str(directory), DAGSTER_HOME=str(directory / "dagster"))
        measure(Console(width=100), **wanted)


def measure(console: Console, *, days: int, transactions_per_day: int, users: int) -> None:
    """Simulate and run the days, then the last one again, and print what they cost."""
    from fraud_pipelines.bootstrap import prepare
    from fraud_pipelines.settings import Settings
    from fraud_pipelines.transactions.simulator import SimulationConfig

    first = datetime.now(UTC).date() - timedelta(days=days)
    config = SimulationConfig(first_day=first, days=days, users=users, transactions_per_day=transactions_per_day)
    settings = Settings.from_environment()
    settings.note_first_day(first)
    prepare(settings)
    costs: list[dict[str, Cost]] = []
    with shell_runs() as runs:
        for day in simulated_days(settings, config):
            costs.append(run(runs, day))
            total = costs[-1][TOTAL]
            console.print(f"{day}  {total.cpu:7.1f} CPU s  {total.wall:7.1f} s  {total.peak / 1e9:5.2f} GB")
        again = run(runs, config.last_day)
    forest = forest_seconds(settings, config.last_day)
    show(console, costs[-1], again, forest)
    show_growth(console, [each[TOTAL].cpu for each in costs])


def simulated_days(settings: "Settings", config: object) -> Iterator[date]:
    """Each day, once its transactions and the labels that become known on it wait in the landing zone."""
    from fraud_pipelines.cli.simulation import SimulatedAnswers
    from fraud_pipelines.transactions.simulator import SimulationConfig, simulate_days, write_landing

    assert isinstance(config, SimulationConfig)
    truth: list[pl.DataFrame] = []
    for number, simulated in enumerate(simulate_days(config)):
        day = config.first_day + timedelta(days=number)
        write_landing(simulated, settings.landing_transactions)
        truth.append(simulated.truth)
        SimulatedAnswers(settings, pl.concat(truth)).drop_labels(day)
        yield day


@contextmanager
def shell_runs() -> Iterator["ShellRuns"]:
    """Runs of the daily job in this process, as ``fraud-pipelines run`` makes them."""
    import dagster as dg

    from fraud_pipelines.cli.daily_runs import JOB_NAME
    from fraud_pipelines.definitions import defs
    from fraud_pipelines.defs.shell_runs import ShellRuns

    with dg.DagsterInstance.get() as instance, ShellRuns(instance, defs().resolve_job_def(JOB_NAME)) as runs:
        yield runs


def run(runs: "ShellRuns", day: date) -> dict[str, Cost]:
    """Run a day; the cost of each asset, and of all with what Dagster adds."""
    from fraud_pipelines.cli.daily_runs import QUIET_LOGS

    costs: dict[str, Cost] = {}
    began = step_began = _clocks()
    highest = 0
    for event in runs.execute(runs.create(day.isoformat(), run_config=QUIET_LOGS, tags={})):
        if event.event_type_value == "STEP_START":
            step_began = _clocks()
            _forget_peak()
        elif event.event_type_value == "STEP_SUCCESS":
            ended = _clocks()
            costs[_asset(event)] = Cost(ended[0] - step_began[0], ended[1] - step_began[1], _peak())
            highest = max(highest, _peak())
        elif event.event_type_value == "STEP_FAILURE":
            sys.exit(f"{event.step_key} failed: {event.step_failure_data.error_display_string}")
    ended = _clocks()
    return costs | {TOTAL: Cost(ended[0] - began[0], ended[1] - began[1], highest)}


def forest_seconds(settings: "Settings", day: date) -> float:
    """CPU of scikit-learn fitting the day's isolation forest and scoring its training rows; the best of three."""
    from sklearn.ensemble import IsolationForest

    from fraud_pipelines.detection.default_schema import default_schema
    from fraud_pipelines.detection.detectors.isolation_forest import IsolationForestParameters
    from fraud_pipelines.features.frames import sample_features
    from fraud_pipelines.storage.warehouse import Warehouse

    sample = sample_features(
        Warehouse(settings.warehouse_path),
        day - timedelta(days=settings.training_days),
        day - timedelta(days=1),
        most=settings.training_sample_rows,
    ).rows
    matrix = sample.select(pl.col(*default_schema(sample)[0]).cast(pl.Float64).fill_null(0.0)).to_numpy()
    parameters = IsolationForestParameters()
    seconds = []
    for _ in range(3):
        began = time.process_time()
        forest = IsolationForest(
            n_estimators=parameters.n_estimators, max_samples=min(parameters.max_samples, len(matrix)), random_state=0
        )
        forest.fit(np.ascontiguousarray(matrix)).score_samples(matrix)
        seconds.append(time.process_time() - began)
    return min(seconds)


def show(console: Console, first: dict[str, Cost], again: dict[str, Cost], forest: float) -> None:
    """The last day by asset."""
    table = Table("asset", title="The last day: run for the first time, and again")
    for column in ("CPU s", "wall s", "peak GB", "again CPU s", "wall s", "peak GB"):
        table.add_column(column, justify="right")
    for name, cost in first.items():
        figures = [f"{value:.2f}" for each in (cost, again[name]) for value in (each.cpu, each.wall, each.peak / 1e9)]
        table.add_row(name, *figures, style="bold" if name == TOTAL else "")
    console.print(table)
    console.print(f"Its isolation forest alone, by scikit-learn: {forest:.2f} CPU s.")
    for name, costs in (("first run", first), ("rerun", again)):
        console.print(f"The {name} costs {costs[TOTAL].cpu / forest:.1f} times that.")


def show_growth(console: Console, cpu: list[float]) -> None:
    """Medians of ten days, to tell whether a day grows dearer with what is stored before it."""
    medians = [(start, statistics.median(cpu[start : start + 10])) for start in range(20, len(cpu) - 9, 10)]
    for start, median in medians:
        console.print(f"days {start + 1:3} to {start + 10:3}: {median:.2f} CPU s ({median / medians[0][1]:.2f})")


def _asset(event: "dg.DagsterEvent") -> str:
    return str(event.step_key).replace("__", "/", 1)


def _clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
