"""How many frauds there are among some payments: those that are known, and those that nobody has reported yet.

Where a reviewer has looked, the outcome is known. Of the other payments only the chargebacks that have come are, and a
payment of a day tells its fraud by now with the probability that chargebacks of that age have come
(`evaluation.lateness`). With a gamma prior (Jeffreys) the rate of such frauds has a gamma posterior, and those still
unknown are Poisson: Gelman et al., Bayesian Data Analysis, 3rd edition, 2.6. The estimate is of frauds that are ever
reported; the upper bound allows for those that never are.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from fraud_pipelines.evaluation.lateness import DRAWS, ReportingDelay

Floats = npt.NDArray[np.float64]

_LEVEL: Final = (0.025, 0.975)
_JEFFREYS: Final = 0.5
_MOST_UNREPORTED: Final = 0.9


@dataclass(frozen=True)
class Range:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def json(self) -> dict[str, float]:
        """Rounded to what can be told."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class KnownOutcomes:
    """What is known of some payments.

    Attributes:
        payments: day → payments.
        reviewed: day → those whose outcome a review tells.
        frauds: known frauds.
        late: of them those known by a chargeback alone.
    """

    payments: Mapping[date, int]
    reviewed: Mapping[date, int]
    frauds: int
    late: int

    @property
    def unreviewed(self) -> dict[date, int]:
        """Day → payments that only a chargeback tells of."""
        left = {day: number - self.reviewed.get(day, 0) for day, number in self.payments.items()}
        return {day: number for day, number in left.items() if number > 0}


@dataclass(frozen=True)
class FraudDraws:
    """Equally likely numbers of frauds, both of shape (draws,): of those ever reported, and of all."""

    reported: Floats
    every: Floats

    @property
    def range(self) -> Range:
        low, high = float(np.quantile(self.reported, _LEVEL[0])), float(np.quantile(self.every, _LEVEL[1]))
        return Range(float(self.reported.mean()), low, high)

    def share_of(self, number: int) -> Range | None:
        """As a share of ``number`` payments; None of nothing."""
        if not number:
            return None
        found = asdict(self.range)
        return Range(**{name: min(value / number, 1.0) for name, value in found.items()})

    def share_of_draws(self, rest: "FraudDraws") -> Range | None:
        """As a share of these and the frauds of ``rest``, other payments; None where there are none."""
        if not (self.reported + rest.reported).any():
            return None
        of_reported, of_every = _shares(self.reported, rest.reported), _shares(self.every, rest.every)
        low, high = (np.quantile((of_reported, of_every), level, axis=1) for level in _LEVEL)
        return Range(float(of_reported.mean()), float(low.min()), float(high.max()))


def _shares(own: Floats, others: Floats) -> Floats:
    together = own + others
    return np.divide(own, together, out=np.zeros_like(own), where=together > 0)


def draw_frauds(
    known: KnownOutcomes, delay: ReportingDelay, *, unreported_share: float, seed: int = 0
) -> FraudDraws | None:
    """Numbers of frauds among the payments; None where nothing is known of how late chargebacks are.

    Args:
        unreported_share: share of the frauds among unreviewed payments that nobody ever reports. A guess: any share
            from 0 to twice as much is taken as equally likely.
        seed: of the draws; the same seed gives the same.
    """
    unreviewed = known.unreviewed
    number = sum(unreviewed.values())
    if not number:
        certain = np.full(DRAWS, float(known.frauds))
        return FraudDraws(certain, certain)
    reported = delay.reported(unreviewed)
    if reported.expected is None:
        return None
    rng = np.random.default_rng(seed)
    unreported = rng.uniform(0.0, min(2 * unreported_share, _MOST_UNREPORTED), size=len(reported.draws))
    return FraudDraws(
        reported=_with_unknown(known, number, reported.draws, rng),
        every=_with_unknown(known, number, reported.draws * (1.0 - unreported), rng),
    )


def _with_unknown(known: KnownOutcomes, number: int, told: Floats, rng: np.random.Generator) -> Floats:
    """Known frauds and draws of those unknown, where a payment's fraud is known with the probabilities ``told``."""
    exposure = np.maximum(number * told, 1e-9)
    rate = rng.gamma(known.late + _JEFFREYS, 1.0, size=len(told)) / exposure
    unknown = rng.poisson(np.minimum(rate, 1.0) * number * (1.0 - told))
    found: Floats = known.frauds + np.minimum(unknown, number - known.late).astype(np.float64)
    return found
