"""Paired comparison: two rankings of the same days, judged by the difference of their daily average precision."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.evaluation.lateness import ALL_REPORTED, Reported, frauds_stood_for
from fraud_pipelines.evaluation.ranked import average_precision, find_places

Floats = npt.NDArray[np.float64]

_RESAMPLES: Final = 2000
_LEVEL: Final = (0.025, 0.975)


@dataclass(frozen=True)
class PairedDifference:
    """Mean over ``days`` of a daily difference, with its 95 % bootstrap interval."""

    days: int
    mean: float
    low: float
    high: float

    def json(self) -> dict[str, float | int]:
        """As evidence; rounded to what 14 days can tell."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


def average_precision_by_day(
    days: npt.NDArray[np.datetime64],
    scores: Floats,
    frauds: Floats,
    rows: Floats | None = None,
) -> dict[date, float]:
    """Average precision of each day that has a fraud, as `ranked.average_precision` has it; all arrays of shape (n,).

    Args:
        frauds: how many frauds each row stands for; 0 for one that isn't known as fraud.
        rows: how many rows each row stands for; one each if None.
    """
    found: dict[date, float] = {}
    order = np.argsort(days, kind="stable")
    distinct, first = np.unique(days[order], return_index=True)
    for day, start, stop in zip(distinct, first, np.append(first, len(order))[1:], strict=True):
        at = order[start:stop]
        codes = np.unique(scores[at], return_inverse=True)[1]
        which, places = find_places(codes, frauds[at] > 0, None if rows is None else rows[at])
        value = average_precision(places, frauds[at][which])
        if value is not None:
            found[day.astype("datetime64[D]").item()] = value
    return found


def daily_average_precision(outcomes: pl.DataFrame, reported: Reported = ALL_REPORTED) -> dict[date, float]:
    """`average_precision_by_day` of rows with ``event_date``, ``raw_score``, ``is_fraud`` and, if any, ``weight`` (how
    many rows each stands for) and ``late``.

    Within a day a model's raw score orders as its score does, and breaks the ties of an anchored one.
    """
    return average_precision_by_day(
        outcomes["event_date"].to_numpy().astype("datetime64[D]"),
        outcomes["raw_score"].to_numpy(),
        frauds_stood_for(outcomes, reported),
        outcomes["weight"].to_numpy() if "weight" in outcomes.columns else None,
    )


def sample_weights(rows: pl.DataFrame, payments: Mapping[date, int]) -> pl.DataFrame:
    """A sample with the ``weight`` of each row: how many it stands for.

    Args:
        rows: all known frauds (``is_fraud``) and a sample of the other payments, with ``event_date``.
        payments: how many there were on each day.
    """
    total = pl.col("event_date").replace_strict(payments, default=0, return_dtype=pl.Float64)
    frauds = pl.col("is_fraud").sum().over("event_date")
    others = pl.len().over("event_date") - frauds
    return rows.with_columns(weight=pl.when("is_fraud").then(1.0).otherwise((total - frauds) / others))


def paired_difference(
    one: Mapping[date, float],
    other: Mapping[date, float],
    *,
    weights: Mapping[date, float] | None = None,
    seed: int = 0,
) -> PairedDifference | None:
    """``one`` minus ``other`` on the days that both have; None where there is no such day.

    The interval is a percentile bootstrap over days: the frauds of a day come from few cards and aren't independent,
    and what makes a day hard is the same for both.

    Args:
        weights: how much each day counts in the mean; all alike if None.
    """
    days = sorted(one.keys() & other.keys())
    if not days:
        return None
    differences = np.array([one[day] - other[day] for day in days])
    counts = np.array([1.0 if weights is None else weights[day] for day in days])
    drawn = np.random.default_rng(seed).integers(0, len(days), size=(_RESAMPLES, len(days)))
    means = (differences * counts)[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, _LEVEL)
    mean = float((differences * counts).sum() / counts.sum())
    return PairedDifference(len(days), mean, float(low), float(high))


def weighted_mean(by_day: Mapping[date, float], weights: Mapping[date, float]) -> float | None:
    """The mean of single days, each as much as its weight; None without a day."""
    if not by_day:
        return None
    return sum(value * weights[day] for day, value in by_day.items()) / sum(weights[day] for day in by_day)
