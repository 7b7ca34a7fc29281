"""Tails: how few training rows score, or have a value, as far out as a row does."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.detection.detectors.interface import Arrays, Contributions, FloatArray
from fraud_pipelines.detection.distribution import TrainingDistribution

IntArray = NDArray[np.int64]

_EXACT_RANKS: Final = 2_000
_COARSER: Final = 1.01
_TOP_SHARE: Final = 0.01
_FEW_VALUES: Final = 64


@dataclass(frozen=True)
class Anchor:
    """The training scores of a group, from which tail probabilities are read.

    Kept are the distinct scores of the `_EXACT_RANKS` highest rows, and of the others so many that neighbours differ by
    1 % in rank.

    Attributes:
        rows: how many there were.
        values: ascending, shape (m,).
        at_least: how many training rows score at or above each, shape (m,).
        excess: by how much the scores of the top percent exceed the one below them on average; beyond the largest the
            tail falls off with it.
    """

    rows: int
    values: FloatArray
    at_least: FloatArray
    excess: float

    @classmethod
    def fit(cls, scores: FloatArray) -> Self:
        """From the raw scores of the training rows, shape (n,)."""
        return cls.of_ordered(np.sort(scores))

    @classmethod
    def of_ordered(cls, ordered: FloatArray) -> Self:
        """`fit` of scores that ascend."""
        n = ordered.size
        values = np.unique(ordered[n - _ranks(n)])
        at_least = (n - np.searchsorted(ordered, values, side="left")).astype(np.float64)
        return cls(n, values, at_least, tail_excess(ordered))


@lru_cache(maxsize=8)
def _ranks(n: int) -> IntArray:
    """The ranks, from the highest of ``n``, of the scores that an anchor keeps."""
    ranks = [*range(1, min(n, _EXACT_RANKS) + 1)]
    while ranks[-1] < n:
        ranks.append(min(n, int(ranks[-1] * _COARSER) + 1))
    return np.array(ranks)


def tail_excess(ordered: FloatArray) -> float:
    """By how much values of the tail of ``ordered``, ascending, differ: the unit of what lies beyond the largest.

    By the top percent of the values, and by what an exponential tail from the median to the largest would have.
    """
    n = ordered.size
    top = max(1, int(n * _TOP_SHARE))
    mean = float(np.mean(ordered[n - top :] - ordered[max(n - top - 1, 0)]))
    exponential = float(ordered[-1] - ordered[n // 2]) / np.log(n + 1)
    return max(mean, float(exponential)) or 1.0


@dataclass(frozen=True)
class TailsDetector:
    """The surprise of each feature, summed: −ln of the share of training rows as far out.

    Of a number with a suspicious side that is the upper side of the encoded value, and beyond the largest of training
    the share is estimated. Of one that may be suspicious on either side, and has few values, such as the hour of the
    day, it is the share of training rows whose value is as rare.
    """

    rows: int
    values: FloatArray
    surprise: FloatArray
    offsets: IntArray
    excess: FloatArray
    by_rarity: NDArray[np.bool_]

    @classmethod
    def fit(cls, training: TrainingDistribution, either_side: Sequence[bool]) -> Self:
        """From the distribution of encoded rows; ``either_side`` says of each column that it has no suspicious side."""
        n = training.rows
        values, surprise, excess, by_rarity = [], [], [], []
        for column, both in enumerate(either_side):
            distinct, counts = training.distinct(column)
            rare = both and distinct.size <= _FEW_VALUES
            anchor = Anchor.of_ordered(np.repeat(distinct, counts))
            tail = np.array([counts[counts <= count].sum() for count in counts]) if rare else anchor.at_least
            values.append(distinct if rare else anchor.values)
            surprise.append(-np.log((tail + 1) / (n + 1)))
            excess.append(anchor.excess)
            by_rarity.append(rare)
        return cls(
            rows=n,
            values=np.concatenate(values),
            surprise=np.concatenate(surprise),
            offsets=np.concatenate(([0], np.cumsum([of.size for of in values]))).astype(np.int64),
            excess=np.array(excess),
            by_rarity=np.array(by_rarity),
        )

    def surprises(self, X: FloatArray) -> FloatArray:
        """Of each feature, shape (n, k)."""
        from fraud_pipelines.detection.kernels import feature_surprises

        return feature_surprises(
            X, self.values, self.surprise, self.offsets, self.excess, self.by_rarity, float(np.log(self.rows + 1))
        )

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """Their sum."""
        from fraud_pipelines.detection.kernels import row_sums

        return row_sums(self.surprises(X))

    def contributions(self, X: FloatArray) -> Contributions:
        """The surprises themselves."""
        return Contributions(0.0, self.surprises(X))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All there is to it."""
        return {
            "rows": np.asarray(self.rows, dtype=np.int64),
            "values": self.values,
            "surprise": self.surprise,
            "offsets": self.offsets,
            "excess": self.excess,
            "by_rarity": self.by_rarity,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, _distribution: TrainingDistribution, /) -> Self:
        """What `arrays` stored."""
        return cls(
            rows=int(arrays["rows"]),
            values=arrays["values"].astype(np.float64),
            surprise=arrays["surprise"].astype(np.float64),
            offsets=arrays["offsets"].astype(np.int64),
            excess=arrays["excess"].astype(np.float64),
            by_rarity=arrays["by_rarity"].astype(np.bool_),
        )
