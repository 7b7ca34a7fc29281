"""Calibration: scores lie in [0, 1], rise with the raw score, and 0.5 marks the contamination."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.detection.calibration import (
    NORMALIZATIONS,
    Calibration,
    Normalization,
    extended_tail_score,
    tail_score,
)
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines_tests.detection.samples import TRAINABLE, numeric_rows
from fraud_pipelines_tests.examples import examples

finite = st.floats(-1e9, 1e9)
contaminations = st.floats(0.001, 0.5)


@given(train=st.lists(finite, min_size=1, max_size=50), raw=st.lists(finite, min_size=1), c=contaminations)
@examples(200)
def test_tail_scores_are_monotone_and_within_0_and_1(train: list[float], raw: list[float], c: float) -> None:
    scores = tail_score(np.sort(raw), np.sort(train), c)
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    assert (np.diff(scores) >= 0).all()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@given(train=st.lists(finite, min_size=1, max_size=50), raw=st.lists(finite, min_size=1))
def test_every_normalization_is_monotone_and_the_bounded_ones_keep_their_bounds(
    normalization: Normalization, train: list[float], raw: list[float]
) -> None:
    calibration = Calibration.fit(np.array(train), normalization=normalization, contamination=0.05)
    scores = calibration.score(np.sort(raw))
    assert (np.diff(scores) >= 0).all()
    if normalization in ("tail", "standardization", "extended_tail"):
        assert ((scores >= 0) & (scores <= 1)).all()


@given(seed=st.integers(0, 1000), n=st.integers(200, 2000), c=st.floats(0.01, 0.5))
@examples(100)
def test_the_share_of_training_rows_above_one_half_is_the_contamination(seed: int, n: int, c: float) -> None:
    train = np.sort(np.random.default_rng(seed).standard_t(3, n))
    share = np.mean(tail_score(train, train, c) > 0.5)
    assert c - 2 / n <= share <= c


def test_tail_scores_follow_the_formula() -> None:
    train = np.arange(99, dtype=np.float64)
    # Tail probabilities of one half, 2 %, 1 % and 1 %.
    scores = tail_score(np.array([50.0, 98.0, 99.0, 1e6]), train, 0.02)
    assert scores == pytest.approx([0.02 / (2 * 0.5), 1 - 0.02 / 0.04, 1 - 0.01 / 0.04, 1 - 0.01 / 0.04])


def test_the_extended_tail_goes_on_where_the_training_scores_end() -> None:
    train = np.array([*range(90), 100, 102, 104, 106, 108, 110, 112, 114, 116], dtype=np.float64)
    raw = np.array([50.0, 116.0, 116.0 + 20, 116.0 + 200])
    # The top nine of 99 exceed the one below them, 89, by 19 in the mean.
    tails = [0.01 / (1 + 20 / 19), 0.01 / (1 + 200 / 19)]
    expected = [*tail_score(raw[:2], train, 0.02), *(1 - tail / 0.04 for tail in tails)]
    assert extended_tail_score(raw, train, 0.02) == pytest.approx(expected)


@given(train=st.lists(finite, min_size=1, max_size=50), raw=st.lists(finite, min_size=1), c=contaminations)
def test_the_extended_tail_is_the_tail_up_to_the_largest_score_of_training(
    train: list[float], raw: list[float], c: float
) -> None:
    found, plain = (of(np.sort(raw), np.sort(train), c) for of in (extended_tail_score, tail_score))
    inside = np.sort(raw) <= max(train)
    assert (found[inside] == plain[inside]).all()
    assert (found >= plain).all()


def test_the_originals_normalizations_follow_its_formulas() -> None:
    train = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    raw = np.array([2.0, 6.0])

    def scores(normalization: Normalization) -> list[float]:
        calibration = Calibration.fit(train, normalization=normalization, contamination=0.25)
        return [float(score) for score in calibration.score(raw)]

    assert scores("standardization") == pytest.approx([0.5, 1 / (1 + np.exp(-4 / 4))])
    assert scores("zscore") == pytest.approx([0.0, 4 / np.sqrt(2)])
    assert scores("raw") == [2.0, 6.0]


@pytest.mark.parametrize("normalization", ["standardization", "zscore", "raw"])
def test_other_thresholds_are_the_training_quantile(normalization: Normalization) -> None:
    train = np.random.default_rng(0).normal(size=1000)
    calibration = Calibration.fit(train, normalization=normalization, contamination=0.05)
    assert np.mean(calibration.score(train) > calibration.threshold) == pytest.approx(0.05)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_equal_training_scores_give_finite_scores(normalization: Normalization) -> None:
    calibration = Calibration.fit(np.full(10, 3.0), normalization=normalization, contamination=0.01)
    assert np.isfinite(calibration.score(np.array([3.0, -1e300, 1e300]))).all()


@pytest.mark.parametrize("backend", TRAINABLE)
def test_the_share_of_alerts_is_stable_over_fourteen_daily_retrains(backend: str) -> None:
    def day(number: int) -> pl.DataFrame:
        level = 1 + 0.02 * np.sin(number)  # no day is quite like another
        return numeric_rows(800, seed=number).with_columns(pl.selectors.numeric() * level)

    days = [day(number) for number in range(21)]
    few_trees = {"n_estimators": 20, "max_samples": 128}
    parameters = {"isolation_forest": few_trees, "suod": few_trees, "autoencoder": {"epochs": 2}}.get(backend, {})
    shares = []
    for today in range(7, 21):
        training = pl.concat(days[today - 7 : today])
        model = FraudModel.fit(training, backend=backend, contamination=0.1, parameters=parameters)
        shares.append(float((model.score(days[today])["score"] > 0.5).sum()) / 800)
    assert np.std(shares) / np.mean(shares) < 0.2
    assert np.mean(shares) == pytest.approx(0.1, rel=0.2)


def test_unknown_normalizations_and_contaminations_are_refused() -> None:
    with pytest.raises(InvalidInput, match="tail, standardization, zscore, raw"):
        Calibration.fit(np.zeros(1), normalization="minmax", contamination=0.01)  # type: ignore[arg-type]
    for contamination in (0.0, 0.6, -1.0, float("nan")):
        with pytest.raises(InvalidInput, match=r"\(0, 0.5\]"):
            Calibration.fit(np.zeros(1), normalization="tail", contamination=contamination)
