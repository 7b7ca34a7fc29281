"""Detectors: frozen into arrays they score like PyOD's, row by row."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pyod.models.ecod import ECOD
from pyod.models.hbos import HBOS
from pyod.models.iforest import IForest
from pyod.models.loda import LODA
from pyod.models.pca import PCA
from pyod.models.suod import SUOD

from fraud_pipelines.detection.backends import BACKENDS, FitContext, backend_by_name, parse_parameters
from fraud_pipelines.detection.detectors.ecod import EcodDetector, EcodParameters
from fraud_pipelines.detection.detectors.hbos import HbosDetector
from fraud_pipelines.detection.detectors.isolation_forest import IsolationForestDetector, IsolationForestParameters
from fraud_pipelines.detection.detectors.suod import SuodDetector, SuodParameters
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.errors import InvalidInput

FloatArray = NDArray[np.float64]


def matrix(rows: int, columns: int, *, seed: int, clipped: bool = True) -> FloatArray:
    values: FloatArray = np.random.default_rng(seed).standard_t(3, (rows, columns))
    return np.maximum(values, 0.0) if clipped else values


def one_by_one(detector: ECOD | SUOD, X: FloatArray) -> FloatArray:
    """PyOD's score of each row alone: with company, its ECOD scores a row differently."""
    return np.array([detector.decision_function(row[None, :])[0] for row in X])


@pytest.mark.parametrize("max_features", [1.0, 0.5])
@pytest.mark.parametrize("rows", [3000, 100])
def test_isolation_forest_equals_pyod(rows: int, max_features: float) -> None:
    X, new = matrix(rows, 6, seed=1), matrix(500, 6, seed=2) * 2
    parameters = IsolationForestParameters(max_features=max_features)
    ours = IsolationForestDetector.fit(X, parameters, contamination=0.02, seed=3)
    pyods = IForest(
        n_estimators=100, max_samples=min(1024, rows), max_features=max_features, contamination=0.02, random_state=3
    ).fit(X)
    np.testing.assert_allclose(ours.raw_scores(new), pyods.decision_function(new), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.raw_scores(X), pyods.decision_scores_, rtol=0, atol=1e-12)


def test_isolation_forest_decides_thresholds_like_float32_trees() -> None:
    X = np.random.default_rng(0).integers(0, 4, (500, 3)) / 3
    ours = IsolationForestDetector.fit(X, IsolationForestParameters(), contamination=0.1, seed=0)
    pyods = IForest(n_estimators=100, max_samples=500, random_state=0).fit(X)
    np.testing.assert_allclose(ours.raw_scores(X), pyods.decision_scores_, rtol=0, atol=1e-12)


@pytest.mark.parametrize("clipped", [True, False])
def test_ecod_equals_pyods_score_of_a_row_alone(clipped: bool) -> None:
    X, new = matrix(800, 5, seed=1, clipped=clipped), matrix(100, 5, seed=2, clipped=clipped) * 2
    rows = np.concatenate([new, X[:50]])
    ours = EcodDetector(TrainingDistribution.fit(X))
    np.testing.assert_allclose(ours.raw_scores(rows), one_by_one(ECOD().fit(X), rows), rtol=0, atol=1e-9)


def test_ecods_terms_add_up_to_its_score() -> None:
    ours = EcodDetector(TrainingDistribution.fit(matrix(500, 4, seed=1)))
    new = matrix(20, 4, seed=2)
    np.testing.assert_allclose(ours.surprises(new).sum(axis=1), ours.raw_scores(new))


@pytest.mark.parametrize(
    "members", [("isolation_forest", "ecod", "loda"), ("isolation_forest", "ecod", "hbos", "pca"), ("hbos", "pca")]
)
def test_suod_equals_pyods_score_of_a_row_alone(members: tuple[str, ...]) -> None:
    X, new = matrix(1500, 5, seed=1), matrix(60, 5, seed=2) * 3
    unfitted = {
        "isolation_forest": IForest(n_estimators=100, max_samples=1024, random_state=5),
        "ecod": ECOD(),
        "loda": LODA(n_bins=50, random_state=5),
        "hbos": HBOS(n_bins=50),
        "pca": PCA(),
    }
    pyods = SUOD(
        base_estimators=[unfitted[name] for name in members],
        n_jobs=1,
        rp_flag_global=False,
        approx_flag_global=False,
        bps_flag=False,
    ).fit(X)
    parameters = SuodParameters.model_validate({"members": members, "max_samples": 1024, "projections": 100})
    ours = SuodDetector.fit(X, TrainingDistribution.fit(X), parameters, seed=5)
    np.testing.assert_allclose(ours.raw_scores(new), one_by_one(pyods, new), rtol=0, atol=1e-9)


def test_histograms_judge_values_outside_the_training_range_like_pyod() -> None:
    X = matrix(600, 2, seed=1, clipped=False)
    edges = np.array([X.min(), X.min() - 0.01, X.max(), X.max() + 0.01, 1e6, -1e6])
    new = np.column_stack([edges, edges])
    pyods = HBOS(n_bins=50).fit(X)
    np.testing.assert_allclose(HbosDetector.freeze(pyods).raw_scores(new), pyods.decision_function(new), atol=1e-9)


@pytest.mark.parametrize("backend", ["isolation_forest", "ecod", "suod"])
def test_a_rows_score_is_independent_of_its_companions(backend: str) -> None:
    X, new = matrix(1000, 4, seed=1), matrix(50, 4, seed=2)
    context = FitContext(X, TrainingDistribution.fit(X), contamination=0.01, seed=0)
    detector = backend_by_name(backend).fit(context, parse_parameters(backend, None))
    alone = np.array([detector.raw_scores(row[None, :])[0] for row in new])
    np.testing.assert_array_equal(detector.raw_scores(new), alone)


def test_suod_is_silent(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    X = matrix(200, 3, seed=1)
    X[:, 1] = 1.0
    SuodDetector.fit(X, TrainingDistribution.fit(X), SuodParameters(), seed=0)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_an_unknown_backend_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InvalidInput, match=f"'lof'.*{', '.join(BACKENDS)}"):
        backend_by_name("lof")


@pytest.mark.parametrize(
    ("backend", "parameters", "message"),
    [
        ("isolation_forest", {"n_estimators": 0}, r"n_estimators=0.*greater than or equal to 1"),
        ("isolation_forest", {"trees": 10}, r"trees=10.*n_estimators, max_samples, max_features"),
        ("suod", {"members": ["ecod"]}, "at least two different members"),
        ("suod", {"members": ["ecod", "lof"]}, r"members.1='lof'"),
        ("ecod", {"bins": 3}, "Its parameters are: none"),
        ("isolation_forest", EcodParameters(), "takes IsolationForestParameters, not EcodParameters"),
    ],
)
def test_wrong_parameters_are_named(backend: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_parameters(backend, parameters)
