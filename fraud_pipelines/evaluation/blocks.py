"""The block threshold: the lowest score from which on enough of the blocks are frauds, as far as guards allow.

A block is a customer turned away, so it asks for more than a review: the policy's ``block_precision``. On the matured
days the payments above a score are counted, and the frauds among them, corrected for chargebacks to come. A younger day
counts as well where nearly all payments above the score have been judged (`MOSTLY`): what is alerted is, within a day
or two. A day counts half after `HALF_LIFE` days. The share p of frauds has the distribution beta(frauds + ½, others +
½), after Jeffreys. A threshold is *shown to hold* the target if p reaches it with a probability of `CERTAINTY`, and
*shown to miss* it if p lies below it with that probability.

- The lowest threshold that is shown to hold is taken.
- Where there is none, the policy's own stands, unless it is shown to miss: then nothing is blocked, and what would have
  been is reviewed.
- It comes down by ``max_daily_change`` a day at most, and never lies below the review threshold. It goes up at once:
  what is no longer blocked is reviewed, and the reviewers get no more than they had.
- With fewer known frauds than ``min_labelled_frauds`` it goes back to the policy's own in the same way; while less than
  half of their chargebacks are in, it stays.

Reference:
    Brown, Cai, DasGupta: Interval estimation for a binomial proportion, Statistical Science 16 (2001).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from fraud_pipelines.decisions.policies import TUNED_FOR, Policy
from fraud_pipelines.evaluation.windows import ScoredDay

Floats = npt.NDArray[np.float64]

_GRID: Final[Floats] = np.arange(101) / 100
CERTAINTY: Final = 0.9
MOSTLY: Final = 0.9
HALF_LIFE: Final = 14.0
NO_BLOCKS: Final = 1.0
"""No score lies above it."""


@dataclass(frozen=True)
class BlockChoice:
    """The block threshold of the day after, and what tells it, as JSON."""

    threshold: float
    evidence: dict[str, JsonValue]


def choose_block_threshold(
    days: Sequence[ScoredDay],
    policy: Policy,
    *,
    as_of: date,
    matured_to: date,
    current: float,
    review: float,
    guards: Sequence[JsonValue] = (),
) -> BlockChoice:
    """The block threshold of a policy with a ``block_precision``, for the day after ``as_of``.

    Args:
        days: at the scores of the model that decides.
        matured_to: the last matured day; of later ones what is not labelled says nothing.
        current: in force today.
        review: the review threshold of the day after.
        guards: ``min_labelled_frauds`` or ``chargebacks_to_come`` where the labels don't tell enough.
    """
    target, own = policy.block_precision, policy.block_threshold
    assert target is not None
    held = list(guards)
    # Rounded, since 0.6 - 0.05 is 0.5499999999999999.
    lowest = round(max(0.0, current - policy.max_daily_change), 10)
    candidates = np.unique(np.concatenate((_GRID, (own, current, lowest, review))))
    counted = [_above(day, candidates, matured=day.day <= matured_to) for day in days]
    weights = [0.5 ** ((as_of - day.day).days / HALF_LIFE) for day in days]
    payments, frauds = (
        sum((weight * each[which] for weight, each in zip(weights, counted, strict=True)), np.zeros(len(candidates)))
        for which in (0, 1)
    )
    low, high = _interval(frauds, payments)
    allowed = candidates >= review
    if "min_labelled_frauds" in held:
        best = own
    elif held:
        best = current
    elif (holds := allowed & (low >= target)).any():
        best = float(candidates[holds.argmax()])
    else:
        best = NO_BLOCKS if high[np.searchsorted(candidates, own)] < target else own
    stepped = max(best, lowest)
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
            "payments": int(sum(each[0][at] for each in counted)),
            "precision": round(float(frauds[at] / payments[at]), 6) if told else None,
            "precision_low": round(float(low[at]), 6) if told else None,
            "precision_high": round(float(high[at]), 6) if told else None,
            "guards": held,
        },
    )


def _above(day: ScoredDay, thresholds: Floats, *, matured: bool) -> tuple[Floats, Floats]:
    """Payments whose score lies above each threshold, and frauds among them; none where too few have been judged."""
    levels = day.levels
    reached = np.append(0, np.cumsum(levels.payments))
    payments = reached[np.searchsorted(-levels.score, -thresholds, side="left")].astype(np.float64)
    order = np.lexsort((day.weights, day.frauds))
    running = np.append(0.0, np.cumsum(day.weights[order]))
    frauds = running[-1] - running[np.searchsorted(day.frauds[order], thresholds, side="right")]
    if not matured:
        judged = len(day.labelled) - np.searchsorted(np.sort(day.labelled), thresholds, side="right")
        enough = judged >= MOSTLY * payments
        payments, frauds = np.where(enough, judged, 0.0), np.where(enough, frauds, 0.0)
    return payments, np.minimum(frauds, payments)


def _interval(frauds: Floats, payments: Floats) -> tuple[Floats, Floats]:
    """Above and below which the share of frauds lies with `CERTAINTY`; 0 and 1 where there are no payments."""
    from scipy.special import betaincinv

    low, high = (betaincinv(frauds + 0.5, payments - frauds + 0.5, bound) for bound in (1 - CERTAINTY, CERTAINTY))
    there = payments > 0
    return np.where(there, low, 0.0), np.where(there, high, 1.0)
