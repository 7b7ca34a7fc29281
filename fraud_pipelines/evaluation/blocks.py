"""The block threshold: the lowest score from which on enough of the blocks are frauds, as far as guards allow.

A block is a customer turned away, so it asks for more than a review: the policy's ``block_precision``. On the matured
days the payments above a score are counted, and the frauds among them, corrected for chargebacks to come; by the bounds
of a 90 % interval (Jeffreys: the quantiles of a beta distribution of frauds + ½ and others + ½).

- A threshold is *shown to hold* the target where the lower bound reaches it. The lowest of these is taken.
- Where none is, the policy's own stands, unless it is shown to miss the target (the upper bound lies below it): then
  the lowest above it that isn't.
- It moves by ``max_daily_change`` a day at most, and never lies below the review threshold.
- With fewer known frauds than ``min_labelled_frauds``, or less than half of their chargebacks in, it goes back to the
  policy's own by the same steps.

Reference:
    Brown, Cai, DasGupta: Interval estimation for a binomial proportion, Statistical Science 16 (2001).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from fraud_pipelines.decisions.policies import TUNED_FOR, Policy
from fraud_pipelines.evaluation.alert_levels import Decided

Floats = npt.NDArray[np.float64]

_GRID: Final[Floats] = np.arange(101) / 100
_BOUNDS: Final = (0.05, 0.95)


@dataclass(frozen=True)
class BlockChoice:
    """The block threshold of the day after, and what tells it, as JSON."""

    threshold: float
    evidence: dict[str, JsonValue]


def choose_block_threshold(
    scored: Decided, policy: Policy, *, current: float, review: float, guards: list[JsonValue]
) -> BlockChoice:
    """The block threshold of a policy with a ``block_precision``.

    Args:
        scored: the payments of the matured days, at the scores of the model that decides.
        current: in force today.
        review: the review threshold of the day after.
        guards: why the labels don't tell enough; empty where they do.
    """
    target, own = policy.block_precision, policy.block_threshold
    assert target is not None
    held = list(guards)
    change = policy.max_daily_change
    # Rounded, since 0.6 - 0.05 is 0.5499999999999999.
    lowest, highest = round(max(0.0, current - change), 10), round(min(1.0, current + change), 10)
    candidates = np.unique(np.concatenate((_GRID, (own, lowest, highest, review))))
    payments, frauds = _above(scored, candidates)
    low, high = _interval(frauds, payments)
    allowed = candidates >= review
    best = own if held else _best(candidates, allowed & (low >= target), high < target, own)
    stepped = min(max(best, lowest), highest)
    held += ["max_daily_change"] if stepped != best else []
    chosen = max(stepped, review)
    held += ["review_threshold"] if chosen != stepped else []
    at = int(np.searchsorted(candidates, chosen))
    told = bool(payments[at])
    return BlockChoice(
        chosen,
        {
            TUNED_FOR: policy.second_stage,
            "target_precision": target,
            "policy_threshold": own,
            "before": current,
            "best_threshold": best,
            "after": chosen,
            "payments": int(payments[at]),
            "precision": round(float(frauds[at] / payments[at]), 6) if told else None,
            "precision_low": round(float(low[at]), 6) if told else None,
            "precision_high": round(float(high[at]), 6) if told else None,
            "guards": held,
        },
    )


def _best(candidates: Floats, holds: npt.NDArray[np.bool_], misses: npt.NDArray[np.bool_], own: float) -> float:
    if holds.any():
        return float(candidates[holds.argmax()])
    # Nothing lies above 1, so that it is never shown to miss.
    return float(candidates[(candidates >= own) & ~misses].min())


def _above(scored: Decided, thresholds: Floats) -> tuple[Floats, Floats]:
    """Payments whose score lies above each threshold, and frauds among them, those to come included."""
    levels = scored.levels
    payments = np.append(0, np.cumsum(levels.payments))[np.searchsorted(-levels.score, -thresholds, side="left")]
    order = np.lexsort((scored.fraud_weights, scored.fraud_levels))
    running = np.append(0, np.cumsum(scored.fraud_weights[order]))
    passed = running[np.searchsorted(scored.fraud_levels[order], thresholds, side="right")]
    payments = payments.astype(np.float64)
    return payments, np.minimum(running[-1] - passed, payments)


def _interval(frauds: Floats, payments: Floats) -> tuple[Floats, Floats]:
    from scipy.special import betaincinv

    low, high = (betaincinv(frauds + 0.5, payments - frauds + 0.5, bound) for bound in _BOUNDS)
    return low, high
