"""The evening's look back: performance as of a day, and the next day's thresholds."""

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl
from pydantic import JsonValue

from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.decisions.policies import Policy, Thresholds, thresholds_in_force
from fraud_pipelines.evaluation.early import early_reading
from fraud_pipelines.evaluation.lateness import Reported
from fraud_pipelines.evaluation.metrics import Curve, Performance, performance, precision_recall
from fraud_pipelines.evaluation.outcomes import (
    deciding_channels,
    matured_decisions,
    matured_scores,
    matured_window,
    recent_scores,
    reporting_delay,
    scenarios_known,
    scored_models,
    screening_model,
)
from fraud_pipelines.evaluation.scenarios import scenario_recall
from fraud_pipelines.evaluation.tuning import Proposal, tune
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.metric_series import MetricSeries
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse, overwrite

POLICY_PREFIX = "policy:"
"""Names the row of ``monitoring.model_performance`` that judges the decisions of a policy, not a model."""

BATCH: Final = "batch"

HEADLINE: Final = (
    "precision",
    "precision_low",
    "precision_high",
    "recall",
    "recall_low",
    "recall_high",
    "recall_lower_bound",
    "f1",
    "alerts_per_day",
    "value_detection_rate",
    "cost",
)
"""Of the decisions, on the page of the asset, in this order."""

SERIES: Final = (
    "precision",
    "recall",
    "recall_lower_bound",
    "f1",
    "average_precision",
    "roc_auc",
    "card_precision_at_k",
    "value_detection_rate",
    "cost",
    "alerts_per_day",
    "label_coverage",
    "chargebacks_reported",
)
"""What MLflow shows over the days."""

SERIES_DESCRIPTION: Final = (
    "A point a day, as known at its end, over the days whose labels had had time to arrive. "
    "The rows of `monitoring.model_performance`."
)


_DECIDED: Final = (
    "alerts",
    "precision",
    "recall",
    "recall_low",
    "recall_high",
    "recall_lower_bound",
    "f1",
    "value_detection_rate",
    "cost",
    "chargebacks_reported",
)
"""What the evidence of a threshold tells of the decisions taken in its window; their cost is that of the window."""
_SECOND_READING: Final = 7


@dataclass(frozen=True)
class Measured:
    """Performance as of a day: the rows of the tables, and the curve of each batch model.

    ``rows`` are of ``monitoring.model_performance``, ``early`` of ``monitoring.early_performance``, ``by_scenario``
    of ``monitoring.scenario_performance``.
    """

    rows: pl.DataFrame
    early: pl.DataFrame
    by_scenario: pl.DataFrame
    curves: dict[str, Curve]

    @property
    def headline(self) -> dict[str, float | int | None]:
        """How the decisions of the end of day did, and each ranking's average precision; early readings so named."""
        figures: dict[str, float | int | None] = {}
        batch = self.rows.filter(channel=BATCH)
        for row in batch.filter(pl.col("model_name").str.starts_with(POLICY_PREFIX)).iter_rows(named=True):
            figures |= {name: row[name] for name in HEADLINE}
        for row in batch.iter_rows(named=True):
            figures[f"average_precision {row['model_name']}"] = row["average_precision"]
        for row in self.early.filter(channel=BATCH).iter_rows(named=True):
            if row["model_name"].startswith(POLICY_PREFIX):
                figures["early_precision"] = row["precision"]
                figures["early_alerts_per_day"] = row["alerts_per_day"]
        return figures


def measure_performance(warehouse: Warehouse, settings: Settings, day: date) -> Measured:
    """Judge every model that scored and the policy in force, by channel, as known at the end of ``day``.

    Matured days are judged over the evaluation window; of the days since, whose labels are still to come, there is
    an early reading. Neither has rows where there are no such days.
    """
    policy = policy_in_force(settings)
    delay, days = settings.label_delay_days, settings.evaluation_days
    matured = _outcomes(warehouse, day, policy, label_delay_days=delay, evaluation_days=days)
    young = _outcomes(warehouse, day, policy, label_delay_days=0, evaluation_days=delay) if delay else {}
    scenarios = scenarios_known(warehouse, day)
    first, last = matured_window(day, label_delay_days=delay, evaluation_days=days)
    chargebacks = reporting_delay(warehouse, day)
    reported = {of: chargebacks.reported_of(frame) for of, frame in matured.items()}

    def key(name: str, channel: str, first: date, last: date) -> dict[str, object]:
        return {"as_of": day, "model_name": name, "channel": channel, "window_start": first, "window_end": last}

    rows = [
        key(*of, first, last) | asdict(performance_of_policy(frame, policy, reported[of], settings))
        for of, frame in matured.items()
    ]
    early = [key(*of, last + timedelta(days=1), day) | asdict(early_reading(frame)) for of, frame in young.items()]
    by_scenario = [
        key(*of, first, last) | row
        for of, frame in matured.items()
        for row in scenario_recall(frame, scenarios, reported[of]).iter_rows(named=True)
    ]
    return Measured(
        rows=_table(warehouse, "monitoring.model_performance", rows),
        early=_table(warehouse, "monitoring.early_performance", early),
        by_scenario=_table(warehouse, "monitoring.scenario_performance", by_scenario),
        curves={
            name: precision_recall(frame, reported[name, channel])
            for (name, channel), frame in matured.items()
            if channel == BATCH
        },
    )


