"""What the supervised model of a day is trained on: matured days with their labels, anchored on the days since."""

from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl

from fraud_pipelines.detection.backends import SUPERVISED
from fraud_pipelines.detection.daily_models import TrainingPlan
from fraud_pipelines.detection.default_schema import daily_schema
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.supervised import LABEL, SCORE_FEATURES, TRAINING_DAYS, with_model_scores
from fraud_pipelines.detection.training import TrainingWindow
from fraud_pipelines.detection.training_inputs import inputs_digest
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.frames import features_digest, sample_features
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.warehouse import Warehouse, registered, select


@dataclass(frozen=True)
class SupervisedTraining:
    """How the supervised model of a day is trained, by what was known when the day began.

    Trained on are the ``training_days`` latest days whose labels have had ``label_delay_days`` to arrive: a
    transaction without a label is legitimate by then. Where they have more than ``sample_rows`` transactions, the known
    frauds and a sample of the others stand for all. The scores are anchored on the days since. Of both, the scores
    that the other daily models gave are features: each day was scored by models that hadn't seen it.
    """

    parameters: Parameters
    contamination: float
    label_delay_days: int
    min_frauds: int
    sample_rows: int
    declared: Plan = field(repr=False)
    training_days: int = TRAINING_DAYS

    def inputs(self, warehouse: Warehouse, day: date) -> str:
        """A digest of all that `plan` would read for ``day`` and is trained with."""
        first, last = self._days(day)[0], day - timedelta(days=1)
        with warehouse.connect(read_only=True) as connection:
            read = (
                features_digest(connection, first, last),
                select(
                    connection,
                    """
                    SELECT count(*), sum(hash(hash(transaction_id, actual_fraud))::HUGEINT)
                    FROM feedback.labels_before($instant::TIMESTAMP)
                    """,
                    {"instant": day},
                ).row(0),
                select(
                    connection,
                    """
                    SELECT count(*), sum(hash(hash(transaction_id, model_name, score))::HUGEINT)
                    FROM scoring.transaction_scores
                    WHERE channel = 'batch' AND event_date BETWEEN $first AND $last
                      AND list_contains($models, model_name)
                    """,
                    {"first": first, "last": last, "models": list(SCORE_FEATURES)},
                ).row(0),
            )
        declared = (daily_schema(self.declared), self.declared.model_schema)
        version = self.declared.version_of(self.declared.model_schema)
        return inputs_digest(self, SUPERVISED.name, day, repr((read, declared, version)))

    def plan(self, warehouse: Warehouse, day: date) -> TrainingPlan:
        """The plan for ``day``.

        Raises:
            MissingData: too little is known yet, and what is missing.
        """
        first, last = self._days(day)
        with warehouse.connect(read_only=True):
            labels = warehouse.read(
                "SELECT transaction_id, actual_fraud FROM feedback.labels_before($instant::TIMESTAMP)", {"instant": day}
            )
            known_frauds = labels.filter(pl.col("actual_fraud"))["transaction_id"]
            matured = sample_features(warehouse, first, last, most=self.sample_rows, always=known_frauds)
            young = sample_features(warehouse, last + timedelta(days=1), day - timedelta(days=1), most=self.sample_rows)
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
        if frauds < self.min_frauds:
            raise MissingData(
                f"{frauds} frauds are known among the {matured.total:,} transactions of {first} to {last}, whose "
                f"labels have had time to arrive; a supervised model needs at least {self.min_frauds}."
            )
        return TrainingPlan(
            backend=SUPERVISED.name,
            day=day,
            window=TrainingWindow(tuple(training["event_date"].unique().sort()), bootstrap=False),
            features=training,
            parameters=self.parameters,
            contamination=self.contamination,
            declared=self.declared,
            rows_in_window=matured.total,
            calibration=calibration,
        )

    def _days(self, day: date) -> tuple[date, date]:
        """The first and the last of the matured days."""
        last = day - timedelta(days=1 + self.label_delay_days)
        return last - timedelta(days=self.training_days - 1), last


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
