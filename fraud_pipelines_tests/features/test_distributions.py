"""Distributions: exact for few values, close for many, and the same whether days are added up or taken as one."""

from collections.abc import Iterable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.features.distributions import PIECES, Bins, Distribution

VALUES = st.lists(
    st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 3).map(float), max_size=60
)
TEXTS = st.lists(st.none() | st.sampled_from("abcdefghijklmnop"), max_size=60)


def numbers(values: Iterable[float | None]) -> pl.Series:
    return pl.Series("feature", values, dtype=pl.Float64)


@given(values=VALUES, bins=st.integers(2, 12))
def test_every_row_is_counted_in_one_bin(values: list[float | None], bins: int) -> None:
    distribution = Distribution.of(numbers(values))
    counts = Bins.of([distribution], bins).count(distribution)
    assert counts.sum() == len(values)
    assert counts[-1] == sum(value is None or np.isnan(value) for value in values)


@given(days=st.lists(VALUES, min_size=1, max_size=4), bins=st.integers(2, 12))
def test_days_added_up_are_counted_as_their_rows_together(days: list[list[float | None]], bins: int) -> None:
    parts = [Distribution.of(numbers(day)) for day in days]
    whole = Distribution.of(numbers([value for day in days for value in day]))
    cut, of_whole = Bins.of(parts, bins), Bins.of([whole], bins)
    assert cut.edges.tolist() == of_whole.edges.tolist()
    assert sum(cut.count(part) for part in parts).tolist() == of_whole.count(whole).tolist()  # type: ignore[union-attr]


@given(days=st.lists(TEXTS, min_size=1, max_size=4), bins=st.integers(2, 12))
def test_days_of_texts_are_added_up_too(days: list[list[str | None]], bins: int) -> None:
    parts = [Distribution.of(pl.Series("feature", day, dtype=pl.String)) for day in days]
    whole = Distribution.of(pl.Series("feature", [value for day in days for value in day], dtype=pl.String))
    cut = Bins.of(parts, bins)
    assert cut.texts == Bins.of([whole], bins).texts
    assert sum(cut.count(part) for part in parts).tolist() == cut.count(whole).tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize("heaped", [0.0, 0.3, 0.97])
def test_many_values_are_kept_in_few_pieces_that_count_within_a_thousandth(heaped: float) -> None:
    rng = np.random.default_rng(1)
    values = np.where(rng.random(50_000) < heaped, 0.0, rng.lognormal(3, 1, 50_000))
    short, exact = Distribution.of(numbers(values)), Distribution.of(numbers(values), pieces=None)
    assert len(short.counts) <= PIECES + 2
    assert short.counts.sum() == len(values)
    for bins in (4, 10):
        cut = Bins.of([exact], bins)
        assert np.abs(cut.count(short) - cut.count(exact)).max() <= 0.001 * len(values)


def test_a_value_that_fills_a_piece_stays_one() -> None:
    values = [1.0] * 1000 + list(np.linspace(2, 3, 5000)) + [3.5] * 400 + list(np.linspace(4, 5, 5000))
    found = Distribution.of(numbers(values))
    heaps = {low: rows for low, high, rows in zip(found.low, found.high, found.counts, strict=True) if low == high}
    assert (heaps[1.0], heaps[3.5]) == (1000, 400)


def test_it_knows_whether_there_are_values_and_whether_they_vary() -> None:
    def told(values: list[object]) -> tuple[bool, bool]:
        found = Distribution.of(pl.Series("feature", values))
        return found.has_values, found.varies

    assert told([1.0, None, 2.0]) == (True, True)
    assert told([1.0, None, 1.0]) == (True, False)
    assert told(["a", None, "b"]) == (True, True)
    assert told(["a", "a"]) == (True, False)
    assert told([True, False]) == (True, True)
    nothing = Distribution.of(numbers([None, float("nan")]))
    assert (nothing.has_values, nothing.varies) == (False, False)
