"""The supervised model: scikit-learn's trees to the bit, anchored on rows they haven't seen, safe to keep."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from fraud_pipelines.detection.detectors.boosted_trees import BoostedTreesDetector, BoostedTreesParameters
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import FeatureRole
from fraud_pipelines.detection.supervised import LABEL, WEIGHT, fit_supervised, supervised_schema, with_model_scores
from fraud_pipelines.errors import ArtifactRejected, InvalidInput
from fraud_pipelines_tests.examples import examples

SCHEMA = {"amount": "numeric", "speed": "numeric", "is_night": "binary"}


def rows(count: int, *, seed: int = 0) -> pl.DataFrame:
    """Frauds are fast and large, most of them; one in twenty."""
    rng = np.random.default_rng(seed)
    is_fraud = rng.random(count) < 0.05
    return pl.DataFrame(
        {
            "transaction_id": [f"t{seed}-{number}" for number in range(count)],
            "amount": rng.lognormal(3, 1, count) * np.where(is_fraud, 3, 1),
            "speed": rng.normal(0, 1, count) + np.where(is_fraud, 2.5, 0),
            "is_night": rng.random(count) < 0.2,
            LABEL: is_fraud,
        }
    )


@pytest.fixture(scope="module")
def model() -> FraudModel:
    return fit_supervised(rows(2000), rows(1500, seed=1).drop(LABEL), schema=SCHEMA, contamination=0.02)


def test_rows_that_stand_for_many_weigh_more() -> None:
    training = rows(2000)
    heavy = training.with_columns(pl.when(LABEL).then(20.0).otherwise(1.0).alias(WEIGHT))
    fast = rows(200, seed=2).with_columns(speed=pl.lit(2.0))
    plain, weighted = (
        fit_supervised(each, rows(1500, seed=1).drop(LABEL), schema=SCHEMA).score(fast)["raw_score"].mean()
        for each in (training, heavy)
    )
    # Twenty times the odds, as far as regularisation lets them.
    assert isinstance(plain, float)
    assert isinstance(weighted, float)
    assert np.log(4) < weighted - plain < np.log(40)


@examples(8)
@given(seed=st.integers(0, 1000), leaves=st.integers(2, 12), trees=st.integers(1, 12))
def test_frozen_trees_are_scikit_learns_to_the_bit(seed: int, leaves: int, trees: int) -> None:
    rng = np.random.default_rng(seed)
    # Few distinct values, so that some to score lie on a threshold.
    X = rng.integers(-4, 5, (300, 4)) / 2
    truth = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(0, 1, 300) > 1
    classifier = HistGradientBoostingClassifier(max_iter=trees, max_leaf_nodes=leaves, early_stopping=False)
    with threadpool_limits(1, user_api="openmp"):
        classifier.fit(X, truth)
    frozen = BoostedTreesDetector.freeze(classifier)
    new = np.concatenate((X, rng.normal(0, 5, (200, 4))))
    with threadpool_limits(1, user_api="openmp"):
        expected, probability = classifier.decision_function(new), classifier.predict_proba(new)[:, 1]
    assert np.array_equal(frozen.raw_scores(new), expected)
    assert np.allclose(1 / (1 + np.exp(-frozen.raw_scores(new))), probability, rtol=0, atol=1e-12)
    assert np.allclose(frozen.contributions(new).raw_scores, frozen.raw_scores(new), rtol=0, atol=1e-9)


def test_a_score_above_a_half_is_the_top_share_of_rows_that_were_not_trained_on(model: FraudModel) -> None:
    anchored_on = model.score(rows(1500, seed=1))
    assert anchored_on["is_anomaly"].mean() == pytest.approx(0.02, abs=0.002)
    frauds = model.score(rows(2000, seed=2).filter(LABEL))["score"]
    others = model.score(rows(2000, seed=2).filter(~pl.col(LABEL)))["score"]
    assert frauds.median() > others.quantile(0.95)  # type: ignore[operator]


def test_it_scores_after_a_round_trip_as_before_and_a_changed_file_is_refused(
    model: FraudModel, tmp_path: Path
) -> None:
    digest = model.save(tmp_path)
    loaded = FraudModel.load(tmp_path, digest=digest)
    assert loaded.score(rows(500, seed=3)).equals(model.score(rows(500, seed=3)))
    assert loaded.explain(rows(20, seed=3)).equals(model.explain(rows(20, seed=3)))
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["backend"] == "supervised"
    arrays = tmp_path / "arrays.npz"
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 1
    arrays.write_bytes(content)
    with pytest.raises(ArtifactRejected, match=r"arrays\.npz"):
        FraudModel.load(tmp_path)


def test_the_same_rows_give_the_same_model(model: FraudModel, tmp_path: Path) -> None:
    again = fit_supervised(rows(2000), rows(1500, seed=1).drop(LABEL), schema=SCHEMA, contamination=0.02)
    assert again.save(tmp_path / "again") == model.save(tmp_path / "first")


def test_a_sample_of_the_legitimate_rows_stands_for_all_of_them() -> None:
    training = rows(6000)
    thinned = fit_supervised(training, training, schema=SCHEMA, parameters={"max_legitimate": 800, "max_iter": 60})
    probability = 1 / (1 + np.exp(-thinned.score(rows(6000, seed=5))["raw_score"].to_numpy()))
    # One in twenty is a fraud; uncorrected it would be about 0.3.
    assert 0.03 < probability.mean() < 0.1


@pytest.mark.parametrize(
    ("training", "calibration", "message"),
    [
        (rows(200).filter(LABEL), rows(50), "frauds and legitimate rows"),
        (rows(200).drop(LABEL), rows(50), "the column is_fraud"),
        (rows(200), rows(0), "no rows to anchor the scores on"),
        (rows(200).drop("speed"), rows(50), "speed"),
    ],
)
def test_what_can_not_be_learned_from_is_named(training: pl.DataFrame, calibration: pl.DataFrame, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        fit_supervised(training, calibration, schema=SCHEMA)


def test_it_takes_numbers_in_both_directions_and_only_scores_that_every_row_has() -> None:
    frame = pl.DataFrame(
        {
            "user_z": [1.0, 2.0],
            "country": ["DE", "FR"],
            "empty": pl.Series([None, None], dtype=pl.Float64),
            "isolation_forest_score": [0.1, 0.9],
            "ecod_score": [0.1, None],
        }
    )
    features = {
        "user_z": FeatureRole(role="numeric", direction="high"),
        "country": FeatureRole(role="label"),
        "empty": FeatureRole(role="numeric"),
        "absent": FeatureRole(role="numeric"),
    }
    assert supervised_schema(features, frame) == {
        "user_z": FeatureRole(role="numeric"),
        "isolation_forest_score": FeatureRole(role="numeric"),
    }


def test_scores_of_other_models_join_by_transaction_and_keep_the_order() -> None:
    features = pl.DataFrame({"transaction_id": ["b", "a", "c"], "amount": [1.0, 2.0, 3.0]})
    scores = pl.DataFrame(
        {
            "transaction_id": ["a", "b", "a", "c"],
            "model_name": ["fraud-daily", "fraud-daily", "fraud-ensemble", "fraud-unknown"],
            "score": [0.1, 0.2, 0.3, 0.4],
        }
    )
    joined = with_model_scores(features, scores)
    assert joined["transaction_id"].to_list() == ["b", "a", "c"]
    assert joined["isolation_forest_score"].to_list() == [0.2, 0.1, None]
    assert joined["suod_score"].to_list() == [None, 0.3, None]
    assert set(joined.columns) == {"transaction_id", "amount", "isolation_forest_score", "suod_score"}


def test_where_nobody_scored_the_median_of_the_scores_stands_in() -> None:
    with_scores = rows(600).with_columns(ecod_score=pl.Series(np.linspace(0, 1, 600)))
    model = fit_supervised(with_scores, with_scores, schema={**SCHEMA, "ecod_score": "numeric"})
    absent = rows(50, seed=4)
    assert model.score(absent).equals(model.score(absent.with_columns(ecod_score=pl.lit(None, dtype=pl.Float64))))
    assert model.explain(absent).height
    with pytest.raises(InvalidInput, match="speed"):
        model.score(absent.drop("speed"))


def test_rows_that_stand_for_themselves_alone_need_no_weights() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 5))
    is_fraud = X[:, 0] + rng.normal(size=2_000) > 2.5
    parameters = BoostedTreesParameters(max_iter=10)
    plain, ones, heavy = (
        BoostedTreesDetector.fit(X, is_fraud, parameters, weights=weights, seed=0).raw_scores(X)
        for weights in (None, np.ones(2_000), np.where(is_fraud, 20.0, 1.0))
    )
    np.testing.assert_array_equal(plain, ones)
    assert heavy.mean() > plain.mean() + 1
