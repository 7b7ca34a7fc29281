"""Declared columns, random rows of them, and what holds of every feature: equal bits for any cut, and an oracle."""

import math
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.features.engine import compute_features, fold_in_shards, prepare
from fraud_pipelines.features.feature_plan import feature_plan
from fraud_pipelines.features.history import Histories, History, empty_histories
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features.declared_oracle import Condition, Row, aggregates_of

EXAMPLES = examples(40, unchecked=[HealthCheck.too_slow])
START = datetime(2026, 3, 1)

ATTRIBUTES = """
attributes:
  status: {type: text}
  card_id: {type: text}
  points: {type: integer}
  balance: {type: number}
  is_online: {type: boolean}
  latitude: {type: number, min: -90, max: 90}
  longitude: {type: number, min: -180, max: 180}
"""

CONDITIONS: dict[str, Condition] = {
    "status = 'declined'": lambda row: row["status"] == "declined",
    "is_online": lambda row: row["is_online"] is True,
    "amount > 20 or balance is null": lambda row: row["amount"] > 20 or row["balance"] is None,
}
KEYS = ("card_id", "user_id", "[user_id, merchant_id]", "[card_id, country, merchant_id]")
NUMBERS = ("amount", "balance", "points")
VALUES = ("status", "merchant_id", "balance", "points", "is_online", "amount")
SPANS = ("30m", "1h", "24h", "7d")


_steps = st.one_of(
    st.just(timedelta(0)),
    st.sampled_from([timedelta(minutes=30), timedelta(hours=1), timedelta(hours=24), timedelta(days=7)]),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(minutes=90)),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9)),
)


@st.composite
def transactions(draw: st.DrawFn, max_size: int = 120) -> list[Row]:
    """Transactions in order of time, with every kind of column, often null."""
    moment = START
    rows: list[Row] = []
    cents = st.integers(0, 9_000).map(lambda value: value / 100)
    for number in draw(st.permutations(range(draw(st.integers(1, max_size))))):
        moment += draw(_steps)
        rows.append(
            {
                "transaction_id": f"t{number:03d}",
                "user_id": f"u{draw(st.integers(1, 2))}",
                "timestamp": moment,
                "amount": draw(cents),
                "merchant_id": draw(st.sampled_from(["m", "m1", "", None])),
                "country": draw(st.sampled_from(["DE", "FR", None])),
                "status": draw(st.sampled_from(["declined", "approved", "ü", None])),
                "card_id": draw(st.sampled_from(["c1", None])),
                "points": draw(st.sampled_from([-3, 0, 7, None])),
                "balance": draw(st.one_of(st.none(), st.sampled_from([0.0, -0.0, -12.5, 1e7]), cents)),
                "is_online": draw(st.sampled_from([True, False, None])),
                "latitude": draw(st.sampled_from([None, 48.2, 48.3, -90.0, 0.0])),
                "longitude": draw(st.sampled_from([None, 16.4, 180.0, -180.0, 0.0])),
                "merchant_category": draw(st.sampled_from(["a", "b", None])),
                "local_time": draw(st.sampled_from([None, None, moment + timedelta(hours=9, minutes=30)])),
                "date_only": draw(st.sampled_from([None, False, True])),
            }
        )
    return sorted(rows, key=lambda row: (row["timestamp"], row["transaction_id"]))


def frame(rows: list[Row], plan: Plan) -> pl.DataFrame:
    types = plan.attribute_types
    return pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=pl.Schema(types))


def bits(features: pl.DataFrame) -> pl.DataFrame:
    """Floats as their bits, so that 0.0 and -0.0 differ."""
    floats = [name for name, dtype in features.schema.items() if dtype == pl.Float64]
    return features.with_columns(pl.col(name).reinterpret(signed=True) for name in floats)


def plan_of(text: str, folder: Path) -> Plan:
    path = folder / "fraud.yaml"
    path.write_text(text)
    return compile_plan(path)


def assert_any_cut_gives_the_same_bits(plan: Plan, rows: list[Row], data: st.DataObject) -> None:
    """As a whole, in batches, in a stream of micro-batches and single rows, and in shards."""
    compiled = feature_plan(plan)
    whole, history = compute_features(frame(rows, plan), plan=plan)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=6)))

    histories: Histories = {}
    parts = []
    live = LiveHistories(plan=plan)
    streamed = []
    for start, end in pairwise([0, *cuts, len(rows)]):
        features, histories = compute_features(frame(rows[start:end], plan), histories, plan=plan)
        parts.append(features)
        if data.draw(st.booleans()):
            streamed.append(live.fold(frame(rows[start:end], plan)))
        else:
            single = [live.fold_one(row) for row in rows[start:end]]
            streamed.append(pl.DataFrame(single, schema=pl.Schema(plan.feature_types)))
    order = ("user_id", "timestamp", "transaction_id")
    assert_frame_equal(bits(whole), bits(pl.concat(parts).sort(order)))
    assert_frame_equal(bits(whole), bits(pl.concat(streamed).sort(order)))
    for name, each in history.items():
        assert_frame_equal(each.frame, histories[name].frame)
        assert_frame_equal(each.frame, live.histories()[name].frame)

    changed: dict[str, History] = {}
    prepared = prepare(frame(rows, plan), compiled)
    shards = fold_in_shards(
        prepared, empty_histories(compiled.programs), LabelEvents.nothing(plan.entities), changed, shard_rows=7
    )
    assert_frame_equal(bits(whole), bits(pl.concat(list(shards))))


def assert_as_the_oracle_says(plan: Plan, rows: list[Row]) -> None:
    """To 1e-9, for every entity whose name begins with ``entity_``."""
    features, _ = compute_features(frame(rows, plan), plan=plan)
    found = {row["transaction_id"]: row for row in features.to_dicts()}
    for entity in plan.entities:
        if not entity.name.startswith("entity_"):
            continue
        expected = aggregates_of(entity, rows, CONDITIONS)
        for transaction_id, values in expected.items():
            for name, value in values.items():
                got = found[transaction_id][name]
                told = f"{name} of {transaction_id}: the reference says {value}, the fold {got}"
                assert (value is None) == (got is None), told
                if value is not None:
                    assert math.isclose(value, got, rel_tol=1e-9, abs_tol=1e-6), told