def performance_of_policy(
    outcomes: pl.DataFrame, policy: Policy, reported: Reported, settings: Settings
) -> Performance:
    """`performance` at the costs of a policy."""
    return performance(
        outcomes,
        review_cost=policy.review_cost,
        loss_share=policy.loss_share,
        reported=reported,
        unreported_share=settings.unreported_share,
    )


def store_performance(warehouse: Warehouse, measured: Measured, day: date) -> None:
    """Replace what was measured as of ``day``, in one transaction."""
    with warehouse.transaction() as connection:
        overwrite(connection, "monitoring.model_performance", measured.rows, as_of=day)
        overwrite(connection, "monitoring.early_performance", measured.early, as_of=day)
        overwrite(connection, "monitoring.scenario_performance", measured.by_scenario, as_of=day)


def _outcomes(
    warehouse: Warehouse, day: date, policy: Policy, *, label_delay_days: int, evaluation_days: int
) -> dict[tuple[str, str], pl.DataFrame]:
    """Outcomes by (model or policy, channel) of whatever scored or decided in the window."""
    first, last = matured_window(day, label_delay_days=label_delay_days, evaluation_days=evaluation_days)
    found = {
        (name, channel): matured_scores(
            warehouse,
            day,
            label_delay_days=label_delay_days,
            evaluation_days=evaluation_days,
            model_name=name,
            channel=channel,
        )
        for name, channel in scored_models(warehouse, first, last)
    }
    for channel in deciding_channels(warehouse, first, last, policy=policy.name):
        found[POLICY_PREFIX + policy.name, channel] = matured_decisions(
            warehouse,
            day,
            label_delay_days=label_delay_days,
            evaluation_days=evaluation_days,
            policy=policy.name,
            channel=channel,
            screening_model=screening_model(channel),
            second_stage=policy.second_stage,
        )
    return {of: frame for of, frame in found.items() if frame.height}


def _table(warehouse: Warehouse, table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows with the columns and types of the table."""
    return pl.DataFrame(rows, schema=warehouse.read(f"SELECT * FROM {table} LIMIT 0").schema)


def log_series(series: MetricSeries, measured: Measured, day: date) -> None:
    """Log what was measured as of ``day`` to MLflow, with the day as step: a run for each model and channel.

    These are the lines over time. `log_matured_days` adds to the run that trained a model how that one version
    did; there all points are of one day, and what tells them apart is its age.
    """
    series.log(
        {
            f"{row['model_name']} {row['channel']}": {name: row[name] for name in SERIES if row[name] is not None}
            for row in measured.rows.iter_rows(named=True)
        },
        day=day,
        description=SERIES_DESCRIPTION,
    )


def log_matured_days(warehouse: Warehouse, registry: ModelRegistry, settings: Settings, day: date) -> list[str]:
    """Log to MLflow how each day's versions did, as known at the end of ``day``, in the runs that trained them.

    Each day is read three times: when it matures, a week later, and when it leaves the evaluation window. Labels
    trickle in: at first most known frauds are those that were alerted, and there is a precision but no recall. The
    step is the age of the day. Figures are on rows the model had not seen, under the same names for every backend;
    to log a day again adds only what changed since.

    Returns:
        The versions judged, as ``fraud-daily/12``.
    """
    policy = policy_in_force(settings)
    judged = []
    chargebacks = reporting_delay(warehouse, day)
    matured = settings.label_delay_days
    window = range(matured, matured + settings.evaluation_days)
    for age in sorted({window[0], window[-1], *({matured + _SECOND_READING} & set(window))}):
        of = day - timedelta(days=age)
        figures: dict[str, dict[str, float]] = {}
        for name in [name for name, channel in scored_models(warehouse, of, of) if channel == BATCH]:
            outcomes = matured_scores(warehouse, day, label_delay_days=age, evaluation_days=1, model_name=name)
            version = registry.latest_for_partition(name, of)
            # Where an older version scored, the figures are not those of the day's own.
            if version is None or version.version not in outcomes["model_version"]:
                continue
            measured = performance(
                outcomes,
                review_cost=policy.review_cost,
                loss_share=policy.loss_share,
                reported=chargebacks.reported_of(outcomes),
                unreported_share=settings.unreported_share,
                resamples=0,
            )
            figures[version.run_id] = {key: value for key, value in vars(measured).items() if value is not None}
            judged.append(f"{version.name}/{version.version}")
        registry.log_outcomes(of, figures, age=age)
    return judged


@dataclass(frozen=True)
class Tuned:
    """The proposal for the next day, the policy and thresholds it changes, and the alerts of the days before."""

    proposal: Proposal
    policy: Policy
    current: Thresholds
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
        second_stage=policy.second_stage,
    )
    latest = recent_scores(warehouse, day, policy=policy.name, second_stage=policy.second_stage)
    reported = reporting_delay(warehouse, day).reported_of(outcomes)
    proposal = tune(
        outcomes, latest, current, policy, day=day, reported=reported, decided=_decided(warehouse, policy, day)
    )
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
        policy=policy,
        current=current,
        daily_alerts=daily_alerts,
    )


def _decided(warehouse: Warehouse, policy: Policy, day: date) -> dict[str, JsonValue]:
    """How the decisions did that the policy took, as stored by `store_performance`; empty where nothing is."""
    rows = warehouse.read(
        f"""
        SELECT {", ".join(f'"{name}"' for name in _DECIDED)} FROM monitoring.model_performance
        WHERE as_of = $day AND model_name = $name AND channel = $channel
        """,
        {"day": day, "name": POLICY_PREFIX + policy.name, "channel": BATCH},
    )
    return rows.row(0, named=True) if rows.height else {}
