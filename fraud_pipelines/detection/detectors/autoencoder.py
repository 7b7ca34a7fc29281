"""Autoencoder: PyOD trains it with PyTorch, plain arrays score it; how badly a row is rebuilt from a narrow code.

Source: Aggarwal, "Outlier Analysis", 2nd edition, chapter 3, as PyOD has it. PyTorch is needed for fitting alone.
"""

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from fraud_pipelines.detection.detectors.interface import Arrays, Contributions, FloatArray, Parameters
from fraud_pipelines.detection.detectors.seeding import seeded
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.errors import InvalidInput

if TYPE_CHECKING:
    from pyod.models.auto_encoder import AutoEncoder


class AutoencoderParameters(Parameters):
    """PyOD's network; batches larger than its 32 train as well in a fraction of the time."""

    hidden_neurons: tuple[int, ...] = Field(
        default=(64, 32), description="Neurons of the layers down to the code; the way back mirrors them."
    )
    epochs: int = Field(default=10, ge=1, le=1000, description="Passes over the training rows.")
    batch_size: int = Field(default=256, ge=2, le=100_000, description="Rows of a training step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Of the optimizer, Adam.")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="Share of neurons left out in a training step.")

    @field_validator("hidden_neurons")
    @classmethod
    def _some_layers(cls, neurons: tuple[int, ...]) -> tuple[int, ...]:
        if not neurons or min(neurons) < 1:
            raise ValueError("a network needs at least one hidden layer, of at least one neuron")
        return neurons


@dataclass(frozen=True)
class AutoencoderDetector:
    """Standardisation and layers: layer i maps ``sizes[i]`` to ``sizes[i + 1]`` numbers, with ReLU but for the last.

    ``weights`` holds the layers' matrices one after another, each by rows of shape (out, in), ``biases`` their
    biases; batch normalisation is folded into both.
    """

    mean: FloatArray
    scale: FloatArray
    sizes: NDArray[np.int64]
    weights: FloatArray
    biases: FloatArray

    @classmethod
    def fit(cls, X: FloatArray, parameters: AutoencoderParameters, *, contamination: float, seed: int) -> Self:
        """Train on encoded rows, shape (n, k), on the CPU and in one thread, so that a seed gives one network.

        Raises:
            InvalidInput: PyTorch isn't installed.
        """
        require_torch()
        from pyod.models.auto_encoder import AutoEncoder

        with seeded(seed), _one_thread():
            network = AutoEncoder(
                contamination=contamination,
                lr=parameters.learning_rate,
                epoch_num=parameters.epochs,
                # A last, smaller batch is dropped: of fewer rows than one batch nothing would be left.
                batch_size=min(parameters.batch_size, X.shape[0]),
                device="cpu",
                random_state=seed,
                verbose=0,
                hidden_neuron_list=list(parameters.hidden_neurons),
                # One row has no spread to normalise by.
                batch_norm=X.shape[0] > 1,
                dropout_rate=parameters.dropout,
            ).fit(X)
        return cls.freeze(network)

    @classmethod
    def freeze(cls, detector: "AutoEncoder") -> Self:
        """The layers of a fitted PyOD detector with ReLU and preprocessing, its defaults."""
        blocks = [*detector.model.encoder, *detector.model.decoder]
        layers = [_folded(block) for block in blocks]
        return cls(
            mean=np.asarray(detector.X_mean, dtype=np.float64),
            # PyOD adds this to every spread.
            scale=np.asarray(detector.X_std, dtype=np.float64) + 1e-8,
            sizes=np.array([layers[0][0].shape[1], *(bias.size for _, bias in layers)], dtype=np.int64),
            weights=np.concatenate([weight.ravel() for weight, _ in layers]),
            biases=np.concatenate([bias for _, bias in layers]),
        )

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """Distance between the standardised row and its reconstruction.

        It equals PyOD's ``decision_function``, which calculates in single precision, to about six digits.
        """
        distance: FloatArray = np.sqrt(self._squared_errors(X).sum(axis=1))
        return distance

    def contributions(self, X: FloatArray) -> Contributions:
        """The distance is split among the features in proportion to their squared errors."""
        squares = self._squared_errors(X)
        distance = np.sqrt(squares.sum(axis=1, keepdims=True))
        return Contributions(0.0, np.divide(squares, distance, out=np.zeros_like(squares), where=distance > 0))

    def _squared_errors(self, X: FloatArray) -> FloatArray:
        from fraud_pipelines.detection.kernels import reconstruction_errors

        return reconstruction_errors(X, self.mean, self.scale, self.sizes, self.weights, self.biases)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Standardisation and layers."""
        return {
            "mean": self.mean,
            "scale": self.scale,
            "sizes": self.sizes,
            "weights": self.weights,
            "biases": self.biases,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, _distribution: TrainingDistribution, /) -> Self:
        """What `arrays` stored; the training distribution isn't needed.

        Raises:
            ValueError: the shapes don't fit together.
        """
        sizes = arrays["sizes"].astype(np.int64)
        weights, biases = arrays["weights"].astype(np.float64), arrays["biases"].astype(np.float64)
        fits = weights.size == (sizes[1:] * sizes[:-1]).sum() and biases.size == sizes[1:].sum()
        if not fits or not arrays["mean"].size == arrays["scale"].size == sizes[0] == sizes[-1]:
            raise ValueError(f"an autoencoder of layers {sizes.tolist()} doesn't fit its arrays")
        return cls(arrays["mean"].astype(np.float64), arrays["scale"].astype(np.float64), sizes, weights, biases)


def require_torch() -> None:
    """Raise InvalidInput, with the command that installs it, where PyTorch or tqdm is missing."""
    missing = [name for name in ("torch", "tqdm") if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"The backend autoencoder trains with PyTorch, and {' and '.join(missing)} can't be imported here. Install "
            "the extra: pip install 'fraud-pipelines[autoencoder]' (in a clone: .venv/bin/pip install -e "
            "'.[autoencoder]'). On Linux that brings gigabytes of CUDA; for the CPU alone first run the command "
            "that pytorch.org/get-started gives for the platform CPU. Models that are trained already score without it."
        )


def _folded(block: object) -> tuple[FloatArray, FloatArray]:
    """Weights (out, in) and biases (out,) of a layer, its batch normalisation multiplied in."""
    linear = getattr(block, "linear", block)
    weight, bias = _numbers(linear, "weight"), _numbers(linear, "bias")
    normalisation = getattr(block, "bn", None)
    if normalisation is None:
        return weight, bias
    spread = np.sqrt(_numbers(normalisation, "running_var") + float(normalisation.eps))
    factor = _numbers(normalisation, "weight") / spread
    return weight * factor[:, None], (bias - _numbers(normalisation, "running_mean")) * factor + _numbers(
        normalisation, "bias"
    )


def _numbers(module: object, name: str) -> FloatArray:
    numbers: FloatArray = getattr(module, name).detach().numpy().astype(np.float64)
    return numbers


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch with one thread, and with its own generator put back afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
