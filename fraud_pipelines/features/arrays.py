"""The columns of transactions as the fold reads them: numbers with NaN for null, and codes of what is equal."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


_TEXTS_KEPT: Final = 10_000
"""Codes of so many texts are remembered for single rows: countries, categories and merchants come again."""


class Columns(NamedTuple):
    """Rows as columns, by name: numbers, codes, and by its SQL whether each condition holds."""

    values: Mapping[str, Floats]
    codes: Mapping[str, Ints]
    masks: Mapping[str, Bools]


def numbers(values: pl.Series) -> Floats:
    """A column as floats, NaN for null; a time in µs since 1970."""
    return np.array(values.to_physical().cast(pl.Float64).to_numpy(), dtype=np.float64)


def codes(values: pl.Series) -> Ints:
    """A number for each value: equal values have equal ones, in every process; UNKNOWN for null.

    A text is told by a hash of 64 bits, a float by its bits, where -0.0 is 0.0.
    """
    from fraud_pipelines.features.kernel import hash_texts
    from fraud_pipelines.plan.folding.loop import UNKNOWN

    found: Ints
    if values.dtype == pl.String():
        array: Any = values.to_arrow()
        offsets, characters = _text_buffers(array)
        found = hash_texts(offsets, characters)
    elif values.dtype.is_float():
        found = np.asarray(values.fill_null(0.0).to_numpy() + 0.0).view(np.int64)
    else:
        whole: Ints = values.cast(pl.Int64).fill_null(0).to_numpy()
        found = np.where(whole == UNKNOWN, UNKNOWN + 1, whole)
    if values.null_count():
        found = np.where(values.is_null().to_numpy(), UNKNOWN, found)
    return np.ascontiguousarray(found)


def code_of(value: object) -> int:
    """`codes` of one value."""
    from fraud_pipelines.plan.folding.loop import UNKNOWN

    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return _code_of_text(value)
    if isinstance(value, float):
        return int(np.float64(value + 0.0).view(np.int64))
    return int(value) if int(value) != UNKNOWN else UNKNOWN + 1  # type: ignore[call-overload]


@lru_cache(_TEXTS_KEPT)
def _code_of_text(text: str) -> int:
    from fraud_pipelines.features.kernel import hash_texts

    characters = text.encode()
    return int(hash_texts(np.array([0, len(characters)]), np.array(bytearray(characters), dtype=np.uint8))[0])


def stacked(columns: Mapping[str, NDArray[Any]], names: Sequence[str], order: Ints, dtype: type) -> NDArray[Any]:
    """The named columns at the positions ``order``, shape (names, positions)."""
    found: NDArray[Any] = np.empty((len(names), order.size), dtype=dtype)
    for row, name in zip(found, names, strict=True):
        np.take(columns[name], order, out=row)
    return found


def _text_buffers(array: Any) -> tuple[Ints, NDArray[np.uint8]]:
    """Where each text of an Arrow array starts (and the last ends), and all characters as UTF-8."""
    import pyarrow as pa

    if not pa.types.is_large_string(array.type):
        array = array.cast(pa.large_string())
    _, offsets, characters = array.buffers()
    first = array.offset
    at = np.frombuffer(offsets, dtype=np.int64)[first : first + len(array) + 1].copy()
    if characters is None or characters.size == 0:
        return at, np.zeros(0, dtype=np.uint8)
    return at, np.array(np.frombuffer(characters, dtype=np.uint8))
