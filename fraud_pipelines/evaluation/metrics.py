"""Metrics: how well scores and alerts did, in the terms of the field and in money."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.evaluation.cards import (
    CARDS_A_DAY,
    card_precision,
    card_precision_ceiling,
    compromised_cards,
)
from fraud_pipelines.evaluation.estimates import estimate
from fraud_pipelines.evaluation.intervals import RESAMPLES
from fraud_pipelines.evaluation.lateness import ALL_REPORTED, Reported
from fraud_pipelines.evaluation.metric import metrics
from fraud_pipelines.evaluation.ranked import average_precision, curve, roc_auc
from fraud_pipelines.evaluation.windows import Window, stand_for, window_of


@dataclass(frozen=True)
class Performance:
    """One row of ``monitoring.model_performance`` but for its key; null where a figure is not defined.

    ``transactions``, ``labelled``, ``frauds`` (known ones), ``alerts`` and ``alerts_labelled`` (alerts with a label)
    are counts of transactions, ``label_coverage`` is the share of them all that has a label. ``precision``,
    ``recall``, ``f1``, ``average_precision``, ``roc_auc``, ``card_precision_at_k`` and ``value_detection_rate`` lie
    in [0, 1], ``_low`` and ``_high`` bound a 95 % interval; ``cost`` is in currency units over the whole window.
    ``chargebacks_reported`` is the share of the window's chargebacks that is expected to be in. Where not ``exact``,
    days had so many payments that the figures of the ranking are told from nearly equal scores taken together: they
    are right to within .001. ``further`` holds the further metrics, by name.
    """

    transactions: int
    labelled: int
    frauds: int
    alerts: int
    alerts_per_day: float | None
    alerts_labelled: int
    label_coverage: float | None
    chargebacks_reported: float | None
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    recall_lower_bound: float | None
    f1: float | None
    f1_low: float | None
    f1_high: float | None
    average_precision: float | None
    average_precision_low: float | None
    average_precision_high: float | None
    roc_auc: float | None
    card_precision_at_k: float | None
    card_precision_ceiling: float | None
    value_detection_rate: float | None
    value_detection_rate_low: float | None
    value_detection_rate_high: float | None
    cost: float | None
    cost_low: float | None
    cost_high: float | None
    exact: bool
    further: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, float | None]:
        """All figures by name."""
        return {name: value for name, value in vars(self).items() if name != "further"} | dict(self.further)

    @property
    def figures(self) -> dict[str, float]:
        """What is defined of it, by name."""
        return {name: value for name, value in self.row.items() if value is not None and name != "exact"}


def performance(
    outcomes: pl.DataFrame,
    *,
    review_cost: float,
    loss_share: float = 1.0,
    reported: Reported = ALL_REPORTED,
    unreported_share: float = 0.0,
    k: int = CARDS_A_DAY,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Performance:
    """`measure`, of a row a payment: ``user_id``, ``event_date``, ``amount``, ``score``, ``raw_score``, ``alert``,
    ``is_fraud``, ``labelled`` and, where chargebacks come late, ``late`` (a fraud known by its chargeback alone)."""
    return measure(
        window_of(outcomes),
        review_cost=review_cost,
        loss_share=loss_share,
        reported=reported,
        unreported_share=unreported_share,
        k=k,
        resamples=resamples,
        seed=seed,
    )


def measure(
    window: Window,
    *,
    review_cost: float,
    loss_share: float = 1.0,
    reported: Reported = ALL_REPORTED,
    unreported_share: float = 0.0,
    k: int = CARDS_A_DAY,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Performance:
    """All metrics of a window.

    All that frauds decide is an estimate for those that are ever reported, see `estimate`; card precision and ROC AUC
    are corrected in the same way, and null until half of the chargebacks are in.

    Precision, recall and F1 speak of ``alert``; average precision, ROC AUC and card precision of the ranking by
    score, equal scores by raw score: anchored scores are tied for all that lies beyond the training data's tail, which
    is where most frauds are. Without a single label in the window nothing can be said about precision, and it is
    null; recall and all that ranks frauds is null without a known fraud. For intervals see `intervals`.

    Args:
        review_cost: currency units for each alert.
        loss_share: share of a missed fraud's amount that is lost.
        reported: how many of the window's chargebacks are in; without it all.
        unreported_share: share of the missed frauds that nobody ever reports, for ``recall_lower_bound``.
        k: cards a day that can be looked at, for the card precision.
        resamples: draws for the intervals; 0 for none.
        seed: of the draws; the same seed gives the same intervals.
    """
    known = window.known
    found = estimate(
        known,
        alerts=window.alerts,
        labelled=window.labelled,
        reported=reported,
        review_cost=review_cost,
        loss_share=loss_share,
        unreported_share=unreported_share,
        resamples=resamples if window.transactions else 0,
        seed=seed,
    )
    cards = compromised_cards(
        window.frauds["event_date"], window.frauds["user_id"], stand_for(window.frauds, reported).tolist()
    )
    # Of the cards that rank below, none can come up for the compromised ones that are gone.
    ranked = window.cards(k + len({card for _, card in cards})) if reported.half_in and window.labelled else None
    measured = Performance(
        transactions=window.transactions,
        labelled=window.labelled,
        frauds=window.frauds.height,
        alerts=window.alerts,
        alerts_per_day=window.alerts / len(window.days) if window.days else None,
        alerts_labelled=window.alerts_labelled,
        label_coverage=window.labelled / window.transactions if window.transactions else None,
        chargebacks_reported=reported.expected,
        precision=found.precision.value,
        precision_low=found.precision.low,
        precision_high=found.precision.high,
        recall=found.recall.value,
        recall_low=found.recall.low,
        recall_high=found.recall.high,
        recall_lower_bound=found.recall_lower_bound,
        f1=found.f1.value,
        f1_low=found.f1.low,
        f1_high=found.f1.high,
        average_precision=found.average_precision.value,
        average_precision_low=found.average_precision.low,
        average_precision_high=found.average_precision.high,
        roc_auc=roc_auc(known.places, stand_for(known, reported)) if reported.half_in and known.places else None,
        card_precision_at_k=card_precision(ranked, cards, k) if ranked is not None else None,
        card_precision_ceiling=card_precision_ceiling(len(window.days), cards, k) if ranked is not None else None,
        value_detection_rate=found.value_detection_rate.value,
        value_detection_rate_low=found.value_detection_rate.low,
        value_detection_rate_high=found.value_detection_rate.high,
        cost=found.cost.value,
        cost_low=found.cost.low,
        cost_high=found.cost.high,
        exact=window.exact,
    )
    return replace(measured, further={name: each.value(window, measured) for name, each in metrics().items()})


@dataclass(frozen=True)
class Curve:
    """Precision against recall of a ranking, at each distinct rank that a fraud holds, the highest first.

    ``average_precision`` is null, and the curve empty, without a known fraud or until half of the chargebacks are in.
    """

    recall: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    average_precision: float | None
    frauds: int
    base_rate: float


def precision_recall(window: Window, reported: Reported = ALL_REPORTED) -> Curve:
    """The curve whose average precision `measure` gives."""
    known = window.known
    if not window.frauds.height or not reported.half_in or known.places is None:
        return Curve(np.empty(0), np.empty(0), None, window.frauds.height, 0.0)
    counts = stand_for(known, reported)
    recall, precision = curve(known.places, counts)
    share = float(counts.sum()) / window.transactions
    return Curve(recall, precision, average_precision(known.places, counts), window.frauds.height, share)


def average_precision_of_days(window: Window, reported: Reported = ALL_REPORTED) -> dict[date, float]:
    """Average precision of each day that has a known fraud."""
    found = {}
    for day in window.days:
        known = window.known_on(day)
        value = average_precision(known.places, stand_for(known, reported)) if known.places else None
        if value is not None:
            found[day.event_date] = value
    return found
