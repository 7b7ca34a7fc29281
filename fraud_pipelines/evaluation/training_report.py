"""The training report: what is logged beside a new model version before it has scored anything."""

from datetime import date, timedelta

import polars as pl

from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.detection.daily import TrainingReport
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.errors import MissingData
from fraud_pipelines.evaluation.figures import png_bytes, pr_curve, score_histogram
from fraud_pipelines.evaluation.metrics import performance
from fraud_pipelines.evaluation.outcomes import matured_window
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

BACKTEST_PREFIX = "backtest_"


def training_report(model: FraudModel, warehouse: Warehouse, settings: Settings, day: date) -> TrainingReport:
    """Metrics and figures of a model trained for ``day``: its scores on the training rows, and a backtest.

    The backtest looks back: the model scores the days that had matured before ``day``, with the labels known by
    then. Where labels take at least as long to arrive as the training window is long, none of these rows was
    trained on. The figures on the day itself follow when it has matured.
    """
    scores = pl.Series(model.calibration.score(model.calibration.training_scores))
    metrics = {"training_alert_share": float((scores > model.threshold).sum() / scores.len())}
    figures = {"score_histogram": png_bytes(score_histogram({"training rows": scores}))}
    outcomes = _backtest(model, warehouse, settings, day - timedelta(days=1))
    if outcomes.height and outcomes["is_fraud"].any():
        policy = policy_in_force(settings)
        measured = performance(outcomes, review_cost=policy.review_cost, loss_share=policy.loss_share, resamples=0)
        metrics |= {BACKTEST_PREFIX + name: value for name, value in vars(measured).items() if value is not None}
        figures["pr_curve"] = png_bytes(pr_curve({model.backend: outcomes}))
    return TrainingReport(metrics, figures)


def _backtest(model: FraudModel, warehouse: Warehouse, settings: Settings, as_of: date) -> pl.DataFrame:
    """Outcomes, as `evaluation.metrics.performance` takes them, of the days matured by ``as_of``."""
    first, last = matured_window(
        as_of, label_delay_days=settings.label_delay_days, evaluation_days=settings.training_days
    )
    with warehouse.connect(read_only=True):
        try:
            features = read_features(warehouse, first, last)
        except MissingData:
            return pl.DataFrame()
        labels = warehouse.read(
            "SELECT transaction_id, actual_fraud FROM feedback.labels_before($instant::TIMESTAMP)",
            {"instant": as_of + timedelta(days=1)},
        )
    scores = model.score(features)
    return (
        features.select("transaction_id", "user_id", "event_date", "amount")
        .with_columns(scores["score"], scores["raw_score"], scores["is_anomaly"].alias("alert"))
        .join(labels, on="transaction_id", how="left", maintain_order="left")
        .with_columns(
            is_fraud=pl.col("actual_fraud").fill_null(value=False), labelled=pl.col("actual_fraud").is_not_null()
        )
    )
