"""The end of day: the decisions of a day's transactions from their stored scores, with reasons."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from fraud_pipelines.decisions.audit_sample import AUDIT, AUDIT_SCORE, RISK_MODELS, reviewed, with_audit_columns
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.explain import explain_alerts
from fraud_pipelines.detection.daily_models import DAILY_MODEL, ENSEMBLE_MODEL, load_version
from fraud_pipelines.detection.supervised import with_model_scores
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.frames import read_columns, read_features_of
from fraud_pipelines.storage.connection import registered, select
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse

BATCH: Final = "batch"
"""The channel of what is decided at the end of the day."""

CANDIDATES_SQL: Final = """
    SELECT transaction_id, screening_score, second_stage_score,
           list_filter(
               [screening_version, nullif(second_stage_version, screening_version)],
               lambda version: version IS NOT NULL
           ) AS model_versions
    FROM scoring.stage_scores('batch', $day, $day, $screening_model, $second_stage, $ensemble_model)
"""
"""Both scores of each transaction of a day, and the versions that gave them."""


@dataclass(frozen=True)
class DecidedDay:
    """The decisions of a day, and the engine that made them.

    Attributes:
        rows: the columns of ``scoring.decisions`` but ``decided_at``, ordered by transaction id. ``model_versions``
            names the version that screened and the one of the second stage, as ``fraud-daily/12``.
        engine: as it was given, with the cut on the day's alerts where they were too many, and the draw of the audit
            sample where the policy has one.
    """

    rows: pl.DataFrame
    engine: DecisionEngine


def decide_day(warehouse: Warehouse, registry: ModelRegistry, engine: DecisionEngine, day: date) -> DecidedDay:
    """Decide every transaction of ``day`` by its batch scores.

    The policy's second stage decides on what the screening flags, or everything where there is no gate. Where that
    model gave no score the ensemble stands in for it: see ``scoring.stage_scores``. A day has no more alerts than the
    policy bears (`Policy.most_alerts`): what the models would have had reviewed or blocked beyond them is approved,
    with a reason of its own. Of what is approved the audit sample is drawn, see `decisions.audit_sample`.

    Raises:
        MissingData: the day has no scores.
        InvalidInput: a score is unusable.
    """
    candidates = read_candidates(warehouse, engine, day)
    engine, decided = decide_candidates(engine, candidates)
    if engine.policy.audit_per_day:
        model, candidates = _with_audit_scores(warehouse, candidates, day)
        engine = engine.with_audit_drawn(candidates, decided, model=model)
        decided = engine.decide(candidates)
    decided = with_audit_columns(decided).with_columns(candidates["model_versions"], candidates["second_stage_score"])
    alerts = decided.filter(reviewed())
    reasons = explain_alerts(
        alerts,
        seen_by_models(warehouse, day, alerts["transaction_id"]),
        engine,
        lambda name, number: load_version(registry, name, number),
    )
    return DecidedDay(decision_rows(decided, reasons, day), engine)


def decision_rows(decided: pl.DataFrame, reasons: pl.DataFrame, day: date) -> pl.DataFrame:
    """The rows of a `DecidedDay`, or of a shard of it.

    Args:
        decided: what the engine decided, with `AUDIT` and ``model_versions``.
        reasons: what `explain_alerts` gives.
    """
    return (
        decided.join(reasons, on="transaction_id", how="left")
        .select(
            "transaction_id",
            pl.lit(BATCH).alias("channel"),
            pl.lit(day).alias("event_date"),
            "decision",
            "score",
            "reason",
            pl.col("reason_codes").fill_null(pl.lit([], dtype=pl.List(pl.String))),
            "policy",
            "review_threshold",
            "block_threshold",
            "model_versions",
            *AUDIT,
        )
        .sort("transaction_id")
    )


def read_candidates(warehouse: Warehouse, engine: DecisionEngine, day: date) -> pl.DataFrame:
    """What `DecisionEngine.decide` is given of a day: both scores of each transaction, ``model_versions``, and the
    columns that the engine looks at; in order of ids.

    Raises:
        MissingData: the day has no scores.
    """
    candidates = warehouse.read(f"{CANDIDATES_SQL} ORDER BY transaction_id", candidates_of(engine, day))
    if candidates.is_empty():
        raise MissingData(f"no scores are stored for {day}: materialize scoring/transaction_scores for the day first")
    if engine.columns:
        looked_at = read_columns(warehouse, day, engine.columns)
        candidates = candidates.join(looked_at, on="transaction_id", how="left", maintain_order="left")
    return candidates


def candidates_of(engine: DecisionEngine, day: date) -> dict[str, object]:
    """The parameters of `CANDIDATES_SQL`."""
    return {
        "day": day,
        "screening_model": DAILY_MODEL,
        "second_stage": engine.policy.second_stage,
        "ensemble_model": ENSEMBLE_MODEL,
    }


def decide_candidates(engine: DecisionEngine, candidates: pl.DataFrame) -> tuple[DecisionEngine, pl.DataFrame]:
    """The decisions of a whole day, its alerts cut to what the policy bears, and the engine that made them."""
    decided = engine.decide(candidates)
    capped = engine.with_alerts_capped(candidates, decided, engine.policy.most_alerts(decided.height))
    return (engine, decided) if capped is engine else (capped, capped.decide(candidates))


def _with_audit_scores(warehouse: Warehouse, candidates: pl.DataFrame, day: date) -> tuple[str, pl.DataFrame]:
    """The candidates with the score that tells the risk of each, and the model that gave it; empty where none did."""
    scores = warehouse.read(
        """
        SELECT model_name, transaction_id, score FROM scoring.transaction_scores
        WHERE event_date = $day AND channel = 'batch' AND list_contains($models, model_name)
        """,
        {"day": day, "models": list(RISK_MODELS)},
    )
    scored_by = set(scores["model_name"].unique())
    model = next((each for each in RISK_MODELS if each in scored_by), "")
    of_model = scores.filter(model_name=model).select("transaction_id", pl.col("score").alias(AUDIT_SCORE))
    return model, candidates.join(of_model, on="transaction_id", how="left", maintain_order="left")


def seen_by_models(warehouse: Warehouse, day: date, transaction_ids: pl.Series) -> pl.DataFrame:
    """Features of these transactions of the day, with the scores that the models gave them."""
    with warehouse.connect(read_only=True) as connection:
        features = read_features_of(warehouse, day, transaction_ids)
        if features.height < len(transaction_ids):
            raise MissingData(
                f"no features are stored for {day}: materialize features/transaction_features for the day first"
            )
        with registered(connection, _asked=features.select("transaction_id")):
            scores = select(
                connection,
                """
                SELECT transaction_id, model_name, score FROM scoring.transaction_scores
                SEMI JOIN _asked USING (transaction_id) WHERE event_date = ? AND channel = 'batch'
                """,
                [day],
            )
    return with_model_scores(features, scores)
