"""The evening's look back: performance as of a day, and the next day's thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl
from pydantic import JsonValue

from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.decisions.policies import Policy, Thresholds, thresholds_in_force, with_probabilities
from fraud_pipelines.decisions.probabilities import PROBABILITIES, curves_in_force
from fraud_pipelines.decisions.second_stage import policy_of_day
from fraud_pipelines.evaluation.audited_performance import (
    AUDITED_HEADLINE,
    AUDITED_SERIES,
    audited_figures,
    thresholds_audited,
)
from fraud_pipelines.evaluation.early import early_reading
from fraud_pipelines.evaluation.judged import JudgedDays
from fraud_pipelines.evaluation.lateness import Reported
from fraud_pipelines.evaluation.metric import metrics
from fraud_pipelines.evaluation.metrics import Curve, Performance, measure, precision_recall
from fraud_pipelines.evaluation.outcomes import matured_window, scenarios_known
from fraud_pipelines.evaluation.probability import calibrate, reliability
from fraud_pipelines.evaluation.scenarios import scenario_recall
from fraud_pipelines.evaluation.shadow_performance import TABLE as SHADOW_TABLE
from fraud_pipelines.evaluation.shadow_performance import measure_shadow
from fraud_pipelines.evaluation.summaries import AMOUNT, BATCH, POLICY_PREFIX, Summaries, store_summaries
from fraud_pipelines.evaluation.tuning import Proposal, tune_levels
from fraud_pipelines.evaluation.windows import Window
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import overwrite
from fraud_pipelines.storage.metric_series import MetricSeries
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse

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
    *AUDITED_HEADLINE,
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
    *AUDITED_SERIES,
)
"""What MLflow shows over the days, beside the further metrics."""

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
_RECENT_DAYS: Final = 7
"""Whose scores say what alert volume a threshold means."""


@dataclass(frozen=True)
class MaturedDay:
    """How the versions that scored a single day did; ``figures`` are those of `Performance` that are defined."""

    model_name: str
    day: date
    age: int
    versions: Sequence[int]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """Performance as of a day: the rows of the tables, the curve of each batch model, and single days that matured.

    ``rows`` are of ``monitoring.model_performance``, ``early`` of ``monitoring.early_performance``, ``by_scenario``
    of ``monitoring.scenario_performance``, ``probabilities`` of ``monitoring.score_probabilities``, ``reliability`` of
    ``monitoring.score_reliability``, ``audited`` of ``monitoring.audit_performance``, ``thresholds_audited`` of
    ``monitoring.audited_thresholds``, ``shadow`` of ``monitoring.shadow_performance``.
    """

    rows: pl.DataFrame
    early: pl.DataFrame
    by_scenario: pl.DataFrame
    probabilities: pl.DataFrame
    reliability: pl.DataFrame
    audited: pl.DataFrame
    thresholds_audited: pl.DataFrame
    shadow: pl.DataFrame
    curves: dict[str, Curve]
    matured_days: Sequence[MaturedDay]
    summaries: Summaries

    @property
    def calibration_errors(self) -> dict[tuple[str, str], float]:
        """The expected calibration error of each model and channel whose probabilities can be judged."""
        apart = (pl.col("probability") - pl.col("share")).abs()
        errors = self.reliability.group_by("model_name", "channel", maintain_order=True).agg(
            (pl.col("payments") * apart).sum() / pl.col("payments").sum()
        )
        return {(name, channel): error for name, channel, error in errors.iter_rows()}

    @property
    def headline(self) -> dict[str, float | int | None]:
        """How the decisions of the end of day did, and each ranking's average precision; early readings so named."""
        figures: dict[str, float | int | None] = {}
        batch = self.rows.filter(channel=BATCH)
        for row in batch.filter(pl.col("model_name").str.starts_with(POLICY_PREFIX)).iter_rows(named=True):
            figures |= {name: row[name] for name in (*HEADLINE, *metrics()) if name in row}
        for row in batch.iter_rows(named=True):
            figures[f"average_precision {row['model_name']}"] = row["average_precision"]
        for (name, channel), error in self.calibration_errors.items():
            if channel == BATCH:
                figures[f"calibration_error {name}"] = error
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
    first, last = matured_window(
        day, label_delay_days=settings.label_delay_days, evaluation_days=settings.evaluation_days
    )
    young = last + timedelta(days=1)
    policy = policy_of_day(warehouse, policy_in_force(settings), day)
    judged = JudgedDays(warehouse, day, first, day, policy=policy, detailed_to=last)
    with warehouse.connect(read_only=True):
        windows = {of: judged.window(*of, first, last) for of in judged.summaries.names(first, last)}
        reported = {of: judged.reported(window) for of, window in windows.items()}
        early = {of: judged.window(*of, young, day) for of in judged.summaries.names(young, day)}
        scenarios = scenarios_known(warehouse, first, day)
        by_scenario = [
            _key(day, *of, first, last) | row
            for of, window in windows.items()
            for row in scenario_recall(window.frauds, scenarios, reported[of]).iter_rows(named=True)
        ]
        return Measured(
            rows=_table(
                warehouse,
                "monitoring.model_performance",
                [
                    _key(day, *of, first, last)
                    | _measured(window, policy, reported[of], settings).row
                    | _audited(judged, policy, of, first, last)
                    for of, window in windows.items()
                ],
            ),
            early=_table(
                warehouse,
                "monitoring.early_performance",
                [
                    _key(day, *of, young, day)
                    | asdict(early_reading(window))
                    | _audited(judged, policy, of, young, day)
                    for of, window in early.items()
                ],
            ),
            **_audit_tables(warehouse, judged, policy, day, settings),
            by_scenario=_table(warehouse, "monitoring.scenario_performance", by_scenario),
            **_probabilities(warehouse, day, windows, reported, first, last),
            shadow=_table(
                warehouse,
                SHADOW_TABLE,
                measure_shadow(
                    warehouse,
                    day,
                    judged.chargebacks,
                    policy=policy,
                    days=settings.label_delay_days + settings.evaluation_days,
                    unreported_share=settings.unreported_share,
                ),
            ),
            curves={
                name: precision_recall(window, reported[name, channel])
                for (name, channel), window in windows.items()
                if channel == BATCH
            },
            matured_days=_matured_days(judged, policy, settings, day),
            summaries=judged.summaries,
        )


