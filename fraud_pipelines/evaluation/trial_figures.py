"""A trial's figures: two sets of models on the same days, compared day by day.

Each figure of a window is Σ numerator / Σ denominator over its days, so that a draw of days weights both. A figure that
is a mean of daily ones, as the average precision is, has 1 for each denominator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.evaluation.ranked import average_precision, find_places, roc_auc

Floats = npt.NDArray[np.float64]

Verdict = Literal["helped", "hurt", "can't be told"]

FIGURES: Final = ("average_precision", "roc_auc", "precision", "recall", "card_precision_at_k")
_DRAWS: Final = 2_000
_LEVEL: Final = 0.975
_FEWEST_DAYS: Final = 3


class Ratio(NamedTuple):
    """A day's part of a figure."""

    numerator: float
    denominator: float


Day = Mapping[str, Ratio]
"""The figures of one model on one day, by the names of `FIGURES`."""

_NOTHING: Final = Ratio(0.0, 0.0)


def day_figures(day: pl.DataFrame, *, alerts: int, cards: int, blocked: set[str]) -> Day:
    """The figures of one model on one day.

    Precision and recall are those of the ``alerts`` highest scores.

    Args:
        day: ``user_id``, ``raw_score``, ``is_fraud``, and ``frauds``: how many a row stands for, 0 if it isn't known as
            one (see `fraud_pipelines.evaluation.lateness.frauds_stood_for`).
        alerts: how many transactions of the day can be looked at.
        cards: k of card precision@k.
        blocked: cards found on earlier days, which count no more; those found on this day are added.
    """
    rows = day[np.argsort(-day["raw_score"].to_numpy(), kind="stable")]
    frauds = rows["frauds"].to_numpy()
    everything, caught = float(frauds.sum()), float(frauds[:alerts].sum())
    codes = np.unique(rows["raw_score"].to_numpy(), return_inverse=True)[1]
    which, places = find_places(codes, frauds > 0)
    looked_at = min(alerts, rows.height)
    return {
        "average_precision": _mean_of(average_precision(places, frauds[which])),
        "roc_auc": _mean_of(roc_auc(places, frauds[which])),
        "precision": Ratio(min(caught, looked_at), looked_at),
        "recall": Ratio(caught, everything),
        "card_precision_at_k": Ratio(_cards_found(rows, cards, blocked) / cards, 1.0),
    }


def _mean_of(value: float | None) -> Ratio:
    """A day's part of a mean over days; nothing where the day has no such figure."""
    return _NOTHING if value is None else Ratio(value, 1.0)


def _cards_found(rows: pl.DataFrame, k: int, blocked: set[str]) -> float:
    """Compromised cards among the ``k`` that rank highest, as in `fraud_pipelines.evaluation.cards.card_precision`."""
    surest = pl.col("frauds").filter(pl.col("frauds") > 0).min().fill_null(0.0)
    of_card = rows.group_by("user_id", maintain_order=True).agg(surest)
    found = of_card.filter(~pl.col("user_id").is_in(list(blocked))).head(k).filter(pl.col("frauds") > 0)
    blocked.update(found["user_id"])
    return min(float(found["frauds"].sum()), k)


@dataclass(frozen=True)
class Compared:
    """One figure of two sets of models.

    Attributes:
        present, candidate: over the window, the mean of all repeats.
        difference: candidate minus present, with its 95 % interval; null with fewer than three days.
        seed_noise: two trainings that differ by nothing but the seed differ by more than this in one case of twenty;
            null without repeats.
    """

    present: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    seed_noise: float | None

    @property
    def verdict(self) -> Verdict:
        if self.low is not None and self.low > 0:
            return "helped"
        return "hurt" if self.high is not None and self.high < 0 else "can't be told"


def compare(
    present: Sequence[Sequence[Day]], candidate: Sequence[Sequence[Day]], *, seed: int = 0
) -> dict[str, Compared]:
    """Each figure of both, paired by day.

    The chance in a difference has two sources: which days there happened to be, and the seeds. Each repeat of each
    day is trained with a seed of its own, so that the seeds' share varies from day to day as the days' own does, and
    resampling the days covers both. The interval is the difference ± t · s, where s is the bootstrap's standard
    deviation, corrected for the number of days: of the mean of daily differences it is Student's interval.

    Args:
        present, candidate: for each day, in the same order, the figures of each repeat.
        seed: of the bootstrap.
    """
    days = len(present)
    draws = np.random.default_rng(seed).multinomial(days, np.full(days, 1 / days), size=_DRAWS).astype(np.float64)
    return {name: _compare(_parts(present, name), _parts(candidate, name), draws) for name in FIGURES}


def window_figures(days: Sequence[Day]) -> dict[str, float | None]:
    """Each figure of one model over some days."""
    every = np.ones((1, len(days)))
    return {name: _number(_ratio(every, _parts([[day] for day in days], name))[0, 0]) for name in FIGURES}


def _compare(present: Floats, candidate: Floats, draws: Floats) -> Compared:
    days = present.shape[0]
    before, after = (_ratio(np.ones((1, days)), arm)[0] for arm in (present, candidate))
    noise = None
    if len(before) > 1:
        noise = _number(1.96 * np.sqrt(np.var(before, ddof=1) + np.var(after, ddof=1)))
    difference = _number(after.mean() - before.mean())
    low = high = None
    if difference is not None and days >= _FEWEST_DAYS:
        from scipy.stats import t

        drawn = _ratio(draws, candidate).mean(axis=1) - _ratio(draws, present).mean(axis=1)
        half = float(t.ppf(_LEVEL, days - 1) * np.nanstd(drawn) * np.sqrt(days / (days - 1)))
        low, high = difference - half, difference + half
    return Compared(_number(before.mean()), _number(after.mean()), difference, low, high, noise)


def _parts(days: Sequence[Sequence[Day]], name: str) -> Floats:
    """Numerators and denominators of a figure, shape (days, repeats, 2)."""
    return np.array([[day[name] for day in repeats] for repeats in days])


def _ratio(weights: Floats, parts: Floats) -> Floats:
    """Σ numerator / Σ denominator over weighted days, shape (draws, repeats); NaN where there is nothing."""
    above, below = (weights @ parts[:, :, place] for place in (0, 1))
    ratio: Floats = np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
    return ratio


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
