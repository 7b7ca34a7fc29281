"""Drift: the stability index is 0 for the same and positive for what moved; chance is told from a shift."""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.evaluation.drift import (
    SHIFTED,
    Comparison,
    compare,
    drifted,
    population_stability_index,
)
from fraud_pipelines.features.distributions import Distribution

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


def test_nothing_to_compare_is_said_so() -> None:
    with pytest.raises(InvalidInput, match="feature: no actual rows"):
        population_stability_index(numbers([1.0]), numbers([]))
    with pytest.raises(InvalidInput, match="needs at least 2"):
        population_stability_index(numbers([1.0]), numbers([1.0]), bins=1)


Rng = np.random.Generator
Sample = Callable[[Rng, int], npt.NDArray[np.generic]]


def several_of_a_user(rng: Rng, rows: int) -> npt.NDArray[np.float64]:
    """Amounts of users who pay about eight times a day, each at a level of their own."""
    users = rng.normal(3, 0.7, max(rows // 8, 1))
    return np.exp(users[rng.integers(0, len(users), rows)] + rng.normal(0, 0.7, rows))


def several_labels_of_a_user(rng: Rng, rows: int) -> npt.NDArray[np.str_]:
    """The few countries that the day's users pay from."""
    users = rng.integers(0, 40, max(rows // 8, 1)) ** 2 // 100
    return users[rng.integers(0, len(users), rows)].astype(str)


STEADY: Mapping[str, Sample] = {
    "numbers": lambda rng, rows: rng.lognormal(3, 1, rows),
    "ties": lambda rng, rows: np.where(rng.random(rows) < 0.9, 0, rng.poisson(2, rows)),
    "constant": lambda rng, rows: np.full(rows, 7.0),
    "rare flag": lambda rng, rows: rng.random(rows) < 0.01,
    "flag": lambda rng, rows: rng.random(rows) < 0.5,
    "nulls": lambda rng, rows: np.where(rng.random(rows) < 0.3, np.nan, rng.lognormal(3, 1, rows)),
    "all null": lambda rng, rows: np.full(rows, np.nan),
    "labels": lambda rng, rows: rng.zipf(1.5, rows).clip(max=500).astype(str),
    "users": several_of_a_user,
    "labels of users": several_labels_of_a_user,
    "days": lambda rng, rows: rng.lognormal(3 + rng.normal(0, 0.1), 1, rows),
}
"""What has no drift, though rows hang together: by user, or by day."""

SHIFTS: Mapping[str, tuple[str, Sample]] = {
    "amounts are five times as large": ("numbers", lambda rng, rows: 5 * rng.lognormal(3, 1, rows)),
    "a count is no longer mostly zero": ("ties", lambda rng, rows: rng.poisson(2, rows)),
    "a constant changed": ("constant", lambda rng, rows: np.full(rows, 8.0)),
    "a rare flag is common": ("rare flag", lambda rng, rows: rng.random(rows) < 0.4),
    "values went missing": ("numbers", lambda rng, rows: np.full(rows, np.nan)),
    "labels are new ones": ("labels", lambda rng, rows: np.full(rows, "new")),
    "users pay far more": ("users", lambda rng, rows: 30 * several_of_a_user(rng, rows)),
}


def judge(rng: Rng, rows: int, days: int, usual: Sample, today: Sample) -> Comparison:
    def day(sample: Sample) -> Distribution:
        return Distribution.of(pl.Series("feature", sample(rng, rows), nan_to_null=True))

    before = [day(usual) for _ in range(days)]
    return compare(day(today), before, [before])


@pytest.mark.parametrize("rows", [10, 50, 300])
def test_without_drift_next_to_no_day_alarms_whatever_the_volume(rows: int) -> None:
    rng = np.random.default_rng(rows)
    alarms = [
        drifted({name: judge(rng, rows, 7, sample, sample) for name, sample in STEADY.items()}) for _ in range(40)
    ]
    assert sum(map(bool, alarms)) <= 1
    assert sum(map(len, alarms)) < 0.01 * len(alarms) * len(STEADY)


def test_a_hundred_thousand_rows_alarm_no_more_and_a_shift_among_them_is_found() -> None:
    rng = np.random.default_rng(3)
    found = {name: judge(rng, 100_000, 4, sample, sample) for name, sample in STEADY.items()}
    assert drifted(found) == set()
    assert found["numbers"].psi < 0.001
    doubled = judge(rng, 100_000, 4, STEADY["numbers"], lambda rng, rows: 2 * rng.lognormal(3, 1, rows))
    assert drifted(found | {"doubled": doubled}) == {"doubled"}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("rows", [100, 3000])
def test_a_real_shift_is_found_among_features_without_one(shift: str, rows: int) -> None:
    rng = np.random.default_rng(rows)
    usual, today = SHIFTS[shift]
    steady = {name: judge(rng, rows, 7, sample, sample) for name, sample in STEADY.items()}
    found = ["it" in drifted(steady | {"it": judge(rng, rows, 7, STEADY[usual], today)}) for _ in range(10)]
    assert sum(found) >= 9


def test_ten_rows_are_enough_for_a_shift_that_leaves_no_doubt() -> None:
    rng = np.random.default_rng(2)
    found = [
        drifted({"it": judge(rng, 10, 7, STEADY["numbers"], lambda rng, rows: 50 * rng.lognormal(3, 1, rows))})
        for _ in range(10)
    ]
    assert sum(map(bool, found)) >= 9


def test_the_index_that_chance_gives_is_told() -> None:
    rng = np.random.default_rng(5)
    found = [judge(rng, 100, 7, STEADY["numbers"], STEADY["numbers"]) for _ in range(100)]
    assert np.mean([each.psi for each in found]) == pytest.approx(
        np.mean([each.psi_expected for each in found]), rel=0.25
    )


def test_with_fewer_than_two_days_before_nothing_is_judged() -> None:
    found = judge(np.random.default_rng(0), 3000, 1, STEADY["numbers"], STEADY["flag"])
    assert found.psi > SHIFTED
    assert found.p_value is None
    assert drifted({"it": found}) == set()


def test_the_p_value_is_that_of_a_count_by_hand() -> None:
    before = [Distribution.of(pl.Series([0.0] * zeros + [1.0] * (100 - zeros))) for zeros in (60, 60, 40, 40)]
    today = Distribution.of(pl.Series([0.0] * 90 + [1.0] * 10))
    found = compare(today, before, [before])
    shares = [(0.5, 0.9), (0.5, 0.1)]
    assert found.psi == pytest.approx(sum((a - e) * math.log(a / e) for e, a in shares))
    spread = sum((rows - 50) ** 2 / 50 for zeros in (60, 60, 40, 40) for rows in (zeros, 100 - zeros)) / 3
    pooled = [(200 + 90) / 500, (200 + 10) / 500]
    ratio = 2 * sum(
        rows * math.log(rows / (total * share))
        for total, counts in ((400, (200, 200)), (100, (90, 10)))
        for rows, share in zip(counts, pooled, strict=True)
    )
    # With two bins there is one degree of freedom, and F with 1 and 3 degrees is the square of Student's t with 3.
    t = math.sqrt(ratio / spread)
    angle = math.atan(t / math.sqrt(3))
    p_value = 1 - 2 / math.pi * (angle + math.sin(angle) * math.cos(angle))
    assert found.p_value == pytest.approx(p_value)
    assert found.psi_expected == pytest.approx(spread * (1 / 400 + 1 / 100))
