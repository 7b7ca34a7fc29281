"""The fraud model: fit, score, explain; saved and loaded to the last bit, and refused when changed."""

import json
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud_pipelines.detection.artifact import ARRAYS_FILE, MODEL_FILE
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import FRAUD_SCHEMA
from fraud_pipelines.errors import ArtifactRejected, InvalidInput
from fraud_pipelines_tests.detection.samples import MIXED_SCHEMA, TRAINABLE, mixed_rows, numeric_rows

backends = pytest.mark.parametrize("backend", TRAINABLE)

SCORE_ELSEWHERE = """
import sys
import polars as pl
from pathlib import Path
from fraud_pipelines.detection.model import FraudModel

folder = Path(sys.argv[1])
scores = FraudModel.load(folder / "model").score(pl.read_parquet(folder / "rows.parquet"))
scores.write_parquet(folder / "scores.parquet")
"""


@backends
def test_fresh_rows_alarm_at_about_the_contamination(backend: str) -> None:
    model = FraudModel.fit(numeric_rows(4000, seed=1), backend=backend, contamination=0.02)
    scores = model.score(numeric_rows(4000, seed=2))
    assert scores.columns == ["raw_score", "score", "is_anomaly"]
    assert scores["score"].is_between(0, 1).all()
    assert 0.012 < float(scores["is_anomaly"].cast(pl.Float64).mean() or 0) < 0.03  # type: ignore[arg-type]


@backends
def test_outliers_score_above_ordinary_rows_and_keep_their_place(backend: str) -> None:
    model = FraudModel.fit(numeric_rows(2000, seed=1), backend=backend)
    rows = numeric_rows(5, seed=2).with_columns(
        pl.when(pl.int_range(5) == 3).then(500.0).otherwise(0.0).alias(name) for name in model.schema
    )
    scores = model.score(rows)
    assert scores["score"].arg_max() == 3
    assert scores["is_anomaly"].to_list() == [False, False, False, True, False]


@backends
def test_a_model_loaded_by_another_process_scores_to_the_last_bit(backend: str, tmp_path: Path) -> None:
    rows = mixed_rows(500)
    model = FraudModel.fit(rows, backend=backend, schema=MIXED_SCHEMA, contamination=0.05)
    model.save(tmp_path / "model")
    rows.write_parquet(tmp_path / "rows.parquet")
    subprocess.run([sys.executable, "-c", SCORE_ELSEWHERE, str(tmp_path)], check=True)
    assert pl.read_parquet(tmp_path / "scores.parquet").equals(model.score(rows))


@backends
def test_the_same_rows_and_seed_give_the_same_files(backend: str, tmp_path: Path) -> None:
    for copy in ("one", "two"):
        FraudModel.fit(numeric_rows(300), backend=backend, seed=7).save(tmp_path / copy)
    for name in (MODEL_FILE, ARRAYS_FILE):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_loading_brings_back_all_that_was_recorded(tmp_path: Path) -> None:
    model = FraudModel.fit(
        mixed_rows(300),
        backend="isolation_forest",
        schema=MIXED_SCHEMA,
        contamination=0.03,
        parameters={"n_estimators": 20},
        seed=4,
        normalization="zscore",
        feature_version="abc",
    )
    digest = model.save(tmp_path)
    loaded = FraudModel.load(tmp_path, digest=digest)
    for name in ("backend", "parameters", "seed", "training_rows", "feature_version", "encoder", "libraries"):
        assert getattr(loaded, name) == getattr(model, name)
    assert (loaded.contamination, loaded.calibration.normalization) == (0.03, "zscore")
    assert loaded.threshold == model.threshold
    assert loaded.explain(mixed_rows(20, seed=1)).equals(model.explain(mixed_rows(20, seed=1)))


@pytest.mark.parametrize("name", [MODEL_FILE, ARRAYS_FILE])
def test_a_flipped_byte_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    FraudModel.fit(numeric_rows(50), backend="ecod").save(tmp_path)
    path = tmp_path / name
    original = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(original), 40):
        changed = bytearray(original)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        if name == MODEL_FILE and original[place : place + 1].isspace():
            continue  # layout, not content
        with pytest.raises(ArtifactRejected, match=name):
            FraudModel.load(tmp_path)


