"""The early reading: what the labels known so far say of the days too young to be judged."""

from dataclasses import dataclass

import polars as pl

from fraud_pipelines.evaluation.metrics import performance


@dataclass(frozen=True)
class EarlyReading:
    """One row of ``monitoring.early_performance`` but for its key; null where a figure is not defined.

    While labels are still to come, one that is missing means nothing. So ``precision`` is that of the alerts that
    have a label, with its 95 % interval (``_low``, ``_high``); ``precision_at_least`` and ``precision_at_most`` are
    what that of all alerts will be if none, and if each, of the others turns out to be fraud.
    Of recall nothing can be said yet: those that were alerted are known first.
    """

    transactions: int
    labelled: int
    label_coverage: float | None
    frauds: int
    alerts: int
    alerts_per_day: float | None
    alerts_labelled: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    precision_at_least: float | None
    precision_at_most: float | None


def early_reading(outcomes: pl.DataFrame) -> EarlyReading:
    """Read outcomes, as `evaluation.outcomes` reads them, whose labels have not had their time."""
    measured = performance(outcomes, review_cost=0.0, resamples=0)
    judged = performance(outcomes.filter("labelled"), review_cost=0.0)
    alerts, waiting = measured.alerts, measured.alerts - measured.alerts_labelled
    caught = outcomes.filter("alert", "is_fraud").height
    return EarlyReading(
        transactions=measured.transactions,
        labelled=measured.labelled,
        label_coverage=measured.label_coverage,
        frauds=measured.frauds,
        alerts=alerts,
        alerts_per_day=measured.alerts_per_day,
        alerts_labelled=measured.alerts_labelled,
        precision=judged.precision,
        precision_low=judged.precision_low,
        precision_high=judged.precision_high,
        precision_at_least=caught / alerts if alerts else None,
        precision_at_most=(caught + waiting) / alerts if alerts else None,
    )
