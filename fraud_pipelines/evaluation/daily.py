"""The evening's look back: performance as of a day, the next day's thresholds, and drift."""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.decisions.policies import thresholds_in_force
from fraud_pipelines.detection.daily import DAILY_MODELS
from fraud_pipelines.detection.schema import DEFAULT_SCHEMA
from fraud_pipelines.errors import MissingData
from fraud_pipelines.evaluation.drift import feature_drift
from fraud_pipelines.evaluation.metrics import performance
from fraud_pipelines.evaluation.outcomes import matured_decisions, matured_scores, matured_window, recent_scores
from fraud_pipelines.evaluation.tuning import Proposal, tune
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse

POLICY_PREFIX = "policy:"
"""Names the row of ``monitoring.model_performance`` that judges the decisions of a policy, not a model."""


@dataclass(frozen=True)
class Measured:
    """Performance as of a day: the table's rows, and the labelled scores of each model for its curve."""

    rows: pl.DataFrame
    labelled_scores: dict[str, pl.DataFrame]

    @property
    def headline(self) -> dict[str, float | int | None]:
        """How the decisions did, and each ranking's average precision."""
        figures: dict[str, float | int | None] = {}
        for row in self.rows.iter_rows(named=True):
            figures[f"average_precision {row['model_name']}"] = row["average_precision"]
            if row["model_name"].startswith(POLICY_PREFIX):
                for name in ("precision", "recall", "f1", "alerts", "cost", "value_detection_rate"):
                    figures[name] = row[name]
        return figures


def measure_performance(warehouse: Warehouse, settings: Settings, day: date) -> Measured:
    """Judge each daily model and the policy in force over the matured window, as known at the end of ``day``.

    Returns no rows while no day has matured.
    """
    policy = policy_in_force(settings)
    delay, days = settings.label_delay_days, settings.evaluation_days
    outcomes = {
        name: matured_scores(warehouse, day, model_name=name, label_delay_days=delay, evaluation_days=days)
        for name in DAILY_MODELS
    }
    outcomes[POLICY_PREFIX + policy.name] = matured_decisions(
        warehouse, day, label_delay_days=delay, evaluation_days=days, policy=policy.name
    )
    outcomes = {name: frame for name, frame in outcomes.items() if frame.height}
    first, last = matured_window(day, label_delay_days=delay, evaluation_days=days)
    rows = [
        performance(frame, review_cost=policy.review_cost, loss_share=policy.loss_share).row(
            as_of=day, model_name=name, channel="batch", window_start=first, window_end=last
        )
        for name, frame in outcomes.items()
    ]
    schema = warehouse.read("SELECT * FROM monitoring.model_performance LIMIT 0").schema
    return Measured(pl.DataFrame(rows, schema=schema), outcomes)


def log_matured_days(warehouse: Warehouse, registry: ModelRegistry, settings: Settings, day: date) -> list[str]:
    """Log to MLflow how the daily models did, as known at the end of ``day``, in the runs that trained them.

    Each day is read twice: when it matures, and when it leaves the evaluation window. Labels trickle in: at first
    most known frauds are those that were alerted, so that the first reading flatters recall; the second corrects
    it. The step is the age of the day. Figures are on rows the model had not seen, under the same names for every
    backend; to log a day again adds only what changed since.

    Returns:
        The versions judged, as ``fraud-daily/12``.
    """
    policy = policy_in_force(settings)
    judged = []
    for age in sorted({settings.label_delay_days, settings.label_delay_days + settings.evaluation_days - 1}):
        for name in DAILY_MODELS:
            outcomes = matured_scores(warehouse, day, label_delay_days=age, evaluation_days=1, model_name=name)
            version = registry.latest_for_partition(name, day - timedelta(days=age)) if outcomes.height else None
            if version is None:
                continue
            measured = performance(outcomes, review_cost=policy.review_cost, loss_share=policy.loss_share, resamples=0)
            metrics = {key: value for key, value in vars(measured).items() if value is not None}
            registry.log_metrics(version.run_id, metrics, step=age)
            judged.append(f"{version.name}/{version.version}")
    return judged


@dataclass(frozen=True)
class Tuned:
    """The proposal for the next day, its table row, and the alerts of the days it was judged by."""

    proposal: Proposal
    rows: pl.DataFrame
    current: float
    daily_alerts: pl.DataFrame


def tune_thresholds(warehouse: Warehouse, settings: Settings, day: date) -> Tuned:
    """Tune the policy's thresholds for the day after ``day`` from what is known at its end."""
    policy = policy_in_force(settings)
    current = thresholds_in_force(warehouse, policy, day)
    outcomes = matured_decisions(
        warehouse,
        day,
        label_delay_days=settings.label_delay_days,
        evaluation_days=settings.evaluation_days,
        policy=policy.name,
    )
    proposal = tune(outcomes, recent_scores(warehouse, day, policy=policy.name), current, policy, day=day)
    schema = warehouse.read("SELECT * FROM monitoring.decision_thresholds LIMIT 0").schema
    daily_alerts = warehouse.read(
        """
        SELECT event_date, count(*) FILTER (decision = 'review') AS review,
               count(*) FILTER (decision = 'block') AS block
        FROM scoring.decisions
        WHERE channel = 'batch' AND event_date BETWEEN $first AND $day
        GROUP BY event_date ORDER BY event_date
        """,
        {"first": day - timedelta(days=29), "day": day},
    )
    return Tuned(
        proposal=proposal,
        rows=pl.DataFrame([proposal.thresholds.row()], schema=schema),
        current=current.review_threshold,
        daily_alerts=daily_alerts,
    )


def measure_drift(warehouse: Warehouse, settings: Settings, day: date) -> pl.DataFrame:
    """``event_date``, ``feature``, ``psi`` of each model feature: the day against the days it is trained on.

    Empty on the first day, which has nothing to be compared with.
    """
    current = read_features(warehouse, day, day)
    try:
        reference = read_features(warehouse, day - timedelta(days=settings.training_days), day - timedelta(days=1))
    except MissingData:
        return pl.DataFrame(schema={"event_date": pl.Date, "feature": pl.String, "psi": pl.Float64})
    features = [name for name in DEFAULT_SCHEMA if name in current.columns]
    return feature_drift(reference, current, features).select(pl.lit(day).alias("event_date"), "feature", "psi")
