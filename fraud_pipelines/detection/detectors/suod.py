"""SUOD: PyOD's ensemble of isolation forest, ECOD, LODA and others, the average of their standardised scores.

Source: Zhao et al., "SUOD: Accelerating Large-Scale Unsupervised Heterogeneous Outlier Detection", MLSys 2021.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from fraud_pipelines.detection.detectors.ecod import EcodDetector
from fraud_pipelines.detection.detectors.hbos import HbosDetector
from fraud_pipelines.detection.detectors.interface import (
    Arrays,
    Contributions,
    FloatArray,
    Parameters,
    SelfExplaining,
    part,
    with_prefix,
)
from fraud_pipelines.detection.detectors.isolation_forest import IsolationForestDetector
from fraud_pipelines.detection.detectors.loda import LodaDetector
from fraud_pipelines.detection.detectors.pca import PcaDetector, usable_components
from fraud_pipelines.detection.distribution import TrainingDistribution

if TYPE_CHECKING:
    from pyod.models.base import BaseDetector

Member = Literal["isolation_forest", "ecod", "loda", "hbos", "pca"]

_MEMBERS: Final[Mapping[str, type[SelfExplaining]]] = {
    "isolation_forest": IsolationForestDetector,
    "ecod": EcodDetector,
    "loda": LodaDetector,
    "hbos": HbosDetector,
    "pca": PcaDetector,
}

_LEAST_SPREAD: Final = 1e-9


class SuodParameters(Parameters):
    """The defaults are what measurement chose, on two sets of payments that disagree.

    On the handbook's isolation forest and LODA alone are best (AP .548; with ECOD .545, the forest alone .524); on
    simulated payments ECOD is best and LODA costs the most (with ECOD .30, without .26). HBOS loses on both. Half the
    rows a tree and half the projections cost .004 of AP on the handbook's, with groups and known frauds, and nothing on
    simulated ones; a fit takes a quarter longer, a score a third.
    """

    members: tuple[Member, ...] = Field(
        default=("isolation_forest", "ecod", "loda"), description="Detectors of the ensemble, at least two."
    )
    n_estimators: int = Field(default=100, ge=1, le=2000, description="Trees of the isolation forest.")
    max_samples: int = Field(
        default=2048, ge=2, le=1_000_000, description="Rows drawn for each tree; all of them if there are fewer."
    )
    projections: int = Field(default=200, ge=1, le=10_000, description="Random projections of LODA.")
    histogram_bins: int = Field(default=50, ge=2, le=1000, description="Bins of each histogram of LODA and HBOS.")

    @field_validator("members")
    @classmethod
    def _two_distinct_members(cls, members: tuple[Member, ...]) -> tuple[Member, ...]:
        if len(set(members)) < 2 or len(set(members)) != len(members):
            raise ValueError("an ensemble needs at least two different members")
        return members


@dataclass(frozen=True)
class SuodDetector:
    """The frozen members, and the mean and standard deviation of their training scores, each of shape (m,)."""

    members: Mapping[str, SelfExplaining]
    mean: FloatArray
    scale: FloatArray

    @classmethod
    def fit(cls, X: FloatArray, distribution: TrainingDistribution, parameters: SuodParameters, *, seed: int) -> Self:
        """Let PyOD fit the ensemble on encoded rows, shape (n, k), in this process and thread, and freeze it.

        PCA works with the eigenvectors that carry variance; where none does, it is left out.
        """
        components = usable_components(X)
        names = [name for name in parameters.members if name != "pca" or components]
        suod = _import_suod()
        with warnings.catch_warnings(), _without_joblib_progress():
            # A constant column has no skewness; SciPy says so at every fit, and ECOD doesn't use it.
            warnings.filterwarnings("ignore", message="Precision loss occurred in moment calculation")
            # SUOD has no cost forecast for ECOD, which only its parallel scheduling would need.
            warnings.filterwarnings("ignore", message="UNK does not have a predefined code")
            ensemble = suod(
                base_estimators=[_unfitted(name, parameters, X.shape, components, seed) for name in names],
                n_jobs=1,
                rp_flag_global=False,
                approx_flag_global=False,
                bps_flag=False,
            ).fit(X)
        fitted = dict(zip(names, ensemble.model_.base_estimators, strict=True))
        mean, scale = ensemble.score_scalar_.mean_, ensemble.score_scalar_.scale_
        return cls(
            members={name: _freeze(name, detector, distribution) for name, detector in fitted.items()},
            mean=mean,
            # Where a member's training scores are equal but for rounding, a spread of it would drown the others.
            scale=np.where(scale > _LEAST_SPREAD * np.maximum(np.abs(mean), 1.0), scale, 1.0),
        )

    def member_scores(self, X: FloatArray) -> FloatArray:
        """Standardised scores of the members, shape (n, m)."""
        scores = np.column_stack([member.raw_scores(X) for member in self.members.values()])
        standardised: FloatArray = (scores - self.mean) / self.scale
        return standardised

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """Their average, equal to PyOD's ``decision_function`` of the row alone."""
        average: FloatArray = self.member_scores(X).sum(axis=1) / len(self.members)
        return average

    def contributions(self, X: FloatArray) -> Contributions:
        """The members' contributions, each in the member's standard deviations, averaged."""
        parts = [member.contributions(X) for member in self.members.values()]
        weights = 1 / (self.scale * len(parts))
        base = sum(weight * (of.base - mean) for weight, of, mean in zip(weights, parts, self.mean, strict=True))
        terms: FloatArray = np.einsum("m,mnk->nk", weights, np.stack([of.terms for of in parts]))
        return Contributions(float(base), terms)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The members' arrays, each under its name."""
        stored: dict[str, NDArray[np.generic]] = {
            "members": np.array(list(self.members)),
            "mean": self.mean,
            "scale": self.scale,
        }
        for name, member in self.members.items():
            stored |= with_prefix(name, member.arrays())
        return stored

    @classmethod
    def from_arrays(cls, arrays: Arrays, distribution: TrainingDistribution, /) -> Self:
        """What `arrays` stored."""
        names = [str(name) for name in arrays["members"]]
        return cls(
            members={name: _MEMBERS[name].from_arrays(part(arrays, name), distribution) for name in names},
            mean=arrays["mean"].astype(np.float64),
            scale=arrays["scale"].astype(np.float64),
        )


