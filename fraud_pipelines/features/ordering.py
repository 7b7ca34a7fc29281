"""The order in which rows are folded: by entity, then (timestamp, transaction_id), found by sorting integers."""

from dataclasses import dataclass
from itertools import count
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def in_time(transactions: pl.DataFrame) -> Ints:
    """Positions of the rows in the order (timestamp, transaction_id).

    The ids are compared only where timestamps are equal: strings are dear to sort, and few instants are shared.
    """
    timestamps = transactions["timestamp"].to_physical().to_numpy()
    order = np.argsort(timestamps, kind="stable")
    repeated = np.diff(timestamps[order]) == 0
    if repeated.any():
        shared = np.flatnonzero(np.append(repeated, False) | np.append(False, repeated))
        rows = order[shared]
        order[shared] = rows[
            transactions.select("timestamp", "transaction_id")[rows]
            .select(pl.arg_sort_by("timestamp", "transaction_id"))
            .to_series()
            .to_numpy()
        ]
    return order


@dataclass(frozen=True)
class EntityRows:
    """The rows of each entity of one kind, in the order to fold them.

    Attributes:
        keys: the distinct ids; ascending where that was asked for, else in the order in which they appear.
        codes: position of each row's id in ``keys``, -1 without one.
        order: positions of the rows with an id, by id and then by time; entity e owns ``order[at[e] : at[e + 1]]``.
    """

    keys: pl.Series
    codes: NDArray[np.int32]
    order: Ints
    at: Ints

    @classmethod
    def of(cls, ids: pl.Series, in_time: Ints, *, ascending: bool) -> Self:
        """Group rows by ``ids``; ``in_time`` are their positions in order of time."""
        from fraud_pipelines.features.kernel import group

        keys, codes = _numbered(ids, ascending=ascending)
        order, at = group(codes, in_time, len(keys))
        return cls(keys, codes, order, at)

    def pieces(self, rows: int) -> list["EntityChunk"]:
        """Whole entities, at most ``rows`` rows of them at a time; an entity with more is a piece of its own."""
        pieces = []
        first = 0
        while first < len(self.keys):
            end = max(int(np.searchsorted(self.at, self.at[first] + rows, side="right")) - 1, first + 1)
            at = self.at[first : end + 1]
            pieces.append(EntityChunk(self.keys[first:end], self.order[at[0] : at[-1]], at - at[0]))
            first = end
        return pieces or [EntityChunk(self.keys, self.order, self.at)]


@dataclass(frozen=True)
class EntityChunk:
    """Some entities of `EntityRows`: entity e owns ``order[at[e] : at[e + 1]]``."""

    keys: pl.Series
    order: Ints
    at: Ints


def _numbered(ids: pl.Series, *, ascending: bool) -> tuple[pl.Series, NDArray[np.int32]]:
    """The distinct ids, and each row's position among them, -1 without an id.

    They are told apart by their hashes; should two share one, by those of another seed.
    """
    from fraud_pipelines.features.kernel import number

    for seed in count():
        codes, first = number(ids.hash(seed).to_numpy())
        found = ids.gather(first)
        if found.gather(codes).eq_missing(ids).all():
            break
    distinct = found.len() - found.null_count()
    if not ascending and distinct == found.len():
        return found, codes
    order = (found.arg_sort(nulls_last=True) if ascending else found.is_null().arg_sort()).to_numpy()
    position = np.empty(order.size, dtype=np.int32)
    position[order] = np.arange(order.size)
    position[order[distinct:]] = -1
    return found.gather(order[:distinct]), position[codes]
