"""What is usual among all payments: what a young history is judged by.

Each day's payments are counted by value, in bins of which 32 make a power of two, for each column that a
profile is about, and by category. Whole numbers can be added up in any order, so that however rows are cut the figures
are the same to the bit. What counts on a day are the `TRAILING_DAYS` before it, and never the day itself.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Final, NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.history import History
from fraud_pipelines.features.program import EntityProgram, Measured, program
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.types import CATEGORY, EntityPlan

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Whole = TypeVar("Whole", int, Ints)

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
"""So few rows that to group them before they are counted takes longer than to count them as they are."""
_EPOCH: Final = date(1970, 1, 1)
_BIN_BITS: Final = 18
_ZERO_BIN: Final = 1 << (_BIN_BITS - 1)
"""A cell is a key's number and, in the lower bits, a bin with this added."""
_WAITING: Final = 200_000
"""So many rows at most wait to be added up with the others."""

_Key = tuple[str, str | None]
"""The measured column and the category."""

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


def beside(rows: pl.DataFrame, measured: Sequence[Measured], by_day: Mapping[date, FiguresOfDay]) -> dict[str, Floats]:
    """What to compare each of ``rows`` with, by `Measured.center` and `Measured.upper`; NaN where there is nothing."""
    keys = pl.DataFrame([rows["timestamp"].dt.date().alias("event_date"), rows[CATEGORY].alias("category")])
    met = keys.unique()
    told: dict[str, list[float]] = {}
    for each in measured:
        figures = [usual(by_day[day], each.name, category) for day, category in met.iter_rows()]
        told[each.center], told[each.upper] = [of.center for of in figures], [of.upper for of in figures]
    if met.height == 1:
        return {name: np.full(rows.height, value) for name, [value] in told.items()}
    place = keys.join(
        met.with_row_index("place"), on=["event_date", "category"], how="left", nulls_equal=True, maintain_order="left"
    )["place"].to_numpy()
    return {name: np.array(values, dtype=np.float64)[place] for name, values in told.items()}


class _Cells(NamedTuple):
    """Counts: the day since 1970 of each, its cell, and the payments; all of shape (n,)."""

    day: Ints
    cell: Ints
    payments: Ints

    @classmethod
    def of(cls, parts: Sequence["_Cells"]) -> "_Cells":
        """All of the parts added up, in the order of day and cell."""
        day, cell, payments = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((cell, day))
        day, cell = day[order], cell[order]
        begins = np.flatnonzero(np.append(True, (day[1:] != day[:-1]) | (cell[1:] != cell[:-1]))[: day.size])
        return cls(day[begins], cell[begins], np.add.reduceat(payments[order], begins) if day.size else payments)

    def between(self, first: date, last: date) -> "_Cells":
        """Those of the days from ``first`` until before ``last``, of counts in order."""
        begin, end = np.searchsorted(self.day, [_number(first), _number(last)])
        return _Cells(*(column[begin:end] for column in self))


