"""Buffers hold what they promise, and their features are those of the table."""

import math
import statistics
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.streaming.user_buffers import STATISTICS, UserBuffers
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features.declared_oracle import Row
from fraud_pipelines_tests.features.oracle import Transaction
from fraud_pipelines_tests.features.random_declarations import ATTRIBUTES, plan_of
from fraud_pipelines_tests.features.random_declarations import frame as declared_frame
from fraud_pipelines_tests.features.random_declarations import transactions as declared_transactions
from fraud_pipelines_tests.features.random_transactions import frame, transactions
from fraud_pipelines_tests.features.stored import store

START = datetime(2026, 3, 1)


def _filled(amounts: list[float | None], window_size: int = 1000) -> UserBuffers:
    buffers = UserBuffers(window_size)
    for amount in amounts:
        buffers.append("u", {"amount": amount, "country": "DE"})
    return buffers


def test_the_oldest_leave_a_full_buffer() -> None:
    buffers = _filled([1.0, 2.0, 3.0], window_size=2)
    assert [row["amount"] for row in buffers.tail("u", 5)] == [2.0, 3.0]
    assert buffers.size("u") == 2
    buffers.create("u", 1)
    assert buffers.tail("u", 5) == [{"amount": 3.0, "country": "DE"}]


def test_windows_include_the_current_row_and_may_be_incomplete() -> None:
    row = _filled([1.0, 2.0, 6.0]).features("u", rolling_windows=[2, 5], lag_periods=[1, 3], tail=1).row(0, named=True)
    assert row == {
        "amount": 6.0,
        "country": "DE",
        "amount_rolling_mean_2": 4.0,
        "amount_rolling_std_2": math.sqrt(8),
        "amount_rolling_min_2": 2.0,
        "amount_rolling_max_2": 6.0,
        "amount_rolling_mean_5": 3.0,
        "amount_rolling_std_5": math.sqrt(7),
        "amount_rolling_min_5": 1.0,
        "amount_rolling_max_5": 6.0,
        "amount_lag_1": 2.0,
        "amount_lag_3": None,
    }


def test_what_is_undefined_is_null() -> None:
    first = _filled([4.0]).features("u").row(0, named=True)
    assert first["amount_rolling_std_50"] is None
    assert first["amount_lag_1"] is None
    assert first["amount_rolling_mean_50"] == 4.0
    gaps = _filled([None, 3.0, 5.0]).features("u", rolling_windows=[2, 3], lag_periods=[2])
    assert gaps["amount_rolling_mean_2"].to_list() == [None, 3.0, 4.0]
    assert gaps["amount_rolling_max_3"].to_list() == [None, 3.0, 5.0]
    assert gaps["amount_rolling_std_3"].to_list() == [None, None, math.sqrt(2)]
    assert gaps["amount_lag_2"].to_list() == [None, None, None]


@examples(40)
@given(
    st.lists(st.integers(min_value=0, max_value=10**6), min_size=1, max_size=80), st.integers(1, 60), st.integers(1, 9)
)
def test_the_tail_is_the_end_of_the_whole(cents: list[int], window: int, tail: int) -> None:
    amounts: list[float | None] = [value / 100 for value in cents]
    buffers = _filled(amounts)
    whole = buffers.features("u", rolling_windows=[window], lag_periods=[3])
    assert_frame_equal(buffers.features("u", rolling_windows=[window], lag_periods=[3], tail=tail), whole.tail(tail))
    last = [value / 100 for value in cents[-window:]]
    assert whole[f"amount_rolling_mean_{window}"][-1] == pytest.approx(statistics.fmean(last), rel=1e-12)
    if len(last) > 1:
        assert whole[f"amount_rolling_std_{window}"][-1] == pytest.approx(statistics.stdev(last), rel=1e-9, abs=1e-9)


