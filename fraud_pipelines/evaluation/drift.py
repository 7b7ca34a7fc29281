"""Drift: how far a feature's distribution has moved, and whether chance and the usual spread of days explain it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.distributions import Bins, Distribution

SHIFTED: Final = 0.25
"""A population stability index above this is a shift worth a look; below 0.1 is calm."""

FALSE_ALARMS: Final = 0.01
"""On this share of days without drift, at most, any feature is said to have drifted."""

BINS: Final = 10

_MARGIN: Final = 1.15
"""The spread is estimated from few days: it may well be larger by this factor."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A day's distribution of a feature beside that of other days.

    Attributes:
        psi: the population stability index.
        psi_expected: what it is on average without drift, given the rows and the spread of the other days.
        p_value: how often days without drift lie so far from the others; None with fewer than two other days.
    """

    psi: float
    psi_expected: float
    p_value: float | None


def population_stability_index(expected: pl.Series, actual: pl.Series, bins: int = BINS) -> float:
    """PSI = Σ over bins of (a − e) · ln(a / e), with a and e the shares of ``actual`` and ``expected``.

    Numbers and flags are binned at the quantiles of ``expected``; a value that holds a bin's worth of rows or more
    by itself (a count that is mostly 0) is a bin of its own. Of texts, the ``bins`` − 1 most frequent are bins and
    the others share one. Nulls and NaN have a bin of their own. An empty bin counts as half a row, so that the
    logarithm exists and one stray row in a small day doesn't look like a flood; one that is empty in both is none.

    Returns:
        At least 0; 0 for equal distributions. Below 0.1 is calm, above 0.25 is a shift worth a look.

    Raises:
        InvalidInput: either series is empty, or ``bins`` is below 2.
    """
    if not len(expected) or not len(actual):
        empty = "expected" if not len(expected) else "actual"
        raise InvalidInput(f"{expected.name or 'the feature'}: no {empty} rows to compare; give at least one")
    if bins < 2:
        raise InvalidInput(f"bins={bins}: drift needs at least 2")
    e, a = (Distribution.of(values, pieces=None) for values in (expected, actual))
    cut = Bins.of([e], bins)
    return _psi(cut.count(e), cut.count(a))


def compare(
    current: Distribution, reference: Sequence[Distribution], alike: Sequence[Sequence[Distribution]]
) -> Comparison:
    """The distribution of a day beside that of the ``reference`` days.

    The distance is tested by the likelihood ratio G² of the binned counts. Rows of one day are no independent draws:
    a user pays several times, and days differ. By how much more than chance ordinary days lie apart is Pearson's X²
    over its degrees of freedom, among days that should be alike; G² is divided by that (the first-order correction
    of Rao and Scott, 1984, https://doi.org/10.1214/aos/1176346391) and held against an F distribution, since the
    spread is estimated from few days.

    Args:
        current: of the day.
        reference: of the days it is compared with, at least one.
        alike: groups of days; within each the days should be alike, and how they differ is the usual spread.
    """
    cut = Bins.of(reference, _bins(current.rows))
    e, a = sum(map(cut.count, reference), start=np.zeros(1)), cut.count(current)
    psi = _psi(e, a)
    freedom = int(np.count_nonzero(e + a)) - 1
    if freedom < 1:
        return Comparison(psi, 0.0, 1.0)
    spread, days = _spread([np.stack([cut.count(day) for day in group]) for group in alike if group], current.rows)
    psi_expected = spread * freedom * (1 / e.sum() + 1 / a.sum())
    if not days:
        return Comparison(psi, psi_expected, None)
    effective = _effective_freedom(spread, freedom)
    ratio = _likelihood_ratio(e, a) / (spread * freedom)
    return Comparison(psi, psi_expected, _f_tail(ratio, effective, effective * days))


def drifted(comparisons: Mapping[str, Comparison]) -> set[str]:
    """The features of a day that lie further from the other days than chance and their usual spread explain.

    They are those with a PSI above `SHIFTED` whose p-value holds by Holm's procedure (1979) at `FALSE_ALARMS`: on so
    many days without drift, at most, any feature at all is named.
    """
    judged: list[tuple[float, str]] = sorted(
        (found.p_value, name) for name, found in comparisons.items() if found.p_value is not None
    )
    named: set[str] = set()
    for place, (p_value, name) in enumerate(judged):
        if p_value * (len(judged) - place) > FALSE_ALARMS:
            break
        named.add(name)
    return {name for name in named if comparisons[name].psi > SHIFTED}


def _bins(rows: int) -> int:
    """Fewer bins for fewer rows: ten rows in ten bins say less than in six."""
    return min(BINS, isqrt(rows) + 3)


def _psi(expected: Floats, actual: Floats) -> float:
    filled = (expected + actual) > 0
    e, a = (np.maximum(counts[filled], 0.5) / counts.sum() for counts in (expected, actual))
    return float(np.sum((a - e) * np.log(a / e)))


def _spread(groups: Sequence[Floats], rows: int) -> tuple[float, int]:
    """By which factor days that should be alike spread more than chance, at ``rows`` a day, and how many days tell.

    What is common to a day's rows weighs more the more rows there are; what is common to a user's rows doesn't. For a
    day with more rows than the others it is taken to be the former.

    Args:
        groups: binned counts, shape (days, bins).
        rows: of the day to judge.
    """
    squares = freedom = 0.0
    days = 0
    for counts in groups:
        total = counts.sum(axis=0)
        expected = counts.sum(axis=1, keepdims=True) * total / total.sum()
        squares += float(np.sum((counts - expected)[:, total > 0] ** 2 / expected[:, total > 0]))
        freedom += (len(counts) - 1) * max(int(np.count_nonzero(total)) - 1, 1)
        days += len(counts) - 1
    if not days:
        return 1.0, 0
    spread = max(1.0, squares / freedom)
    usual = sum(float(counts.sum()) for counts in groups) / sum(map(len, groups))
    return max(spread, 1 + (spread - 1) * (rows - 1) / max(usual - 1, 1)), days


def _effective_freedom(spread: float, freedom: int) -> float:
    """The degrees of freedom of a sum of squares (Satterthwaite) if all that exceeds chance moves the bins together.

    That is the most cautious case: the fewest for this spread, which is taken with a `_MARGIN`.
    """
    cautious = spread * _MARGIN
    largest = 1 + (cautious - 1) * freedom
    return (freedom * cautious) ** 2 / (largest**2 + freedom - 1)


def _likelihood_ratio(expected: Floats, actual: Floats) -> float:
    """G² of two rows of counts against one distribution for both."""
    pooled = (expected + actual) / (expected.sum() + actual.sum())
    return 2 * sum(
        float(np.sum(counts[counts > 0] * np.log((counts / counts.sum())[counts > 0] / pooled[counts > 0])))
        for counts in (expected, actual)
    )


def _f_tail(ratio: float, numerator: float, denominator: float) -> float:
    """The probability that an F-distributed number exceeds ``ratio``."""
    from scipy.special import fdtrc

    return float(fdtrc(numerator, denominator, max(ratio, 0.0)))
