"""What is usual among all payments once more: plain, and written from the words of docs/features.md alone."""

import math
import statistics
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from fraud_pipelines.features import population

Usual = tuple[float, float]
"""The median and the 95th percentile, each as the middle of its bin."""


def usual_of(rows: Sequence[Mapping[str, Any]], now: Mapping[str, Any], column: str) -> Usual | None:
    """What to compare ``now`` with, of ``rows`` that count; None where too few payments came before its day."""
    today = now["timestamp"].date()
    first = today - timedelta(days=28)
    before = [row for row in rows if first <= row["timestamp"].date() < today and row[column] is not None]
    category = now.get("merchant_category")
    alike = [row for row in before if row.get("merchant_category") == category] if category is not None else []
    chosen = alike if len(alike) >= population.ENOUGH else before
    if len(chosen) < population.ENOUGH:
        return None
    values = sorted(row[column] for row in chosen)
    ranks = (math.ceil(len(values) / 2), math.ceil(len(values) * 19 / 20))
    center, upper = (_middle(values[rank - 1]) for rank in ranks)
    return center, upper


def profile_of(
    last: Sequence[float], value: float, usual: Usual | None, options: Mapping[str, float]
) -> dict[str, float | None]:
    """The four measures of ``value`` after an entity's ``last`` ones."""
    weight, share = options.get("weight", 5.0), options.get("share", 0.5)
    pull, tiny = options.get("pull", 1.0), options.get("tiny", 0.2)
    known = sorted(last)
    if len(known) < 10 and (usual is None or usual[0]) and (not known or known[0] >= 0):
        limit = tiny * abs(usual[0]) if usual else 0.0
        known = [each for each in known if each > limit]
    n = len(known)
    if not n and usual is None:
        return dict.fromkeys(("z", "rz", "log_ratio", "max_ratio"), 0.0)
    low, median, high = _quartiles(known)
    mean = statistics.fmean(known) if known else 0.0
    squares = math.fsum((each - mean) ** 2 for each in known)

    def drawn(own: float, of_all: float | None) -> float:
        if of_all is None:
            return own
        return (n * own + pull * of_all) / (n + pull) if n else of_all

    center, upper = usual or (None, None)
    wide = None if usual is None else max(abs(share * usual[0]), (usual[1] - usual[0]) / 1.645)
    m, q = drawn(mean, center), drawn(median, center)
    spread = math.sqrt((squares + weight * drawn(share * mean, wide) ** 2) / max(n + weight, 1))
    robust = (n * (high - low) / 1.349 + weight * drawn(abs(share * median), wide)) / max(n + weight, 1)
    ratios = {"log_ratio": (value + 1, q + 1), "max_ratio": (value + 1, drawn(known[-1] if n else 0.0, upper) + 1)}
    return {
        "z": (value - m) / (spread + 1),
        "rz": (value - q) / (robust + 1),
        **{name: math.log(a / b) if b and a / b > 0 else None for name, (a, b) in ratios.items()},
    }


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return (values[0],) * 3 if values else (0.0, 0.0, 0.0)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def _middle(value: float) -> float:
    if not value:
        return 0.0
    mantissa, exponent = math.frexp(abs(value))
    part = math.floor((mantissa - 0.5) * 64)
    return math.copysign((0.5 + (part + 0.5) / 64) * 2.0**exponent, value)
