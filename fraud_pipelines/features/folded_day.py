"""What a day's features have come to, before any of it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from fraud_pipelines.storage.row_files import RowFiles

Rows = pl.DataFrame | RowFiles


@dataclass(frozen=True)
class FoldedDay:
    """The rows to store, in memory or in files, and what there is to tell of them.

    Attributes:
        features: the columns of ``features.transaction_features``.
        histories: by the name of each pass, the columns `tables.stored_history`.
        counts: what the day adds to the population.
        rows, users, new_users: how many there are.
        nulls: how many rows have no value, by feature.
        empty: the optional columns of the transactions that are null throughout.
    """

    features: Rows
    histories: Mapping[str, Rows]
    counts: pl.DataFrame
    rows: int
    users: int
    new_users: int
    nulls: dict[str, int]
    empty: set[str]
