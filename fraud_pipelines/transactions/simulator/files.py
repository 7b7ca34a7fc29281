"""Where a simulation lands: a file a day for the pipeline to take in, and the truth in a place of its own."""

from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.transactions.simulator.config import SimulationConfig
from fraud_pipelines.transactions.simulator.simulation import TRUTH_COLUMNS, Simulation, simulate_days

TRUTH_FILE: Final = "ground_truth.parquet"

_ORDER: Final = ("timestamp", "transaction_id")


def write_landing(simulation: Simulation, landing_folder: Path) -> list[Path]:
    """Write ``YYYY-MM-DD.parquet`` for each day that has transactions, in the order of the days.

    Each file appears whole or not at all; one of the same name is replaced.
    """
    by_day = simulation.transactions.with_columns(event_date=pl.col("timestamp").dt.date()).partition_by(
        "event_date", as_dict=True, include_key=False
    )
    return [_write_aside(by_day[key], landing_folder / f"{key[0]:%Y-%m-%d}.parquet") for key in sorted(by_day)]


def write_truth(simulation: Simulation, folder: Path) -> Path:
    """Write the truth to ``ground_truth.parquet``; ``folder`` is one that the pipeline doesn't read.

    What earlier simulations left there of other days stays.

    Raises:
        InvalidInput: the file that is there is damaged or has other columns.
    """
    days = simulation.truth["event_date"].unique().to_list()
    return _write_aside(
        pl.concat([_truth_apart_from(days, folder), simulation.truth]).sort(_ORDER), folder / TRUTH_FILE
    )


def read_truth(folder: Path) -> pl.DataFrame:
    """``TRUTH_COLUMNS`` of all days simulated in ``folder``, ordered by (timestamp, transaction_id).

    Raises:
        MissingData: there is none.
        InvalidInput: the file is damaged or has other columns.
    """
    path = folder / TRUTH_FILE
    try:
        truth = pl.read_parquet(path)
    except FileNotFoundError as error:
        raise MissingData(f"{path} doesn't exist. Simulate transactions first (fraud-pipelines simulate).") from error
    except pl.exceptions.ComputeError as error:
        raise InvalidInput(f"{path} can't be read as Parquet: {error}. Delete it and simulate again.") from error
    if truth.schema != pl.Schema(TRUTH_COLUMNS):
        raise InvalidInput(f"{path} has other columns than this version writes. Delete it and simulate again.")
    return truth


def write_labels(labels: pl.DataFrame, landing_folder: Path, day: date) -> Path | None:
    """Write what became known on ``day`` to ``YYYY-MM-DD.parquet``; without labels there is no file, nor an old one."""
    path = landing_folder / f"{day:%Y-%m-%d}.parquet"
    if labels.is_empty():
        path.unlink(missing_ok=True)
        return None
    return _write_aside(labels, path)


def write_simulation(config: SimulationConfig, landing_folder: Path, truth_folder: Path) -> list[Path]:
    """Simulate and write day by day, for more transactions than memory holds; returns the landed files.

    The truth is written last, so that a folder with a truth has all the days it speaks of. What earlier
    simulations left there of other days stays.

    Raises:
        InvalidInput: the truth that is there is damaged or has other columns; nothing was written.
    """
    kept = _truth_apart_from([config.first_day + timedelta(days=n) for n in range(config.days)], truth_folder)
    landed: list[Path] = []
    truths = [kept]
    for day in simulate_days(config):
        landed += write_landing(day, landing_folder)
        truths.append(day.truth)
    _write_aside(pl.concat(truths, rechunk=False).sort(_ORDER), truth_folder / TRUTH_FILE)
    return landed


def _truth_apart_from(days: list[date], folder: Path) -> pl.DataFrame:
    """What is stored of other days than these."""
    try:
        return read_truth(folder).filter(~pl.col("event_date").is_in(days))
    except MissingData:
        return pl.DataFrame(schema=TRUTH_COLUMNS)


def _write_aside(frame: pl.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    frame.write_parquet(aside)
    return aside.replace(path)