def _audited(
    judged: JudgedDays, policy: Policy, of: tuple[str, str], first: date, last: date
) -> dict[str, float | int | None]:
    """What the audit sample adds to the figures of decisions; nothing to those of a model."""
    decided = of == (POLICY_PREFIX + policy.name, BATCH)
    return audited_figures(judged, policy, BATCH, first, last).row if decided else {}


def _audit_tables(
    warehouse: Warehouse, judged: JudgedDays, policy: Policy, day: date, settings: Settings
) -> dict[str, pl.DataFrame]:
    """What it tells of the trailing days, the youngest included: reviews take a day or two, and not weeks."""
    first = day - timedelta(days=settings.evaluation_days - 1)
    key = _key(day, POLICY_PREFIX + policy.name, BATCH, first, day)
    figures = audited_figures(judged, policy, BATCH, first, day)
    rows = [key | figures.row] if figures.audited is not None else []
    at_thresholds = [key | row for row in thresholds_audited(judged, policy, BATCH, first, day)]
    return {
        "audited": _table(warehouse, "monitoring.audit_performance", rows),
        "thresholds_audited": _table(warehouse, "monitoring.audited_thresholds", at_thresholds),
    }


def _probabilities(
    warehouse: Warehouse,
    day: date,
    windows: Mapping[tuple[str, str], Window],
    reported: Mapping[tuple[str, str], Reported],
    first: date,
    last: date,
) -> dict[str, pl.DataFrame]:
    """What the scores of each model are worth now, and how what was said of it before each day has turned out."""
    curves = curves_in_force(warehouse, first, last)
    told: list[dict[str, object]] = []
    judged: list[dict[str, object]] = []
    for of, window in windows.items():
        if of[0].startswith(POLICY_PREFIX) or of[0] == AMOUNT:
            continue
        key = _key(day, *of, first, last)
        if bands := calibrate(window, reported[of]):
            told += [key | row for row in bands.rows()]
        in_force = {event_date: curve for (*model, event_date), curve in curves.items() if tuple(model) == of}
        judged += [key | row for row in reliability(window, reported[of], in_force).rows()]
    return {
        "probabilities": _table(warehouse, PROBABILITIES, told),
        "reliability": _table(warehouse, "monitoring.score_reliability", judged),
    }


def _key(day: date, name: str, channel: str, first: date, last: date) -> dict[str, object]:
    return {"as_of": day, "model_name": name, "channel": channel, "window_start": first, "window_end": last}


def _measured(window: Window, policy: Policy, reported: Reported, settings: Settings, **options: int) -> Performance:
    """A window at the costs of the policy."""
    return measure(
        window,
        review_cost=policy.review_cost,
        loss_share=policy.loss_share,
        reported=reported,
        unreported_share=settings.unreported_share,
        **options,
    )


def _matured_days(judged: JudgedDays, policy: Policy, settings: Settings, day: date) -> list[MaturedDay]:
    """How each model did on single days: on the one that matures, on one a week older, and on the oldest."""
    ages = range(settings.label_delay_days, settings.label_delay_days + settings.evaluation_days)
    found = []
    for age in sorted({ages[0], ages[-1], *({ages[0] + _SECOND_READING} & set(ages))}):
        of = day - timedelta(days=age)
        for name, channel in judged.summaries.names(of, of):
            if channel == BATCH and not name.startswith(POLICY_PREFIX):
                window = judged.window(name, channel, of, of)
                figures = _measured(window, policy, judged.reported(window), settings, resamples=0).figures
                found.append(MaturedDay(name, of, age, window.days[0].versions, figures))
    return found


