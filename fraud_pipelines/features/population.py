"""What is usual among all payments: what a young history is judged by.

Each day's payments are counted by value, in bins of which 32 make a power of two, for each column that a
profile is about, and by category. Whole numbers can be added up in any order, so that however rows are cut the figures
are the same to the bit. What counts on a day are the `TRAILING_DAYS` before it, and never the day itself.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.history import History
from fraud_pipelines.features.program import EntityProgram, Measured, program
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.types import CATEGORY, EntityPlan

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

POPULATION: Final = "__population"
"""Its name among histories; no entity can have it."""
TRAILING_DAYS: Final = 28
ENOUGH: Final = 30
"""With fewer payments there is no figure: that of all categories stands in, or none."""

COUNTS: Final[dict[str, pl.DataType]] = {
    "event_date": pl.Date(),
    "measured": pl.String(),
    "category": pl.String(),
    "bin": pl.Int32(),
    "payments": pl.Int64(),
}
"""The columns of the counts, and of ``features.population``."""
_BY: Final = ["event_date", "measured", "category", "bin"]

_REACH: Final = timedelta(days=TRAILING_DAYS)
_FEW: Final = 2_000
"""So few rows that to count them one by one takes no longer than to group them."""

_Key = tuple[str, str | None]
_Counts = dict[_Key, dict[int, int]]
"""By the measured column and the category: how many payments are in each bin."""

_BINS: Final = 32
_LEAST: Final = -1075
"""No number but 0 has a smaller exponent."""


class Figures(NamedTuple):
    """Of one column's values: the median, and the 95th percentile, each as the middle of its bin."""

    center: float
    upper: float


FiguresOfDay = Mapping[tuple[str, str | None], Figures]
"""By the measured column and the category; None for all categories."""

_UNKNOWN: Final = Figures(math.nan, math.nan)


@dataclass(frozen=True)
class Population(History):
    """Counts of past days, as one of the histories that are handed on; ``frame`` has the columns of `COUNTS`."""

    @classmethod
    def of_counts(cls, counts: Iterable[pl.DataFrame]) -> "Population":
        """The counts added up. Days that no later one looks back on are left out."""
        frame = pl.concat(list(counts)).group_by(_BY).agg(pl.col("payments").sum())
        last = frame["event_date"].max()
        if isinstance(last, date):
            frame = frame.filter(pl.col("event_date") >= last - timedelta(days=TRAILING_DAYS))
        return cls(_placeholder(), frame.select(*COUNTS).sort(_BY, nulls_last=True))

    @classmethod
    def nothing(cls) -> "Population":
        """Before the first payment."""
        return cls(_placeholder(), pl.DataFrame(schema=COUNTS))


@cache
def _placeholder() -> EntityProgram:
    return program(EntityPlan(POPULATION, (), ()), shipped_plan())


def bin_of(value: float) -> int:
    """The bin of a number: 0 for 0, ascending with it."""
    if not value:
        return 0
    mantissa, exponent = math.frexp(abs(value))
    place = (exponent - _LEAST) * _BINS + int((mantissa - 0.5) * 2 * _BINS) + 1
    return place if value > 0 else -place


def bins(values: Floats) -> Ints:
    """`bin_of` each."""
    mantissa, exponent = np.frexp(np.abs(values))
    place = (exponent.astype(np.int64) - _LEAST) * _BINS + ((mantissa - 0.5) * 2 * _BINS).astype(np.int64) + 1
    return np.where(values == 0.0, 0, np.where(values > 0.0, place, -place))


def middle(place: int) -> float:
    """The number in the middle of a bin."""
    if not place:
        return 0.0
    exponent, part = divmod(abs(place) - 1, _BINS)
    return math.copysign(math.ldexp(0.5 + (part + 0.5) / (2 * _BINS), exponent + _LEAST), place)


def usual(of_day: FiguresOfDay, measured: str, category: str | None) -> Figures:
    """The figures to compare a payment of that category with; NaN where there are none."""
    return of_day.get((measured, category)) or of_day.get((measured, None)) or _UNKNOWN


def counted(rows: pl.DataFrame, measured: Measured, values: Floats, mask: NDArray[np.bool_] | None) -> pl.DataFrame:
    """The counts of one measured column.

    Args:
        rows: payments, with ``timestamp`` and the category.
        values: of the column, NaN for null.
        mask: which of them count; None for all.
    """
    known = ~np.isnan(values) if mask is None else mask & ~np.isnan(values)
    chosen = pl.DataFrame(
        [
            rows["timestamp"].dt.date().alias("event_date"),
            pl.repeat(measured.name, rows.height, dtype=pl.String, eager=True).alias("measured"),
            rows[CATEGORY].alias("category"),
            pl.Series("bin", bins(np.where(known, values, 0.0)), dtype=pl.Int32),
            pl.repeat(1, rows.height, dtype=pl.Int64, eager=True).alias("payments"),
        ]
    )
    if not known.all():
        chosen = chosen.filter(pl.Series(known))
    if chosen.height < _FEW:
        return chosen
    return chosen.group_by(_BY).agg(pl.col("payments").sum())


