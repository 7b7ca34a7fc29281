"""PCA, a member of the ensemble: weighted distances to the eigenvectors, the small ones counting most.

Source: Shyu, Chen, Sarinnapakorn, Chang, "A Novel Anomaly Detection Scheme Based on Principal Component
Classifier", 2003, as PyOD has it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.detection.detectors.interface import Arrays, Contributions, FloatArray
from fraud_pipelines.detection.distribution import TrainingDistribution

if TYPE_CHECKING:
    from pyod.models.pca import PCA

_SMALLEST_SHARE: Final = 1e-8


@dataclass(frozen=True)
class PcaDetector:
    """Standardisation, unit eigenvectors of shape (m, k) and their weights of shape (m,)."""

    mean: FloatArray
    scale: FloatArray
    components: FloatArray
    weights: FloatArray

    @classmethod
    def freeze(cls, detector: "PCA") -> Self:
        """The eigenvectors of a fitted PyOD detector."""
        return cls(
            mean=detector.scaler_.mean_,
            scale=detector.scaler_.scale_,
            components=np.ascontiguousarray(detector.selected_components_),
            weights=np.ascontiguousarray(detector.selected_w_components_),
        )

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """Sum of distances over weights, equal to PyOD's ``decision_function``."""
        from fraud_pipelines.detection.kernels import component_distances

        return component_distances(X, self.mean, self.scale, self.components, self.weights)

    def contributions(self, X: FloatArray) -> Contributions:
        """Each distance is split among the features in proportion to their squared differences."""
        from fraud_pipelines.detection.attribution import component_contributions

        return Contributions(0.0, component_contributions(X, self.mean, self.scale, self.components, self.weights))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Standardisation, eigenvectors and weights."""
        return {"mean": self.mean, "scale": self.scale, "components": self.components, "weights": self.weights}

    @classmethod
    def from_arrays(cls, arrays: Arrays, _distribution: TrainingDistribution, /) -> Self:
        """What `arrays` stored; the training distribution isn't needed."""
        return cls(
            mean=arrays["mean"].astype(np.float64),
            scale=arrays["scale"].astype(np.float64),
            components=arrays["components"].astype(np.float64),
            weights=arrays["weights"].astype(np.float64),
        )


def usable_components(X: FloatArray) -> int:
    """How many eigenvectors carry variance: constant and duplicate columns leave some with none.

    PyOD divides by the share of variance, so an eigenvector without any would make every score infinite.
    """
    spread = X.std(axis=0)
    varying = X[:, spread > 0]
    if X.shape[0] < 2 or not varying.shape[1]:
        return 0
    standardised = (varying - varying.mean(axis=0)) / spread[spread > 0]
    shares = np.linalg.eigvalsh(standardised.T @ standardised / X.shape[0]) / varying.shape[1]
    return int(np.count_nonzero(shares > _SMALLEST_SHARE))
