"""What the supervised model of a day is trained on: matured days with their labels, anchored on the days since."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.detection.backends import SUPERVISED
from fraud_pipelines.detection.daily_models import TrainingPlan
from fraud_pipelines.detection.default_schema import daily_schema
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.supervised import LABEL, SCORE_FEATURES, TRAINING_DAYS, WEIGHT, with_model_scores
from fraud_pipelines.detection.training import TrainingWindow
from fraud_pipelines.detection.training_inputs import inputs_digest
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.frames import features_digest, read_features_of, sample_features
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import Connection, registered, select
from fraud_pipelines.storage.warehouse import Warehouse

ANCHORED_SHARE: Final = 0.1
"""Of the rows that scores are anchored on, at most this share may have been trained on."""

MOST_STOOD_FOR: Final = 100.0
"""An audited row stands for no more: a single one would decide what trees learn (truncated weights)."""

_DAY: Final = timedelta(days=1)
_NO_ROWS: Final = {"transaction_id": pl.String(), "event_date": pl.Date()}


@dataclass(frozen=True)
class SupervisedTraining:
    """How the supervised model of a day is trained, by what was known when the day began.

    Trained on are the ``training_days`` latest days whose labels have had ``label_delay_days`` to arrive: a
    transaction without a label is legitimate by then, unless only a verdict tells its outcome. Where they have more
    than ``sample_rows`` transactions, the known frauds and a sample of the others stand for all. Besides, those of the
    days since whose verdict is known already, of reviews and early chargebacks, but for the day before. On the handbook
    to learn from all in one ranks as well as a mean of two models, the later one of these verdicts alone, which Dal
    Pozzolo et al., "Credit Card Fraud Detection: A Realistic Modeling and a Novel Learning Strategy", 2018, propose.

    The scores are anchored on the days since, those verdicts included: without them the highest scores would be
    missing, and twice as many payments as asked for lay above 0.5. That a few of these rows were trained on makes no
    difference that can be measured; where it is more than `ANCHORED_SHARE`, the day before alone is anchored on. Of all
    rows, the scores that the other daily models gave are features: each day was scored by models that hadn't seen it.

    A payment of the audit sample that was drawn with the probability p stands for 1/p, up to `MOST_STOOD_FOR`, where no
    others of its kind are among the rows: where only verdicts tell outcomes, and of other payments where it is a fraud
    that nobody has reported. The legitimate ones that it would stand for are there themselves.
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
        first, last = self._days(day)[0], day - _DAY
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
                *_stood_for(connection, day).rows(),
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
        with warehouse.connect(read_only=True) as connection:
            labels = warehouse.read(
                "SELECT transaction_id, actual_fraud FROM feedback.labels_before($instant::TIMESTAMP)", {"instant": day}
            )
            stood_for = _stood_for(connection, day)
            known_frauds = labels.filter(pl.col("actual_fraud"))["transaction_id"]
            matured = sample_features(
                warehouse, first, last, most=self.sample_rows, always=known_frauds, known_before=day
            )
            since, yesterday = last + _DAY, day - _DAY
            young = sample_features(warehouse, since, yesterday, most=self.sample_rows)
            early = _rows_of(warehouse, since, yesterday - _DAY, labels["transaction_id"], most=self.sample_rows)
            training, calibration, judged = (
                with_model_scores(rows, _scores(warehouse, rows)) for rows in (matured.rows, young.rows, early)
            )
        if judged.height > ANCHORED_SHARE * calibration.height:
            calibration = calibration.filter(pl.col("event_date") == yesterday)
        days = tuple(training["event_date"].unique().sort())
        known = labels.select("transaction_id", pl.col("actual_fraud").alias(LABEL))
        training = (
            pl.concat([training, judged], how="diagonal")
            .join(known, on="transaction_id", how="left", maintain_order="left")
            .with_columns(pl.col(LABEL).fill_null(value=False))
        )
        if stood_for.height:
            training = training.join(stood_for, on="transaction_id", how="left", maintain_order="left").with_columns(
                pl.col(WEIGHT).fill_null(1.0)
            )
        frauds = int(training[LABEL].sum())
        if frauds < self.min_frauds:
            raise MissingData(
                f"{frauds} frauds are known among the {matured.total:,} transactions of {first} to {last}, whose "
                f"labels have had time to arrive, and the {judged.height:,} later ones with a verdict; a supervised "
                f"model needs at least {self.min_frauds}."
            )
        return TrainingPlan(
            backend=SUPERVISED.name,
            day=day,
            window=TrainingWindow(days, bootstrap=False),
            features=training,
            parameters=self.parameters,
            contamination=self.contamination,
            declared=self.declared,
            rows_in_window=matured.total + judged.height,
            calibration=calibration,
        )

    def _days(self, day: date) -> tuple[date, date]:
        """The first and the last of the matured days."""
        last = day - timedelta(days=1 + self.label_delay_days)
        return last - timedelta(days=self.training_days - 1), last


def _stood_for(connection: Connection, day: date) -> pl.DataFrame:
    """``transaction_id`` and ``stands_for`` of the audited payments that stand for others when ``day`` begins."""
    return select(
        connection,
        f"""
        SELECT transaction_id, least(1 / a.audit_probability, $most) AS {WEIGHT}
        FROM scoring.audited_payments a
        JOIN feedback.labels_before($instant::TIMESTAMP) l USING (transaction_id)
        JOIN raw.transactions t USING (transaction_id)
        WHERE l.source = 'review' AND (l.actual_fraud OR t.judged_only)
        ORDER BY transaction_id
        """,
        {"instant": day, "most": MOST_STOOD_FOR},
    )


def _rows_of(warehouse: Warehouse, first: date, last: date, transaction_ids: pl.Series, *, most: int) -> pl.DataFrame:
    """Features of these transactions, as far as they are of these days; of more, the ``most`` latest."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    found = [read_features_of(warehouse, each, transaction_ids) for each in days]
    return pl.concat(found, how="diagonal").tail(most) if found else pl.DataFrame(schema=_NO_ROWS)


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
