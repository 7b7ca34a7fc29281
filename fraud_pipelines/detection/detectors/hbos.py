"""HBOS, a member of the ensemble: the sum over features of how empty a value's histogram bin is.

Source: Goldstein, Dengel, "Histogram-based Outlier Score (HBOS)", KI 2012.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.detection.detectors.interface import Arrays, Contributions, FloatArray
from fraud_pipelines.detection.distribution import TrainingDistribution

if TYPE_CHECKING:
    from pyod.models.hbos import HBOS


@dataclass(frozen=True)
class HbosDetector:
    """Histograms of equal-width bins, one for each column."""

    edges: FloatArray
    log_density: FloatArray
    tolerance: float

    @classmethod
    def freeze(cls, detector: "HBOS") -> Self:
        """The histograms of a fitted PyOD detector with a fixed number of bins."""
        return cls(
            edges=np.ascontiguousarray(detector.bin_edges_),
            log_density=np.ascontiguousarray(np.log2(detector.hist_ + detector.alpha)),
            tolerance=float(detector.tol),
        )

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """Minus the sum of log₂ densities, equal to PyOD's ``decision_function``."""
        total: FloatArray = self._terms(X).sum(axis=1)
        return total

    def contributions(self, X: FloatArray) -> Contributions:
        """Minus the log₂ density of each value's bin."""
        return Contributions(0.0, self._terms(X))

    def _terms(self, X: FloatArray) -> FloatArray:
        from fraud_pipelines.detection.kernels import histogram_terms

        return histogram_terms(X, self.edges, self.log_density, self.tolerance)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Edges, densities and tolerance."""
        return {"edges": self.edges, "log_density": self.log_density, "tolerance": np.asarray(self.tolerance)}

    @classmethod
    def from_arrays(cls, arrays: Arrays, _distribution: TrainingDistribution, /) -> Self:
        """What `arrays` stored; the training distribution isn't needed."""
        return cls(
            edges=arrays["edges"].astype(np.float64),
            log_density=arrays["log_density"].astype(np.float64),
            tolerance=float(arrays["tolerance"]),
        )
