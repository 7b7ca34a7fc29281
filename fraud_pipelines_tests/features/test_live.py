"""Histories held in memory give the bits of the batch, one transaction or many at a time."""

import math
import struct
from datetime import timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features import kernel
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.history import History
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features.oracle import Transaction
from fraud_pipelines_tests.features.random_transactions import START, frame, label_frame, labels, transactions

EXAMPLES = examples(30)
ORDER = ("user_id", "timestamp", "transaction_id")


def _bits(features: pl.DataFrame) -> pl.DataFrame:
    """Floats as their bits, so that 0.0 and -0.0 differ."""
    floats = [name for name, dtype in features.schema.items() if dtype == pl.Float64]
    return features.with_columns(pl.col(name).reinterpret(signed=True) for name in floats)


def _fold_one(live: LiveHistories, row: Transaction) -> pl.DataFrame:
    return pl.DataFrame([live.fold_one({**row})], schema=shipped_plan().feature_types)


@EXAMPLES
@given(transactions(), st.data())
def test_any_cut_and_single_transactions_give_the_bits_of_the_batch(
    rows: list[Transaction], data: st.DataObject
) -> None:
    past = LabelEvents.of(shipped_plan().entities, frame(rows), label_frame(data.draw(labels(rows))))
    expected, histories = compute_features(frame(rows), past=past)
    cuts = data.draw(st.lists(st.integers(min_value=0, max_value=len(rows)), max_size=8))
    live = LiveHistories(past=past)
    parts = []
    for start, end in pairwise(sorted({0, *cuts, len(rows)})):
        if data.draw(st.booleans()):
            parts.append(live.fold(frame(rows[start:end])))
        else:
            parts += [_fold_one(live, row) for row in rows[start:end]]
    assert_frame_equal(_bits(pl.concat(parts).sort(*ORDER)), _bits(expected))
    for name, history in live.histories().items():
        assert_frame_equal(history.frame, histories[name].frame)


@EXAMPLES
@given(transactions(), st.data())
def test_it_goes_on_from_stored_histories(rows: list[Transaction], data: st.DataObject) -> None:
    cut = data.draw(st.integers(min_value=0, max_value=len(rows)))
    _, histories = compute_features(frame(rows[:cut]))
    expected, _ = compute_features(frame(rows[cut:]), histories)
    assert_frame_equal(_bits(LiveHistories(histories).fold(frame(rows[cut:]))), _bits(expected))


def _totals(history: History) -> list[tuple[str, int, float]]:
    """User, number of transactions, and the sum of their amounts, which `ratio_to_mean` keeps."""
    place = kernel.HEAD + 2 * history.program.scalar_uses.index("ratio") + 1
    return [
        (user, transactions, struct.unpack("<d", struct.pack("<q", state[place]))[0])
        for user, transactions, state in history.frame.select("user_id", "transactions", "state").iter_rows()
    ]


def _row(**values: object) -> dict[str, object]:
    return {"transaction_id": "t", "user_id": "u", "timestamp": START, "amount": 1.0, **values}


def test_late_transactions_see_what_the_batch_path_lets_them_see() -> None:
    live = LiveHistories()
    histories = None
    for number, minute in enumerate([0, 50, 10, 70, 5]):
        row = _row(transaction_id=f"t{number}", timestamp=START + timedelta(minutes=minute), country="DE")
        rows = pl.DataFrame([row], schema_overrides={"timestamp": pl.Datetime("us")})
        expected, histories = compute_features(rows, histories)
        assert live.fold_one(row) == expected.row(0, named=True)


