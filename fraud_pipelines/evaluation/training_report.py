"""The training report: what is logged beside a new model version before it has scored anything.

Metrics, figures and tables have the same names for every backend, so that MLflow's comparison lines them up.
"""

from datetime import date, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.detection.daily_models import SUPERVISED_MODEL, TrainingPlan, TrainingReport
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.errors import MissingData
from fraud_pipelines.evaluation.bands import bands_of
from fraud_pipelines.evaluation.figures import pr_curve, score_histogram
from fraud_pipelines.evaluation.metrics import measure, precision_recall
from fraud_pipelines.evaluation.outcomes import matured_scores, matured_window, reporting_delay
from fraud_pipelines.evaluation.windows import window_of
from fraud_pipelines.features.frames import sample_features
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

BACKTEST_PREFIX = "backtest_"
_EXPLAINED_ROWS: Final = 200


def training_report(model: FraudModel, plan: TrainingPlan, warehouse: Warehouse, settings: Settings) -> TrainingReport:
    """Metrics, figures and tables of a model fitted by ``plan``: its training scores, what drives them, and a backtest.

    The backtest looks back on the days that had matured before the plan's day, with the labels known by then. None
    of its rows was trained on: where labels take at least as long to arrive as the training window is long, a model
    that needs no labels learns from later days. A supervised model learns from these very days: its backtest is of
    the scores that they got from the versions before it. The figures on the day itself follow when it has matured.
    """
    scores = pl.Series(model.calibration.score(model.calibration.training_scores))
    metrics = {"training_alert_share": float((scores > model.threshold).sum() / scores.len())}
    tables = {"contributions": mean_contributions(model, plan.features)}
    figures = {"score_histogram": score_histogram({model.backend: scores}, title="Scores of the training rows")}
    as_of = plan.day - timedelta(days=1)
    if plan.calibration is None:
        outcomes = _backtest(model, warehouse, settings, as_of)
    else:
        outcomes = matured_scores(
            warehouse,
            as_of,
            label_delay_days=settings.label_delay_days,
            evaluation_days=settings.training_days,
            model_name=SUPERVISED_MODEL,
        )
    if outcomes.height and outcomes["is_fraud"].any():
        policy = policy_in_force(settings)
        reported = reporting_delay(warehouse, as_of).reported_of(outcomes)
        window = window_of(outcomes)
        measured = measure(
            window,
            review_cost=policy.review_cost,
            loss_share=policy.loss_share,
            reported=reported,
            unreported_share=settings.unreported_share,
            resamples=0,
        )
        tables["score_bands"] = bands_of(window, reported)
        metrics |= {BACKTEST_PREFIX + name: value for name, value in measured.figures.items()}
        figures["pr_curve"] = pr_curve({model.backend: precision_recall(window, reported)})
    return TrainingReport(metrics, figures, tables)


def mean_contributions(model: FraudModel, features: pl.DataFrame) -> pl.DataFrame:
    """``feature`` and ``share``: of the explanations of the rows that score highest, mean share of each feature."""
    highest = features[model.score(features)["raw_score"].arg_sort(descending=True)[:_EXPLAINED_ROWS]]
    explained = model.explain(highest, top=len(model.schema))
    return (
        explained.group_by("feature")
        .agg((pl.col("share").sum() / highest.height).alias("share"))
        .sort(["share", "feature"], descending=[True, False])
    )


def _backtest(model: FraudModel, warehouse: Warehouse, settings: Settings, as_of: date) -> pl.DataFrame:
    """Outcomes, as `evaluation.metrics.performance` takes them, of the days matured by ``as_of``."""
    first, last = matured_window(
        as_of, label_delay_days=settings.label_delay_days, evaluation_days=settings.training_days
    )
    with warehouse.connect(read_only=True):
        try:
            features = sample_features(warehouse, first, last, known_before=as_of + timedelta(days=1)).rows
        except MissingData:
            return pl.DataFrame()
        labels = warehouse.read(
            "SELECT transaction_id, actual_fraud, late FROM feedback.reported_before($instant::TIMESTAMP)",
            {"instant": as_of + timedelta(days=1)},
        )
    scores = model.score(features)
    return (
        features.select("transaction_id", "user_id", "event_date", "amount")
        .with_columns(scores["score"], scores["raw_score"], scores["is_anomaly"].alias("alert"))
        .join(labels, on="transaction_id", how="left", maintain_order="left")
        .with_columns(
            is_fraud=pl.col("actual_fraud").fill_null(value=False),
            labelled=pl.col("actual_fraud").is_not_null(),
            late=pl.col("late").fill_null(value=False),
        )
    )
