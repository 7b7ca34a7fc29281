"""Known frauds and their places in a ranking: what average precision, ROC AUC and the curve are computed from.

Of the many rows that aren't known as frauds only their number above each fraud matters, so that a window of any size
comes down to its few frauds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Places:
    """The known frauds of a ranking, the most suspicious first; all arrays of shape (frauds,).

    ``level`` numbers the distinct ranks that frauds hold, from 0; ``above`` and ``tied`` count the other rows above
    that rank and at it; ``others`` is how many other rows there are in all.
    """

    level: Integers
    above: Floats
    tied: Floats
    others: float

    @property
    def last_of_level(self) -> Integers:
        """For each fraud the place of the last one that shares its rank."""
        return np.searchsorted(self.level, self.level, side="right") - 1

    @property
    def reached(self) -> Floats:
        """Rows at or above the rank of each fraud."""
        reached: Floats = self.above + self.tied + self.last_of_level + 1
        return reached


def ranking(outcomes: pl.DataFrame) -> Integers:
    """Rank of each row by score, equal scores by raw score; 0 is the least suspicious, ties share a rank.

    Anchored scores are tied for all that lies beyond the training data's tail, which is where most frauds are;
    the raw score orders those as a review queue would. A missing raw score comes last among its equals.
    """
    score = outcomes["score"].to_numpy()
    raw_score = outcomes["raw_score"].fill_null(-np.inf).to_numpy()
    order = np.lexsort((raw_score, score))
    steps = (score[order][1:] != score[order][:-1]) | (raw_score[order][1:] != raw_score[order][:-1])
    codes = np.empty(outcomes.height, dtype=np.int64)
    codes[order] = np.concatenate(([0], np.cumsum(steps)))[: outcomes.height]
    return codes


def find_places(codes: Integers, is_fraud: Flags, rows: Floats | None = None) -> tuple[Integers, Places]:
    """Which rows are frauds, the most suspicious first, and their places.

    Args:
        codes: rank of each row, the highest the most suspicious; equal ranks are tied.
        is_fraud: of each row.
        rows: how many rows each row that is no fraud stands for; one each if None.
    """
    frauds = np.flatnonzero(is_fraud)
    frauds = frauds[np.argsort(-codes[frauds], kind="stable")]
    others = np.flatnonzero(~is_fraud)
    order = np.argsort(codes[others], kind="stable")
    ranked = codes[others][order]
    sizes = np.ones(len(others)) if rows is None else rows[others][order]
    running = np.concatenate(([0.0], np.cumsum(sizes)))
    below = running[np.searchsorted(ranked, codes[frauds], side="left")]
    up_to = running[np.searchsorted(ranked, codes[frauds], side="right")]
    total = float(running[-1])
    level = np.cumsum(np.diff(codes[frauds], prepend=codes[frauds][:1]) != 0)
    return frauds, Places(level, total - up_to, up_to - below, total)


def precision_at(places: Places, weights: Floats) -> Floats:
    """Precision at the rank of each fraud, if each stands for so many.

    A fraud that is known by its chargeback stands for those of its kind that are still to come. Of the payment itself,
    however, there is one: weighting it as well would count it as company of itself, and few frauds would look
    better than they are.
    """
    caught = np.cumsum(weights)[places.last_of_level]
    precision: Floats = np.minimum((caught - weights + 1) / places.reached, 1.0)
    return precision


def average_precision(places: Places, weights: Floats) -> float | None:
    """AP = Σ (recall_i − recall_{i−1}) · precision_i; null without a fraud. With weights of 1 it is scikit-learn's."""
    return float(weights @ precision_at(places, weights) / weights.sum()) if len(weights) else None


def roc_auc(places: Places, weights: Floats) -> float | None:
    """Share of the pairs of a fraud and another row that are in order, ties by half; null without such a pair."""
    if not len(weights) or not places.others:
        return None
    below = places.others - places.above - places.tied / 2
    return float(weights @ below / (weights.sum() * places.others))


def curve(places: Places, weights: Floats) -> tuple[Floats, Floats]:
    """Recall and precision at each distinct rank that a fraud holds, the highest first."""
    corners = np.unique(places.last_of_level)
    recall = np.cumsum(weights)[corners] / weights.sum()
    return recall, precision_at(places, weights)[corners]
