"""The threshold sweep: what each candidate threshold would have meant in alerts, precision, recall and cost."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import JsonValue

from fraud_pipelines.decisions.policies import Policy

Floats = npt.NDArray[np.float64]

_GRID: Final[Floats] = np.arange(101) / 100
_FIGURES: Final = ("alerts_per_day", "precision", "recall", "f1", "cost")


@dataclass(frozen=True)
class Sweep:
    """Figures of each candidate ``threshold``, ascending; NaN where a figure is not defined.

    ``alerts_per_day`` is counted on the latest scores, the others on the matured outcomes; ``cost`` is currency
    units a day.
    """

    threshold: Floats
    alerts_per_day: Floats
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


def candidate_thresholds(levels: Floats, counts: list[float], thresholds: list[float]) -> Floats:
    """A grid of hundredths over [0, 1], the given thresholds, and those that let about ``counts`` rows alert.

    Where ties allow, a threshold for a count lies midway between two levels, rounded to four decimals if that
    still separates them. Of levels tied across the count, both sides are candidates.
    """
    found = [*_GRID.tolist(), *thresholds]
    distinct = np.unique(np.concatenate((levels, (0.0, 1.0))))
    descending = np.sort(levels)[::-1]
    for count in sorted({int(whole(exact)) for exact in counts for whole in (np.floor, np.ceil)}):
        if 1 <= count <= len(descending):
            at = int(np.searchsorted(distinct, descending[count - 1]))
            found += [_between(distinct[i], distinct[i + 1]) for i in (at - 1, at) if 0 <= i < len(distinct) - 1]
    return np.unique(found)


def sweep_thresholds(
    thresholds: Floats,
    outcomes: pl.DataFrame,
    *,
    outcome_levels: Floats,
    recent_levels: Floats,
    recent_days: int,
    policy: Policy,
) -> Sweep:
    """Evaluate every threshold at once: a row alerts where its level is above the threshold.

    Args:
        thresholds: ascending.
        outcomes: ``event_date``, ``amount``, ``is_fraud``, ``labelled`` of the matured window.
        outcome_levels: the `alert_level` of each outcome.
        recent_levels: that of each transaction of the latest ``recent_days`` days.
    """
    order = np.argsort(outcome_levels, kind="stable")
    fraud = outcomes["is_fraud"].to_numpy()[order].astype(np.float64)
    fraud_amount = fraud * outcomes["amount"].to_numpy()[order]
    passed = np.searchsorted(outcome_levels[order], thresholds, side="right")
    alerts = (len(order) - passed).astype(np.float64)
    missed, missed_amount = _running(fraud)[passed], _running(fraud_amount)[passed]
    frauds = float(fraud.sum())
    caught = frauds - missed
    judged = bool(outcomes["labelled"].any())
    recent_alerts = len(recent_levels) - np.searchsorted(np.sort(recent_levels), thresholds, side="right")
    return Sweep(
        threshold=thresholds,
        alerts_per_day=_divide(recent_alerts.astype(np.float64), float(recent_days)),
        precision=_divide(caught, alerts if judged else np.zeros_like(alerts)),
        recall=_divide(caught, frauds),
        f1=_divide(2 * caught, alerts + frauds if frauds else np.zeros_like(alerts)),
        cost=_divide(
            policy.review_cost * alerts + policy.loss_share * missed_amount, float(outcomes["event_date"].n_unique())
        ),
    )


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