def test_a_model_exchanged_for_another_is_refused_by_its_digest(tmp_path: Path) -> None:
    digest = FraudModel.fit(numeric_rows(50), backend="ecod").save(tmp_path)
    FraudModel.fit(numeric_rows(50, seed=1), backend="ecod").save(tmp_path)
    FraudModel.load(tmp_path)
    with pytest.raises(ArtifactRejected, match="changed by someone"):
        FraudModel.load(tmp_path, digest=digest)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactRejected, match=r"model.json is missing"):
        FraudModel.load(tmp_path)
    FraudModel.fit(numeric_rows(50), backend="ecod").save(tmp_path)
    (tmp_path / ARRAYS_FILE).unlink()
    with pytest.raises(ArtifactRejected, match=r"arrays.npz is missing"):
        FraudModel.load(tmp_path)


def test_a_pickle_among_the_arrays_is_never_loaded(tmp_path: Path) -> None:
    import hashlib

    from fraud_pipelines.detection.artifact import write_artifact

    FraudModel.fit(numeric_rows(50), backend="ecod").save(tmp_path)
    content = json.loads((tmp_path / MODEL_FILE).read_text())
    np.savez(tmp_path / ARRAYS_FILE, evil=np.array([print], dtype=object))
    forged = (tmp_path / ARRAYS_FILE).read_bytes()
    del content["sha256"], content["format_version"]
    content["files"] = {ARRAYS_FILE: hashlib.sha256(forged).hexdigest()}
    write_artifact(tmp_path, content, {})
    (tmp_path / ARRAYS_FILE).write_bytes(forged)
    with pytest.raises(ArtifactRejected, match=ARRAYS_FILE):
        FraudModel.load(tmp_path)


def test_a_frame_that_lacks_a_feature_is_refused_by_name() -> None:
    model = FraudModel.fit(numeric_rows(50), backend="ecod")
    with pytest.raises(InvalidInput, match="user_rz"):
        model.score(numeric_rows(5).drop("user_rz"))


