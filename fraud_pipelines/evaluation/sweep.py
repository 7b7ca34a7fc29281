"""The threshold sweep: what each candidate threshold would have meant in alerts, precision, recall and cost."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import JsonValue

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.evaluation.alert_levels import Decided
from fraud_pipelines.evaluation.levels import Levels

Floats = npt.NDArray[np.float64]

_GRID: Final[Floats] = np.arange(101) / 100
STANDARD_ERRORS: Final = 3.0
"""Standard deviations within which a day is taken to lie: but for about one in a thousand beyond each bound."""

_MEDIAN_SQUARE: Final = 0.4549
"""The median of the square of a standard normal variable."""

_FIGURES: Final = ("alerts_per_day", "precision", "recall", "f1", "cost")


@dataclass(frozen=True)
class Sweep:
    """Figures of each candidate ``threshold``, ascending; NaN where a figure is not defined.

    ``alerts_per_day`` is counted on the latest scores, the others on the matured outcomes; ``cost`` is currency
    units a day. ``alerts_scatter`` is how far a single day may well lie from ``alerts_per_day``, see
    `day_scatter`.
    """

    threshold: Floats
    alerts_per_day: Floats
    alerts_scatter: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    cost: Floats

    def frame(self) -> pl.DataFrame:
        """One row a candidate, null where a figure is not defined."""
        return pl.DataFrame(
            {"threshold": self.threshold} | {name: getattr(self, name) for name in _FIGURES}
        ).with_columns(pl.all().fill_nan(None))

    def figures(self, threshold: float) -> dict[str, JsonValue]:
        """The figures at a candidate, for the evidence."""
        at = int(np.searchsorted(self.threshold, threshold))
        figures: dict[str, JsonValue] = {"review_threshold": threshold}
        for name in _FIGURES:
            value = float(getattr(self, name)[at])
            figures[name] = None if np.isnan(value) else round(value, 6)
        return figures


def candidate_thresholds(levels: Levels, counts: list[float], thresholds: list[float]) -> Floats:
    """A grid of hundredths over [0, 1], the given thresholds, and those that let about ``counts`` rows alert.

    Where ties allow, a threshold for a count lies midway between two levels, rounded to four decimals if that
    still separates them. Of levels tied across the count, both sides are candidates.
    """
    found = [*_GRID.tolist(), *thresholds]
    distinct = np.unique(np.concatenate((levels.score, (0.0, 1.0))))
    reached = np.cumsum(levels.payments)
    for count in sorted({int(whole(exact)) for exact in counts for whole in (np.floor, np.ceil)}):
        if 1 <= count <= levels.total:
            at = int(np.searchsorted(distinct, levels.score[np.searchsorted(reached, count)]))
            found += [_between(distinct[i], distinct[i + 1]) for i in (at - 1, at) if 0 <= i < len(distinct) - 1]
    return np.unique(found)


def sweep_thresholds(
    thresholds: Floats, matured: Decided, recent: Decided, *, told: bool = True, policy: Policy
) -> Sweep:
    """Evaluate every threshold at once: a payment alerts where its level is above the threshold.

    Args:
        thresholds: ascending.
        matured: the payments of the matured window, with its known frauds.
        recent: those of the latest days.
        told: whether enough chargebacks are in to speak of what is missed; else recall, F1 and cost aren't defined.
    """
    order = np.lexsort((matured.fraud_amounts, matured.fraud_levels))
    fraud = matured.fraud_weights[order]
    fraud_amount = fraud * matured.fraud_amounts[order]
    passed = np.searchsorted(matured.fraud_levels[order], thresholds, side="right")
    missed, missed_amount = _running(fraud)[passed], _running(fraud_amount)[passed]
    frauds = float(fraud.sum())
    caught = frauds - missed
    recent_alerts = alerts_by_day(recent, thresholds)
    matured_alerts = alerts_by_day(matured, thresholds)
    alerts: Floats = matured_alerts.sum(axis=0)
    of_missed = 1.0 if told else np.nan
    return Sweep(
        threshold=thresholds,
        alerts_per_day=_divide(recent_alerts.sum(axis=0), float(len(recent_alerts))),
        alerts_scatter=day_scatter(recent_alerts, matured_alerts),
        precision=_divide(caught, alerts if matured.labelled else np.zeros_like(alerts)),
        recall=of_missed * _divide(caught, frauds),
        f1=of_missed * _divide(2 * caught, alerts + frauds if frauds else np.zeros_like(alerts)),
        cost=of_missed
        * _divide(policy.review_cost * alerts + policy.loss_share * missed_amount, float(len(matured.days))),
    )


def day_scatter(recent_alerts: Floats, earlier_alerts: Floats) -> Floats:
    """How far the alerts of the day to come may well lie from the mean of the recent days, for each threshold.

    Counts scatter around their mean λ with the variance φλ: φ is 1 if alerts come independently (Poisson), and more
    since they come in bursts, models are retrained and weekdays differ. It is estimated over both spans, each
    around its mean, and over all thresholds that tell something, since few days tell little of a single one; by the
    median of the squares, so that one wild day doesn't count for weeks. The mean of n recent days is itself
    uncertain, so that the day to come lies within `STANDARD_ERRORS` · √(φλ(1 + 1/n)) of it.

    Args:
        recent_alerts, earlier_alerts: counts, days × thresholds.
    """
    if not len(recent_alerts):
        return np.full(recent_alerts.shape[1], np.nan)
    squares = []
    for counts in (recent_alerts, earlier_alerts):
        if len(counts) > 1:
            mean = counts.mean(axis=0)
            # Below one alert a day there is nothing to see; with most of the traffic, the traffic scatters.
            told = (mean >= 1) & (mean <= 0.1 * counts.max())
            freedom = len(counts) / (len(counts) - 1)
            squares.append((freedom * (counts - mean)[:, told] ** 2 / mean[told]).ravel())
    pooled = np.concatenate([np.empty(0), *squares])
    dispersion = max(1.0, float(np.median(pooled)) / _MEDIAN_SQUARE) if len(pooled) else 1.0
    scatter: Floats = STANDARD_ERRORS * np.sqrt(dispersion * recent_alerts.mean(axis=0) * (1 + 1 / len(recent_alerts)))
    return scatter


def alerts_by_day(decided: Decided, thresholds: Floats) -> Floats:
    """Payments of each day whose level is above each threshold, days × thresholds."""
    alerts = np.zeros((len(decided.days), len(thresholds)))
    for row, levels in enumerate(decided.days.values()):
        above = np.searchsorted(-levels.score, -thresholds, side="left")
        alerts[row] = np.append(0, np.cumsum(levels.payments))[above]
    return alerts


def _between(lower: float, upper: float) -> float:
    """A threshold T with lower ≤ T < upper, as short a number as separates the two."""
    middle = (lower + upper) / 2
    short = round(middle, 4)
    return short if lower <= short < upper else middle


def _running(values: Floats) -> Floats:
    """Sum of the first i values, for i = 0 … n."""
    return np.concatenate(([0.0], np.cumsum(values)))


def _divide(numerator: Floats, denominator: Floats | float) -> Floats:
    result = np.full(numerator.shape, np.nan)
    denominators = np.broadcast_to(np.asarray(denominator), numerator.shape)
    np.divide(numerator, denominators, out=result, where=denominators > 0)
    return result