@examples(20)
@given(transactions(max_size=70))
def test_a_buffer_agrees_with_the_features_of_the_table(rows: list[Transaction]) -> None:
    buffers = UserBuffers()
    for row in rows:
        buffers.append(row["user_id"], {"transaction_id": row["transaction_id"], "amount": row["amount"] + 0.0})
    features, _ = compute_features(frame(rows))
    for user in {row["user_id"] for row in rows}:
        found = buffers.features(user, rolling_windows=[3, 50], columns=["amount"], lag_periods=[1, 10])
        names = [name for name in found.columns if "rolling" in name or "lag" in name]
        assert_frame_equal(found.select(names), features.filter(user_id=user).select(names), check_exact=True)


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """With each statistic and lag that a buffer gives, of columns that are often null, declared of the user."""
    aggregates = [
        f"{{how: {how}, of: {column}, over: [3, 10], name: {column}_rolling_{how}}}"
        for column in ("balance", "points")
        for how in STATISTICS
    ]
    aggregates += [f"{{how: lag, of: {column}, over: [1, 5]}}" for column in ("balance", "points")]
    entities = f"entities: {{user: {{aggregates: [{', '.join(aggregates)}]}}}}"
    return plan_of(ATTRIBUTES + entities, tmp_path_factory.mktemp("plan"))


@examples(40)
@given(declared_transactions(max_size=60), st.integers(1, 5))
def test_a_buffer_agrees_with_what_is_declared_of_columns_that_may_be_null(
    declared: Plan, rows: list[Row], tail: int
) -> None:
    buffers = UserBuffers(plan=declared)
    for row in rows:
        buffers.append(str(row["user_id"]), {name: row[name] for name in ("transaction_id", "balance", "points")})
    features, _ = compute_features(declared_frame(rows, declared), plan=declared)
    for user in {str(row["user_id"]) for row in rows}:
        expected = features.filter(user_id=user)
        # A column of which no value is known could be of any type.
        columns = [
            name for name in ("balance", "points") if any(row[name] is not None for row in buffers.tail(user, 60))
        ]
        found = buffers.features(user, rolling_windows=[3, 10], columns=columns, lag_periods=[1, 5], tail=tail)
        names = [name for name in found.columns if "rolling" in name or "lag" in name]
        assert_frame_equal(found.select(names), expected.tail(tail).select(names), check_exact=True)


def test_several_numeric_columns_are_rolled_and_others_left() -> None:
    buffers = UserBuffers()
    for k in range(3):
        buffers.append("u", {"amount": 1.5 * k, "items": k, "vip": True, "at": START})
    row = buffers.features("u", rolling_windows=[2], statistics=["max"], lag_periods=[1], tail=1).row(0, named=True)
    assert set(row) == {
        "amount",
        "items",
        "vip",
        "at",
        "amount_rolling_max_2",
        "items_rolling_max_2",
        "amount_lag_1",
        "items_lag_1",
    }
    assert (row["amount_rolling_max_2"], row["items_lag_1"]) == (3.0, 1.0)


def test_a_user_without_transactions_has_no_features() -> None:
    buffers = UserBuffers()
    assert buffers.features("nobody").is_empty()
    assert buffers.tail("nobody") == []
    assert "nobody" not in buffers


def test_wrong_arguments_are_named() -> None:
    buffers = _filled([1.0])
    with pytest.raises(InvalidInput, match="'country'"):
        buffers.features("u", columns=["country"])
    with pytest.raises(InvalidInput, match="rolling window"):
        buffers.features("u", rolling_windows=[0])
    with pytest.raises(InvalidInput, match="median"):
        buffers.features("u", statistics=["median"])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="window_size"):
        UserBuffers(0)


def test_warming_up_takes_the_latest_stored_transactions(tmp_path: Path) -> None:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    rows: list[Transaction] = [
        {
            "transaction_id": f"t{k:03d}",
            "user_id": "u" if k % 2 else "v",
            "timestamp": START + timedelta(minutes=k // 4),
            "amount": float(k),
            "merchant_id": None,
            "device_fingerprint": None,
            "country": "DE",
        }
        for k in range(40)
    ]
    store(warehouse, rows[::-1])
    buffers = UserBuffers()
    assert buffers.warm_up(warehouse, ["u", "stranger"], window_size=5) == {"u": 5, "stranger": 0}
    assert [row["amount"] for row in buffers.tail("u", 9)] == [31.0, 33.0, 35.0, 37.0, 39.0]
    assert "v" not in buffers
    buffers.append("u", {"amount": 41.0})
    assert buffers.size("u") == 5
