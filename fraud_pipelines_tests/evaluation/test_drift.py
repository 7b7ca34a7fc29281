"""The population stability index: 0 for the same, positive for what moved, defined whatever is missing."""

import math
from collections.abc import Iterable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.evaluation.drift import SHIFTED, feature_drift, population_stability_index

NUMBERS = st.lists(
    st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 3).map(float), min_size=1
)
TEXTS = st.lists(st.none() | st.sampled_from("abcdefghijklmnop"), min_size=1)


def numbers(values: Iterable[float | None]) -> pl.Series:
    return pl.Series("feature", values, dtype=pl.Float64)


@given(values=NUMBERS, bins=st.integers(2, 12))
def test_a_feature_has_not_drifted_from_itself(values: list[float | None], bins: int) -> None:
    assert population_stability_index(numbers(values), numbers(values).reverse(), bins) == 0.0


@given(expected=NUMBERS, actual=NUMBERS)
def test_the_index_of_numbers_is_finite_and_never_negative(
    expected: list[float | None], actual: list[float | None]
) -> None:
    assert 0 <= population_stability_index(numbers(expected), numbers(actual)) < math.inf


@given(expected=TEXTS, actual=TEXTS)
def test_the_index_of_texts_is_finite_and_never_negative(expected: list[str | None], actual: list[str | None]) -> None:
    a, b = pl.Series("feature", expected, dtype=pl.String), pl.Series("feature", actual, dtype=pl.String)
    assert population_stability_index(a, a) == 0.0
    assert 0 <= population_stability_index(a, b) < math.inf


def test_it_is_the_sum_over_quantile_bins() -> None:
    expected, actual = numbers(range(100)), numbers([5.0] * 30 + [95.0] * 70)
    shares = [(0.1, 0.3), (0.1, 0.7)] + [(0.1, 0.5 / 100)] * 8
    by_hand = sum((a - e) * math.log(a / e) for e, a in shares)
    # The bin for nulls is empty on both sides and adds nothing.
    assert population_stability_index(expected, actual) == pytest.approx(by_hand)


def test_a_shift_shows_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    reference = numbers(rng.normal(size=20_000))
    assert population_stability_index(reference, numbers(rng.normal(size=3000))) < 0.02
    assert population_stability_index(reference, numbers(rng.normal(1.0, size=3000))) > SHIFTED


def test_nulls_and_a_heap_at_one_value_are_bins_of_their_own() -> None:
    zeros = numbers([0.0] * 950 + [1.0, 2.0, 3.0, 4.0, 5.0] * 10)
    assert population_stability_index(zeros, numbers([-1.0] * 950 + [1.0] * 50)) > 1
    assert population_stability_index(zeros, numbers([0.0] * 500 + [3.0] * 500)) > SHIFTED
    assert population_stability_index(zeros, numbers([0.0] * 500 + [None] * 500)) > SHIFTED
    assert population_stability_index(numbers([7.0] * 10), numbers([6.0] * 10)) > SHIFTED


def test_flags_and_rare_texts_are_compared_too() -> None:
    flags = pl.Series("flag", [True] * 10 + [False] * 90)
    assert population_stability_index(flags, pl.Series("flag", [True] * 60 + [False] * 40)) > SHIFTED
    countries = pl.Series("country", ["DE"] * 60 + ["FR"] * 30 + ["AT"] * 10)
    assert population_stability_index(countries, pl.Series("country", ["XX"] * 50 + ["DE"] * 50)) > SHIFTED


def test_each_feature_gets_its_index_in_the_order_asked_for() -> None:
    reference = pl.DataFrame({"a": list(range(100)), "b": [1] * 100})
    current = pl.DataFrame({"a": list(range(100)), "b": [2] * 100})
    found = feature_drift(reference, current, ["b", "a"])
    assert found["feature"].to_list() == ["b", "a"]
    assert found["psi"][1] == 0.0
    assert found["psi"][0] > SHIFTED
    assert feature_drift(reference, current, []).schema == {"feature": pl.String, "psi": pl.Float64}


def test_nothing_to_compare_is_said_so() -> None:
    with pytest.raises(InvalidInput, match="feature: no actual rows"):
        population_stability_index(numbers([1.0]), numbers([]))
    with pytest.raises(InvalidInput, match="needs at least 2"):
        population_stability_index(numbers([1.0]), numbers([1.0]), bins=1)
    with pytest.raises(InvalidInput, match="current frame lacks the features a"):
        feature_drift(pl.DataFrame({"a": [1]}), pl.DataFrame({"b": [1]}), ["a"])
