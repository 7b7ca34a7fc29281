"""What the supervised model of a day is trained on: matured days with their labels, anchored on the days since."""

from datetime import date, timedelta

import polars as pl

from fraud_pipelines.detection.backends import SUPERVISED
from fraud_pipelines.detection.daily import TrainingPlan
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.supervised import LABEL, SCORE_FEATURES, TRAINING_DAYS, with_model_scores
from fraud_pipelines.detection.training import TrainingWindow
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.storage.warehouse import Warehouse


def supervised_plan(
    warehouse: Warehouse,
    day: date,
    *,
    parameters: Parameters,
    contamination: float,
    label_delay_days: int,
    training_days: int = TRAINING_DAYS,
    min_frauds: int,
) -> TrainingPlan:
    """The plan for ``day`` by what was known when it began.

    Trained on are the ``training_days`` latest days whose labels have had ``label_delay_days`` to arrive: a
    transaction without a label is legitimate by then. The scores are anchored on the days since. Of both, the scores
    that the other daily models gave are features: each day was scored by models that hadn't seen it.

    Raises:
        MissingData: too little is known yet, and what is missing.
    """
    last = day - timedelta(days=1 + label_delay_days)
    first = last - timedelta(days=training_days - 1)
    with warehouse.connect(read_only=True):
        rows = read_features(warehouse, first, day - timedelta(days=1))
        labels = warehouse.read(
            "SELECT transaction_id, actual_fraud FROM feedback.labels_before($instant::TIMESTAMP)", {"instant": day}
        )
        scores = warehouse.read(
            "SELECT transaction_id, model_name, score FROM scoring.transaction_scores "
            "WHERE channel = 'batch' AND event_date BETWEEN $first AND $last AND list_contains($models, model_name)",
            {"first": first, "last": day - timedelta(days=1), "models": list(SCORE_FEATURES)},
        )
    rows = with_model_scores(rows, scores)
    training = rows.filter(pl.col("event_date") <= last).join(
        labels.select("transaction_id", pl.col("actual_fraud").alias(LABEL)),
        on="transaction_id",
        how="left",
        maintain_order="left",
    )
    training = training.with_columns(pl.col(LABEL).fill_null(value=False))
    frauds = int(training[LABEL].sum())
    if frauds < min_frauds:
        raise MissingData(
            f"{frauds} frauds are known among the {training.height:,} transactions of {first} to {last}, whose labels "
            f"have had time to arrive; a supervised model needs at least {min_frauds}."
        )
    calibration = rows.filter(pl.col("event_date") > last)
    if calibration.is_empty():
        raise MissingData(f"No features are stored between {last} and {day}, to anchor the scores on.")
    return TrainingPlan(
        backend=SUPERVISED.name,
        day=day,
        window=TrainingWindow(tuple(training["event_date"].unique().sort()), bootstrap=False),
        features=training,
        parameters=parameters,
        contamination=contamination,
        calibration=calibration,
    )
