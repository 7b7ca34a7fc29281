"""Probabilities: what share of payments with a score are frauds, as it was known when a day began."""

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from fraud_pipelines.storage.warehouse import Warehouse

Floats = npt.NDArray[np.float64]

PROBABILITIES: Final = "monitoring.score_probabilities"


@dataclass(frozen=True)
class ProbabilityCurve:
    """A probability of fraud for each score: monotone, and linear in its log odds between the knots.

    ``score`` and ``log_odds``, both (knots,), ascend strictly. Beyond the first and the last knot the probability is
    theirs. The macro ``scoring.fraud_probability`` computes the same in SQL.
    """

    score: Floats
    log_odds: Floats

    def of(self, score: npt.ArrayLike) -> Floats:
        """The probability of each score."""
        log_odds = np.interp(np.asarray(score, dtype=np.float64), self.score, self.log_odds)
        probability: Floats = 1 / (1 + np.exp(-log_odds))
        return probability

    def threshold(self, probability: float) -> float:
        """The score from which on the probability is at least this; 1, above which there is none, if it never is."""
        wanted = math.log(probability) - math.log1p(-probability)
        if wanted > self.log_odds[-1]:
            return 1.0
        if wanted <= self.log_odds[0]:
            return 0.0
        return float(np.interp(wanted, self.log_odds, self.score))


def curve_in_force(warehouse: Warehouse, model_name: str, day: date) -> ProbabilityCurve | None:
    """The curve of a model's batch scores that was known when ``day`` began; None while there was none."""
    return curves_in_force(warehouse, day, day).get((model_name, "batch", day))


def curves_in_force(warehouse: Warehouse, first: date, last: date) -> dict[tuple[str, str, date], ProbabilityCurve]:
    """By model, channel and day the curve that was known when the day began: the latest of an earlier evening."""
    rows = warehouse.read(
        """
        SELECT c.model_name, c.channel, days.day, c.scores, c.log_odds
        FROM (SELECT DISTINCT model_name, channel FROM monitoring.probability_curves) AS of
        CROSS JOIN (SELECT unnest(range($first::TIMESTAMP, $after::TIMESTAMP, INTERVAL 1 DAY))::DATE AS day) AS days
        ASOF JOIN monitoring.probability_curves c
            ON c.model_name = of.model_name AND c.channel = of.channel AND days.day > c.as_of
        """,
        {"first": first, "after": last + timedelta(days=1)},
    )
    return {
        (name, channel, day): ProbabilityCurve(np.array(scores), np.array(log_odds))
        for name, channel, day, scores, log_odds in rows.iter_rows()
    }