def test_beyond_the_limit_the_longest_idle_are_forgotten() -> None:
    live = LiveHistories(limit=2)
    for user in ("a", "b", "a", "c"):
        live.fold_one(_row(user_id=user))
    known = live.histories()["user"]
    assert known.frame["user_id"].to_list() == ["a", "c"]
    coming = pl.DataFrame({"user_id": ["b", "a"], "device_fingerprint": [None, "d"], "merchant_id": [None, None]})
    assert live.unknown(coming) == {"user": ["b"], "device": ["d"], "merchant": []}
    live.warm({"user": known})
    assert live.unknown(coming)["user"] == ["b"]
    # Asked for, "a" was active last: what is warmed for "b" takes the place of "c".
    live.warm({"user": History.from_frame(known.program, known.frame.head(1).with_columns(user_id=pl.lit("b")))})
    assert live.histories()["user"].frame["user_id"].to_list() == ["a", "b"]


def test_what_changed_is_told_once_even_of_those_forgotten_since() -> None:
    live = LiveHistories(limit=1, keep_changes=True)
    live.warm(compute_features(pl.DataFrame([_row(user_id="z")], schema_overrides={"timestamp": TIMESTAMP}))[1])
    assert live.changed()["user"].frame.is_empty()
    live.fold_one(_row(user_id="a", amount=1.0))
    live.fold_one(_row(user_id="b", amount=2.0))
    live.fold_one(_row(user_id="b", amount=3.0))
    changed = live.changed()
    assert _totals(changed["user"]) == [("a", 1, 1.0), ("b", 2, 5.0)]
    assert changed["merchant"].frame.is_empty()
    live.fold_one(_row(user_id="b", amount=4.0))
    assert _totals(live.changed()["user"]) == [("b", 3, 9.0)]
    assert all(history.frame.is_empty() for history in live.changed().values())


def test_who_is_forgotten_and_comes_back_is_new_in_what_changed_too() -> None:
    live = LiveHistories(limit=1, keep_changes=True)
    for user, amount in (("a", 1.0), ("b", 2.0), ("a", 3.0), ("c", 4.0), ("d", 5.0)):
        live.fold_one(_row(user_id=user, amount=amount))
    changed = _totals(live.changed()["user"])
    assert changed == [("a", 1, 3.0), ("b", 1, 2.0), ("c", 1, 4.0), ("d", 1, 5.0)]
    live.fold_one(_row(user_id="e", amount=6.0))
    assert _totals(live.histories()["user"]) == [("e", 1, 6.0)]


def test_many_entities_with_growing_histories_give_the_bits_of_the_batch() -> None:
    numbers = pl.DataFrame({"n": range(3_000)})
    rows = numbers.select(
        transaction_id=pl.format("t{}", pl.col("n").cast(pl.String).str.zfill(5)),
        user_id=pl.format("u{}", pl.col("n") * 7 % 400),
        timestamp=pl.lit(START).cast(TIMESTAMP) + pl.duration(minutes=pl.col("n") * 11),
        amount=(pl.col("n") * 37 % 1009) / 10,
        merchant_id=pl.format("m{}", pl.col("n") * pl.col("n") % 150),
        country=pl.when(pl.col("n") % 9 == 0).then(pl.lit("FR")).otherwise(pl.lit("DE")),
    )
    expected, histories = compute_features(rows)
    live = LiveHistories()
    found = pl.concat([live.fold(piece) for piece in rows.iter_slices(700)]).sort(*ORDER)
    assert_frame_equal(_bits(found), _bits(expected))
    assert_frame_equal(live.histories()["user"].frame, histories["user"].frame)


def test_changes_that_were_not_kept_are_not_taken_for_none() -> None:
    with pytest.raises(RuntimeError, match="keep_changes"):
        LiveHistories().changed()


@pytest.mark.parametrize(
    "wrong",
    [{"amount": -1.0}, {"amount": math.nan}, {"amount": None}, {"user_id": 7}, {"timestamp": "2026-03-01"}],
)
def test_a_refused_transaction_leaves_no_trace(wrong: dict[str, object]) -> None:
    live = LiveHistories()
    live.fold_one(_row())
    before = live.histories()["user"].frame
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        live.fold_one(_row(**wrong))
    assert_frame_equal(live.histories()["user"].frame, before)
