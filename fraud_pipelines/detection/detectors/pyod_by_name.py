"""Any other detector of PyOD by its name: kept as its parameters and training rows, and fitted again when loaded."""

import difflib
import functools
import importlib
import inspect
import json
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, create_model

from fraud_pipelines.detection.detectors.interface import Arrays, FloatArray, Parameters
from fraud_pipelines.detection.detectors.seeding import seeded
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.errors import ArtifactRejected, InvalidInput

if TYPE_CHECKING:
    from pyod.models.base import BaseDetector

PREFIX: Final = "pyod."

_MODULES: Final[Mapping[str, str]] = {
    **{
        name: name.lower()
        for name in (
            *("ABOD", "CBLOF", "COF", "COPOD", "ECOD", "GMM", "HBOS", "HDBSCAN", "IForest", "INNE", "KDE", "KNN"),
            *("KPCA", "LMDD", "LODA", "LOF", "MAD", "MCD", "OCSVM", "PCA", "QMCD", "ROD", "Sampling", "SOD", "SOS"),
        )
    },
    "FeatureBagging": "feature_bagging",
}
"""Detector → module: those of PyOD that learn from rows of numbers, without PyTorch and without labels."""

_FROM_THE_MODEL: Final = frozenset({"contamination", "random_state"})
"""Given by the model's contamination and seed."""

_COMPLAINTS: Final = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""How PyOD and scikit-learn say that an option or the rows don't suit them."""

_PROBES: Final = 8
_LARGEST: Final = float(np.finfo(np.float64).max)


def pyod_class(backend: str) -> "type[BaseDetector]":
    """PyOD's class for a backend such as ``pyod.KNN``.

    Raises:
        InvalidInput: there is none of that name, or none that can be used; the message has the nearest names.
    """
    name = backend.removeprefix(PREFIX)
    if name not in _MODULES:
        by_lower = {known.lower(): known for known in _MODULES}
        near = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
        meant = f" Did you mean {' or '.join(PREFIX + known for known in near)}?" if near else ""
        raise InvalidInput(
            f"Unknown backend {backend!r}.{meant} Of PyOD's detectors these can be used, as {PREFIX}NAME: "
            f"{', '.join(sorted(_MODULES, key=str.lower))}."
        )
    module = importlib.import_module(f"pyod.models.{_MODULES[name]}")
    return cast("type[BaseDetector]", getattr(module, name))


@functools.cache
def pyod_parameters(backend: str) -> type[Parameters]:
    """The parameters of such a backend: those of PyOD's constructor that JSON can hold, with PyOD's defaults."""
    fields: dict[str, Any] = {
        name: (JsonValue, parameter.default)
        for name, parameter in inspect.signature(pyod_class(backend)).parameters.items()
        if name not in _FROM_THE_MODEL
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and (parameter.default is None or isinstance(parameter.default, bool | int | float | str | list | dict))
    }
    with warnings.catch_warnings():
        # PCA has a parameter "copy", and so has pydantic's class; ours is not for copying.
        warnings.filterwarnings("ignore", message="Field name .* shadows an attribute")
        return cast("type[Parameters]", create_model(f"{backend}Parameters", __base__=Parameters, **fields))


