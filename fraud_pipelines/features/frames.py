"""Frames for models: the stored features of some days, with the transaction's own columns beside them."""

from datetime import date

import polars as pl

from fraud_pipelines.errors import MissingData
from fraud_pipelines.storage.warehouse import Warehouse


def days_with_features(warehouse: Warehouse) -> list[date]:
    """Days that have rows in ``features.transaction_features``, in order."""
    return (
        warehouse.read("SELECT DISTINCT event_date FROM features.transaction_features ORDER BY 1").to_series().to_list()
    )


def read_features(warehouse: Warehouse, first: date, last: date) -> pl.DataFrame:
    """Features of ``first`` to ``last`` (both included), ordered by day and transaction id.

    The raw columns that models may use as categories (merchant, device, place) are joined from
    ``raw.transactions``, where they are stored once.

    Raises:
        MissingData: no features are stored for any of these days.
    """
    frame = warehouse.read(
        """
        SELECT f.*, t.merchant_id, t.merchant_category, t.device_type, t.device_fingerprint,
               t.country, t.city, t.ip_prefix
        FROM features.transaction_features f
        JOIN raw.transactions t ON t.transaction_id = f.transaction_id AND t.event_date = f.event_date
        WHERE f.event_date BETWEEN $first AND $last AND t.event_date BETWEEN $first AND $last
        ORDER BY f.event_date, f.transaction_id
        """,
        {"first": first, "last": last},
    )
    if frame.is_empty():
        raise MissingData(
            f"no features are stored for {first} to {last}: materialize features/transaction_features for these "
            "days first (fraud-pipelines run --from DAY --to DAY does, day by day)"
        )
    return frame