@backends
@pytest.mark.parametrize(
    "rows",
    [
        pl.DataFrame({"a": [1.0] * 30, "b": [2.0] * 30}),
        pl.DataFrame({"a": [1.0] * 30, "b": [float(n) for n in range(30)]}),
        pl.DataFrame({"a": [float(n) for n in range(30)], "b": [float(n) for n in range(30)]}),
        pl.DataFrame({"a": [None] * 30, "b": [None] * 30}, schema={"a": pl.Float64, "b": pl.Float64}),
        pl.DataFrame({"a": [1.0], "b": [2.0]}),
        pl.DataFrame({"a": [1.0, 2.0], "b": [2.0, 3.0]}),
        pl.DataFrame({"a": [float("inf"), float("-inf"), 1.0] * 10, "b": [1e308, -1e308, 0.0] * 10}),
    ],
    ids=["constant", "one constant", "collinear", "all null", "one row", "two rows", "infinite and huge"],
)
def test_degenerate_rows_train_a_model_that_scores_everything(backend: str, rows: pl.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = FraudModel.fit(rows, backend=backend, schema={"a": "numeric", "b": "numeric"})
        new = pl.DataFrame({"a": [0.0, None, float("nan"), 1e9], "b": [0.0, 1.0, float("inf"), float("-inf")]})
        scores = model.score(pl.concat([rows, new]))
    assert scores["raw_score"].is_finite().all()
    assert scores["score"].is_between(0, 1).all()
    assert model.score(rows.clear()).height == 0


@backends
def test_an_unseen_category_scores_like_any_other_row(backend: str) -> None:
    model = FraudModel.fit(mixed_rows(300), backend=backend, schema=MIXED_SCHEMA)
    unseen = mixed_rows(3).with_columns(pl.lit("XX").alias("country"), pl.lit(None, pl.String).alias("merchant_id"))
    assert model.score(unseen)["raw_score"].is_finite().all()


@backends
@pytest.mark.parametrize("values", [[1.0] * 30, [None] * 30, [float("inf"), 1.0, float("-inf")] * 10])
def test_degenerate_columns_leave_explanations_finite(backend: str, values: list[float | None]) -> None:
    rows = pl.DataFrame(
        {"a": values, "b": [float(n % 5) for n in range(30)], "c": ["DE", "FR", None] * 10},
        schema_overrides={"a": pl.Float64},
    )
    model = FraudModel.fit(rows, backend=backend, schema={"a": "numeric", "b": "numeric", "c": "label"})
    new = pl.DataFrame({"a": [1e300, None], "b": [float("nan"), 1e9], "c": ["never seen", None]})
    explained = model.explain(new, top=3)
    assert explained["contribution"].is_finite().all()
    assert (explained["contribution"] > 0).all()
    assert explained["share"].is_between(0, 1).all()
    assert "b" in explained.filter(pl.col("row") == 1)["feature"]


@backends
def test_threads_may_share_a_model(backend: str) -> None:
    model, rows = FraudModel.fit(numeric_rows(500), backend=backend), numeric_rows(300, seed=1)
    scores, explained = model.score(rows), model.explain(rows)
    with ThreadPoolExecutor(4) as threads:
        assert all(again.equals(scores) for again in threads.map(model.score, [rows] * 8))
        assert all(again.equals(explained) for again in threads.map(model.explain, [rows] * 8))


def test_an_older_model_with_another_schema_scores_by_its_own_or_says_what_it_lacks(tmp_path: Path) -> None:
    rows = mixed_rows(200)
    older = FraudModel.fit(rows, backend="isolation_forest", schema=MIXED_SCHEMA)
    older.save(tmp_path)
    today = rows.with_columns(added_later=pl.lit(7.0)).select("added_later", *reversed(MIXED_SCHEMA))
    loaded = FraudModel.load(tmp_path)
    assert loaded.score(today).equals(older.score(rows))
    with pytest.raises(InvalidInput, match=r"minutes_since_last, which the model's schema names"):
        loaded.score(today.drop("minutes_since_last"))
    with pytest.raises(InvalidInput, match="'amount' has the type String"):
        loaded.score(today.with_columns(amount=pl.lit("twelve")))


def test_a_model_of_features_that_were_defined_otherwise_is_refused() -> None:
    model = FraudModel.fit(numeric_rows(50), backend="ecod", feature_version="abc")
    model.require_feature_version("abc")
    with pytest.raises(ArtifactRejected, match=r"features of the version abc, and those at hand are of def"):
        model.require_feature_version("def")


def test_no_rows_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        FraudModel.fit(numeric_rows(10).clear(), backend="ecod")


def test_several_hashed_ids_warn_with_the_reason() -> None:
    rows = mixed_rows(50).with_columns(pl.col("merchant_id").alias("city"))
    with pytest.warns(UserWarning, match=r"hashes 2 ids \(merchant_id, city\).*random number"):
        FraudModel.fit(rows, backend="ecod", schema={"merchant_id": "hash", "city": "hash"})
    assert sum(feature.role == "hash" for feature in FRAUD_SCHEMA.values()) == 4


def test_explanations_name_what_is_unusual_most_surprising_first() -> None:
    model = FraudModel.fit(mixed_rows(999), backend="ecod", schema=MIXED_SCHEMA)
    row = pl.DataFrame(
        {
            "amount": [1e6],
            "merchant_id": ["m1"],
            "country": ["XX"],
            "is_weekend": [False],
            "minutes_since_last": [None],
        },
        schema_overrides={"minutes_since_last": pl.Float64},
    )
    explained = model.explain(row, top=5)
    first = explained.row(0, named=True)
    assert explained["rank"].to_list() == list(range(1, explained.height + 1))
    assert explained["contribution"].is_sorted(descending=True)
    assert set(explained["feature"][:2]) == {"amount", "country"}
    assert "minutes_since_last" not in explained["feature"]
    assert first["contribution"] == pytest.approx(np.log(1000))
    values = dict(zip(explained["feature"], explained["value"], strict=True))
    texts = dict(zip(explained["feature"], explained["text"], strict=True))
    assert values["amount"] == 1e6
    assert values["country"] is None
    assert texts["country"] == "XX"
    assert explained["share"].sum() == pytest.approx(1.0)


def test_features_that_look_upward_dont_explain_small_values() -> None:
    model = FraudModel.fit(numeric_rows(500), backend="ecod")
    low = numeric_rows(1).with_columns(pl.lit(-1e6).alias(name) for name in model.schema)
    assert model.explain(low).height == 0


def test_explanations_keep_the_rows_apart() -> None:
    model = FraudModel.fit(numeric_rows(500), backend="isolation_forest")
    rows = numeric_rows(200, seed=3)
    together = model.explain(rows, top=2)
    assert together["row"].is_sorted()
    for place in (0, 17, 199):
        alone = model.explain(rows[place], top=2).drop("row")
        assert together.filter(pl.col("row") == place).drop("row").equals(alone)


@backends
def test_the_drivers_of_a_row_are_those_that_the_explanation_of_all_rows_names(backend: str) -> None:
    model = FraudModel.fit(mixed_rows(300), backend=backend, schema=MIXED_SCHEMA)
    rows = mixed_rows(60, seed=3)
    lines = model.explain(rows, top=3)
    by_row = model.drivers(rows, top=3)
    assert lines.select("row", "feature", "contribution").rows() == [
        (row, *driver) for row, of_row in enumerate(by_row) for driver in of_row
    ]
    assert [model.drivers_of_row(row, top=3) for row in rows.iter_rows(named=True)] == by_row
