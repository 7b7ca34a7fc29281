"""How fast: reviewers' verdicts, what waits, and the time from an entity's first fraud to its first alert."""

import math
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.evaluation.proportions import proportion
from fraud_pipelines.evaluation.weekly.cuts import Known
from fraud_pipelines.evaluation.weekly.table import FEWEST, Cell, Column, Estimate

_HERE: Final = Path(__file__).parent
_OLDEST: Final = timedelta(days=90)

REVIEWER_COLUMNS: Final = (
    Column("verdicts"),
    Column("frauds among them", "share"),
    Column("median hours", "hours"),
    Column("nine in ten within, hours", "hours"),
)
BACKLOG_COLUMNS: Final = (Column("waiting"), Column("amount", "money"))
FIRST_ALERT_COLUMNS: Final = (
    Column("with a fraud"),
    Column("alerted at the first", "share"),
    Column("never alerted", "share"),
    Column("median hours of the others", "hours"),
    Column("frauds before the alert"),
    Column("their value", "money"),
)


def reviewers(known: Known, monday: date) -> list[list[Cell]]:
    """A row of `REVIEWER_COLUMNS` for each who gave a verdict in the week, and for all of them."""
    verdicts = _read(known, "verdicts", first=monday, oldest=monday - _OLDEST)
    if verdicts.is_empty():
        return []
    parts = [(str(name), rows) for (name,), rows in verdicts.group_by("reviewer", maintain_order=True)]
    every = [("all", verdicts)] if len(parts) > 1 else []
    return [_reviewer(name, rows) for name, rows in (*parts, *every)]


def _reviewer(name: str, verdicts: pl.DataFrame) -> list[Cell]:
    number, frauds = verdicts.height, int(verdicts["actual_fraud"].sum())
    hours = [Estimate(verdicts["hours"].quantile(share, "linear"), of=number) for share in (0.5, 0.9)]
    if number < FEWEST:
        hours = [Estimate(None, of=number, why="too few")] * 2
    return [name, number, Estimate.told(proportion(frauds, number), number), *hours]


def backlog(known: Known) -> list[list[Cell]]:
    """A row of `BACKLOG_COLUMNS` for each age of what waited for a verdict when the week ended."""
    rows = _read(known, "backlog", oldest=known.as_of - _OLDEST, last=known.as_of)
    return [list(row) for row in rows.select("age", "waiting", "amount").iter_rows()]


def first_alerts(known: Known, entity: str, name: str, first: date) -> list[Cell]:
    """The row of `FIRST_ALERT_COLUMNS` of a column, whose values are the entities."""
    text = (_HERE / "first_alerts.sql").read_text().replace("{entity}", f'"{entity}"')
    found = known.warehouse.read(
        text, {"first": first, "last": known.as_of, "known_before": known.as_of + timedelta(days=1)}
    )
    number = found.height
    at_once = found.filter(pl.col("hours") == 0).height
    never = found["hours"].null_count()
    later = found.filter(pl.col("hours") > 0)["hours"]
    middle = later.median()
    few = len(later) < FEWEST
    return [
        name,
        number,
        Estimate.told(proportion(at_once, number), number),
        Estimate.told(proportion(never, number), number),
        Estimate(None if few else float(str(middle)), of=len(later), why="too few" if few else ""),
        int(found["frauds_before"].sum()),
        math.fsum(found["value_before"]),
    ]


def _read(known: Known, query: str, **days: date) -> pl.DataFrame:
    parameters = {**days, "known_before": known.as_of + timedelta(days=1)}
    return known.warehouse.read((_HERE / f"{query}.sql").read_text(), parameters)
