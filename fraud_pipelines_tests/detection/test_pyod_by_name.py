"""Any detector of PyOD by its name: PyOD's scores, row by row, and again after saving and loading, without a pickle."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from pyod.models.copod import COPOD
from pyod.models.knn import KNN

from fraud_pipelines.detection.artifact import read_artifact, write_artifact
from fraud_pipelines.detection.backends import FitContext, backend_by_name, parse_parameters, registered_name
from fraud_pipelines.detection.detectors.interface import Detector
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.serving import serving_code
from fraud_pipelines.errors import ArtifactRejected, InvalidInput
from fraud_pipelines_tests.detection.samples import MIXED_SCHEMA, mixed_rows, numeric_rows

FloatArray = NDArray[np.float64]

SCORE_ELSEWHERE = """
import sys
import polars as pl
from pathlib import Path
from fraud_pipelines.detection.model import FraudModel

folder = Path(sys.argv[1])
for place in folder.glob("*/"):
    FraudModel.load(place).score(pl.read_parquet(folder / "rows.parquet")).write_parquet(place / "scores.parquet")
"""


def matrix(rows: int, seed: int) -> FloatArray:
    values: FloatArray = np.random.default_rng(seed).standard_t(3, (rows, 4))
    return values


def fitted(backend: str, X: FloatArray, **parameters: object) -> Detector:
    context = FitContext(X, TrainingDistribution.fit(X), contamination=0.02, seed=3)
    return backend_by_name(backend).fit(context, parse_parameters(backend, parameters))


def test_scores_are_pyods() -> None:
    X, new = matrix(400, seed=1), matrix(50, seed=2)
    ours = fitted("pyod.KNN", X, n_neighbors=7, method="mean")
    pyods = KNN(n_neighbors=7, method="mean").fit(X)
    np.testing.assert_array_equal(ours.raw_scores(new), pyods.decision_function(new))


@pytest.mark.parametrize("backend", ["pyod.COPOD", "pyod.ECOD", "pyod.LOF", "pyod.GMM"])
def test_a_rows_score_is_independent_of_its_companions(backend: str) -> None:
    detector, new = fitted(backend, matrix(300, seed=1)), matrix(20, seed=2)
    alone = [detector.raw_scores(row[None, :])[0] for row in new]
    np.testing.assert_allclose(detector.raw_scores(new), alone, rtol=1e-9)
    np.testing.assert_allclose(detector.raw_scores(new[:3]), alone[:3], rtol=1e-9)


def test_what_joins_the_rows_scored_to_those_trained_on_is_asked_row_by_row() -> None:
    X, new = matrix(300, seed=1), matrix(20, seed=2)
    pyods = COPOD().fit(X)
    alone = [pyods.decision_function(row[None, :])[0] for row in new]
    assert not np.allclose(pyods.decision_function(new), alone)
    np.testing.assert_allclose(fitted("pyod.COPOD", X).raw_scores(new), alone)


def test_a_model_saved_by_one_process_scores_to_the_last_bit_in_another(tmp_path: Path) -> None:
    rows = mixed_rows(300)
    models = {
        backend: FraudModel.fit(rows, backend=backend, schema=MIXED_SCHEMA, seed=5)
        for backend in ("pyod.LODA", "pyod.LOF", "pyod.COPOD")
    }
    for backend, model in models.items():
        model.save(tmp_path / backend)
        assert {file.name for file in (tmp_path / backend).iterdir()} == {"model.json", "arrays.npz"}
    new = mixed_rows(40, seed=1)
    new.write_parquet(tmp_path / "rows.parquet")
    subprocess.run([sys.executable, "-c", SCORE_ELSEWHERE, str(tmp_path)], check=True)
    for backend, model in models.items():
        assert pl.read_parquet(tmp_path / backend / "scores.parquet").equals(model.score(new))


def test_a_detector_that_scores_otherwise_when_fitted_again_is_refused(tmp_path: Path) -> None:
    FraudModel.fit(numeric_rows(100), backend="pyod.KNN").save(tmp_path)
    content, arrays = read_artifact(tmp_path)
    del content["format_version"], content["files"]
    write_artifact(tmp_path, content, {**arrays, "detector/rows": arrays["detector/rows"].astype(np.float64) * 1.01})
    with pytest.raises(ArtifactRejected, match=r"pyod.KNN, fitted again.*scores unlike"):
        FraudModel.load(tmp_path)


def test_fresh_rows_alarm_at_about_the_contamination_though_neighbours_of_a_training_row_include_itself() -> None:
    model = FraudModel.fit(numeric_rows(3000, seed=1), backend="pyod.KNN", contamination=0.05)
    alarms = model.score(numeric_rows(3000, seed=2))["is_anomaly"].cast(pl.Float64).mean()
    assert 0.035 < float(alarms or 0) < 0.065  # type: ignore[arg-type]


def test_a_detector_that_doesnt_split_its_score_is_explained_by_setting_each_feature_to_the_ordinary() -> None:
    model = FraudModel.fit(numeric_rows(500), backend="pyod.KNN")
    rows = numeric_rows(3, seed=2).with_columns(pl.lit(100.0).alias("user_rz"))
    assert model.explain(rows, top=1)["feature"].to_list() == ["user_rz"] * 3
    ordinary = {name: float(numeric_rows(500)[name].median() or 0) for name in model.schema}  # type: ignore[arg-type]
    without = model.score(rows.with_columns(user_rz=pl.lit(ordinary["user_rz"])))["raw_score"]
    found = model.contributions(rows).terms[:, list(model.schema).index("user_rz")]
    np.testing.assert_allclose(found, (model.score(rows)["raw_score"] - without).to_numpy(), rtol=0.01)


def test_threads_may_share_a_detector() -> None:
    detector, new = fitted("pyod.COPOD", matrix(200, seed=1)), matrix(60, seed=2)
    expected = detector.raw_scores(new)
    with ThreadPoolExecutor(4) as threads:
        for scores in threads.map(detector.raw_scores, [new] * 8):
            np.testing.assert_array_equal(scores, expected)


def test_the_seed_decides_and_the_process_generator_is_left_alone() -> None:
    X, new = matrix(200, seed=1), matrix(20, seed=2)
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    one, two = fitted("pyod.LODA", X), fitted("pyod.LODA", X)
    assert np.random.random() == expected
    np.testing.assert_array_equal(one.raw_scores(new), two.raw_scores(new))


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("pyod.knn", r"'pyod.knn'\. Did you mean pyod.KNN"),
        ("pyod.KN", "Did you mean pyod.KNN"),
        ("pyod.ZZZZ", "these can be used, as pyod.NAME: ABOD, CBLOF"),
        ("pyod.base", "Unknown backend"),
        ("pyod.../os", "Unknown backend"),
        ("KNN", "or pyod.NAME for a detector of PyOD"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(backend: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        backend_by_name(backend)


@pytest.mark.parametrize(
    ("backend", "parameters", "message"),
    [
        ("pyod.KNN", {"neighbours": 3}, r"pyod.KNN, parameter neighbours=3.*n_neighbors, method"),
        ("pyod.KNN", {"contamination": 0.1}, "parameter contamination=0.1"),
        ("pyod.LODA", {"random_state": 1}, "parameter random_state=1"),
        ("pyod.KNN", {"metric": print}, "parameter metric"),
    ],
)
def test_parameters_are_those_of_pyods_constructor_that_json_can_hold(
    backend: str, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_parameters(backend, parameters)


@pytest.mark.parametrize(
    ("backend", "parameters", "message"),
    [
        ("pyod.KNN", {"method": "sideways"}, r"pyod.KNN can't be fitted.*method='sideways'"),
        ("pyod.KNN", {"n_neighbors": 1000}, r"can't be fitted to 30 rows"),
        ("pyod.MAD", {}, "univariate"),
        ("pyod.COF", {}, "can't score a row by itself"),
    ],
)
def test_what_pyod_cant_do_is_said_in_its_words(backend: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        fitted(backend, matrix(30, seed=1), **parameters)


@pytest.mark.parametrize("backend", ["pyod.LOF", "pyod.COPOD", "pyod.MCD"])
@pytest.mark.parametrize(
    "values",
    [[1.0] * 40, [None] * 40, [float("inf"), float("-inf"), 1.0, 0.0] * 10],
    ids=["constant", "all null", "infinite"],
)
def test_degenerate_columns_are_scored_or_refused_but_never_silently_wrong(
    backend: str, values: list[float | None]
) -> None:
    rows = pl.DataFrame({"a": values, "b": [float(n % 7) for n in range(40)]}, schema_overrides={"a": pl.Float64})
    new = pl.concat([rows, pl.DataFrame({"a": [None, 1e300], "b": [None, -5.0]})])
    refusal, scores = "", None
    try:
        scores = FraudModel.fit(rows, backend=backend, schema={"a": "numeric", "b": "numeric"}).score(new)
    except InvalidInput as error:
        refusal = str(error)
    if scores is None:
        assert refusal.startswith(backend)
    else:
        assert scores["raw_score"].is_finite().all()
        assert scores["score"].is_between(0, 1).all()


def test_it_is_registered_under_its_name_and_travels_with_what_it_needs() -> None:
    assert registered_name("pyod.KNN") == "fraud-pyod-knn"
    assert registered_name("suod") == "fraud-ensemble"
    model = FraudModel.fit(numeric_rows(50), backend="pyod.KNN")
    needed = {name.split("==")[0] for name in serving_code(model, numeric_rows(2)).pip_requirements}
    assert {"pyod", "scikit-learn", "polars"} <= needed