def store_performance(warehouse: Warehouse, measured: Measured, day: date) -> None:
    """Replace what was measured as of ``day``, in one transaction, and keep the summaries of the days that had none."""
    with warehouse.transaction() as connection:
        store_summaries(connection, measured.summaries)
        overwrite(connection, "monitoring.model_performance", measured.rows, as_of=day)
        overwrite(connection, "monitoring.early_performance", measured.early, as_of=day)
        overwrite(connection, "monitoring.scenario_performance", measured.by_scenario, as_of=day)
        overwrite(connection, PROBABILITIES, measured.probabilities, as_of=day)
        overwrite(connection, "monitoring.score_reliability", measured.reliability, as_of=day)
        overwrite(connection, "monitoring.audit_performance", measured.audited, as_of=day)
        overwrite(connection, "monitoring.audited_thresholds", measured.thresholds_audited, as_of=day)
        overwrite(connection, SHADOW_TABLE, measured.shadow, as_of=day)


def _table(warehouse: Warehouse, table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows with the columns and types of the table."""
    return pl.DataFrame(rows, schema=warehouse.read(f"SELECT * FROM {table} LIMIT 0").schema)


def log_series(series: MetricSeries, measured: Measured, day: date) -> None:
    """Log what was measured as of ``day`` to MLflow, with the day as step: a run for each model and channel.

    These are the lines over time. `log_matured_days` adds to the run that trained a model how that one version
    did; there all points are of one day, and what tells them apart is its age.
    """
    names = (*SERIES, *metrics())
    points = {
        (row["model_name"], row["channel"]): {name: row[name] for name in names if row.get(name) is not None}
        for row in measured.rows.iter_rows(named=True)
    }
    for of, error in measured.calibration_errors.items():
        points[of]["calibration_error"] = error
    series.log(
        {f"{name} {channel}": figures for (name, channel), figures in points.items()},
        day=day,
        description=SERIES_DESCRIPTION,
    )


def log_matured_days(registry: ModelRegistry, measured: Measured) -> list[str]:
    """Log to MLflow how each day's versions did, in the runs that trained them.

    Each day is read three times: when it matures, a week later, and when it leaves the evaluation window. Labels
    trickle in: at first most known frauds are those that were alerted, and there is a precision but no recall. The
    step is the age of the day. Figures are on rows the model had not seen, under the same names for every backend;
    to log a day again adds only what changed since.

    Returns:
        The versions judged, as ``fraud-daily/12``.
    """
    judged = []
    by_age: dict[int, dict[str, dict[str, float]]] = {}
    days = {of.age: of.day for of in measured.matured_days}
    for of in measured.matured_days:
        version = registry.latest_for_partition(of.model_name, of.day)
        # Where an older version scored, the figures are not those of the day's own.
        if version is not None and version.version in of.versions:
            by_age.setdefault(of.age, {})[version.run_id] = dict(of.figures)
            judged.append(f"{version.name}/{version.version}")
    for age, figures in by_age.items():
        registry.log_outcomes(days[age], figures, age=age)
    return judged


@dataclass(frozen=True)
class Tuned:
    """The proposal for the next day, the policy and thresholds it changes, and the alerts of the days before."""

    proposal: Proposal
    policy: Policy
    current: Thresholds
    daily_alerts: pl.DataFrame


def tune_thresholds(warehouse: Warehouse, settings: Settings, day: date) -> Tuned:
    """Tune the policy's thresholds for the day after ``day`` from what is known at its end.

    They are tuned on the scores of the model that decides ``day``, whichever decided the days before.
    """
    policy = policy_of_day(warehouse, policy_in_force(settings), day)
    tomorrow = day + timedelta(days=1)
    current = with_probabilities(warehouse, policy, thresholds_in_force(warehouse, policy, day), tomorrow)
    first, last = matured_window(
        day, label_delay_days=settings.label_delay_days, evaluation_days=settings.evaluation_days
    )
    decider = policy.second_stage
    judged = JudgedDays(warehouse, day, first, day, models=(decider,), policy=policy)
    recent = day - timedelta(days=_RECENT_DAYS - 1)
    with warehouse.connect(read_only=True):
        every = judged
        if _unjudged(warehouse, recent, day):
            every = JudgedDays(warehouse, day, recent, day, models=(decider,), policy=policy, every=True)
        window = judged.window(POLICY_PREFIX + policy.name, BATCH, first, last)
        reported = judged.reported(window)
        sample = judged.audit_sample(BATCH, first, last)
        proposal = tune_levels(
            judged.decided(BATCH, first, last, reported, sample=sample if sample and sample.is_enough else None),
            every.decided(BATCH, recent, day, reported),
            current,
            policy,
            day=day,
            scored=judged.scored_days(decider, BATCH, first, day, reported),
            reported=reported,
            decided=_decided(warehouse, policy, day) | (sample.evidence if sample else {}),
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


def _unjudged(warehouse: Warehouse, first: date, day: date) -> bool:
    """Whether there are payments of which only a verdict tells the outcome, and none is known at the end of ``day``."""
    query = "SELECT count(*) > 0 FROM feedback.unjudged($first, $day, $known_before::TIMESTAMP)"
    found: bool = warehouse.read(query, {"first": first, "day": day, "known_before": day + timedelta(days=1)}).item()
    return found


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
