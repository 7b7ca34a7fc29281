"""The order in which rows are folded: by entity, then (timestamp, transaction_id), found by sorting integers."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def time_ranks(transactions: pl.DataFrame) -> Ints:
    """Each row's position in the order (timestamp, transaction_id).

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
    ranks = np.empty_like(order)
    ranks[order] = np.arange(order.size)
    return ranks


def order_by(ids: pl.Series, ranks: Ints) -> tuple[Ints, Ints]:
    """Positions of the rows with an id, by id and then by rank, and where each id's run starts (and the last ends)."""
    names = ids.drop_nulls().unique().sort()
    codes = ids.cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
    order = np.argsort(codes * len(ids) + ranks)[np.count_nonzero(codes < 0) :]
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return order, np.append(starts, order.size)
