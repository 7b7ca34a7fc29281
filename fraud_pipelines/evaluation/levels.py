"""Levels: the distinct scores of a day, and how many payments have each. Days add up; a million payments stay small."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.complex128]

MOST_LEVELS: Final = 4_096
"""With more distinct scores in a day, those below the highest are taken together."""
_SINGLE: Final = 1_024
_STEP: Final = 1.0025
"""So many of the highest payments stay single; below, a level takes ranks together up to a quarter percent apart."""


@dataclass(frozen=True)
class Levels:
    """Distinct scores, the highest first, equal scores by raw score; all arrays of shape (levels,).

    ``payments`` have each of them. Where not ``exact``, a level stands for payments of nearly the same rank, at the
    score of the one in their middle: the rank of a score is right to within an eighth of a percent.
    """

    score: Floats
    raw_score: Floats
    payments: Integers
    exact: bool = True

    @property
    def total(self) -> int:
        return int(self.payments.sum())

    @cached_property
    def ascending(self) -> tuple[Pairs, Integers]:
        """The pairs of score and raw score, the lowest first, and how many payments lie below each, and in all."""
        pairs = _pairs(self.score[::-1], self.raw_score[::-1])
        return pairs, np.concatenate(([0], np.cumsum(self.payments[::-1])))


def levels_of(score: Floats, raw_score: Floats) -> Levels:
    """The levels of payments with these scores; a missing raw score comes last among its equals."""
    raw_score = np.where(np.isnan(raw_score), -np.inf, raw_score)
    order = np.lexsort((raw_score, score))[::-1]
    score, raw_score = score[order], raw_score[order]
    last = np.append(np.flatnonzero(changes(score, raw_score)), len(score) - 1) if len(score) else np.empty(0, int)
    if len(last) <= MOST_LEVELS:
        return Levels(score[last], raw_score[last], np.diff(last, prepend=-1))
    steps = int(np.log(len(score) / _SINGLE) / np.log(_STEP)) + 1
    below = np.unique((_SINGLE * _STEP ** np.arange(1, steps + 1)).astype(np.int64))
    ends = np.concatenate((np.arange(1, _SINGLE + 1), below[below < len(score)], [len(score)]))
    ends = np.unique(ends)
    begins = np.concatenate(([0], ends[:-1]))
    middle = (begins + ends - 1) // 2
    return Levels(score[middle], raw_score[middle], ends - begins, exact=False)


def changes(score: Floats, raw_score: Floats) -> npt.NDArray[np.bool_]:
    """Where the next of sorted scores is another one; one shorter than they are."""
    different: npt.NDArray[np.bool_] = (score[1:] != score[:-1]) | (raw_score[1:] != raw_score[:-1])
    return different


def merged(days: Sequence[Levels]) -> Levels:
    """The levels of several days; a level that two of them have stands twice."""
    if not days:
        return Levels(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))
    score, raw_score = (np.concatenate([getattr(day, name) for day in days]) for name in ("score", "raw_score"))
    order = np.lexsort((raw_score, score))[::-1]
    payments = np.concatenate([day.payments for day in days])
    return Levels(score[order], raw_score[order], payments[order], all(day.exact for day in days))


def payments_above(days: Sequence[Levels], score: Floats, raw_score: Floats) -> tuple[Integers, Integers]:
    """How many payments of all days lie above each of these scores, and how many at it."""
    wanted = _pairs(score, np.where(np.isnan(raw_score), -np.inf, raw_score))
    above, at = np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=np.int64)
    for levels in days:
        ascending, up_to = levels.ascending
        below, reached = (up_to[np.searchsorted(ascending, wanted, side=side)] for side in ("left", "right"))
        above += up_to[-1] - reached
        at += reached - below
    return above, at


def _pairs(score: Floats, raw_score: Floats) -> Pairs:
    """Scores as complex numbers, which NumPy sorts and searches by their real part, then by the imaginary one."""
    pairs = np.empty(len(score), dtype=np.complex128)
    pairs.real, pairs.imag = score, raw_score
    return pairs
