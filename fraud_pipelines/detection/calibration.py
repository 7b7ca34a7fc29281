"""Score calibration: from a detector's raw score to one that means the same for every backend and day."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.errors import InvalidInput

FloatArray = NDArray[np.float64]
Normalization = Literal["tail", "standardization", "zscore", "raw", "extended_tail"]

NORMALIZATIONS: Final[tuple[Normalization, ...]] = get_args(Normalization)


def tail_score(raw: FloatArray, training_scores: FloatArray, contamination: float) -> FloatArray:
    """Score in (0, 1), anchored at the training tail, so that above 0.5 is the top share ``contamination``.

    With t = (#training scores ≥ s + 1) / (n + 1) and contamination c the score is c / (2t) where t > c, else
    1 − t / (2c). It never falls as the raw score rises. Raw scores above the largest of training share one
    score, 1 − 1 / (2c(n + 1)): the data says no more about them, and the raw score breaks the tie. With fewer
    than 1/c training rows nothing reaches 0.5.

    Args:
        raw: raw scores, higher is more unusual; any shape.
        training_scores: sorted ascending, shape (n,).
        contamination: expected share of outliers, in (0, 0.5].
    """
    return _tail_scores(raw, training_scores, contamination, 0.0)


def extended_tail_score(raw: FloatArray, training_scores: FloatArray, contamination: float) -> FloatArray:
    """`tail_score`, which goes on rising above the largest score of training.

    There t = 1 / (n + 1) / (1 + (s − largest) / β), with β the mean by which the top tenth of the training scores
    exceeds the score below it: a tail so heavy that it rather understates how rare a row is. A small window of
    training rows tells little of its tail: of 50 rows and a contamination of 2 % all that is flagged would score 0.51.

    Args:
        raw, training_scores, contamination: as for `tail_score`.
    """
    return _tail_scores(raw, training_scores, contamination, tail_excess(training_scores))


def tail_excess(training_scores: FloatArray) -> float:
    """β of `extended_tail_score`: by how much the top tenth of ``training_scores`` exceeds the score below it."""
    n = training_scores.size
    top = training_scores[n - max(1, n // 10) :]
    below = training_scores[max(n - top.size - 1, 0)]
    return float(np.mean(top - below))


def _tail_scores(raw: FloatArray, training_scores: FloatArray, contamination: float, excess: float) -> FloatArray:
    from fraud_pipelines.detection.kernels import tail_scores

    scores = tail_scores(np.ascontiguousarray(raw).reshape(-1), training_scores, contamination, excess)
    return scores.reshape(raw.shape)


@dataclass(frozen=True)
class Calibration:
    """The training scores of a detector, and how they turn a raw score into a score.

    ``tail`` is `tail_score`, ``extended_tail`` is `extended_tail_score`. The others are the original's:
    ``standardization`` is 1 / (1 + exp(−(r − median) / (2 IQR))), ``zscore`` is (r − mean) / std, ``raw`` is r;
    median, IQR, mean and std are those of the training scores, and a spread of 0 counts as 1.

    All rise with the raw score. ``zscore`` and ``raw`` are by their nature no shares and have no bounds, so that
    thresholds and policies, which are in [0, 1] as the other scores are, don't fit them.
    """

    normalization: Normalization
    contamination: float
    training_scores: FloatArray
    """Sorted ascending, shape (n,)."""

    @classmethod
    def fit(cls, raw: FloatArray, *, normalization: Normalization, contamination: float) -> "Calibration":
        """Learn from the raw scores of the training rows.

        Raises:
            InvalidInput: the normalization is unknown, or the contamination outside (0, 0.5].
        """
        if normalization not in NORMALIZATIONS:
            raise InvalidInput(f"Unknown normalization {normalization!r}; use one of {', '.join(NORMALIZATIONS)}.")
        if not 0 < contamination <= 0.5:
            raise InvalidInput(f"contamination is {contamination}; it is a share and must be in (0, 0.5].")
        return cls(normalization, contamination, np.sort(raw))

    @cached_property
    def threshold(self) -> float:
        """A row is an anomaly if its score lies above this: 0.5 for both tails, else the training quantile."""
        if self.normalization in ("tail", "extended_tail"):
            return 0.5
        return float(np.quantile(self.score(self.training_scores), 1 - self.contamination))

    def score(self, raw: FloatArray) -> FloatArray:
        """Scores for raw scores, of the same shape."""
        match self.normalization:
            case "tail":
                return tail_score(raw, self.training_scores, self.contamination)
            case "extended_tail":
                return _tail_scores(raw, self.training_scores, self.contamination, self._excess)
            case "standardization":
                exponent = np.clip((raw - self._location[0]) / (2 * self._location[1]), -700.0, 700.0)
                sigmoid: FloatArray = 1 / (1 + np.exp(-exponent))
                return sigmoid
            case "zscore":
                z: FloatArray = (raw - self._moments[0]) / self._moments[1]
                return z
            case "raw":
                return raw

    @cached_property
    def _excess(self) -> float:
        return tail_excess(self.training_scores)

    @cached_property
    def _location(self) -> tuple[float, float]:
        low, median, high = np.quantile(self.training_scores, [0.25, 0.5, 0.75])
        return float(median), float(high - low) or 1.0

    @cached_property
    def _moments(self) -> tuple[float, float]:
        return float(np.mean(self.training_scores)), float(np.std(self.training_scores)) or 1.0
