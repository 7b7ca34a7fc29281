"""Metrics: how well scores and alerts did, in the terms of the field and in money."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.evaluation.cards import CARDS_A_DAY, card_precision, card_precision_ceiling, cards_by_day
from fraud_pipelines.evaluation.estimates import estimate
from fraud_pipelines.evaluation.intervals import RESAMPLES, KnownFrauds
from fraud_pipelines.evaluation.lateness import ALL_REPORTED, Reported, frauds_stood_for, known_late
from fraud_pipelines.evaluation.ranked import average_precision, curve, find_places, roc_auc

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Performance:
    """One row of ``monitoring.model_performance`` but for its key; null where a figure is not defined.

    ``transactions``, ``labelled``, ``frauds`` (known ones), ``alerts`` and ``alerts_labelled`` (alerts with a label)
    are counts of transactions, ``label_coverage`` is the share of them all that has a label. ``precision``,
    ``recall``, ``f1``, ``average_precision``, ``roc_auc``, ``card_precision_at_k`` and ``value_detection_rate`` lie
    in [0, 1], ``_low`` and ``_high`` bound a 95 % interval; ``cost`` is in currency units over the whole window.
    ``chargebacks_reported`` is the share of the window's chargebacks that is expected to be in.
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
    """All metrics over the outcomes of a window, as `evaluation.outcomes` reads them.

    All that frauds decide is an estimate for those that are ever reported, see `estimate`; card precision and ROC AUC
    are corrected in the same way, and null until half of the chargebacks are in.

    Precision, recall and F1 speak of ``alert``; average precision, ROC AUC and card precision of the ranking by
    score (see `ranking`). Without a single label in the window nothing can be said about precision, and it is
    null; recall and all that ranks frauds is null without a known fraud. For intervals see `intervals`.

    Args:
        outcomes: ``user_id``, ``event_date``, ``amount``, ``score``, ``raw_score``, ``alert``, ``is_fraud``,
            ``labelled`` and, where chargebacks come late, ``late`` (a fraud known by its chargeback alone).
        review_cost: currency units for each alert.
        loss_share: share of a missed fraud's amount that is lost.
        reported: how many of the window's chargebacks are in; without it all.
        unreported_share: share of the missed frauds that nobody ever reports, for ``recall_lower_bound``.
        k: cards a day that can be looked at, for the card precision.
        resamples: draws for the intervals; 0 for none.
        seed: of the draws; the same seed gives the same intervals.
    """
    codes, per_row = ranking(outcomes), frauds_stood_for(outcomes, reported)
    at, places = find_places(codes, per_row > 0)
    late, alert, amount = known_late(outcomes), outcomes["alert"].to_numpy(), outcomes["amount"].to_numpy()
    users = np.unique(outcomes["user_id"].gather(at).to_numpy(), return_inverse=True)[1]
    # Of equal rank in one order, so that the order of the rows doesn't show in the last digit.
    order = np.lexsort((amount[at], users, places.level))
    at, users = at[order], users[order]
    alerts, labelled, days = int(alert.sum()), int(outcomes["labelled"].sum()), outcomes["event_date"].n_unique()
    found = estimate(
        KnownFrauds(users, amount[at], alert[at], late[at], places),
        alerts=alerts,
        labelled=labelled,
        reported=reported,
        review_cost=review_cost,
        loss_share=loss_share,
        unreported_share=unreported_share,
        resamples=resamples if outcomes.height else 0,
        seed=seed,
    )
    told = reported.half_in
    cards = cards_by_day(outcomes, codes, per_row) if told and labelled else None
    return Performance(
        transactions=outcomes.height,
        labelled=labelled,
        frauds=len(at),
        alerts=alerts,
        alerts_per_day=alerts / days if days else None,
        alerts_labelled=int((alert & outcomes["labelled"].to_numpy()).sum()),
        label_coverage=labelled / outcomes.height if outcomes.height else None,
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
        roc_auc=roc_auc(places, per_row[at]) if told else None,
        card_precision_at_k=card_precision(cards, k) if cards is not None else None,
        card_precision_ceiling=card_precision_ceiling(cards, k) if cards is not None else None,
        value_detection_rate=found.value_detection_rate.value,
        value_detection_rate_low=found.value_detection_rate.low,
        value_detection_rate_high=found.value_detection_rate.high,
        cost=found.cost.value,
        cost_low=found.cost.low,
        cost_high=found.cost.high,
    )


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


def precision_recall(outcomes: pl.DataFrame, reported: Reported = ALL_REPORTED) -> Curve:
    """The curve whose average precision `performance` gives."""
    per_row = frauds_stood_for(outcomes, reported)
    at, places = find_places(ranking(outcomes), per_row > 0)
    if not len(at) or not reported.half_in:
        return Curve(np.empty(0), np.empty(0), None, len(at), 0.0)
    recall, precision = curve(places, per_row[at])
    share = float(per_row.sum()) / outcomes.height
    return Curve(recall, precision, average_precision(places, per_row[at]), len(at), share)


def ranking(outcomes: pl.DataFrame) -> Codes:
    """Rank of each row by score, equal scores by raw score; 0 is the least suspicious, ties share a rank.

    Anchored scores are tied for all that lies beyond the training data's tail, which is where most frauds are;
    the raw score orders those as a review queue would. A missing raw score comes last among its equals.
    """
    if not outcomes.height:
        return np.empty(0, dtype=np.int64)
    score = outcomes["score"].to_numpy()
    raw = outcomes["raw_score"].fill_null(-np.inf).to_numpy()
    order = np.lexsort((raw, score))
    steps = (np.diff(score[order]) > 0) | (raw[order][1:] > raw[order][:-1])
    codes = np.empty(outcomes.height, dtype=np.int64)
    codes[order] = np.concatenate(([0], np.cumsum(steps)))
    return codes
