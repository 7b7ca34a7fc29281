"""Intervals of plain proportions, and of sums of values over a total."""

import math
from collections.abc import Sequence
from typing import Final

from fraud_pipelines.evaluation.estimates import Figure

_LEVEL: Final = 0.95


def proportion(number: int, of: int) -> Figure:
    """``number`` of ``of`` as a share, with Jeffreys' interval: Brown, Cai and DasGupta, Interval estimation for a
    binomial proportion, Statistical Science 16, 2001. Null of nothing."""
    from scipy.special import betaincinv

    if not of:
        return Figure(None, None, None)
    tail = (1 - _LEVEL) / 2
    low = float(betaincinv(number + 0.5, of - number + 0.5, tail)) if number else 0.0
    high = float(betaincinv(number + 0.5, of - number + 0.5, 1 - tail)) if number < of else 1.0
    return Figure(number / of, low, high)


def value_rate(values: Sequence[float], total: float) -> Figure:
    """The sum of ``values`` over ``total``.

    How many there are is Poisson, and their sizes vary: the interval is that of a weighted sum of Poisson counts, by
    the gamma method (Fay and Feuer, Confidence intervals for directly standardized rates: a method based on the gamma
    distribution, Statistics in Medicine 16, 1997), at most 1. Without a single value nothing bounds their size, and
    there is no upper bound.
    """
    from scipy.special import gammaincinv

    if total <= 0:
        return Figure(None, None, None)
    found = math.fsum(values)
    if found <= 0:
        return Figure(0.0, None, None)
    variance = math.fsum(value**2 for value in values)
    largest = max(values)
    tail = (1 - _LEVEL) / 2
    low = variance / found * float(gammaincinv(found**2 / variance, tail))
    more, spread = found + largest, variance + largest**2
    high = spread / more * float(gammaincinv(more**2 / spread, 1 - tail))
    return Figure(found / total, low / total, min(high / total, 1.0))
