"""How today's supervised model ranks days that are held out from it: evidence while its own days were its cold start.

The first versions learned from a handful of frauds, and what they scored says little of a version that has seen more.
So the model is trained once more, as the version of the day was, on the same days but the latest matured ones, which
it then ranks. It has seen nothing of them, and their features are those of their time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.detection.daily_models import TRAINED_FROM_TAG, TrainingPlan
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.supervised import LABEL
from fraud_pipelines.detection.supervised_plan import SupervisedTraining
from fraud_pipelines.evaluation.paired import daily_average_precision, sample_weights
from fraud_pipelines.evaluation.second_stage import LEAST_DAYS, MaturedRankings
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelVersionInfo
from fraud_pipelines.storage.warehouse import Warehouse

LEAST_SHARE: Final = 0.25
"""Of the frauds that the version learned from, at least so many must be left: with fewer it is another model."""


@dataclass(frozen=True)
class HeldOut:
    """Average precision of each held-out day, and a digest of what it was computed from."""

    inputs: str
    days: Mapping[date, float]


def rank_held_out_days(
    warehouse: Warehouse,
    settings: Settings,
    declared: Plan,
    version: ModelVersionInfo,
    model: FraudModel,
    rankings: MaturedRankings,
) -> Mapping[date, float]:
    """Average precision of the latest `LEAST_DAYS` matured days with a known fraud, which are held out; none where too
    few frauds are left to learn from.

    Args:
        version: of the supervised model; it was trained for the day of ``rankings``.
        model: that version.
    """
    last = rankings.day - timedelta(days=1 + settings.label_delay_days)
    trained_from = date.fromisoformat(version.tags.get(TRAINED_FROM_TAG, str(last)))
    training = SupervisedTraining(
        parameters=model.parameters,
        contamination=model.contamination,
        label_delay_days=settings.label_delay_days,
        training_days=(last - trained_from).days + 1,
        min_frauds=1,
        sample_rows=settings.training_sample_rows,
        declared=declared,
    )
    whole = training.plan(warehouse, rankings.day)
    with_frauds = whole.features.filter(pl.col(LABEL), pl.col("event_date") <= last)["event_date"].unique().sort()
    first = with_frauds.tail(LEAST_DAYS).min()
    fitted = _fitted_before(whole, first) if isinstance(first, date) else None
    if fitted is None:
        return {}
    held_out = whole.features.filter(pl.col("event_date").is_between(first, last))
    late = rankings.labelled.select("transaction_id", "late")
    outcomes = sample_weights(
        held_out.select("transaction_id", "event_date", pl.col(LABEL))
        .hstack(fitted.score(held_out).select("raw_score"))
        .join(late, on="transaction_id", how="left", maintain_order="left")
        .with_columns(pl.col("late").fill_null(value=False)),
        rankings.payments,
    )
    return daily_average_precision(outcomes, rankings.reported)


def _fitted_before(whole: TrainingPlan, first: date) -> FraudModel | None:
    """A model of what ``whole`` holds of the days before ``first``; None where that is too little."""
    before = whole.features.filter(pl.col("event_date") < first)
    frauds = int(before[LABEL].sum())
    if not 0 < frauds < before.height or frauds < LEAST_SHARE * int(whole.features[LABEL].sum()):
        return None
    rows_in_window = round(whole.rows_in_window * before.height / whole.features.height)
    plan = replace(whole, features=before, rows_in_window=rows_in_window)
    return plan.fit(plan.schema()[0], "")
