"""The early reading: what the labels known so far say of the days too young to be judged."""

from dataclasses import dataclass

from fraud_pipelines.evaluation.estimates import estimate
from fraud_pipelines.evaluation.intervals import known_frauds
from fraud_pipelines.evaluation.lateness import ALL_REPORTED
from fraud_pipelines.evaluation.windows import Window


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


def early_reading(window: Window) -> EarlyReading:
    """Read days whose labels have not had their time."""
    caught = int(window.frauds["alert"].sum())
    waiting = window.alerts - window.alerts_labelled
    precision = estimate(
        known_frauds(window.frauds),
        alerts=window.alerts_labelled,
        labelled=window.labelled,
        reported=ALL_REPORTED,
        review_cost=0.0,
        loss_share=0.0,
        unreported_share=0.0,
    ).precision
    return EarlyReading(
        transactions=window.transactions,
        labelled=window.labelled,
        label_coverage=window.labelled / window.transactions if window.transactions else None,
        frauds=window.frauds.height,
        alerts=window.alerts,
        alerts_per_day=window.alerts / len(window.days) if window.days else None,
        alerts_labelled=window.alerts_labelled,
        precision=precision.value,
        precision_low=precision.low,
        precision_high=precision.high,
        precision_at_least=caught / window.alerts if window.alerts else None,
        precision_at_most=(caught + waiting) / window.alerts if window.alerts else None,
    )
