"""Whatever is declared: the same bits for any cut of the rows, and what the words say."""

import math
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.features.engine import compute_features, fold_in_shards, prepare
from fraud_pipelines.features.feature_plan import feature_plan
from fraud_pipelines.features.history import Histories, History, empty_histories
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines_tests.features.declared_oracle import Condition, Row, aggregates_of

EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


@st.composite
def aggregates(draw: st.DrawFn) -> str:
    """One aggregate as YAML, without a name."""
    how = draw(st.sampled_from(sorted(name for name, function in FUNCTIONS.items() if not function.labels)))
    function = FUNCTIONS[how]
    fields = [f"how: {how}"]
    if how == "speed":
        fields.append("of: [latitude, longitude]")
    elif function.columns:
        fields.append(f"of: {draw(st.sampled_from(VALUES if 'text' in function.types else NUMBERS))}")
    rows = st.integers(1, 12).map(str)
    if function.over == "either":
        fields.append(f"over: {draw(st.one_of(rows, st.sampled_from(SPANS)))}")
    elif function.over == "rows":
        fields.append(f"over: {draw(rows)}")
    options = {"window": draw(st.integers(1, 8)), "weight": draw(st.sampled_from([0.5, 5])), "share": 0.5}
    options |= {"outsized_z": draw(st.sampled_from([0.5, 2])), "outsized_days": draw(st.integers(1, 9))}
    chosen = [f"{name}: {options[name]}" for name in function.options]
    if chosen:
        fields.append(f"options: {{{', '.join(chosen)}}}")
    where = draw(st.sampled_from([None, None, *CONDITIONS]))
    if where:
        fields.append(f'where: "{where}"')
    return ", ".join(fields)


@st.composite
def declarations(draw: st.DrawFn) -> str:
    """Up to three entities with up to eight aggregates each, of which some are computed from others."""
    text = [ATTRIBUTES, "entities:"]
    for e in range(draw(st.integers(1, 3))):
        text += [f"  entity_{e}:", f"    key: {draw(st.sampled_from(KEYS))}", "    aggregates:"]
        names = []
        for a, fields in enumerate(draw(st.lists(aggregates(), min_size=1, max_size=8))):
            names.append(f"f_{e}_{a}")
            text.append(f"      - {{{fields}, name: {names[-1]}}}")
        for a in range(draw(st.integers(0, 2))):
            how = draw(st.sampled_from(["mean", "max", "sum", "std"]))
            over = draw(st.sampled_from(["3", "5", "24h"]))
            text.append(f"      - {{how: {how}, of: {draw(st.sampled_from(names))}, over: {over}, name: g_{e}_{a}}}")
            names.append(f"g_{e}_{a}")
    return "\n".join(text)


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


@EXAMPLES
@given(declarations(), transactions(), st.data())
def test_any_cut_gives_the_same_bits(tmp_path_factory: Any, text: str, rows: list[Row], data: st.DataObject) -> None:
    plan = plan_of(text, tmp_path_factory.mktemp("plan"))
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


@EXAMPLES
@given(declarations(), transactions())
def test_features_agree_with_the_words(tmp_path_factory: Any, text: str, rows: list[Row]) -> None:
    plan = plan_of(text, tmp_path_factory.mktemp("plan"))
    features, _ = compute_features(frame(rows, plan), plan=plan)
    found = {row["transaction_id"]: row for row in features.to_dicts()}
    for entity in plan.entities:
        if not entity.name.startswith("entity_"):
            continue
        expected = aggregates_of(entity, rows, CONDITIONS)
        for transaction_id, values in expected.items():
            for name, value in values.items():
                got = found[transaction_id][name]
                assert (value is None) == (got is None), (name, value, got)
                if value is not None:
                    assert math.isclose(value, got, rel_tol=1e-9, abs_tol=1e-6), (name, value, got)


def test_the_same_outsized_twice_counts_each_row_once(tmp_path: Path) -> None:
    fields = "how: outsized, of: amount, options: {outsized_z: 0.5, outsized_days: 3}"
    declared = f"entities: {{e: {{key: user_id, aggregates: [{{{fields}, name: x}}, {{{fields}, name: y}}]}}}}"
    plan = plan_of(declared, tmp_path)
    rows = [
        {"transaction_id": f"t{k}", "user_id": "u", "timestamp": START, "amount": a} for k, a in enumerate((0, 2.44, 0))
    ]
    features, _ = compute_features(frame(rows, plan), plan=plan)
    assert features.select("x", "y").rows() == [(0, 0), (0, 0), (1, 1)]
