"""The key of an entity as one text: a column's value, or the values of several put together."""

from collections.abc import Sequence
from functools import reduce
from typing import Final

import polars as pl

_DIGITS: Final = 7
"""Digits that give the length of each part but the last; a transaction's text is never that long."""


def key_of(values: Sequence[str | None]) -> str | None:
    """The key of one row; None without one of its values."""
    if len(values) == 1:
        return values[0]
    parts = [value for value in values if value is not None]
    if len(parts) < len(values):
        return None
    lengths = "".join(f"{len(part):0{_DIGITS}d}" for part in parts[:-1])
    return lengths + "".join(parts)


def keys_of(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """`key_of` of each row."""
    if len(columns) == 1:
        return frame[columns[0]]
    lengths = [pl.col(name).str.len_chars().cast(pl.String).str.zfill(_DIGITS) for name in columns[:-1]]
    return frame.select(pl.concat_str(*lengths, *columns)).to_series()


def key_columns(keys: pl.Series, columns: Sequence[str]) -> list[pl.Series]:
    """The columns that the keys were made of."""
    if len(columns) == 1:
        return [keys.alias(columns[0])]
    key = pl.col(keys.name)
    lengths = [key.str.slice(_DIGITS * k, _DIGITS).cast(pl.Int64) for k in range(len(columns) - 1)]
    head = _DIGITS * (len(columns) - 1)
    starts = [reduce(pl.Expr.add, lengths[:k], pl.lit(head)) for k in range(len(columns))]
    parts = [key.str.slice(start, length) for start, length in zip(starts, lengths, strict=False)]
    parts.append(key.str.slice(starts[-1]))
    return keys.to_frame().select(part.alias(name) for part, name in zip(parts, columns, strict=True)).get_columns()
