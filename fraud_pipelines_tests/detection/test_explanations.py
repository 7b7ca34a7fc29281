"""Explanations: contributions add up to the score, point at what is unusual, and say what would be usual."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fraud_pipelines.detection.backends import FitContext, backend_by_name, parse_parameters
from fraud_pipelines.detection.detectors.interface import SelfExplaining
from fraud_pipelines.detection.detectors.isolation_forest import IsolationForestDetector, IsolationForestParameters
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.usual import usual_amount
from fraud_pipelines_tests.detection.samples import MIXED_SCHEMA, mixed_rows, numeric_rows
from fraud_pipelines_tests.examples import examples

FloatArray = NDArray[np.float64]

EXACT = ("isolation_forest", "ecod", "suod")
FEW_TREES: dict[str, object] = {"n_estimators": 10, "max_samples": 64}
ALL_MEMBERS: dict[str, object] = {"members": ["isolation_forest", "ecod", "loda", "hbos", "pca"], "projections": 20}
PARAMETERS: dict[str, dict[str, object]] = {
    "isolation_forest": FEW_TREES,
    "ecod": {},
    "suod": FEW_TREES | {"projections": 20},
    "suod of all members": FEW_TREES | ALL_MEMBERS,
}


def matrix(rows: int, columns: int, seed: int, decimals: int = 6) -> FloatArray:
    """Heavy-tailed numbers, the one half of them cut at 0; with few decimals many are equal."""
    values = np.random.default_rng(seed).standard_t(3, (rows, columns)).round(decimals)
    values[:, ::2] = np.maximum(values[:, ::2], 0.0)
    return values


def fitted(name: str, X: FloatArray) -> SelfExplaining:
    backend = name.split(maxsplit=1)[0]
    context = FitContext(X, TrainingDistribution.fit(X), contamination=0.02, seed=1)
    detector = backend_by_name(backend).fit(context, parse_parameters(backend, PARAMETERS[name]))
    assert isinstance(detector, SelfExplaining)
    return detector


@pytest.mark.parametrize("name", list(PARAMETERS))
@given(rows=st.integers(1, 80), columns=st.integers(1, 4), seed=st.integers(0, 99), decimals=st.sampled_from([0, 1, 6]))
@examples(12)
def test_contributions_add_up_to_the_raw_score(name: str, rows: int, columns: int, seed: int, decimals: int) -> None:
    detector = fitted(name, matrix(rows, columns, seed, decimals))
    new = matrix(20, columns, seed + 1, decimals) * 5
    found = detector.contributions(new)
    assert found.terms.shape == new.shape
    np.testing.assert_allclose(found.raw_scores, detector.raw_scores(new), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_the_one_feature_that_is_far_out_counts_most_and_raises_the_score(name: str) -> None:
    detector = fitted(name, matrix(1000, 4, seed=3))
    far_out = np.zeros((4, 4)) + np.diag([30.0, 30.0, 30.0, 30.0])
    terms = detector.contributions(far_out).terms
    assert terms.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert (np.diag(terms) > 0).all()


def test_ecods_contributions_are_its_terms() -> None:
    X = np.arange(99, dtype=np.float64)[:, None]
    found = fitted("ecod", X).contributions(np.array([[49.0], [98.0], [200.0]]))
    assert found.base == 0.0
    assert found.terms[:, 0] == pytest.approx(-np.log([51 / 100, 2 / 100, 1 / 100]))


def test_a_forests_base_is_the_score_of_the_training_rows_average_path() -> None:
    X = matrix(200, 3, seed=5, decimals=1)
    parameters = IsolationForestParameters(n_estimators=20, max_samples=200)
    detector = IsolationForestDetector.fit(X, parameters, contamination=0.1, seed=0)
    # Every tree grew on all rows, so the mean over the rows is the expectation that the forest starts from.
    paths = -np.log2(detector.raw_scores(X) - detector.offset)
    assert -np.log2(detector.contributions(X).base - detector.offset) == pytest.approx(float(paths.mean()))


@pytest.mark.parametrize("backend", EXACT)
def test_a_model_explains_its_rows_by_what_adds_up_to_their_scores(backend: str) -> None:
    model = FraudModel.fit(mixed_rows(400), backend=backend, schema=MIXED_SCHEMA)
    rows = mixed_rows(50, seed=1)
    found = model.contributions(rows)
    np.testing.assert_allclose(found.raw_scores, model.score(rows)["raw_score"].to_numpy(), rtol=1e-9, atol=1e-9)
    lines = model.explain(rows, top=2)
    names = list(model.schema)
    for row, feature, contribution in lines.select("row", "feature", "contribution").iter_rows():
        assert contribution == found.terms[row, names.index(feature)] > 0


def test_a_feature_of_ordinary_value_is_no_reason() -> None:
    model = FraudModel.fit(numeric_rows(500), backend="suod")
    ordinary = numeric_rows(1).with_columns(pl.lit(-1e6).alias(name) for name in model.schema)
    assert model.explain(ordinary).is_empty()
    large = ordinary.with_columns(pl.lit(1e3).alias("user_z"))
    assert model.explain(large)["feature"].to_list() == ["user_z"]


def profile(amount: float, *, median: float, spread: float, largest: float) -> pl.DataFrame:
    """What the features say of a payment by a customer with such a history."""
    return pl.DataFrame(
        {
            "amount": [amount],
            "user_rz": [(amount - median) / spread],
            "user_log_ratio": [np.log((amount + 1) / (median + 1))],
            "user_max_ratio": [np.log((amount + 1) / (largest + 1))],
        }
    )


def test_the_usual_range_is_the_customers_median_and_two_spreads_cut_at_the_largest_payment() -> None:
    assert usual_amount(profile(279.0, median=30.0, spread=9.0, largest=60.0)).row(0) == pytest.approx((12.0, 48.0))
    assert usual_amount(profile(279.0, median=30.0, spread=20.0, largest=60.0)).row(0) == pytest.approx((0.0, 60.0))
    assert usual_amount(profile(5.0, median=30.0, spread=9.0, largest=60.0)).row(0) == pytest.approx((12.0, 48.0))


def test_where_the_features_dont_tell_what_is_usual_nothing_is_said() -> None:
    first = pl.DataFrame({"amount": [50.0], "user_rz": [0.0], "user_log_ratio": [0.0], "user_max_ratio": [0.0]})
    assert usual_amount(first).row(0) == (None, None)
    assert usual_amount(first.select("amount")).row(0) == (None, None)
    assert usual_amount(first.with_columns(user_rz=pl.lit(None, pl.Float64))).row(0) == (None, None)
    assert usual_amount(first.clear()).is_empty()


@given(
    amount=st.floats(0, 1e7), rz=st.none() | st.floats(), ratio=st.none() | st.floats(), largest=st.none() | st.floats()
)
@examples(200)
def test_a_usual_range_is_a_range_whatever_the_features_hold(
    amount: float, rz: float | None, ratio: float | None, largest: float | None
) -> None:
    columns = {"amount": [amount], "user_rz": [rz], "user_log_ratio": [ratio], "user_max_ratio": [largest]}
    low, high = usual_amount(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Float64))).row(0)
    assert (low is None) == (high is None)
    assert low is None or (np.isfinite([low, high]).all() and 0 <= low <= high)


def test_each_line_tells_value_and_usual_range_in_a_sentence() -> None:
    rows = numeric_rows(2000).with_columns(pl.col("amount").abs(), country=pl.lit("DE"), is_night=pl.lit(value=False))
    schema = {"amount": "numeric", "user_rz": "numeric", "country": "label"}
    model = FraudModel.fit(rows, backend="ecod", schema=schema)
    payment = profile(279.5, median=30.0, spread=9.0, largest=60.0).with_columns(country=pl.lit("US"))
    explained = model.explain(payment)
    lines = {line["feature"]: line for line in explained.iter_rows(named=True)}
    assert lines["amount"]["sentence"] == "amount is 279.5, for this customer usually 12 to 48"
    wide = model.explain(profile(279.5, median=30.0, spread=20.0, largest=60.0).with_columns(country=pl.lit("US")))
    assert "amount is 279.5, for this customer usually up to 60" in wide["sentence"].to_list()
    assert lines["country"]["sentence"] == "country is US"
    assert lines["country"]["usual_low"] is None
    low, high = np.quantile(rows["user_rz"].to_numpy(), [0.025, 0.975])
    assert (lines["user_rz"]["usual_low"], lines["user_rz"]["usual_high"]) == pytest.approx((low, high), abs=0.1)
    assert "user_rz is 27.72, among all payments usually" in lines["user_rz"]["sentence"]
