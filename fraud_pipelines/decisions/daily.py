"""The end of day: the decisions of a day's transactions from their stored scores, with reasons."""

from datetime import date

import polars as pl

from fraud_pipelines.decisions.policies import Policy, Thresholds
from fraud_pipelines.decisions.reasons import reason_codes
from fraud_pipelines.decisions.rules import decide
from fraud_pipelines.detection.daily import DAILY_MODEL, ENSEMBLE_MODEL, load_daily_model
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse


def decide_day(
    warehouse: Warehouse, registry: ModelRegistry, policy: Policy, thresholds: Thresholds, day: date
) -> pl.DataFrame:
    """Decide every transaction of ``day`` by its batch scores.

    Returns:
        The columns of ``scoring.decisions`` but ``decided_at``, ordered by transaction id. ``model_versions``
        reads ``fraud-daily/12``: the registered model and the version that scored.

    Raises:
        MissingData: the day has no scores.
    """
    candidates = warehouse.read(
        f"""
        SELECT transaction_id,
               max(score) FILTER (model_name = '{DAILY_MODEL}') AS screening_score,
               max(score) FILTER (model_name = '{ENSEMBLE_MODEL}') AS ensemble_score,
               list(model_name || '/' || model_version ORDER BY model_name) AS model_versions
        FROM scoring.transaction_scores
        WHERE event_date = ? AND channel = 'batch'
        GROUP BY transaction_id ORDER BY transaction_id
        """,
        [day],
    )
    if candidates.is_empty():
        raise MissingData(f"no scores are stored for {day}: materialize scoring/transaction_scores for the day first")
    decided = decide(candidates, thresholds, policy)
    return (
        decided.join(candidates.select("transaction_id", "model_versions"), on="transaction_id")
        .join(_reasons(warehouse, registry, decided, day), on="transaction_id", how="left")
        .select(
            "transaction_id",
            pl.lit("batch").alias("channel"),
            pl.lit(day).alias("event_date"),
            "decision",
            "score",
            "reason",
            pl.col("reason_codes").fill_null(pl.lit([], dtype=pl.List(pl.String))),
            pl.lit(policy.name).alias("policy"),
            pl.lit(thresholds.review_threshold).alias("review_threshold"),
            pl.lit(thresholds.block_threshold).alias("block_threshold"),
            "model_versions",
        )
        .sort("transaction_id")
    )


def _reasons(warehouse: Warehouse, registry: ModelRegistry, decided: pl.DataFrame, day: date) -> pl.DataFrame:
    """``transaction_id`` and ``reason_codes`` of what is reviewed or blocked, by what drove the daily model."""
    alerts = decided.filter(pl.col("decision") != "approve").select("transaction_id")
    if alerts.is_empty():
        return alerts.with_columns(reason_codes=pl.lit([], dtype=pl.List(pl.String)))
    features = read_features(warehouse, day, day).join(alerts, on="transaction_id", how="semi")
    contributions = load_daily_model(registry, DAILY_MODEL, day).model.explain(features)
    return features.select("transaction_id").with_columns(
        pl.Series("reason_codes", reason_codes(features, contributions), dtype=pl.List(pl.String))
    )
