"""The backends by name: their parameters, how they are fitted, and how they are read back.

The four of `BACKENDS`, and ``pyod.NAME`` for any other detector of PyOD, such as ``pyod.KNN``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from fraud_pipelines.detection.detectors.amount import AmountDetector, AmountParameters
from fraud_pipelines.detection.detectors.autoencoder import AutoencoderDetector, AutoencoderParameters
from fraud_pipelines.detection.detectors.boosted_trees import BoostedTreesDetector, BoostedTreesParameters
from fraud_pipelines.detection.detectors.ecod import EcodDetector, EcodParameters
from fraud_pipelines.detection.detectors.interface import Detector, FloatArray, Parameters
from fraud_pipelines.detection.detectors.isolation_forest import IsolationForestDetector, IsolationForestParameters
from fraud_pipelines.detection.detectors.pyod_by_name import PREFIX, PyodDetector, pyod_class, pyod_parameters
from fraud_pipelines.detection.detectors.suod import SuodDetector, SuodParameters
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.errors import InvalidInput

MODEL_NAMES: Final[Mapping[str, str]] = {
    "isolation_forest": "fraud-daily",
    "suod": "fraud-ensemble",
    "ecod": "fraud-realtime",
    "autoencoder": "fraud-autoencoder",
    "supervised": "fraud-supervised",
    "amount": "fraud-amount",
}
"""Backend → registered model in MLflow."""


@dataclass(frozen=True)
class FitContext:
    """What a backend gets to see: the encoded rows, their distribution, and the settings of the fit."""

    X: FloatArray
    distribution: TrainingDistribution
    contamination: float
    seed: int


@dataclass(frozen=True)
class Backend:
    """One way to detect outliers."""

    name: str
    parameters: type[Parameters]
    detector: type[Detector]
    fit: Callable[[FitContext, Any], Detector]
    libraries: tuple[str, ...] = ()
    """What it is fitted with beside scikit-learn and PyOD."""
    scored_by: tuple[str, ...] = ()
    """What scoring needs beside NumPy and numba."""
    reads_groups: bool = False
    """Whether a daily model of it judges each group of features by itself: see `detectors.grouped`."""


def _fit_isolation_forest(context: FitContext, parameters: IsolationForestParameters) -> Detector:
    return IsolationForestDetector.fit(context.X, parameters, contamination=context.contamination, seed=context.seed)


def _fit_suod(context: FitContext, parameters: SuodParameters) -> Detector:
    return SuodDetector.fit(context.X, context.distribution, parameters, seed=context.seed)


def _fit_ecod(context: FitContext, _parameters: EcodParameters) -> Detector:
    return EcodDetector(context.distribution)


def _fit_autoencoder(context: FitContext, parameters: AutoencoderParameters) -> Detector:
    return AutoencoderDetector.fit(context.X, parameters, contamination=context.contamination, seed=context.seed)


BACKENDS: Final[Mapping[str, Backend]] = {
    backend.name: backend
    for backend in (
        Backend(
            "isolation_forest",
            IsolationForestParameters,
            IsolationForestDetector,
            _fit_isolation_forest,
            reads_groups=True,
        ),
        Backend("suod", SuodParameters, SuodDetector, _fit_suod, reads_groups=True),
        Backend("ecod", EcodParameters, EcodDetector, _fit_ecod, reads_groups=True),
        Backend("autoencoder", AutoencoderParameters, AutoencoderDetector, _fit_autoencoder, libraries=("torch",)),
    )
}


def _needs_labels(_context: FitContext, _parameters: BoostedTreesParameters) -> Detector:
    raise InvalidInput("The backend supervised learns from labels: fraud_pipelines.detection.supervised fits it.")


SUPERVISED: Final = Backend("supervised", BoostedTreesParameters, BoostedTreesDetector, _needs_labels)
"""No detector of outliers, and so not among `BACKENDS`, but read back and configured like them."""


def _takes_the_amount(_context: FitContext, _parameters: AmountParameters) -> Detector:
    return AmountDetector()


AMOUNT: Final = Backend("amount", AmountParameters, AmountDetector, _takes_the_amount)
"""No model: the yardstick for all others. It decides where none of them is shown to be better."""

_FURTHER: Final[Mapping[str, Backend]] = {backend.name: backend for backend in (SUPERVISED, AMOUNT)}

DETECTORS: Final = tuple(backend.detector for backend in (*BACKENDS.values(), *_FURTHER.values()))
"""What scores, whichever models there are."""


def backend_by_name(name: str) -> Backend:
    """The backend of that name.

    Raises:
        InvalidInput: there is none; the message lists those there are.
    """
    if name in _FURTHER:
        return _FURTHER[name]
    if name in BACKENDS:
        return BACKENDS[name]
    if name.startswith(PREFIX):
        return _pyod_backend(name)
    raise InvalidInput(
        f"Unknown backend {name!r}; use one of {', '.join(BACKENDS)}, or {PREFIX}NAME for a detector of PyOD by the "
        f"name of its class, such as {PREFIX}KNN."
    )


def _pyod_backend(name: str) -> Backend:
    pyod_class(name)

    def fit(context: FitContext, parameters: Parameters) -> Detector:
        return PyodDetector.fit(context.X, name, parameters, contamination=context.contamination, seed=context.seed)

    return Backend(name, pyod_parameters(name), PyodDetector, fit, scored_by=("pyod", "scikit-learn"))


def registered_name(backend: str) -> str:
    """The registered model of a backend in MLflow.

    For a detector of PyOD by name it is the name to register it under, as ``fraud-pyod-knn`` for ``pyod.KNN``: no asset
    does.
    """
    return MODEL_NAMES.get(backend) or f"fraud-{backend.replace('.', '-').lower()}"


def parse_parameters(backend: str, parameters: Parameters | Mapping[str, object] | None) -> Parameters:
    """Parameters of a backend, validated; None means its defaults.

    Raises:
        InvalidInput: a parameter is unknown, of the wrong type or out of range; the message names it.
    """
    expected = backend_by_name(backend).parameters
    if isinstance(parameters, expected):
        return parameters
    if isinstance(parameters, Parameters):
        raise InvalidInput(f"Backend {backend} takes {expected.__name__}, not {type(parameters).__name__}.")
    try:
        return expected.model_validate(parameters or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(place) for place in first["loc"])
        known = ", ".join(expected.model_fields) or "none"
        raise InvalidInput(
            f"Backend {backend}, parameter {field}={first['input']!r}: {first['msg']}. Its parameters are: {known}."
        ) from error
