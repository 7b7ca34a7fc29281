"""An entity's fold over frames: lines the rows and the stored state up, and runs the kernel."""

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.arrays import Columns, stacked
from fraud_pipelines.features.history import History, packed
from fraud_pipelines.features.ordering import EntityChunk
from fraud_pipelines.features.program import EntityProgram

if TYPE_CHECKING:  # numba takes a second to import
    from fraud_pipelines.features import kernel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def fold_piece(
    program: EntityProgram, columns: Columns, timestamp: Ints, piece: EntityChunk, history: History
) -> tuple[Floats, History]:
    """Fold the rows of some entities into ``history``.

    Args:
        columns, timestamp: of all rows; in µs.

    Returns:
        The entity's features, shape (features, rows of the piece), NaN for null, and the new state of the entities
        of the piece (not of others).
    """
    from fraud_pipelines.features import kernel
    from fraud_pipelines.plan.folding.loop import Rows

    rows = Rows(
        at=piece.at,
        timestamp=timestamp[piece.order],
        values=stacked(columns.values, program.values, piece.order, np.float64),
        codes=stacked(columns.codes, program.codes, piece.order, np.int64),
        masks=stacked(columns.masks, program.conditions, piece.order, np.bool_),
    )
    out = np.full((len(program.names), piece.order.size), np.nan)
    at, numbers = kernel.fold(program.arrays, rows, _stored(history, piece), out)
    return out, History.of(program, piece.keys, at, numbers)


def _stored(history: History, piece: EntityChunk) -> "kernel.Packed":
    """The states of the piece's entities."""
    from fraud_pipelines.features import kernel

    if not len(history):
        return kernel.Packed(*(np.zeros(len(piece.keys), dtype=np.int64),) * 2, np.zeros(1, dtype=np.int64))
    stored = history.frame.select("state").with_columns(history.keys)
    keys = pl.DataFrame([piece.keys.alias("key")])
    return kernel.Packed(*packed(keys.join(stored, on="key", how="left", maintain_order="left")["state"]))


def to_series(name: str, dtype: pl.DataType, values: Floats) -> pl.Series:
    """A column, NaN being null; many floats are taken over without a copy."""
    import pyarrow as pa

    if values.size < FEW_VALUES:
        return pl.Series(name, values, nan_to_null=True).cast(dtype)
    known = ~np.isnan(values)
    nulls = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    if dtype.is_integer():
        values = np.where(known, values, 0.0)
    numbers = values.astype(str(dtype).lower(), copy=False)
    array = pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), numbers.size, [nulls, pa.py_buffer(numbers)])
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)
    return series.alias(name)


FEW_VALUES: Final = 10_000
"""So few that to copy them is cheaper than to hand them over."""