def beside(rows: pl.DataFrame, measured: str, by_day: Mapping[date, FiguresOfDay]) -> tuple[Floats, Floats]:
    """The center and the upper figure to compare each of ``rows`` with, NaN where there are none."""
    keys = pl.DataFrame([rows["timestamp"].dt.date().alias("event_date"), rows[CATEGORY].alias("category")])
    if rows.height < _FEW:
        told = [usual(by_day[day], measured, category) for day, category in keys.iter_rows()]
        return np.array([each.center for each in told]), np.array([each.upper for each in told])
    met = keys.unique()
    known = [usual(by_day[day], measured, category) for day, category in met.iter_rows()]
    both = met.with_columns(
        pl.Series("center", [each.center for each in known], dtype=pl.Float64),
        pl.Series("upper", [each.upper for each in known], dtype=pl.Float64),
    )
    if both.height == 1:
        return np.full(rows.height, known[0].center), np.full(rows.height, known[0].upper)
    found = keys.join(both, on=["event_date", "category"], how="left", nulls_equal=True, maintain_order="left")
    return found["center"].to_numpy().copy(), found["upper"].to_numpy().copy()


class MovingPopulation:
    """Counts of past days, and the figures of one day after the other.

    The figures of a day are those at its first payment: what comes late for an earlier day counts from the day after.
    """

    def __init__(self, population: History | None = None) -> None:
        self._days: dict[date, _Counts] = {}
        self._totals: _Counts = {}
        self._at: date | None = None  # the totals are those of the days before
        self._of_day: dict[date, FiguresOfDay] = {}
        if population is not None:
            self.add(population.frame)

    def figures(self, day: date) -> FiguresOfDay:
        """What is usual on ``day``, by the days before it."""
        if day not in self._of_day:
            self._of_day = dict(list(self._of_day.items())[-TRAILING_DAYS:])
            self._of_day[day] = _figures(self._before(day))
        return self._of_day[day]

    def add(self, counts: pl.DataFrame) -> None:
        """Count what a frame with the columns of `COUNTS` holds."""
        for day, measured, category, place, payments in counts.select(*COUNTS).iter_rows():
            self._count(day, (measured, category), place, payments)

    def count(self, day: date, measured: str, category: str | None, value: float) -> None:
        """Count one value."""
        self._count(day, (measured, category), bin_of(value), 1)

    def history(self) -> Population:
        """All counts."""
        rows = [
            (day, measured, category, place, payments)
            for day, of_day in self._days.items()
            for (measured, category), by_bin in of_day.items()
            for place, payments in by_bin.items()
        ]
        return Population.of_counts([pl.DataFrame(rows, schema=COUNTS, orient="row")])

    def _count(self, day: date, key: _Key, place: int, payments: int) -> None:
        _add(self._days.setdefault(day, {}), key, place, payments)
        if self._at is not None and day < self._at and day >= self._at - _REACH:
            _add(self._totals, key, place, payments)

    def _before(self, day: date) -> _Counts:
        """The counts of the days that ``day`` looks back on, added up."""
        if self._at is not None and day < self._at:  # a late one
            return _sum(of_day for other, of_day in self._days.items() if day - _REACH <= other < day)
        if self._at is None or day >= self._at + _REACH:
            self._totals = _sum(of_day for other, of_day in self._days.items() if day - _REACH <= other < day)
        else:
            for other, of_day in self._days.items():
                if self._at <= other < day:
                    _sum((of_day,), self._totals)
                elif self._at - _REACH <= other < day - _REACH:
                    _sum((of_day,), self._totals, sign=-1)
        self._at = day
        for other in [other for other in self._days if other < day - _REACH]:
            del self._days[other]
        return self._totals


def figures(counts: pl.DataFrame, day: date) -> FiguresOfDay:
    """What is usual on ``day``, from counts of the days before it; those of other days don't matter."""
    recent = counts.filter(pl.col("event_date").is_between(day - _REACH, day, closed="left"))
    return MovingPopulation(Population.of_counts([recent])).figures(day)


def _figures(totals: _Counts) -> FiguresOfDay:
    every: _Counts = {}
    for (measured, category), by_bin in totals.items():
        if category is not None:
            every[measured, category] = by_bin
        _sum(({(measured, None): by_bin},), every)
    found = {}
    for key, by_bin in every.items():
        total = sum(by_bin.values())
        if total >= ENOUGH:
            found[key] = Figures(*(middle(_quantile(by_bin, -(-total * part // 20))) for part in (10, 19)))
    return found


def _quantile(by_bin: Mapping[int, int], rank: int) -> int:
    """The bin of the value with that rank, from 1."""
    reached = 0
    for place in sorted(by_bin):
        reached += by_bin[place]
        if reached >= rank:
            return place
    raise ValueError(f"there are fewer than {rank} values")


def _add(counts: _Counts, key: _Key, place: int, payments: int) -> None:
    by_bin = counts.setdefault(key, {})
    by_bin[place] = by_bin.get(place, 0) + payments


def _sum(parts: Iterable[_Counts], into: _Counts | None = None, *, sign: int = 1) -> _Counts:
    total: _Counts = {} if into is None else into
    for part in parts:
        for key, by_bin in part.items():
            for place, payments in by_bin.items():
                _add(total, key, place, sign * payments)
    return total
