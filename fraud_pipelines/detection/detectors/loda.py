"""LODA, a member of the ensemble: how empty the bins are that a row falls in, on many random projections.

Source: Pevný, "Loda: Lightweight on-line detector of anomalies", Machine Learning 102, 2016, as PyOD has it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.detection.detectors.interface import Arrays, Contributions, FloatArray
from fraud_pipelines.detection.distribution import TrainingDistribution

if TYPE_CHECKING:
    from pyod.models.loda import LODA


@dataclass(frozen=True)
class LodaDetector:
    """Projections of shape (m, k), and of each the edges between bins (m, bins − 1) and log densities (m, bins)."""

    projections: FloatArray
    edges: FloatArray
    log_density: FloatArray

    @classmethod
    def freeze(cls, detector: "LODA") -> Self:
        """The histograms of a fitted PyOD detector with a fixed number of bins."""
        return cls(
            projections=np.ascontiguousarray(detector.projections_),
            # PyOD looks a value up among these edges alone.
            edges=np.ascontiguousarray(detector.limits_[:, : detector.n_bins - 1]),
            # PyOD takes the mean over the projections twice.
            log_density=np.log(detector.histograms_) / detector.n_random_cuts**2,
        )

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """Minus the mean log density over the projections, equal to PyOD's ``decision_function``."""
        from fraud_pipelines.detection.kernels import projection_scores

        return projection_scores(X, self.projections, self.edges, self.log_density)

    def contributions(self, X: FloatArray) -> Contributions:
        """What moves a row away from the origin, the encoded median, is split by each feature's part in the projection.

        ``base`` is the score of the origin; on each projection the difference from it is split among the features
        in proportion to |weight × value|.
        """
        from fraud_pipelines.detection.attribution import projection_contributions

        base = float(self.raw_scores(np.zeros((1, X.shape[1])))[0])
        return Contributions(base, projection_contributions(X, self.projections, self.edges, self.log_density))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Projections, edges and densities."""
        return {"projections": self.projections, "edges": self.edges, "log_density": self.log_density}

    @classmethod
    def from_arrays(cls, arrays: Arrays, _distribution: TrainingDistribution, /) -> Self:
        """What `arrays` stored; the training distribution isn't needed."""
        return cls(
            projections=arrays["projections"].astype(np.float64),
            edges=arrays["edges"].astype(np.float64),
            log_density=arrays["log_density"].astype(np.float64),
        )
