"""The distributions of stored days: each is summed up once, and kept as long as the day's features stand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.features.distributions import Distribution
from fraud_pipelines.features.tables import FEATURE_TABLE
from fraud_pipelines.storage.connection import Connection, columns_of, insert, registered, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.kinds import PAYMENTS

_TABLE: Final = "features.daily_distributions"


@dataclass(frozen=True)
class Distributions:
    """By feature and day how its values are distributed; ``new`` are those that aren't kept yet."""

    by_day: dict[str, dict[date, Distribution]]
    new: list[tuple[str, date]]


def read_distributions(warehouse: Warehouse, features: Sequence[str], days: Sequence[date]) -> Distributions:
    """The distributions of these features, or columns of a payment, on these days, which have features stored.

    What isn't kept yet is summed up from the day's rows, one feature and day at a time; `keep_distributions` keeps it.
    """
    by_day: dict[str, dict[date, Distribution]] = {feature: {} for feature in features}
    new: list[tuple[str, date]] = []
    with warehouse.connect(read_only=True) as connection:
        kept = select(
            connection,
            f"SELECT * FROM {_TABLE} WHERE list_contains($days, event_date) AND list_contains($features, feature)",
            {"days": list(days), "features": list(features)},
        )
        for row in kept.iter_rows(named=True):
            by_day[row["feature"]][row["event_date"]] = Distribution(
                rows=row["rows"],
                missing=row["missing"],
                low=np.array(row["low"], dtype=np.float64),
                high=np.array(row["high"], dtype=np.float64),
                counts=np.array(row["counts"], dtype=np.int64),
                texts=None if row["texts"] is None else tuple(row["texts"]),
            )
        computed = columns_of(connection, FEATURE_TABLE)
        for feature, of_feature in by_day.items():
            table = FEATURE_TABLE if feature in computed else PAYMENTS
            for day in days:
                if day not in of_feature:
                    query = f'SELECT "{feature}" FROM {table} WHERE event_date = ?'
                    of_feature[day] = Distribution.of(select(connection, query, [day]).to_series())
                    new.append((feature, day))
    # In the order of the days, since sums over them depend on it in their last digits.
    return Distributions({feature: dict(sorted(of.items())) for feature, of in by_day.items()}, new)


def keep_distributions(connection: Connection, distributions: Distributions) -> None:
    """Keep those that aren't kept yet, in an open transaction."""
    rows = pl.DataFrame(
        [
            {
                "event_date": day,
                "feature": feature,
                "rows": of_day.rows,
                "missing": of_day.missing,
                "low": of_day.low.tolist(),
                "high": of_day.high.tolist(),
                "counts": of_day.counts.tolist(),
                "texts": None if of_day.texts is None else list(of_day.texts),
            }
            for feature, day in distributions.new
            for of_day in [distributions.by_day[feature][day]]
        ],
        schema=select(connection, f"SELECT * FROM {_TABLE} LIMIT 0").schema,
    )
    with registered(connection, _found=rows):
        connection.delete(_TABLE, "(event_date, feature) IN (SELECT (event_date, feature) FROM _found)")
    insert(connection, _TABLE, rows)


def forget_distributions(connection: Connection, days: Iterable[date]) -> None:
    """Forget those of days whose features are replaced, in the transaction that replaces them."""
    connection.delete(_TABLE, "list_contains(?, event_date)", [list(days)])
