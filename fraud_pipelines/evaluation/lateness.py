"""Lateness: what share of the chargebacks that will come has come by now, and how well that is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

FEWEST_CHARGEBACKS: Final = 5
"""With fewer, nothing is said about how late they are."""
HORIZON: Final = 120
"""Days after which no chargeback comes: what the card schemes give a cardholder."""
DRAWS: Final = 400

_HALF: Final = 0.5
_SURELY: Final = (0.1, 0.4)
"""The share that a tenth of the draws may lie below: an expectation of a half must itself be known."""
_MEDIAN: Final = (15.0, 0.8)
"""What is assumed of the median delay before any has been seen: about 15 days, half a monthly statement, and with 95 %
between 3 and 75. The second number is the standard deviation of its logarithm."""
_LOGNORMAL_SPREADS: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95, 1.15)
_WEIBULL_SHAPES: Final = (0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 2.7, 4.0)
_STRENGTHS: Final = (10.0, 100.0, 1000.0)
"""How many chargebacks of a day's delay the assumed shape counts for: the more, the smoother."""


@dataclass(frozen=True)
class Reported:
    """Share of the chargebacks on a window's payments that has come by now.

    ``expected`` is the mean, null while nothing is known of the delays; ``draws`` are equally likely shares, (n,).
    """

    expected: float | None
    draws: Floats

    @property
    def half_in(self) -> bool:
        """Whether at least half is expected to be in, and that itself is known well enough to build on."""
        tail, least = _SURELY
        return self.expected is not None and self.expected >= _HALF and float(np.quantile(self.draws, tail)) >= least

    @property
    def frauds_per_chargeback(self) -> float:
        """How many frauds one that is known by its chargeback stands for; 1 until half of them are in."""
        return 1 / self.expected if self.expected is not None and self.half_in else 1.0


ALL_REPORTED: Final = Reported(1.0, np.ones(1))
UNKNOWN: Final = Reported(None, np.ones(1))


