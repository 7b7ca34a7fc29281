"""What is usual among all payments, and what that makes of young histories."""

import math
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.features import population
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.population import COUNTS, MovingPopulation, bin_of, bins, middle

DAY = datetime(2026, 3, 9)


@pytest.fixture(scope="module", autouse=True)
def as_in_production(three_payments_are_enough: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population, "ENOUGH", 30)
        yield


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_bins_keep_the_order_of_numbers_and_their_middle_lies_near(one: float, other: float) -> None:
    assert bins(np.array([one, other])).tolist() == [bin_of(one), bin_of(other)]
    assert bin_of(min(one, other)) <= bin_of(max(one, other))
    assert bin_of(middle(bin_of(one))) == bin_of(one)
    assert abs(middle(bin_of(one)) - one) <= abs(one) / 32 + 5e-324


def _profiles(payments: list[tuple[str, datetime, float]], category: str | None = None) -> dict[str, Any]:
    """The last payment's features of each user, among a week of customers who pay about 20."""
    around = [(f"u{n}", DAY - timedelta(days=1 + n % 7, minutes=n), 14.0 + n % 13) for n in range(210)]
    rows = [(*each, "food") for each in around] + [(*each, category) for each in payments]
    frame = pl.DataFrame(
        [(f"t{k:04d}", *row) for k, row in enumerate(rows)],
        schema={
            "transaction_id": pl.String,
            "user_id": pl.String,
            "timestamp": pl.Datetime("us"),
            "amount": pl.Float64,
            "merchant_category": pl.String,
        },
        orient="row",
    )
    features, _ = compute_features(frame)
    return {row["user_id"]: row for row in features.sort("timestamp").iter_rows(named=True)}


@pytest.mark.parametrize("first", [0.0, 1.0, 3.0])
def test_a_verification_is_no_history(first: float) -> None:
    told = _profiles([("new", DAY, first), ("new", DAY + timedelta(hours=1), 25.0)])["new"]
    assert told["amount"] == 25.0
    for name in ("user_z", "user_rz", "user_log_ratio", "user_max_ratio"):
        assert abs(told[name]) < 0.5, name


def test_a_large_first_payment_is_as_unusual_as_after_a_history_of_ordinary_ones() -> None:
    history = [("old", DAY - timedelta(hours=k), 20.0) for k in range(1, 51)]
    now = DAY + timedelta(hours=1)
    told = _profiles([*history, ("old", now, 5_000.0), ("new", now, 5_000.0), ("ordinary", now, 22.0)])
    for name in ("user_z", "user_rz"):
        assert told["new"][name] > 100
        assert abs(told["ordinary"][name]) < 0.5
    for name in ("user_log_ratio", "user_max_ratio"):
        assert told["new"][name] == pytest.approx(told["old"][name], abs=0.5)
        assert abs(told["ordinary"][name]) < 0.5


def test_a_customer_of_small_payments_keeps_a_history_of_them() -> None:
    history = [("small", DAY - timedelta(hours=k), 2.0 + k % 2) for k in range(1, 21)]
    told = _profiles([*history, ("small", DAY + timedelta(hours=1), 60.0)])["small"]
    assert told["user_log_ratio"] > 2.5


def test_a_category_is_compared_with_itself_once_it_has_enough_payments() -> None:
    travel = [(f"v{n}", DAY - timedelta(days=1, minutes=n), 900.0 + n) for n in range(40)]
    told = {
        category: _profiles([*travel, ("new", DAY, 930.0)], category)["new"]["user_log_ratio"]
        for category in ("travel", None)
    }
    assert abs(told["travel"]) < 0.1
    assert told[None] > 3


_COUNTED = st.tuples(
    st.integers(0, 40),
    st.sampled_from(["amount", "other"]),
    st.sampled_from([None, "food", "travel"]),
    st.floats(0, 99),
)


@given(
    parts=st.lists(st.tuples(st.booleans(), st.lists(_COUNTED, max_size=60)), max_size=5),
    asked=st.lists(st.integers(0, 45), min_size=1, max_size=4).map(sorted),
)
def test_figures_are_those_of_all_that_was_counted_in_whatever_portions(
    parts: list[tuple[bool, list[tuple[int, str, str | None, float]]]], asked: list[int]
) -> None:
    moving = MovingPopulation()
    for one_by_one, rows in parts:
        if one_by_one:
            for day, measured, category, value in rows:
                moving.count(_day(day), measured, category, value)
        else:
            counts = [(_day(day), measured, category, bin_of(value), 1) for day, measured, category, value in rows]
            moving.add(pl.DataFrame(counts, schema=COUNTS, orient="row"))
    counted = [row for _, rows in parts for row in rows]
    last = max((day for day, *_ in counted), default=0)
    assert moving.history().frame["payments"].sum() == sum(day >= last - 28 for day, *_ in counted)
    for now in asked:
        expected = {}
        for measured, category in {(m, c) for _, m, own, _ in counted for c in (own, None)}:
            bins_of_key = sorted(
                bin_of(value)
                for day, m, own, value in counted
                if m == measured and category in (None, own) and now - 28 <= day < now
            )
            if len(bins_of_key) >= 30:
                ranks = (math.ceil(len(bins_of_key) / 2), math.ceil(len(bins_of_key) * 19 / 20))
                expected[measured, category] = tuple(middle(bins_of_key[rank - 1]) for rank in ranks)
        assert moving.figures(_day(now)) == expected


def _day(number: int) -> date:
    return DAY.date() + timedelta(days=number)