class MovingPopulation:
    """Counts of past days, and the figures of one day after the other.

    The figures of a day are those at its first payment: what comes late for an earlier day counts from the day after.
    """

    def __init__(self, population: History | None = None) -> None:
        self._keys: dict[_Key, int] = {}
        self._columns: dict[str, int] = {}  # the measured columns
        nothing = np.zeros(0, dtype=np.int64)
        self._counts = _Cells(nothing, nothing, nothing)  # in order
        self._waiting: list[_Cells] = []
        self._single: dict[tuple[int, int], int] = {}  # by day and cell, what came one by one
        self._at: date | None = None  # the latest day that figures were asked for
        self._of_day: dict[date, FiguresOfDay] = {}
        if population is not None:
            self.add(population.frame)

    def figures(self, day: date) -> FiguresOfDay:
        """What is usual on ``day``, by the days before it."""
        if day not in self._of_day:
            self._of_day = dict(list(self._of_day.items())[-TRAILING_DAYS:])
            self._of_day[day] = self._figures(day)
        return self._of_day[day]

    def add(self, counts: pl.DataFrame) -> None:
        """Count what a frame with the columns of `COUNTS` holds."""
        if counts.is_empty():
            return
        names = ["measured", "category"]
        met = counts.select(names).unique()
        numbers = met.with_columns(pl.Series("number", [self._number(*key) for key in met.iter_rows()], pl.Int64))
        key = counts.select(names).join(numbers, on=names, how="left", nulls_equal=True, maintain_order="left")
        self._waiting.append(
            _Cells(
                counts["event_date"].to_physical().cast(pl.Int64).to_numpy(),
                _cell(key["number"].to_numpy(), counts["bin"].cast(pl.Int64).to_numpy()),
                counts["payments"].to_numpy(),
            )
        )
        if sum(each.day.size for each in self._waiting) > max(_WAITING, self._counts.day.size):
            self._add_up()

    def count(self, day: date, measured: str, category: str | None, value: float) -> None:
        """Count one value."""
        place = _number(day), _cell(self._number(measured, category), bin_of(value))
        self._single[place] = self._single.get(place, 0) + 1

    def history(self) -> Population:
        """All counts."""
        self._add_up()
        keys = list(self._keys)
        of_key = [keys[key] for key in (self._counts.cell >> _BIN_BITS).tolist()]
        frame = pl.DataFrame(
            {
                "event_date": pl.Series(self._counts.day, dtype=pl.Int32).cast(pl.Date),
                "measured": [measured for measured, _ in of_key],
                "category": [category for _, category in of_key],
                "bin": _bin(self._counts.cell),
                "payments": self._counts.payments,
            },
            schema=COUNTS,
        )
        return Population.of_counts([frame])

    def _number(self, measured: str, category: str | None) -> int:
        self._columns.setdefault(measured, len(self._columns))
        return self._keys.setdefault((measured, category), len(self._keys))

    def _add_up(self) -> None:
        parts = [self._counts, *self._waiting]
        if self._single:
            day, cell = np.array(list(self._single), dtype=np.int64).T
            parts.append(_Cells(day, cell, np.array(list(self._single.values()), dtype=np.int64)))
        if len(parts) > 1:
            self._counts = _Cells.of(parts)
            self._waiting, self._single = [], {}

    def _figures(self, day: date) -> FiguresOfDay:
        """From the counts of the days that ``day`` looks back on; those that no later one does are let go."""
        self._add_up()
        if self._at is None or day >= self._at:
            self._at = day
            self._counts = self._counts.between(day - _REACH, date.max)
        counts = self._counts.between(day - _REACH, day)
        keys, columns = list(self._keys), list(self._columns)
        of_key = counts.cell >> _BIN_BITS
        column = np.array([self._columns[measured] for measured, _ in keys], dtype=np.int64)
        found = {keys[key]: figures for key, figures in _quantiles(of_key, counts).items() if keys[key][1] is not None}
        of_columns = _quantiles(column[of_key], counts)
        return found | {(columns[number], None): figures for number, figures in of_columns.items()}


def figures(counts: pl.DataFrame, day: date) -> FiguresOfDay:
    """What is usual on ``day``, from counts of the days before it; those of other days don't matter."""
    return MovingPopulation(Population(_placeholder(), counts)).figures(day)


def _quantiles(group: Ints, counts: _Cells) -> dict[int, Figures]:
    """By its number, the figures of each group that has enough payments."""
    place = _bin(counts.cell)
    order = np.argsort(_cell(group, place), kind="stable")
    place, reached = place[order], np.cumsum(counts.payments[order])
    numbers, first = np.unique(group[order], return_index=True)
    before = np.append(0, reached)[first]
    total = np.append(0, reached)[np.append(first[1:], order.size)] - before
    center, upper = (place[np.searchsorted(reached, before - (-total * part // 20))] for part in (10, 19))
    return {
        number: Figures(middle(of_center), middle(of_upper))
        for number, payments, of_center, of_upper in zip(
            numbers.tolist(), total.tolist(), center.tolist(), upper.tolist(), strict=True
        )
        if payments >= ENOUGH
    }


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _cell(key: Whole, place: Whole) -> Whole:
    return (key << _BIN_BITS) + place + _ZERO_BIN


def _bin(cell: Ints) -> Ints:
    return (cell & ((1 << _BIN_BITS) - 1)) - _ZERO_BIN
