"""Probability: what share of the payments with a score turn out to be frauds, told from days whose labels are in.

A score is a rank. What it is worth differs by model and moves with the traffic, so each evening the matured days of the
evaluation window are looked at again:

1. The payments are cut into bands of equally many known frauds, at least `FRAUDS_A_BAND` in each and at most
   `MOST_BANDS` of them. A fraud known by its chargeback alone stands for those still to come, for at most
   `MOST_STOOD_FOR`.
2. A band with f frauds among n payments has the probability (f + a) / (n + a / q): its own share, drawn to q as if
   there were a = `PRIOR_FRAUDS` more at that rate. q is a logistic regression of the bands on the logarithm of how
   rare their scores are, so that few frauds make neither 0 nor 1.
3. Neighbours that don't ascend are pooled, by the same formula: isotonic regression, by pooling adjacent violators.
4. Between the mean scores of the bands the log odds are linear.

With fewer than `FEWEST_FRAUDS` known nothing is said.

Reference:
    Zadrozny, Elkan: Transforming classifier scores into accurate multiclass probability estimates, KDD 2002.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from fraud_pipelines.decisions.probabilities import ProbabilityCurve
from fraud_pipelines.evaluation.lateness import Reported, known_late
from fraud_pipelines.evaluation.levels import Levels, merged
from fraud_pipelines.evaluation.windows import Window

Floats = npt.NDArray[np.float64]

FEWEST_FRAUDS: Final = 20
"""Known frauds; of fewer no probability is told."""
FRAUDS_A_BAND: Final = 12
MOST_BANDS: Final = 40
PRIOR_FRAUDS: Final = 10.0
MOST_STOOD_FOR: Final = 4.0
"""Of a window of which less is reported the chargebacks would say too little, each of them too much."""
RELIABILITY_BANDS: Final = 10
"""Of equal width, by which the expected calibration error is told."""

_RAREST: Final = 1e-3
_SLOPE: Final = (1.0, 0.5)
"""Mean and standard deviation of the prior of the slope: 1 is a precision that falls as the share alerted grows."""
_STEPS: Final = 50


@dataclass(frozen=True)
class Bands:
    """Bands of a score, ascending; all arrays of shape (bands,).

    ``score`` is the mean of its payments; ``payments`` how many there are, ``frauds`` how many of them are, or will be,
    known as frauds; ``probability`` ascends strictly.
    """

    score: Floats
    payments: Floats
    frauds: Floats
    probability: Floats

    @property
    def curve(self) -> ProbabilityCurve:
        return ProbabilityCurve(self.score, np.log(self.probability) - np.log1p(-self.probability))

    def rows(self) -> list[dict[str, float]]:
        """A row a band of ``monitoring.score_probabilities``, but for its key."""
        return [
            {"score": score, "probability": probability, "payments": round(payments), "frauds": frauds}
            for score, probability, payments, frauds in zip(
                *(each.tolist() for each in (self.score, self.probability, self.payments, self.frauds)), strict=True
            )
        ]


@dataclass(frozen=True)
class Reliability:
    """Payments by the probability they were given, in `RELIABILITY_BANDS`; all arrays of shape (bands,).

    ``probability`` is the mean of those given, ``share`` that of the payments that are, or will be, known as frauds;
    NaN where there are no payments.
    """

    payments: Floats
    probability: Floats
    share: Floats

    @property
    def error(self) -> float | None:
        """The expected calibration error: the mean distance of both, by payments; None without payments.

        Reference:
            Naeini, Cooper, Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
        """
        if not self.payments.sum():
            return None
        distance = np.nan_to_num(np.abs(self.probability - self.share))
        return float((self.payments * distance).sum() / self.payments.sum())

    def rows(self) -> list[dict[str, float]]:
        """A row of ``monitoring.score_reliability`` for each band that has payments, but for its key."""
        return [
            {
                "band_low": band / RELIABILITY_BANDS,
                "band_high": (band + 1) / RELIABILITY_BANDS,
                "payments": round(self.payments[band]),
                "probability": float(self.probability[band]),
                "share": float(self.share[band]),
            }
            for band in np.flatnonzero(self.payments).tolist()
        ]


def calibrate(window: Window, reported: Reported) -> Bands | None:
    """The probabilities of the scores of a model over a matured window; None where too few frauds are known."""
    levels = merged([day.levels for day in window.days])
    return fit_bands(levels, window.frauds["score"].to_numpy(), _stand_for(window, reported))


def fit_bands(levels: Levels, fraud_scores: Floats, fraud_weights: Floats) -> Bands | None:
    """Bands of equally many frauds and their probabilities, see the module; the order of the frauds is of no matter.

    Args:
        levels: anchored scores of all payments, the frauds among them.
        fraud_scores: of the known frauds, (frauds,).
        fraud_weights: how many each stands for, (frauds,).
    """
    if len(fraud_scores) < FEWEST_FRAUDS:
        return None
    order = np.lexsort((fraud_weights, fraud_scores))
    fraud_scores, fraud_weights = fraud_scores[order], fraud_weights[order]
    edges = _edges(levels, fraud_scores)
    of_payment, of_fraud = (np.searchsorted(edges, each, side="right") for each in (levels.score, fraud_scores))
    payments, scores, frauds = (
        np.bincount(at, weights=weights, minlength=len(edges) + 1).astype(np.float64)
        for at, weights in (
            (of_payment, levels.payments),
            (of_payment, levels.payments * levels.score),
            (of_fraud, fraud_weights),
        )
    )
    there = payments > 0
    mean_score: Floats = scores[there] / payments[there]
    # Where more are expected than there are payments, all of them are frauds.
    return _pooled(mean_score, payments[there], np.minimum(frauds, payments)[there])


def reliability(window: Window, reported: Reported, curves: Mapping[date, ProbabilityCurve]) -> Reliability:
    """How the probabilities given to a window's payments compare with what became of them.

    Args:
        curves: that in force on each day; a day without one is left out.
    """
    payments, given, frauds = np.zeros((3, RELIABILITY_BANDS))
    scores, weights = window.frauds["score"].to_numpy(), _stand_for(window, reported)
    event_dates = window.frauds["event_date"].to_numpy()
    for day in window.days:
        if curve := curves.get(day.event_date):
            of_payments = curve.of(day.levels.score)
            at = _reliability_band(of_payments)
            payments += np.bincount(at, day.levels.payments, RELIABILITY_BANDS)
            given += np.bincount(at, day.levels.payments * of_payments, RELIABILITY_BANDS)
            of_day = event_dates == np.datetime64(day.event_date)
            frauds += np.bincount(_reliability_band(curve.of(scores[of_day])), weights[of_day], RELIABILITY_BANDS)
    there = np.where(payments > 0, payments, np.nan)
    return Reliability(payments, given / there, np.minimum(frauds / there, 1))


def _stand_for(window: Window, reported: Reported) -> Floats:
    """How many frauds each known one stands for, also while less than half of the chargebacks is in."""
    stood_for = 1.0 if reported.expected is None else 1 / max(reported.expected, 1 / MOST_STOOD_FOR)
    weights: Floats = np.where(known_late(window.frauds), stood_for, 1.0)
    return weights


def _reliability_band(probability: Floats) -> npt.NDArray[np.int64]:
    return np.minimum((probability * RELIABILITY_BANDS).astype(np.int64), RELIABILITY_BANDS - 1)


def _edges(levels: Levels, fraud_scores: Floats) -> Floats:
    """The lowest score of each band but the first, ascending: midway, by rank, between two frauds."""
    per_band = max(FRAUDS_A_BAND, int(np.ceil(len(fraud_scores) / MOST_BANDS)))
    scores = levels.score[::-1]
    # From the top, so that the lowest band takes what is left over.
    first_of_band = np.arange(len(fraud_scores) - per_band, per_band - 1, -per_band)
    upper, lower = (np.searchsorted(scores, fraud_scores[at]) for at in (first_of_band, first_of_band - 1))
    edges: Floats = np.unique(scores[(upper + lower + 1) // 2])
    return edges


def _pooled(score: Floats, payments: Floats, frauds: Floats) -> Bands:
    expected = payments * _regression(score, payments, frauds)
    bands: list[_Band] = []
    for each in zip(score, payments, frauds, expected, strict=True):
        bands.append(_Band(*each))
        while len(bands) > 1 and bands[-1].probability <= bands[-2].probability:
            bands.append(bands.pop().with_neighbour(bands.pop()))
    return Bands(
        *(np.array([getattr(band, name) for band in bands]) for name in ("score", "payments", "frauds", "probability"))
    )


@dataclass(frozen=True)
class _Band:
    score: float
    payments: float
    frauds: float
    expected: float

    @property
    def probability(self) -> float:
        return (self.frauds + PRIOR_FRAUDS) / (self.payments + PRIOR_FRAUDS * self.payments / self.expected)

    def with_neighbour(self, other: "_Band") -> "_Band":
        payments = self.payments + other.payments
        score = (self.score * self.payments + other.score * other.payments) / payments
        return _Band(score, payments, self.frauds + other.frauds, self.expected + other.expected)


def _regression(score: Floats, payments: Floats, frauds: Floats) -> Floats:
    """The probability of each band by logistic regression on its rarity, fitted by Newton's steps, halved if long."""
    x = _rarity(score)
    centre, spread = _SLOPE
    overall = min(max(frauds.sum() / payments.sum(), 1e-6), 1 - 1e-6)
    at = np.array([np.log(overall / (1 - overall)), centre])
    rows = np.stack((np.ones_like(x), x))
    penalty = np.diag([0.0, 1 / spread**2])
    for _ in range(_STEPS):
        fitted = _logistic(at @ rows)
        gradient = rows @ (frauds - payments * fitted) - penalty @ (at - [0.0, centre])
        curvature = (rows * (payments * fitted * (1 - fitted) + 1e-9)) @ rows.T + penalty
        step = np.linalg.solve(curvature, gradient)
        at = at + step / max(1.0, float(np.abs(step).max()))
    return _logistic(at @ rows)


def _logistic(log_odds: Floats) -> Floats:
    probability: Floats = 1 / (1 + np.exp(-np.clip(log_odds, -20, 20)))
    return probability


def _rarity(score: Floats) -> Floats:
    """−log of the share of the traffic that has an anchored score or a higher one, in units of the contamination."""
    share = np.where(score >= 0.5, 2 * (1 - score), 0.5 / np.maximum(score, _RAREST))
    rarity: Floats = -np.log(np.maximum(share, _RAREST))
    return rarity
