"""The order in which rows are folded: by entity, then (timestamp, transaction_id), found by sorting integers."""

from dataclasses import dataclass
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
class Runs:
    """The rows of each entity of one kind, in the order to fold them.

    Attributes:
        keys: the distinct ids, ascending.
        codes: position of each row's id in ``keys``, -1 without one.
        order: positions of the rows with an id, by id and then by time; entity e owns ``order[at[e] : at[e + 1]]``.
    """

    keys: pl.Series
    codes: NDArray[np.int32]
    order: Ints
    at: Ints

    @classmethod
    def of(cls, ids: pl.Series, in_time: Ints) -> Self:
        """Group rows by ``ids``; ``in_time`` are their positions in order of time."""
        from fraud_pipelines.features.kernel import group

        keys = ids.drop_nulls().unique().sort()
        codes = ids.cast(pl.Enum(keys)).to_physical().cast(pl.Int32).fill_null(-1).to_numpy().copy()
        order, at = group(codes, in_time, len(keys))
        return cls(keys, codes, order, at)

    def pieces(self, rows: int) -> list["Piece"]:
        """Whole entities, at most ``rows`` rows of them at a time; an entity with more is a piece of its own."""
        pieces = []
        first = 0
        while first < len(self.keys):
            end = max(int(np.searchsorted(self.at, self.at[first] + rows, side="right")) - 1, first + 1)
            at = self.at[first : end + 1]
            pieces.append(Piece(self.keys[first:end], self.order[at[0] : at[-1]], at - at[0]))
            first = end
        return pieces or [Piece(self.keys, self.order, self.at)]


@dataclass(frozen=True)
class Piece:
    """Some entities of `Runs`: entity e owns ``order[at[e] : at[e + 1]]``."""

    keys: pl.Series
    order: Ints
    at: Ints
