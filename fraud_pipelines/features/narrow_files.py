"""Columns of rows that go from one cut of a day to another, and back: Arrow files with a part for each shard to come.

The rows of a shard of users are cut anew by the key of another entity, and what that entity's fold gives is joined back
by the row's position. Only what that fold reads is handed on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.arrays import Columns
from fraud_pipelines.features.program import EntityProgram

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

POSITION: Final = "position"
TIMESTAMP: Final = "timestamp"
TRANSACTION: Final = "transaction_id"
KEY: Final = "key"
REFUND: Final = "refund"
_VALUE, _CODE, _MASK = "value ", "code ", "mask "


def write_parts(rows: pl.DataFrame, shard: Ints, shards: int, path: Path) -> None:
    """Write ``rows`` into one file with a part for each shard, in which they keep their order."""
    import pyarrow as pa

    order = np.argsort(shard, kind="stable")
    at = np.searchsorted(shard[order], np.arange(shards + 1))
    table = rows[order].to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    nothing = pa.RecordBatch.from_pylist([], schema=table.schema)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        for begin, end in zip(at[:-1].tolist(), at[1:].tolist(), strict=True):
            writer.write_batch(next(iter(table.slice(begin, end - begin).to_batches()), nothing))


def read_part(path: Path, shard: int) -> pl.DataFrame:
    """The part of one shard; what is not looked at of it is never read."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        found: Any = pl.from_arrow(pa.ipc.open_file(file).get_batch(shard))
    assert isinstance(found, pl.DataFrame)
    return found


def packed_columns(columns: Columns, programs: Sequence[EntityProgram]) -> dict[str, NDArray[Any]]:
    """What the folds of these programs read, under names of a file's columns."""
    values = dict.fromkeys(name for each in programs for name in each.values)
    codes = dict.fromkeys(name for each in programs for name in each.codes)
    masks = dict.fromkeys(sql for each in programs for sql in each.conditions)
    found: dict[str, NDArray[Any]] = {_VALUE + name: columns.values[name] for name in values}
    found |= {_CODE + name: columns.codes[name] for name in codes}
    return found | {_MASK + sql: columns.masks[sql] for sql in masks}


def unpacked_columns(rows: pl.DataFrame) -> Columns:
    """The columns as they were packed."""
    parts: dict[str, dict[str, NDArray[Any]]] = {_VALUE: {}, _CODE: {}, _MASK: {}}
    for name in rows.columns:
        for kind, found in parts.items():
            if name.startswith(kind):
                found[name.removeprefix(kind)] = np.ascontiguousarray(rows[name].to_numpy())
    return Columns(parts[_VALUE], parts[_CODE], parts[_MASK])


def beside_of(paths: Sequence[Path], shard: int, rows: int, names: Sequence[str]) -> Floats:
    """Features of other entities, shape (rows, names), joined to the rows of a shard; NaN for those without a key.

    Args:
        paths: files that have a part for each shard of users, with `POSITION` and some of the features ``names``.
    """
    found = np.full((rows, len(names)), np.nan)
    place: Mapping[str, int] = {name: at for at, name in enumerate(names)}
    for path in paths:
        part = read_part(path, shard)
        position = part[POSITION].to_numpy()
        for name in part.columns:
            if name != POSITION:
                found[position, place[name]] = part[name].to_numpy()
    return found
