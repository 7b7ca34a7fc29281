"""Metrics: how well scores and alerts did, in the terms of the field and in money."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.evaluation.intervals import Interval, bootstrap_intervals

Codes = npt.NDArray[np.int64]

CARDS_A_DAY: Final = 100


@dataclass(frozen=True)
class Performance:
    """One row of ``monitoring.model_performance`` but for its key; null where a figure is not defined.

    ``transactions``, ``labelled``, ``frauds``, ``alerts`` and ``alerts_labelled`` (alerts with a label) are counts of
    transactions, ``label_coverage`` is the share of them all that has a label. ``precision``, ``recall``,
    ``f1``, ``average_precision``, ``roc_auc``, ``card_precision_at_k`` and ``value_detection_rate`` lie in [0, 1],
    ``_low`` and ``_high`` bound a 95 % interval; ``cost`` is in currency units over the whole window.
    """

    transactions: int
    labelled: int
    frauds: int
    alerts: int
    alerts_per_day: float | None
    alerts_labelled: int
    label_coverage: float | None
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
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
    cost: float
    cost_low: float | None
    cost_high: float | None


def performance(
    outcomes: pl.DataFrame,
    *,
    review_cost: float,
    loss_share: float = 1.0,
    k: int = CARDS_A_DAY,
    resamples: int = 200,
    seed: int = 0,
) -> Performance:
    """All metrics over the outcomes of a window, as `evaluation.outcomes` reads them.

    Precision, recall and F1 speak of ``alert``; average precision, ROC AUC and card precision of the ranking by
    score (see `ranking`). Without a single label in the window nothing can be said about precision, and it is
    null; recall and all that ranks frauds is null without a known fraud. Intervals are a bootstrap over days,
    since the frauds of a day are not independent; null with fewer than three days.

    Args:
        outcomes: ``user_id``, ``event_date``, ``amount``, ``score``, ``raw_score``, ``alert``, ``is_fraud``,
            ``labelled``.
        review_cost: currency units for each alert.
        loss_share: share of a missed fraud's amount that is lost.
        k: cards a day that can be looked at, for the card precision.
        resamples: bootstrap resamples; 0 for no intervals.
        seed: of the bootstrap; the same seed gives the same intervals.
    """
    is_fraud = outcomes["is_fraud"].to_numpy()
    alert = outcomes["alert"].to_numpy()
    amount = outcomes["amount"].to_numpy()
    frauds, alerts, labelled = int(is_fraud.sum()), int(alert.sum()), int(outcomes["labelled"].sum())
    caught = int((is_fraud & alert).sum())
    # Exact sums: the order of the rows doesn't show in the last digit.
    fraud_amount = math.fsum(amount[is_fraud])
    missed_amount = math.fsum(amount[is_fraud & ~alert])
    codes = ranking(outcomes)
    average_precision, roc_auc = _ranking_quality(codes, is_fraud)
    cards = _cards_by_day(outcomes, codes)
    bounds = bootstrap_intervals(
        outcomes["event_date"].to_numpy(),
        codes,
        alert,
        is_fraud,
        amount,
        review_cost=review_cost,
        loss_share=loss_share,
        resamples=resamples,
        seed=seed,
    )
    days = outcomes["event_date"].n_unique()
    precision = caught / alerts if alerts and labelled else None
    precision_bounds = bounds.precision if precision is not None else Interval(None, None)
    return Performance(
        transactions=outcomes.height,
        labelled=labelled,
        frauds=frauds,
        alerts=alerts,
        alerts_per_day=alerts / days if days else None,
        alerts_labelled=int((alert & outcomes["labelled"].to_numpy()).sum()),
        label_coverage=labelled / outcomes.height if outcomes.height else None,
        precision=precision,
        precision_low=precision_bounds.low,
        precision_high=precision_bounds.high,
        recall=caught / frauds if frauds else None,
        recall_low=bounds.recall.low,
        recall_high=bounds.recall.high,
        f1=2 * caught / (alerts + frauds) if frauds else None,
        f1_low=bounds.f1.low,
        f1_high=bounds.f1.high,
        average_precision=average_precision,
        average_precision_low=bounds.average_precision.low,
        average_precision_high=bounds.average_precision.high,
        roc_auc=roc_auc,
        card_precision_at_k=_card_precision(cards, k) if labelled else None,
        card_precision_ceiling=_card_ceiling(cards, k) if labelled else None,
        value_detection_rate=1 - missed_amount / fraud_amount if fraud_amount > 0 else None,
        value_detection_rate_low=bounds.value_detection_rate.low,
        value_detection_rate_high=bounds.value_detection_rate.high,
        cost=review_cost * alerts + loss_share * missed_amount,
        cost_low=bounds.cost.low,
        cost_high=bounds.cost.high,
    )


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


def card_precision_at_k(outcomes: pl.DataFrame, k: int = CARDS_A_DAY) -> float | None:
    """Card precision@k: per day the share of compromised cards among the k that rank highest; mean over days.

    A card (``user_id``) ranks by the highest score it had that day and is compromised if any of its transactions
    that day was a fraud. A compromised card among the k is detected: it is blocked, and leaves the days after.
    With fewer than k cards in a day the share is still of k. Null without a day.

    Reference:
        Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud Detection,
        chapter 4, "Precision top-k metrics".
    """
    return _card_precision(_cards_by_day(outcomes, ranking(outcomes)), k)


def card_precision_ceiling(outcomes: pl.DataFrame, k: int = CARDS_A_DAY) -> float | None:
    """The card precision@k that no ranking can exceed; a perfect one reaches it if no day has over k compromised.

    A card is detected once, and k of them a day, hence min(distinct compromised cards, Σ over days of min(k,
    compromised cards)) / (k × days). Null without a day.
    """
    return _card_ceiling(_cards_by_day(outcomes, ranking(outcomes)), k)


def _card_precision(cards: pl.DataFrame, k: int) -> float | None:
    if not cards.height:
        return None
    card = cards["card"].to_numpy()
    compromised = cards["compromised"].to_numpy()
    gone = np.zeros(int(card.max()) + 1, dtype=bool)
    found = 0
    days = np.flatnonzero(np.diff(cards["day"].to_numpy())) + 1
    for of_day in np.split(np.arange(len(card)), days):
        looked_at = of_day[~gone[card[of_day]]][:k]
        detected = card[looked_at[compromised[looked_at]]]
        gone[detected] = True
        found += len(detected)
    return found / (k * (len(days) + 1))


def _card_ceiling(cards: pl.DataFrame, k: int) -> float | None:
    if not cards.height:
        return None
    compromised = cards.filter("compromised")
    a_day = compromised.group_by("day").len()["len"].clip(upper_bound=k).sum()
    return min(compromised["card"].n_unique(), int(a_day)) / (k * cards["day"].n_unique())


def _cards_by_day(outcomes: pl.DataFrame, codes: Codes) -> pl.DataFrame:
    """``day``, ``card``, ``compromised``: a row for each card and day, within a day the highest-ranked card first."""
    return (
        outcomes.lazy()
        .select("event_date", "user_id", "is_fraud", pl.lit(pl.Series("code", codes, dtype=pl.Int64)))
        .group_by("event_date", "user_id")
        .agg(pl.col("code").max(), pl.col("is_fraud").any().alias("compromised"))
        .select(
            pl.col("event_date").rank("dense").cast(pl.Int64).alias("day"),
            pl.col("user_id").rank("dense").cast(pl.Int64).alias("card"),
            "code",
            "compromised",
        )
        .sort("day", "code", "card", descending=[False, True, False])
        .select("day", "card", "compromised")
        .collect()
    )


def _ranking_quality(codes: Codes, is_fraud: npt.NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """Average precision and ROC AUC as scikit-learn has them; null where one class is missing."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not is_fraud.any():
        return None, None
    return (
        float(average_precision_score(is_fraud, codes)),
        None if is_fraud.all() else float(roc_auc_score(is_fraud, codes)),
    )
