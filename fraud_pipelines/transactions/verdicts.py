"""Verdicts: labels go into the warehouse once for each transaction and source, and the first one stays."""

from datetime import datetime
from typing import Final

import duckdb
import polars as pl

from fraud_pipelines.storage.warehouse import insert, select
from fraud_pipelines.transactions.repeats import repeat_reasons
from fraud_pipelines.transactions.schema import LABEL_COLUMNS
from fraud_pipelines.transactions.timestamps import as_utc

LABEL_KEY: Final = ("transaction_id", "source")


def store_labels(connection: duckdb.DuckDBPyConnection, labels: pl.DataFrame, *, now: datetime) -> pl.Series:
    """Store those of ``labels`` (``LABEL_COLUMNS``) whose key is new; returns for each why it wasn't, or null.

    The same verdict again is a ``duplicate``, another one a ``conflict``: a model was trained and thresholds were
    tuned with the first, and to replace it would rewrite what was known on that day.
    """
    connection.register("_labelled", labels.select("transaction_id"))
    try:
        stored = select(
            connection,
            "SELECT transaction_id, source, actual_fraud FROM feedback.labels "
            "WHERE transaction_id IN (SELECT transaction_id FROM _labelled)",
        )
    finally:
        connection.unregister("_labelled")
    reasons = repeat_reasons(labels, stored, key=LABEL_KEY, content=["actual_fraud"], noun="label")
    new = labels.filter(reasons.is_null()).select(*LABEL_COLUMNS)
    insert(connection, "feedback.labels", new.with_columns(ingested_at=pl.lit(as_utc(now), dtype=pl.Datetime("us"))))
    return reasons
