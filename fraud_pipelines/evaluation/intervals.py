"""Bootstrap intervals of precision, recall, F1, average precision, value detection and cost, resampled by day."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MIN_DAYS: Final = 3
_LEVEL: Final = (0.025, 0.975)
_CELLS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; null where it can't be told."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class Intervals:
    precision: Interval
    recall: Interval
    f1: Interval
    average_precision: Interval
    value_detection_rate: Interval
    cost: Interval


def bootstrap_intervals(
    days: npt.NDArray[np.datetime64],
    codes: npt.NDArray[np.int64],
    alert: npt.NDArray[np.bool_],
    is_fraud: npt.NDArray[np.bool_],
    amount: Floats,
    *,
    review_cost: float,
    loss_share: float,
    resamples: int,
    seed: int,
) -> Intervals:
    """Percentile intervals from ``resamples`` draws of as many days as there are, with replacement.

    A draw only weights the days, so the rows are counted once: alerts and frauds by day, and, for the average
    precision, rows at or above the rank of each distinct fraud by day. That is exact, ties included.

    Args:
        days: event date of each row.
        codes: rank of each row, the highest the most suspicious.
        alert, is_fraud, amount: of each row.
        review_cost: of an alert, in the currency of the amounts.
        loss_share: share of a missed fraud's amount that is lost.
    """
    nothing = Interval(None, None)
    distinct, day = np.unique(days, return_inverse=True)
    if len(distinct) < _MIN_DAYS or resamples < 1:
        return Intervals(nothing, nothing, nothing, nothing, nothing, nothing)
    n = len(distinct)
    # Amounts add up in one order, so that the order of the rows doesn't show in the last digit.
    order = np.lexsort((amount, day))
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)

    def drawn(values: npt.NDArray[np.generic]) -> Floats:
        """The sum of a column over the days of each draw."""
        sums: Floats = weights @ np.bincount(day[order], weights=values[order], minlength=n)
        return sums

    alerts, frauds, caught = drawn(alert), drawn(is_fraud), drawn(alert & is_fraud)
    fraud_amount, missed_amount = drawn(amount * is_fraud), drawn(amount * (is_fraud & ~alert))
    return Intervals(
        precision=_interval(_ratio(caught, alerts)),
        recall=_interval(_ratio(caught, frauds)),
        f1=_interval(_ratio(2 * caught, np.where(frauds > 0, alerts + frauds, 0.0))),
        average_precision=_interval(_average_precisions(weights, day, codes, is_fraud)),
        value_detection_rate=_interval(_ratio(fraud_amount - missed_amount, fraud_amount)),
        cost=_interval(review_cost * alerts + loss_share * missed_amount),
    )


def _average_precisions(
    weights: Floats, day: npt.NDArray[np.intp], codes: npt.NDArray[np.int64], is_fraud: npt.NDArray[np.bool_]
) -> Floats:
    """Average precision for each row of day weights (resamples × days); NaN without a fraud.

    AP = Σ (recall_i − recall_{i−1}) · precision_i changes only at ranks that a fraud holds, so counting at those
    levels is enough.
    """
    levels = np.unique(codes[is_fraud])
    if not len(levels):
        return np.full(len(weights), np.nan)
    n_days, n_levels = weights.shape[1], len(levels)
    # Descending: cell 0 is the highest level; a row belongs to the first level it reaches, those below all to none.
    cell = n_levels - np.searchsorted(levels, codes, side="right")
    reached = cell < n_levels
    index = day[reached] * n_levels + cell[reached]
    shape = (n_days, n_levels)
    rows = np.bincount(index, minlength=n_days * n_levels).reshape(shape).astype(np.float64)
    frauds = np.bincount(index, weights=is_fraud[reached], minlength=n_days * n_levels).reshape(shape)
    total = np.cumsum(rows, axis=1)
    result = np.empty(len(weights))
    step = max(1, _CELLS_AT_ONCE // n_levels)
    for start in range(0, len(weights), step):
        part = weights[start : start + step]
        gained = part @ frauds
        precision = _ratio(np.cumsum(gained, axis=1), part @ total)
        result[start : start + step] = _ratio(np.nansum(gained * precision, axis=1), gained.sum(axis=1))
    return result


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _interval(values: Floats) -> Interval:
    """The middle 95 % of what is defined; null if no resample was."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(None, None)
    low, high = np.quantile(defined, _LEVEL)
    return Interval(float(low), float(high))
