"""The features agree with plain definitions, however the rows are cut, and never look ahead."""

import math
from collections import defaultdict
from datetime import date, timedelta
from typing import cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features import kernel
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.history import Histories, History
from fraud_pipelines.features.program import from_labels
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.folding.function import TIMES
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features.oracle import Transaction, shared_features, user_features
from fraud_pipelines_tests.features.random_transactions import START, frame, transactions

EXAMPLES = examples(30)

_BLANK: Transaction = {
    "transaction_id": "t",
    "user_id": "u",
    "timestamp": START,
    "amount": 1.0,
    "merchant_id": None,
    "device_fingerprint": None,
    "country": None,
}


def _row(**values: object) -> pl.DataFrame:
    return frame([cast(Transaction, {**_BLANK, **values})])


def _in_pieces(rows: list[Transaction], cuts: list[int]) -> tuple[pl.DataFrame, Histories]:
    histories: Histories = {}
    parts = []
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        if end > start:
            features, histories = compute_features(frame(rows[start:end]), histories)
            parts.append(features)
    return pl.concat(parts).sort("user_id", "timestamp", "transaction_id"), histories


def _bits(features: pl.DataFrame) -> pl.DataFrame:
    """Floats as their bits, so that 0.0 and -0.0 differ."""
    floats = [name for name, dtype in features.schema.items() if dtype == pl.Float64]
    return features.with_columns(pl.col(name).reinterpret(signed=True) for name in floats)


@EXAMPLES
@given(transactions(), st.data())
def test_any_cut_gives_the_same_bits(rows: list[Transaction], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(min_value=0, max_value=len(rows)), max_size=6)))
    whole, history = _in_pieces(rows, [])
    parts, histories = _in_pieces(rows, cuts)
    assert_frame_equal(_bits(whole), _bits(parts))
    for name in history:
        assert_frame_equal(history[name].frame, histories[name].frame)


@examples(10)
@given(transactions(max_size=40))
def test_single_rows_give_the_same_bits(rows: list[Transaction]) -> None:
    whole, _ = _in_pieces(rows, [])
    parts, _ = _in_pieces(rows, list(range(1, len(rows))))
    assert_frame_equal(_bits(whole), _bits(parts))


@EXAMPLES
@given(transactions())
def test_features_agree_with_the_plain_definitions(rows: list[Transaction]) -> None:
    by_user = defaultdict(list)
    for row in rows:
        by_user[row["user_id"]].append(row)
    expected = {key: value for life in by_user.values() for key, value in user_features(life, rows).items()}
    features, _ = compute_features(frame(rows).sample(fraction=1.0, shuffle=True, seed=1))
    for found in features.to_dicts():
        for name, value in expected[found["transaction_id"]].items():
            if value is None or found[name] is None:
                assert value is found[name], name
            else:
                assert math.isclose(value, found[name], rel_tol=1e-9, abs_tol=1e-8), name


def test_the_plain_definitions_cover_every_feature() -> None:
    defined = user_features([_BLANK])["t"] | shared_features([_BLANK])["t"]
    labelled = {each.name for entity in shipped_plan().entities for each in from_labels(entity)}
    assert set(shipped_plan().features) - labelled == set(defined)


@EXAMPLES
@given(transactions(), st.data())
def test_what_comes_later_changes_nothing_earlier(rows: list[Transaction], data: st.DataObject) -> None:
    kept = data.draw(st.integers(min_value=1, max_value=len(rows)))
    altered: list[Transaction] = [
        {**row, "amount": row["amount"] * 7 + 1, "country": "XX", "user_id": "u1"} for row in rows[kept:]
    ]
    ids = [row["transaction_id"] for row in rows[:kept]]
    before = compute_features(frame(rows))[0].filter(pl.col("transaction_id").is_in(ids))
    after = compute_features(frame(rows[:kept] + altered))[0].filter(pl.col("transaction_id").is_in(ids))
    assert_frame_equal(_bits(before), _bits(after))


@EXAMPLES
@given(transactions())
def test_a_history_survives_its_table(rows: list[Transaction]) -> None:
    _, histories = compute_features(frame(rows))
    for history in (histories[name] for name in ("user", "device", "merchant")):
        again = History.from_frame(history.program, history.frame.reverse())
        assert_frame_equal(history.frame, again.frame)


# What ships keeps of a user: amounts, times, counts of a day, merchants, categories, devices, countries, and times of
# outsized amounts.
DAY = timedelta(days=1) // timedelta(microseconds=1)
REACH = (50, 7 * DAY, 4, 50, 20, 10, 10, 14 * DAY)


@EXAMPLES
@given(transactions())
def test_a_history_keeps_only_what_a_window_can_reach(rows: list[Transaction]) -> None:
    history = compute_features(frame(rows))[1]["user"]
    arrays = history.program.arrays
    for state in history.frame["state"].to_list():
        newest, lengths = state[1], state[kernel.HEAD + arrays.scalars :][: len(arrays.tails)]
        elements = state[kernel.HEAD + arrays.scalars + len(arrays.tails) :]
        for (kind, *_), reach, length in zip(arrays.tails.tolist(), REACH, lengths, strict=True):
            tail, elements = elements[:length], elements[length:]
            if kind < TIMES:
                assert length <= reach
            else:
                assert all(newest - reach < time <= newest for time in tail)
        assert not elements


def test_late_rows_see_what_has_arrived_up_to_their_time() -> None:
    def one(number: int, minute: int) -> pl.DataFrame:
        return _row(transaction_id=f"t{number}", timestamp=START + timedelta(minutes=minute))

    histories: Histories = {}
    seen = []
    for number, minute in enumerate([0, 50, 10, 70, 5]):
        features, histories = compute_features(one(number, minute), histories)
        seen.append((features["tx_count_1h"].item(), features["minutes_since_last"].item()))
    assert seen == [(1, None), (2, 50.0), (2, 10.0), (2, 20.0), (2, 5.0)]


def test_the_result_has_the_tables_columns_and_order() -> None:
    rows = pl.DataFrame(
        {
            "transaction_id": ["b", "a", "c"],
            "user_id": ["v", "v", "u"],
            "timestamp": pl.Series([START, START, START + timedelta(days=1)]).cast(pl.Datetime("us")),
            "amount": [1.0, 2.0, 3.0],
        }
    )
    features, _ = compute_features(rows)
    assert dict(features.schema) == shipped_plan().feature_types
    assert features["transaction_id"].to_list() == ["c", "a", "b"]
    assert features["event_date"].to_list() == [date(2026, 3, 2), START.date(), START.date()]


def test_no_transactions_give_no_features() -> None:
    features, histories = compute_features(frame([]))
    assert features.is_empty()
    assert dict(features.schema) == shipped_plan().feature_types
    assert all(len(history) == 0 for history in histories.values())


@pytest.mark.parametrize("amount", [-1.0, math.inf, math.nan, None])
def test_amounts_that_are_none_are_refused(amount: float | None) -> None:
    with pytest.raises(InvalidInput, match="amount"):
        compute_features(_row(amount=amount))


def test_missing_columns_are_named() -> None:
    with pytest.raises(InvalidInput, match="user_id"):
        compute_features(pl.DataFrame({"transaction_id": ["t"]}))


def test_a_history_kept_for_other_windows_is_refused() -> None:
    _, histories = compute_features(frame([]))
    history = histories["user"]
    stored = pl.DataFrame(
        [dict.fromkeys(history.frame.columns) | {"user_id": "u", "declaration": "another"}],
        schema=history.frame.schema,
    )
    with pytest.raises(InvalidInput, match="from the first day"):
        History.from_frame(history.program, stored)
