"""Intervals of the figures of a window: what chance and the lateness of chargebacks leave open."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.evaluation.lateness import Reported
from fraud_pipelines.evaluation.ranked import Places

Floats = npt.NDArray[np.float64]

RESAMPLES: Final = 400
_LEVEL: Final = (0.025, 0.975)
_MOST_CLUSTERS: Final = 2_000
_MOST_CELLS: Final = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; null where it can't be told."""

    low: float | None
    high: float | None


UNTOLD: Final = Interval(None, None)


@dataclass(frozen=True)
class Intervals:
    precision: Interval
    recall: Interval
    f1: Interval
    average_precision: Interval
    value_detection_rate: Interval
    cost: Interval


NOTHING_TOLD: Final = Intervals(UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD)


@dataclass(frozen=True)
class KnownFrauds:
    """The known frauds of a window; all arrays of shape (frauds,).

    ``user`` numbers their users from 0; ``late`` marks what is known by its chargeback alone. With ``places`` the most
    suspicious comes first; without, nothing is said of the ranking.
    """

    user: npt.NDArray[np.int64]
    amount: Floats
    alert: npt.NDArray[np.bool_]
    late: npt.NDArray[np.bool_]
    places: Places | None = None


def known_frauds(frauds: pl.DataFrame) -> KnownFrauds:
    """From a row each, with ``user_id``, ``amount``, ``alert`` and ``late``."""
    users = np.unique(frauds["user_id"].to_numpy(), return_inverse=True)[1]
    amount, alert, late = (frauds[name].to_numpy() for name in ("amount", "alert", "late"))
    return KnownFrauds(users, amount, alert, late)


def intervals(
    frauds: KnownFrauds,
    false_alerts: int,
    reported: Reported,
    *,
    review_cost: float,
    loss_share: float,
    resamples: int,
    seed: int,
) -> Intervals:
    """Percentile intervals of ``resamples`` draws.

    A draw weights the users anew (the Bayesian bootstrap, by user, since the frauds of one card are not
    independent) and takes one of the equally likely shares of chargebacks that have come. Half a caught and half a
    missed fraud are added at random, so that of few frauds not all is claimed to be known (Jeffreys' prior). Alerts
    that aren't known as frauds vary on their own.

    Args:
        false_alerts: alerts that aren't known as frauds.
        review_cost: of an alert, in the currency of the amounts.
        loss_share: share of a missed fraud's amount that is lost.
        seed: the same seed gives the same intervals.

    Reference:
        Rubin: The Bayesian Bootstrap, Annals of Statistics 9 (1981).
    """
    if resamples < 1:
        return NOTHING_TOLD
    rng = np.random.default_rng(seed)
    each = reported.draws[np.arange(resamples) * len(reported.draws) // resamples]
    per_chargeback = (1 / np.maximum(each, 1e-6) if reported.half_in else np.ones(resamples))[:, None]
    half = 0.5 * rng.standard_exponential((resamples, 2))
    false = rng.standard_gamma(false_alerts, resamples) if false_alerts else np.zeros(resamples)
    clusters = frauds.user % _MOST_CLUSTERS
    sums = _Sums.zeros(resamples)
    step = max(1, _MOST_CELLS // max(len(clusters), 1))
    for start in range(0, resamples, step):
        part = slice(start, min(start + step, resamples))
        chance = rng.standard_exponential((part.stop - start, int(clusters.max(initial=0)) + 1))[:, clusters]
        sums.add(part, frauds, chance, np.where(frauds.late, per_chargeback[part], 1.0))
    typical = float(frauds.amount.mean()) if len(frauds.amount) else 0.0
    caught, missed = sums.caught + half[:, 0], sums.missed + half[:, 1] * per_chargeback[:, 0]
    caught_amount = sums.caught_amount + typical * half[:, 0]
    missed_amount = sums.missed_amount + typical * half[:, 1] * per_chargeback[:, 0]
    alerts = sums.alerts + half[:, 0] + false
    return Intervals(
        precision=_interval(_ratio(np.minimum(caught, alerts), alerts)),
        recall=_interval(_ratio(caught, caught + missed)),
        f1=_interval(_ratio(2 * caught, alerts + caught + missed)),
        average_precision=_interval(sums.average_precision),
        value_detection_rate=_interval(_ratio(caught_amount, caught_amount + missed_amount)),
        cost=_interval(review_cost * alerts + loss_share * missed_amount),
    )


@dataclass(frozen=True)
class _Sums:
    """Of each draw; frauds and amounts as many as they stand for, ``alerts`` on known frauds as they are."""

    caught: Floats
    missed: Floats
    alerts: Floats
    caught_amount: Floats
    missed_amount: Floats
    average_precision: Floats

    @classmethod
    def zeros(cls, draws: int) -> "_Sums":
        return cls(*(np.full(draws, start) for start in (0.0, 0.0, 0.0, 0.0, 0.0, np.nan)))

    def add(self, part: slice, frauds: KnownFrauds, chance: Floats, stand_for: Floats) -> None:
        """Fill in the draws of ``part``; ``chance`` and ``stand_for`` are draws × frauds."""
        weights = chance * stand_for
        self.caught[part], self.missed[part] = weights @ frauds.alert, weights @ ~frauds.alert
        self.alerts[part] = chance @ frauds.alert
        self.caught_amount[part] = weights @ (frauds.amount * frauds.alert)
        self.missed_amount[part] = weights @ (frauds.amount * ~frauds.alert)
        if len(frauds.user) and frauds.places is not None:
            last = frauds.places.last_of_level
            company = np.cumsum(weights, axis=1)[:, last] - weights + chance
            reached = frauds.places.above + frauds.places.tied + np.cumsum(chance, axis=1)[:, last]
            self.average_precision[part] = _ratio(
                (weights * np.minimum(company / np.maximum(reached, 1e-12), 1.0)).sum(axis=1), weights.sum(axis=1)
            )


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _interval(values: Floats) -> Interval:
    """The middle 95 % of what is defined; null if no draw was."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return UNTOLD
    low, high = np.quantile(defined, _LEVEL)
    return Interval(float(low), float(high))
