"""The end of day: the decisions of a day's transactions from their stored scores, with reasons."""

from collections.abc import Callable
from datetime import date

import polars as pl

from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRules
from fraud_pipelines.decisions.reasons import reason_codes
from fraud_pipelines.detection.daily import DAILY_MODEL, ENSEMBLE_MODEL, LoadedModel, load_version
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse


def decide_day(warehouse: Warehouse, registry: ModelRegistry, engine: DecisionEngine, day: date) -> pl.DataFrame:
    """Decide every transaction of ``day`` by its batch scores.

    The policy's second stage decides on what the screening flags. Where that model gave no score (the supervised
    one needs labels first) or has no version in use, the ensemble stands in for it: see ``scoring.stage_scores``.

    Returns:
        The columns of ``scoring.decisions`` but ``decided_at``, ordered by transaction id. ``model_versions`` names
        the version that screened and the one of the second stage, as ``fraud-daily/12``.

    Raises:
        MissingData: the day has no scores.
        InvalidInput: a score is unusable.
    """
    candidates = warehouse.read(
        """
        SELECT transaction_id, screening_score, ensemble_score,
               list_filter([screening_version, ensemble_version], lambda version: version IS NOT NULL) AS model_versions
        FROM scoring.stage_scores('batch', $day, $day, $screening_model, $second_stage, $ensemble_model)
        ORDER BY transaction_id
        """,
        {
            "day": day,
            "screening_model": DAILY_MODEL,
            "second_stage": engine.policy.second_stage,
            "ensemble_model": ENSEMBLE_MODEL,
        },
    )
    if candidates.is_empty():
        raise MissingData(f"no scores are stored for {day}: materialize scoring/transaction_scores for the day first")
    features = read_features(warehouse, day, day)
    if engine.columns:
        looked_at = features.select(*dict.fromkeys(("transaction_id", *engine.columns)))
        candidates = candidates.join(looked_at, on="transaction_id", how="left", maintain_order="left")
    decided = engine.decide(candidates).with_columns(candidates["model_versions"])
    reasons = explain_alerts(decided, features, engine.rules, lambda name, number: load_version(registry, name, number))
    return (
        decided.join(reasons, on="transaction_id", how="left")
        .select(
            "transaction_id",
            pl.lit("batch").alias("channel"),
            pl.lit(day).alias("event_date"),
            "decision",
            "score",
            "reason",
            pl.col("reason_codes").fill_null(pl.lit([], dtype=pl.List(pl.String))),
            "policy",
            "review_threshold",
            "block_threshold",
            "model_versions",
        )
        .sort("transaction_id")
    )


def explain_alerts(
    decided: pl.DataFrame, features: pl.DataFrame, rules: HardRules, load: Callable[[str, int], LoadedModel]
) -> pl.DataFrame:
    """What a reviewer reads of each alert: what its rule says, if one decided, and what drove the screening model.

    Args:
        decided: ``transaction_id``, ``decision``, ``reason`` and ``model_versions``, whose first is the version that
            screened.
        features: the rows of these transactions, more or all of a day's.
        rules: those in force.
        load: gives a version of a registered model.

    Returns:
        ``transaction_id`` and ``reason_codes``, a row for each decision that is not to approve.
    """
    alerts = decided.filter(pl.col("decision") != "approve").with_columns(
        screened_by=pl.col("model_versions").list.first()
    )
    explained = [pl.DataFrame(schema={"transaction_id": pl.String, "reason_codes": pl.List(pl.String)})]
    for (screened_by,), group in alerts.group_by("screened_by", maintain_order=True):
        name, _, number = str(screened_by).rpartition("/")
        rows = features.join(group.select("transaction_id", "reason"), on="transaction_id", how="inner")
        codes = reason_codes(rows, load(name, int(number)).model.explain(rows))
        said = [rules.reason_codes(reason, each) for reason, each in zip(rows["reason"], codes, strict=True)]
        explained.append(
            rows.select("transaction_id").with_columns(pl.Series("reason_codes", said, dtype=pl.List(pl.String)))
        )
    return pl.concat(explained)