def known_late(outcomes: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows are frauds known by their chargeback alone (``late``); none where the outcomes don't say."""
    if "late" not in outcomes.columns:
        return np.zeros(outcomes.height, dtype=bool)
    late: npt.NDArray[np.bool_] = outcomes["late"].to_numpy()
    return late


def frauds_stood_for(outcomes: pl.DataFrame, reported: Reported) -> Floats:
    """How many frauds each row stands for; 0 for one that isn't known as fraud."""
    frauds: Floats = outcomes["is_fraud"].to_numpy() * np.where(
        known_late(outcomes), reported.frauds_per_chargeback, 1.0
    )
    return frauds


class ReportingDelay:
    """How long chargebacks take, told from those known at the end of a day: a posterior distribution.

    Of a young payment only early chargebacks can be known, so that a plain count of delays would call them quicker
    than they are. Counted backwards that is no matter: of the chargebacks that came within k days, the share that
    came on day k, the reverse hazard h(k), is told by payments of that age or older alone. The share that comes within
    k days is F(k) = Π (1 − h(j)) over j > k. Without a prior this is Kaplan and Meier's estimate for right
    truncation (actuaries know it as the chain ladder), which ends with the longest delay that has been seen.

    Here each h(k) has a beta prior around a smooth shape, lognormal or Weibull, whose parameters are uncertain too: a
    grid, weighted by a prior and by the beta-binomial likelihood of what came. So the days that have been
    observed speak for themselves, days with few chargebacks are smoothed, and what takes longer than anything that
    could be seen follows the shapes that fit, with all their uncertainty. A second wave that begins later than any
    delay seen so far can't be foreseen.

    Reference:
        Lagakos, Barraj, De Gruttola: Nonparametric analysis of truncated survival data, Biometrika 75 (1988).
    """

    def __init__(self, chargebacks: pl.DataFrame, as_of: date, *, seed: int = 0) -> None:
        """Learn from the chargebacks known at the end of ``as_of``.

        Args:
            chargebacks: ``event_date`` of the payment, ``known_on``, both days, and ``chargebacks``, how many.
            seed: of the draws.
        """
        self.as_of = as_of
        event, known = chargebacks["event_date"], chargebacks["known_on"]
        counts = chargebacks["chargebacks"].to_numpy().astype(np.float64)
        self.chargebacks = int(counts.sum())
        delay = (known - event).dt.total_days().to_numpy().clip(0, HORIZON)
        age = (pl.Series([as_of] * len(event), dtype=pl.Date) - event).dt.total_days().to_numpy().clip(0, HORIZON)
        came: Floats = np.bincount(delay, weights=counts, minlength=HORIZON + 1).astype(np.float64)
        # At risk of day k: those with delay ≤ k ≤ age.
        begins, ends = (np.bincount(at, weights=counts, minlength=HORIZON + 2) for at in (delay, age + 1))
        at_risk: Floats = np.cumsum(begins - ends)[: HORIZON + 1].astype(np.float64)
        self._draws = _shares(came, at_risk, seed)

    def reported(self, payments: Mapping[date, int], *, complete: bool = False) -> Reported:
        """The share that has come of the chargebacks on these days' payments, if each payment has equally many.

        Args:
            payments: how many on each day.
            complete: every payment has a label, so that nothing is still to come.
        """
        if complete:
            return ALL_REPORTED
        number = sum(payments.values())
        if not number or self.chargebacks < FEWEST_CHARGEBACKS:
            return UNKNOWN
        ages = np.array([min((self.as_of - day).days, HORIZON) for day in payments])
        weights = np.array(list(payments.values())) / number
        draws: Floats = np.where(ages >= 0, self._draws[:, np.maximum(ages, 0)], 0.0) @ weights
        return Reported(float(draws.mean()), draws)

    def reported_of(self, outcomes: pl.DataFrame) -> Reported:
        """As `reported`, of the days of outcomes (``event_date``, ``labelled``)."""
        payments = dict(outcomes.group_by("event_date").len().sort("event_date").iter_rows())
        return self.reported(payments, complete=outcomes.height > 0 and bool(outcomes["labelled"].all()))


def _shares(came: Floats, at_risk: Floats, seed: int) -> Floats:
    """Draws of F(0) … F(HORIZON), the share of chargebacks that comes within so many days."""
    hazards, prior = _shapes()
    seen = np.flatnonzero(at_risk[1:] > 0) + 1
    by_strength = np.full((len(_STRENGTHS), *hazards.shape), np.log(1 / len(_STRENGTHS)))
    for number, strength in enumerate(_STRENGTHS):
        by_strength[number][:, seen] += _evidence(strength, hazards[:, seen], came[seen], (at_risk - came)[seen])
    # Each day of delay keeps to the shape as strongly as it does: one that stands out says nothing of the others.
    highest = by_strength.max(axis=0)
    chances = np.exp(by_strength - highest)
    weights = prior + (np.log(chances.sum(axis=0)) + highest).sum(axis=1)
    probability = np.cumsum(np.exp(weights - weights.max()))
    rng = np.random.default_rng(seed)
    # Evenly spaced quantiles instead of random choices: the same distribution, with less noise.
    shape = np.searchsorted(probability, (np.arange(DRAWS) + 0.5) / DRAWS * probability[-1])
    up_to = np.cumsum(chances[:, shape], axis=0)
    strengths = np.array(_STRENGTHS)[(rng.random(up_to.shape[1:]) * up_to[-1] > up_to[:-1]).sum(axis=0)]
    drawn = rng.beta(
        strengths * hazards[shape] + came, strengths * (1 - hazards[shape]) + np.maximum(at_risk - came, 0)
    )[:, 1:]
    shares: Floats = np.ones((DRAWS, HORIZON + 1))
    shares[:, :-1] = np.cumprod((1 - drawn)[:, ::-1], axis=1)[:, ::-1]
    return shares


def _evidence(strength: float, hazards: Floats, came: Floats, waiting: Floats) -> Floats:
    """Log likelihood (beta-binomial) of what came and what didn't by day of delay, for each shape."""
    from scipy.special import gammaln

    alpha, beta = strength * hazards, strength * (1 - hazards)
    arrived = gammaln(alpha + came) - gammaln(alpha)
    not_yet = gammaln(beta + waiting) - gammaln(beta)
    likelihood: Floats = arrived + not_yet + gammaln(strength) - gammaln(strength + came + waiting)
    return likelihood


@cache
def _shapes() -> tuple[Floats, Floats]:
    """Reverse hazards of each shape by days of delay, shapes × (HORIZON + 1), and the logarithm of its prior."""
    from scipy.special import ndtr

    medians = np.log(np.geomspace(2, 90, 16))
    # A payment at noon that is charged back within k days, counted by the calendar, has waited up to k + ½.
    late = np.log(np.arange(HORIZON + 1) + 0.5) - medians[:, None, None]
    lognormal = ndtr(late / np.array(_LOGNORMAL_SPREADS)[:, None])
    weibull = -np.expm1(-np.log(2) * np.exp(late * np.array(_WEIBULL_SHAPES)[:, None]))
    within = np.concatenate((lognormal, weibull), axis=1)
    within = np.maximum(within / within[..., -1:], 1e-9)
    hazards = np.ones_like(within)
    hazards[..., 1:] = 1 - within[..., :-1] / within[..., 1:]
    centre, spread = _MEDIAN
    prior = -0.5 * ((medians - np.log(centre)) / spread) ** 2
    return hazards.reshape(-1, HORIZON + 1).clip(1e-6, 1 - 1e-6), np.repeat(prior, within.shape[1])
