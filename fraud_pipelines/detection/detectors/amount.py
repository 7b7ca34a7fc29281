"""The amount alone: no model at all, scored and anchored as the models are. What can't beat it should not decide."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.detection.detectors.interface import Arrays, Contributions, FloatArray, Parameters
from fraud_pipelines.detection.distribution import TrainingDistribution


class AmountParameters(Parameters):
    """The amount has no parameters."""


@dataclass(frozen=True)
class AmountDetector:
    """A row's only feature is its raw score."""

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """The encoded amount, shape (n, 1) → (n,)."""
        scores: FloatArray = X[:, 0].copy()
        return scores

    def contributions(self, X: FloatArray) -> Contributions:
        """The amount itself."""
        return Contributions(0.0, X)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Nothing."""
        return {}

    @classmethod
    def from_arrays(cls, _arrays: Arrays, _distribution: TrainingDistribution, /) -> Self:
        """The amount."""
        return cls()