def _unfitted(
    name: str, parameters: SuodParameters, shape: tuple[int, int], components: int, seed: int
) -> "BaseDetector":
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS
    from pyod.models.iforest import IForest
    from pyod.models.loda import LODA
    from pyod.models.pca import PCA

    match name:
        case "isolation_forest":
            rows_of_a_tree = min(parameters.max_samples, shape[0])
            return IForest(n_estimators=parameters.n_estimators, max_samples=rows_of_a_tree, random_state=seed)
        case "ecod":
            return ECOD()
        case "loda":
            return LODA(n_bins=parameters.histogram_bins, n_random_cuts=parameters.projections, random_state=seed)
        case "hbos":
            return HBOS(n_bins=parameters.histogram_bins)
        case _:
            all_carry_variance = components == shape[1]
            return PCA(n_components=None if all_carry_variance else components, random_state=seed)


def _freeze(name: str, detector: "BaseDetector", distribution: TrainingDistribution) -> SelfExplaining:
    match name:
        case "isolation_forest":
            return IsolationForestDetector.freeze(detector.detector_, offset=float(detector.offset_))
        case "ecod":
            return EcodDetector(distribution)
        case "loda":
            return LodaDetector.freeze(detector)
        case "hbos":
            return HbosDetector.freeze(detector)
        case _:
            return PcaDetector.freeze(detector)


@cache
def _import_suod() -> Callable[..., "BaseDetector"]:
    """PyOD's SUOD, with the loops that PyOD compiles anew in every process kept on disk (3 s, once)."""
    import_path = list(sys.path)
    from pyod.models import hbos
    from pyod.models.suod import SUOD
    from pyod.utils import stat_models

    sys.path[:] = import_path  # the package suod appends the parent of the working directory
    for loop in (hbos._calculate_outlier_scores, stat_models.ecdf_terminate_equals_inplace):
        with contextlib.suppress(RuntimeError):  # no writable place for numba's cache
            loop.enable_caching()
    return cast("Callable[..., BaseDetector]", SUOD)


@contextlib.contextmanager
def _without_joblib_progress() -> Iterator[None]:
    """SUOD hard-codes joblib's progress report; what else is written to standard error still gets there."""
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            yield
    finally:
        kept = [line for line in written.getvalue().splitlines(keepends=True) if not line.startswith("[Parallel(")]
        sys.stderr.write("".join(kept))
