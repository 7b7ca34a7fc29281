"""Time guesses: by which formats all times of a sample can be read, and what a person still has to choose."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from fraud_pipelines.transactions.timestamps import EPOCH_UNITS, ISO_8601, TimestampRule

_CLOCKS: Final = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M %p", "%I:%M:%S %p")
_BETWEEN: Final = (" ", "T", ", ")
_DAYS: Final = (
    *(f"%d{sign}%m{sign}%{year}" for sign in "./-" for year in "Yy"),
    *(f"%m{sign}%d{sign}%{year}" for sign in "/-." for year in "Yy"),
    "%Y.%m.%d",
    "%Y%m%d",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d-%b-%y",
    "%b %d, %Y",
    "%d %B %Y",
    "%B %d, %Y",
)
_SHORT: Final = 200
"""So many different values are tried with every pattern; all of the sample with those that fit."""

_EPOCH_YEARS: Final = (631_152_000, 4_102_444_800)
"""Seconds of the years 1990 to 2100."""

_YEARS: Final = (1970, 2100)

_SERIAL_DAYS: Final = (20_000, 80_000)
"""Spreadsheets count days from 1899-12-30; these lie in the years 1954 to 2119."""

_OFFSET: Final = r"(?:[Zz]|[0-9 ][+-][0-9]{2}:?[0-9]{2})$"


@dataclass(frozen=True)
class TimeGuess:
    """How a column of times may be written.

    Attributes:
        formats: those that read all values, as `TimestampRule.format` has them; of several a person has to choose.
        serial_days: the values are a spreadsheet's serial dates.
        counts: the values are numbers that count from somewhere.
        has_offset: each says its own offset from UTC.
        has_clock: there is a time of day beside the date.
    """

    formats: tuple[str, ...] = ()
    serial_days: bool = False
    counts: bool = False
    has_offset: bool = False
    has_clock: bool = True


def guess_times(column: pl.Series) -> TimeGuess | None:
    """How the times of a column are written; None if it holds none."""
    present = column.drop_nulls()
    if present.is_empty():
        return None
    if isinstance(present.dtype, pl.Date | pl.Datetime):
        zoned = isinstance(present.dtype, pl.Datetime) and present.dtype.time_zone is not None
        return TimeGuess((ISO_8601,), has_offset=zoned, has_clock=isinstance(present.dtype, pl.Datetime))
    if isinstance(present.dtype, pl.String):
        present = present.str.strip_chars()
        present = present.filter(present.str.len_bytes() > 0)
        if present.is_empty():
            return None
    elif not present.dtype.is_numeric():
        return None
    numbers = present.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0 and not (
        isinstance(present.dtype, pl.String) and _reads_all(TimestampRule(format="%Y%m%d"), present)
    ):
        return _guess_numbers(numbers)
    return _guess_texts(present) if isinstance(present.dtype, pl.String) else None


def is_clock(column: pl.Series) -> bool:
    """Whether a column holds times of day without a date, such as ``23:59``."""
    if isinstance(column.dtype, pl.Time):
        return True
    if not isinstance(column.dtype, pl.String):
        return False
    present = column.drop_nulls().str.strip_chars()
    clock = r"^[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?[AaPp][Mm])?$"
    return present.len() > 0 and bool(present.str.contains(clock).all())


def _guess_numbers(numbers: pl.Series) -> TimeGuess:
    least, most = float(numbers.min() or 0), float(numbers.max() or 0)  # type: ignore[arg-type]
    for name, nanoseconds in EPOCH_UNITS.items():
        first, last = (year * (1_000_000_000 / nanoseconds) for year in _EPOCH_YEARS)
        if first <= least and most <= last:
            return TimeGuess((name,), has_offset=True)
    if _SERIAL_DAYS[0] <= least and most <= _SERIAL_DAYS[1]:
        return TimeGuess(serial_days=True)
    return TimeGuess(counts=True)


def _guess_texts(present: pl.Series) -> TimeGuess | None:
    has_offset = bool(present.str.contains(_OFFSET).any())
    has_clock = bool(present.str.contains(":", literal=True).any())
    short = present.unique(maintain_order=True).head(_SHORT)
    readings: dict[str, pl.Series] = {}
    for each in (ISO_8601, *_patterns(short[0])):
        rule = TimestampRule(format=each)
        if not _reads_all(rule, short) or not _reads_all(rule, present):
            continue
        read = rule.to_utc(present)[0]
        if not any(read.equals(other) for other in readings.values()):
            readings[each] = read
        if each == ISO_8601:
            break
    return TimeGuess(tuple(readings), has_offset=has_offset, has_clock=has_clock) if readings else None


def _patterns(example: str) -> Iterator[str]:
    """The patterns that may read texts such as ``example``."""
    if ":" not in example:
        yield from _DAYS
        return
    zones = ("%z", " %z") if pl.Series([example]).str.contains(_OFFSET).item() else ("",)
    for day in _DAYS:
        for between in _BETWEEN:
            if between.strip() and between.strip() not in example:
                continue
            for clock in _CLOCKS:
                for zone in zones:
                    yield f"{day}{between}{clock}{zone}"


def _reads_all(rule: TimestampRule, text: pl.Series) -> bool:
    """Whether it makes each text a time of our age; a pattern for four digits may read two as the year 25."""
    years = rule.to_utc(text)[0].dt.year()
    return bool(years.is_between(*_YEARS).fill_null(value=False).all())
