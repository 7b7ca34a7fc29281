"""Puts transactions and labels into a warehouse, as landing does."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.features.oracle import Label, Transaction
from fraud_pipelines_tests.features.random_transactions import frame, label_frame

_NOW = pl.lit(datetime(2026, 6, 1))


def store(warehouse: Warehouse, rows: Sequence[Transaction], labels: Sequence[Label] = ()) -> None:
    """Append to ``raw.transactions`` and ``feedback.labels``."""
    transactions = frame(list(rows)).with_columns(
        event_date=pl.col("timestamp").dt.date(), source=pl.lit("test"), ingested_at=_NOW
    )
    with warehouse.transaction() as connection:
        insert(connection, "raw.transactions", transactions)
        insert(connection, "feedback.labels", label_frame(list(labels)).with_columns(ingested_at=_NOW))
