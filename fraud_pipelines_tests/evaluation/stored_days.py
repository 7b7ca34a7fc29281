"""A warehouse of days with features and labels, made without folding histories: what models are judged by."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse

FIRST = date(2026, 9, 1)
ROWS = 200
FRAUDS = 8


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def make_warehouse(path: Path, *, days: int) -> Warehouse:
    """So many days of `ROWS` transactions, `FRAUDS` of which are unusual for their user and labelled two days later."""
    warehouse = open_warehouse(path, plan=shipped_plan(), wait_seconds=10)
    frames = [_day(number) for number in range(days)]
    transactions = pl.concat(frames).select(
        "transaction_id",
        "user_id",
        "timestamp",
        "event_date",
        "amount",
        pl.lit("test").alias("source"),
        pl.col("timestamp").alias("ingested_at"),
    )
    labels = (
        pl.concat(frames)
        .filter("is_fraud")
        .select(
            "transaction_id",
            pl.lit("chargeback").alias("source"),
            pl.lit(True).alias("actual_fraud"),
            (pl.col("timestamp") + timedelta(days=2)).alias("known_at"),
            (pl.col("timestamp") + timedelta(days=2)).alias("ingested_at"),
        )
    )
    columns = shipped_plan().feature_types
    features = pl.concat(frames).drop("is_fraud")
    features = features.with_columns(
        pl.lit(0).cast(kind).alias(name) if kind.is_numeric() else pl.lit(None, dtype=kind).alias(name)
        for name, kind in columns.items()
        if name not in features.columns
    )
    with warehouse.transaction() as connection:
        for table, rows in (
            ("raw.transactions", transactions),
            ("feedback.labels", labels),
            ("features.transaction_features", features.select(list(columns))),
        ):
            insert(connection, table, rows)
    return warehouse


def _day(number: int) -> pl.DataFrame:
    rng = np.random.default_rng(number)
    is_fraud = np.arange(ROWS) < FRAUDS
    noon = datetime.combine(day(number), datetime.min.time()) + timedelta(hours=12)
    unusual = np.abs(rng.standard_t(4, ROWS)) + np.where(is_fraud, rng.exponential(4, ROWS), 0)
    return pl.DataFrame(
        {
            "transaction_id": [f"t{number:02}-{row:03}" for row in range(ROWS)],
            "user_id": [f"u{row}" for row in range(ROWS)],
            "timestamp": [noon] * ROWS,
            "event_date": [day(number)] * ROWS,
            "amount": np.exp(rng.normal(3, 1, ROWS)),
            "user_z": unusual,
            "user_rz": unusual + rng.normal(0, 0.3, ROWS),
            "is_fraud": is_fraud,
        }
    )


def score_by_hash(warehouse: Warehouse) -> None:
    """Store a score of every payment by the daily model and the ensemble, drawn by a hash of its id."""
    with warehouse.transaction() as connection:
        for model, salt in (("fraud-daily", ""), ("fraud-ensemble", "2")):
            connection.execute(
                f"""
                INSERT INTO scoring.transaction_scores
                SELECT transaction_id, '{model}', 'batch', event_date, 1, score, score, score > 0.5, event_date
                FROM (SELECT *, (hash(transaction_id || '{salt}') % 1000) / 1000 AS score
                      FROM features.transaction_features)
                """
            )
