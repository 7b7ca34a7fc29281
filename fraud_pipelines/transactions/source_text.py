"""Values of a source as text: the digits of whole numbers, ISO times, binary as hexadecimal digits."""

from typing import Final

import polars as pl

from fraud_pipelines.transactions.records import calendar_bounds

EXACT_INTEGERS: Final = 2.0**53
"""From here on a floating point number stands for several whole numbers."""


def as_text(column: pl.Series) -> tuple[pl.Series, bool]:
    """Any column of single values as text, null where there is none; and whether it is one.

    Lists and structs are none: all of them are null.
    """
    dtype = column.dtype
    if dtype.is_nested() or isinstance(dtype, pl.Object | pl.Duration):
        return pl.repeat(None, column.len(), dtype=pl.String, eager=True).alias(column.name), False
    return _single_as_text(column), True


def _single_as_text(column: pl.Series) -> pl.Series:
    dtype = column.dtype
    if dtype.is_float():
        return _floats(column.cast(pl.Float64))
    if dtype.is_decimal():
        return column.cast(pl.String).str.replace(r"\.0+$", "")
    if isinstance(dtype, pl.Binary):
        return column.bin.encode("hex")
    if isinstance(dtype, pl.Date | pl.Datetime):
        column = column.set(~column.to_physical().is_between(*calendar_bounds(dtype)), None)
        zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
        return (column.dt.convert_time_zone("UTC") if zoned else column).dt.to_string("iso")
    return column.dt.to_string("iso") if isinstance(dtype, pl.Time) else column.cast(pl.String)


def _floats(numbers: pl.Series) -> pl.Series:
    numbers = numbers.fill_nan(None)
    whole = (numbers == numbers.floor()) & (numbers.abs() < EXACT_INTEGERS)
    digits = numbers.set(~whole.fill_null(value=False), None).cast(pl.Int64).cast(pl.String)
    return digits.zip_with(whole.fill_null(value=True), numbers.cast(pl.String))
