"""The autoencoder: trained by PyOD where PyTorch is, and scored from plain arrays anywhere."""

import importlib.util
import os
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from fraud_pipelines.detection.backends import parse_parameters
from fraud_pipelines.detection.detectors.autoencoder import AutoencoderDetector, AutoencoderParameters
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines_tests.detection.samples import numeric_rows

FloatArray = NDArray[np.float64]

HAS_TORCH = importlib.util.find_spec("torch") is not None and importlib.util.find_spec("tqdm") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch isn't installed")
QUICK = AutoencoderParameters(epochs=3, batch_size=64)


def network(sizes: list[int], seed: int = 0) -> AutoencoderDetector:
    """A frozen network with random layers."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(out, into)) for into, out in pairwise(sizes)]
    return AutoencoderDetector(
        mean=rng.normal(size=sizes[0]),
        scale=rng.uniform(0.5, 2, sizes[0]),
        sizes=np.array(sizes, dtype=np.int64),
        weights=np.concatenate([weight.ravel() for weight in weights]),
        biases=rng.normal(size=sum(sizes[1:])),
    )


def rebuilt(detector: AutoencoderDetector, standardised: FloatArray) -> FloatArray:
    """What the layers make of rows, by matrix products."""
    values, weights, biases = standardised, detector.weights, detector.biases
    for place, (into, out) in enumerate(pairwise(detector.sizes)):
        values = values @ weights[: into * out].reshape(out, into).T + biases[:out]
        weights, biases = weights[into * out :], biases[out:]
        if place < detector.sizes.size - 2:
            values = np.maximum(values, 0.0)
    return values


def rows(count: int, columns: int, seed: int) -> FloatArray:
    values: FloatArray = np.maximum(np.random.default_rng(seed).standard_t(3, (count, columns)), 0.0)
    return values


@pytest.mark.parametrize("sizes", [[3, 8, 4, 8, 3], [1, 2, 1], [5, 3, 5]])
def test_a_frozen_network_scores_the_distance_to_what_its_layers_rebuild(sizes: list[int]) -> None:
    detector, X = network(sizes), rows(50, sizes[0], seed=1)
    standardised = (X - detector.mean) / detector.scale
    expected = np.linalg.norm(standardised - rebuilt(detector, standardised), axis=1)
    np.testing.assert_allclose(detector.raw_scores(X), expected, rtol=1e-12)


def test_its_contributions_add_up_and_its_rows_dont_affect_each_other() -> None:
    detector, X = network([4, 6, 2, 6, 4]), rows(60, 4, seed=2)
    scores, found = detector.raw_scores(X), detector.contributions(X)
    np.testing.assert_allclose(found.raw_scores, scores, rtol=1e-12)
    assert (found.terms >= 0).all()
    np.testing.assert_array_equal([detector.raw_scores(row[None, :])[0] for row in X], scores)


def test_arrays_bring_back_the_same_network_and_must_fit_together() -> None:
    detector, X = network([3, 4, 2, 4, 3]), rows(10, 3, seed=3)
    arrays, distribution = detector.arrays(), TrainingDistribution.fit(X)
    restored = AutoencoderDetector.from_arrays(arrays, distribution)
    np.testing.assert_array_equal(restored.raw_scores(X), detector.raw_scores(X))
    for name in arrays:
        with pytest.raises(ValueError, match="doesn't fit its arrays"):
            AutoencoderDetector.from_arrays({**arrays, name: arrays[name][:-1]}, distribution)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_neurons": []}, r"hidden_neurons=\[\].*at least one hidden layer"),
        ({"hidden_neurons": [8, 0]}, "at least one neuron"),
        ({"dropout": 1.0}, "dropout=1.0.*less than 1"),
        ({"epoch_num": 5}, "epoch_num=5.*hidden_neurons, epochs, batch_size"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_parameters("autoencoder", parameters)


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
def test_without_pytorch_the_error_says_how_to_install_it() -> None:
    with pytest.raises(InvalidInput, match=r"torch.*fraud-pipelines\[autoencoder\].*get-started"):
        FraudModel.fit(numeric_rows(50), backend="autoencoder")


@needs_torch
@pytest.mark.parametrize(("hidden", "dropout"), [((16, 4), 0.2), ((8,), 0.0)])
def test_the_frozen_network_equals_pyods(hidden: tuple[int, ...], dropout: float) -> None:
    from pyod.models.auto_encoder import AutoEncoder

    X, new = rows(600, 5, seed=1), rows(200, 5, seed=2) * 3
    pyods = AutoEncoder(
        epoch_num=3,
        batch_size=64,
        hidden_neuron_list=list(hidden),
        dropout_rate=dropout,
        device="cpu",
        random_state=4,
        verbose=0,
    ).fit(X)
    # PyOD calculates in single precision.
    np.testing.assert_allclose(
        AutoencoderDetector.freeze(pyods).raw_scores(new), pyods.decision_function(new), rtol=1e-5
    )
    ours = AutoencoderDetector.fit(
        X,
        AutoencoderParameters(epochs=3, batch_size=64, hidden_neurons=hidden, dropout=dropout),
        contamination=0.1,
        seed=4,
    )
    np.testing.assert_allclose(ours.raw_scores(new), pyods.decision_function(new), rtol=1e-4)


@needs_torch
def test_training_leaves_the_random_generators_as_they_were() -> None:
    import torch

    def drawn() -> list[float]:
        return [random.random(), float(np.random.random()), float(torch.rand(1))]

    def state() -> tuple[object, ...]:
        return os.environ.get("PYTHONHASHSEED"), torch.get_num_threads()

    before = state()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = drawn()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    AutoencoderDetector.fit(rows(100, 3, seed=0), QUICK, contamination=0.1, seed=7)
    assert drawn() == expected
    assert state() == before


@needs_torch
def test_a_saved_autoencoder_says_which_pytorch_trained_it(tmp_path: Path) -> None:
    model = FraudModel.fit(numeric_rows(300), backend="autoencoder", parameters=QUICK)
    model.save(tmp_path)
    loaded = FraudModel.load(tmp_path)
    assert "torch" in loaded.libraries
    new = numeric_rows(20, seed=2).with_columns(pl.lit(50.0).alias("user_z"))
    assert loaded.score(new).equals(model.score(new))
    assert loaded.explain(new).filter(pl.col("rank") == 1)["feature"].mode().to_list() == ["user_z"]
