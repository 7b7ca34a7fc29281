"""Values within values: a dotted path such as ``billing.address.country`` or ``items.0.sku``."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """The value at ``path``, None where there is none; a member of that very name counts first."""
    if path in record or "." not in path:
        return record.get(path)
    value: Any = record
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit():
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    return value


def paths_within(schema: Mapping[str, pl.DataType], wanted: Collection[str]) -> dict[str, pl.Expr]:
    """Those of the ``wanted`` paths that lead into the nested columns of a frame, each with what is there."""
    found = {}
    for path in wanted:
        if path in schema or "." not in path:
            continue
        first, *steps = path.split(".")
        expression = _within(pl.col(first), schema[first], steps) if first in schema else None
        if expression is not None:
            found[path] = expression.alias(path)
    return found


def _within(value: pl.Expr, dtype: pl.DataType, steps: Sequence[str]) -> pl.Expr | None:
    for step in steps:
        if isinstance(dtype, pl.Struct):
            inner = {field.name: field.dtype for field in dtype.fields}.get(step)
            if inner is None:
                return None
            value = value.struct.field(step)
        elif isinstance(dtype, pl.List | pl.Array) and step.isdigit():
            inner = dtype.inner
            value = (
                value.list.get(int(step), null_on_oob=True)
                if isinstance(dtype, pl.List)
                else value.arr.get(int(step), null_on_oob=True)
            )
        else:
            return None
        dtype = inner if isinstance(inner, pl.DataType) else inner()
    return value