@dataclass(frozen=True)
class PyodDetector:
    """A detector fitted by PyOD, which may be asked by several threads; they take turns.

    It costs more than the frozen detectors: the training rows travel in the artifact (8 bytes a value, 5 MB for
    70,000 rows of 10 features), loading fits again, and a row takes as long as PyOD takes. Nothing is pickled.
    Detectors that look at the rows scored together (COPOD, ECOD, LMDD and others join them to the training rows)
    are asked row by row, which can take milliseconds each; a score is the row's own, to rounding.
    """

    backend: str
    arguments: Mapping[str, JsonValue]
    contamination: float
    seed: int
    rows: FloatArray
    """The encoded training rows, shape (n, k)."""
    fitted: "BaseDetector"
    probe_scores: FloatArray
    """Scores of the `_probes`, each alone: what a detector fitted again must reproduce."""
    row_by_row: bool
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def fit(cls, X: FloatArray, backend: str, parameters: Parameters, *, contamination: float, seed: int) -> Self:
        """Let PyOD fit encoded rows, shape (n, k).

        Raises:
            InvalidInput: PyOD can't be fitted with these parameters on these rows, or can't score a row by itself.
        """
        arguments = parameters.model_dump(mode="json")
        fitted = _fitted(backend, arguments, X, contamination, seed)
        if not np.isfinite(fitted.decision_scores_).all():
            raise InvalidInput(
                f"{backend} gives no finite scores for these {X.shape[0]} training rows. Leave out constant and "
                "duplicate features, or choose another backend."
            )
        probes = _probes(X)
        try:
            together = _finite(fitted.decision_function(probes))
            alone = _one_by_one(fitted, probes)
        except _COMPLAINTS as error:
            raise InvalidInput(
                f"{backend} can't score a row by itself ({error}), as a stream and a single payment need it. "
                "Choose another backend."
            ) from error
        return cls(
            backend=backend,
            arguments=arguments,
            contamination=contamination,
            seed=seed,
            rows=X,
            fitted=fitted,
            probe_scores=alone,
            row_by_row=not np.allclose(together, alone, rtol=1e-9, atol=1e-9),
        )

    @property
    def training_scores(self) -> FloatArray:
        """PyOD's own scores of the training rows: its neighbours of a row then leave out the row itself."""
        scores: FloatArray = np.asarray(self.fitted.decision_scores_, dtype=np.float64)
        return scores

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """PyOD's ``decision_function``; what it can't put a number to counts as most unusual."""
        if not X.shape[0]:
            return np.empty(0)
        with self.turn:
            return _one_by_one(self.fitted, X) if self.row_by_row else _finite(self.fitted.decision_function(X))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All that fitting again needs, and scores to compare with."""
        return {
            "backend": np.array(self.backend),
            "arguments": np.array(json.dumps(dict(self.arguments), sort_keys=True)),
            "contamination": np.asarray(self.contamination),
            "seed": np.asarray(self.seed),
            "rows": self.rows,
            "probe_scores": self.probe_scores,
            "row_by_row": np.asarray(self.row_by_row),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, _distribution: TrainingDistribution, /) -> Self:
        """The detector fitted again.

        Raises:
            ArtifactRejected: it scores unlike the one that was saved, as another release of a library may.
        """
        backend, arguments = str(arrays["backend"]), json.loads(str(arrays["arguments"]))
        contamination, seed = float(arrays["contamination"]), int(arrays["seed"])
        rows = arrays["rows"].astype(np.float64)
        expected = arrays["probe_scores"].astype(np.float64)
        fitted = _fitted(backend, arguments, rows, contamination, seed)
        if not np.allclose(_one_by_one(fitted, _probes(rows)), expected, rtol=1e-6, atol=1e-9):
            raise ArtifactRejected(
                f"{backend}, fitted again from its training rows, scores unlike the model that was saved. model.json "
                "names the library versions it was saved with: install those, or train the model anew."
            )
        return cls(backend, arguments, contamination, seed, rows, fitted, expected, bool(arrays["row_by_row"]))


def _fitted(
    backend: str, arguments: Mapping[str, JsonValue], X: FloatArray, contamination: float, seed: int
) -> "BaseDetector":
    made_by = pyod_class(backend)
    given = {**arguments, "contamination": contamination}
    if "random_state" in inspect.signature(made_by).parameters:
        given["random_state"] = seed
    with warnings.catch_warnings(), seeded(seed):
        warnings.simplefilter("ignore")
        try:
            return made_by(**given).fit(X)
        except _COMPLAINTS as error:
            shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            raise InvalidInput(
                f"{backend} can't be fitted to {X.shape[0]} rows of {X.shape[1]} features with {shown}: {error}"
            ) from error


def _probes(X: FloatArray) -> FloatArray:
    """Some training rows and one that is far out, shape (at most 9, k)."""
    return np.vstack([X[:_PROBES], X.max(axis=0) * 3 + 10])


def _one_by_one(fitted: "BaseDetector", X: FloatArray) -> FloatArray:
    return _finite(np.concatenate([fitted.decision_function(row[None, :]) for row in X]))


def _finite(scores: FloatArray) -> FloatArray:
    return np.nan_to_num(np.asarray(scores, dtype=np.float64), nan=_LARGEST, posinf=_LARGEST, neginf=-_LARGEST)
