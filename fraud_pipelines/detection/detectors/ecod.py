"""ECOD: the sum over features of how surprising a value is, by its smaller tail in the training rows.

Source: Li, Zhao, Hu, Botta, Ionescu, Chen, "ECOD: Unsupervised Outlier Detection Using Empirical Cumulative
Distribution Functions", TKDE 2022. PyOD joins the training rows to the rows to score at every call, which is slow
and lets rows influence each other; here the training rows are counted once, and each row is scored as if alone.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.detection.detectors.interface import Arrays, Contributions, FloatArray, Parameters
from fraud_pipelines.detection.distribution import TrainingDistribution


class EcodParameters(Parameters):
    """ECOD has no parameters."""


@dataclass(frozen=True)
class EcodDetector:
    """ECOD over a frozen training distribution."""

    distribution: TrainingDistribution

    def surprises(self, X: FloatArray) -> FloatArray:
        """Each feature's term −ln((min(#≤x, #≥x) + 1) / (n + 1)), shape (n, k)."""
        from fraud_pipelines.detection.kernels import tail_surprises

        known = self.distribution
        return tail_surprises(X, known.values, known.cumulative, known.offsets, known.rows)

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """Sum of the terms, equal to PyOD's score of the row alone."""
        total: FloatArray = self.surprises(X).sum(axis=1)
        return total

    def contributions(self, X: FloatArray) -> Contributions:
        """The terms themselves."""
        return Contributions(0.0, self.surprises(X))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Nothing: the training distribution, which every model keeps, is all there is to it."""
        return {}

    @classmethod
    def from_arrays(cls, _arrays: Arrays, distribution: TrainingDistribution, /) -> Self:
        """ECOD over the model's training distribution."""
        return cls(distribution)
