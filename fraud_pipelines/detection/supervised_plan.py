"""What the supervised model of a day is trained on: matured days with their labels, anchored on the days since."""

from datetime import date, timedelta

import polars as pl

from fraud_pipelines.detection.backends import SUPERVISED
from fraud_pipelines.detection.daily import TrainingPlan
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.supervised import LABEL, SCORE_FEATURES, TRAINING_DAYS, with_model_scores
from fraud_pipelines.detection.training import TrainingWindow
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.frames import sample_features
from fraud_pipelines.storage.warehouse import Warehouse, registered, select


def supervised_plan(
    warehouse: Warehouse,
    day: date,
    *,
    parameters: Parameters,
    contamination: float,
    label_delay_days: int,
    training_days: int = TRAINING_DAYS,
    min_frauds: int,
    sample_rows: int,
) -> TrainingPlan:
    """The plan for ``day`` by what was known when it began.

    Trained on are the ``training_days`` latest days whose labels have had ``label_delay_days`` to arrive: a
    transaction without a label is legitimate by then. Where they have more than ``sample_rows`` transactions, the known
    frauds and a sample of the others stand for all. The scores are anchored on the days since. Of both, the scores
    that the other daily models gave are features: each day was scored by models that hadn't seen it.

    Raises:
        MissingData: too little is known yet, and what is missing.
    """
    last = day - timedelta(days=1 + label_delay_days)
    first = last - timedelta(days=training_days - 1)
    with warehouse.connect(read_only=True):
        labels = warehouse.read(
            "SELECT transaction_id, actual_fraud FROM feedback.labels_before($instant::TIMESTAMP)", {"instant": day}
        )
        known_frauds = labels.filter(pl.col("actual_fraud"))["transaction_id"]
        matured = sample_features(warehouse, first, last, most=sample_rows, always=known_frauds)
        young = sample_features(warehouse, last + timedelta(days=1), day - timedelta(days=1), most=sample_rows)
        training, calibration = (
            with_model_scores(sample.rows, _scores(warehouse, sample.rows)) for sample in (matured, young)
        )
    training = training.join(
        labels.select("transaction_id", pl.col("actual_fraud").alias(LABEL)),
        on="transaction_id",
        how="left",
        maintain_order="left",
    )
    training = training.with_columns(pl.col(LABEL).fill_null(value=False))
    frauds = int(training[LABEL].sum())
    if frauds < min_frauds:
        raise MissingData(
            f"{frauds} frauds are known among the {matured.total:,} transactions of {first} to {last}, whose labels "
            f"have had time to arrive; a supervised model needs at least {min_frauds}."
        )
    return TrainingPlan(
        backend=SUPERVISED.name,
        day=day,
        window=TrainingWindow(tuple(training["event_date"].unique().sort()), bootstrap=False),
        features=training,
        parameters=parameters,
        contamination=contamination,
        rows_in_window=matured.total,
        calibration=calibration,
    )


def _scores(warehouse: Warehouse, rows: pl.DataFrame) -> pl.DataFrame:
    """The scores that the other daily models gave these rows."""
    with warehouse.connect(read_only=True) as connection, registered(connection, _rows=rows.select("transaction_id")):
        return select(
            connection,
            "SELECT transaction_id, model_name, score FROM scoring.transaction_scores SEMI JOIN _rows "
            "USING (transaction_id) WHERE channel = 'batch' AND event_date BETWEEN $first AND $last "
            "AND list_contains($models, model_name)",
            {
                "first": rows["event_date"].min(),
                "last": rows["event_date"].max(),
                "models": list(SCORE_FEATURES),
            },
        )
