"""Refunds: no feature sees them, to the bit and for any cut, but those whose condition asks for the kind."""

import math
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.history import Histories
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.features.program import passes
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.kinds import payments_of
from fraud_pipelines_tests.features.declared_oracle import Condition, Row, aggregates_of
from fraud_pipelines_tests.features.random_declarations import EXAMPLES, bits, frame, plan_of, transactions
from fraud_pipelines_tests.features.test_any_declaration import declarations
from fraud_pipelines_tests.plan.files import problems_of

ASKING: dict[str, Condition] = {
    "kind = 'refund'": lambda row: row["kind"] == "refund",
    "kind = 'refund' and amount > 20": lambda row: row["kind"] == "refund" and row["amount"] > 20,
    "kind in ('payment', 'refund')": lambda row: row["kind"] is not None,
}
REFUNDS = """
  asked:
    key: user_id
    aggregates:
      - {how: count, over: 24h, where: "kind = 'refund'", name: refunds_24h}
      - {how: sum, of: amount, over: 5, where: "kind = 'refund' and amount > 20", name: large_refunds}
      - {how: minutes_since_last, where: "kind in ('payment', 'refund')", name: since_any}
      - {how: max, of: refunds_24h, over: 7d, where: "kind = 'refund'", name: most_refunds}
      - {how: count, over: 24h, name: payments_24h}
"""


@st.composite
def with_refunds(draw: st.DrawFn) -> list[Row]:
    return [row | {"kind": draw(st.sampled_from(["payment", "refund", None]))} for row in draw(transactions(60))]


def payments(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["kind"] != "refund"]


@pytest.mark.slow
@EXAMPLES
@given(declarations(), with_refunds(), st.data())
def test_no_refund_changes_what_does_not_ask_for_it(
    tmp_path_factory: Any, text: str, rows: list[Row], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("plan")
    plan, asking = plan_of(text, folder), plan_of(text + REFUNDS, folder)
    expected, _ = compute_features(frame(payments(rows), plan), plan=plan)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    histories: Histories = {}
    live = LiveHistories(plan=asking)
    parts, streamed = [], []
    for start, end in pairwise([0, *cuts, len(rows)]):
        features, histories = compute_features(frame(rows[start:end], asking), histories, plan=asking)
        parts.append(features)
        if data.draw(st.booleans()):
            streamed.append(live.fold(frame(rows[start:end], asking)))
        else:
            single = [found for row in rows[start:end] if (found := live.fold_one(row))]
            streamed.append(pl.DataFrame(single, schema=pl.Schema(asking.feature_types)))
    order = ("user_id", "timestamp", "transaction_id")
    whole = pl.concat(parts).sort(order)
    assert_frame_equal(bits(expected), bits(whole.select(expected.columns)))
    assert_frame_equal(bits(whole), bits(pl.concat(streamed).sort(order)))
    without, _ = compute_features(frame(rows, plan), plan=plan)
    assert_frame_equal(bits(expected), bits(without))


@EXAMPLES
@given(with_refunds())
def test_what_asks_for_refunds_counts_them(tmp_path_factory: Any, rows: list[Row]) -> None:
    plan = plan_of("entities:" + REFUNDS, tmp_path_factory.mktemp("plan"))
    features, _ = compute_features(frame(rows, plan), plan=plan)
    found = {row["transaction_id"]: row for row in features.to_dicts()}
    assert found.keys() == {row["transaction_id"] for row in payments(rows)}
    [seeing] = [each for each in passes(plan) if each.name == "asked__with_refunds"]
    for transaction_id, values in aggregates_of(seeing, rows, ASKING).items():
        for name, value in values.items() if transaction_id in found else ():
            got = found[transaction_id][name]
            assert (value is None) == (got is None), (name, value, got)
            assert value is None or math.isclose(value, got, rel_tol=1e-9, abs_tol=1e-6), (name, value, got)


def test_what_is_aggregated_sees_refunds_as_what_aggregates_it_does(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        """
        entities:
          card:
            key: user_id
            aggregates:
              - {how: count, over: 24h, where: "kind = 'refund'", name: refunds_24h}
              - {how: mean, of: refunds_24h, over: 5, name: refunds_usual}
          card__with_refunds:
            key: user_id
            aggregates: [{how: count, over: 24h}]
        """,
    )
    assert [(line, key) for line, key, _ in problems] == [
        (7, "entities.card.aggregates[1].of"),
        (8, "entities.card__with_refunds"),
    ]
    assert "kind must stand in both conditions or in neither" in problems[0][2]


def test_that_there_are_kinds_changes_the_version_of_no_declarations(tmp_path: Path) -> None:
    assert shipped_plan().version == "e312d0f71e49"
    asking = plan_of("entities:" + REFUNDS, tmp_path)
    assert asking.version != shipped_plan().version
    names = [*shipped_plan().features]
    assert asking.version_of(names) == shipped_plan().version_of(names)


DAYS = [datetime(2026, 3, day) for day in (1, 2, 3, 4)]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    return warehouse


def store(warehouse: Warehouse, *rows: tuple[str, datetime, float, str]) -> None:
    stored = pl.DataFrame(
        [{"transaction_id": i, "user_id": "u", "timestamp": at, "amount": x, "kind": kind} for i, at, x, kind in rows],
        schema_overrides={"timestamp": pl.Datetime("us")},
    ).with_columns(event_date=pl.col("timestamp").dt.date(), source=pl.lit("x"), ingested_at=pl.col("timestamp"))
    with warehouse.transaction() as connection:
        insert(connection, "raw.transactions", stored)


def derived(warehouse: Warehouse, plan: Plan, *days: datetime) -> pl.DataFrame:
    for day in days:
        derive_day(warehouse, day.date(), plan=plan)
    return warehouse.read("FROM features.transaction_features ORDER BY transaction_id")


def test_a_day_of_refunds_alone_is_folded_with_the_next_day_of_payments(warehouse: Warehouse, tmp_path: Path) -> None:
    plan = plan_of("entities:" + REFUNDS.replace("over: 24h", "over: 7d"), tmp_path)
    noon = timedelta(hours=12)
    rows = [
        ("p1", DAYS[0] + noon, 10.0, "payment"),
        ("r1", DAYS[1] + noon, 30.0, "refund"),
        ("r2", DAYS[3] + noon / 2, 40.0, "refund"),
        ("p2", DAYS[3] + noon, 20.0, "payment"),
    ]
    store(warehouse, *rows)
    derived(warehouse, plan, DAYS[0])
    with pytest.raises(MissingData, match="no transactions of 2026-03-02"):
        derive_day(warehouse, date(2026, 3, 2), plan=plan)
    features = derived(warehouse, plan, DAYS[3])
    assert features.select("transaction_id", "refunds_24h", "large_refunds", "payments_24h", "tx_count_7d").rows() == [
        ("p1", 0, 0.0, 1, 1),
        ("p2", 2, 70.0, 2, 2),
    ]
    whole, _ = compute_features(
        warehouse.read("SELECT * EXCLUDE (event_date, source, ingested_at) FROM raw.transactions"), plan=plan
    )
    assert_frame_equal(bits(whole.sort("transaction_id")), bits(features.select(whole.columns)))


def test_a_label_of_a_refund_enters_no_rate_and_no_count(warehouse: Warehouse) -> None:
    store(warehouse, ("r1", DAYS[0], 30.0, "refund"), ("p1", DAYS[0], 5.0, "payment"), ("p2", DAYS[3], 5.0, "payment"))
    with warehouse.transaction() as connection:
        for transaction_id in ("r1", "p1"):
            label = [transaction_id, DAYS[1], DAYS[1]]
            connection.execute(
                "INSERT INTO feedback.labels (transaction_id, actual_fraud, source, known_at, ingested_at) "
                "VALUES (?, true, 'chargeback', ?, ?)",
                label,
            )
    features = derived(warehouse, shipped_plan(), DAYS[0], DAYS[3])
    assert features["user_fraud_count_30d"].to_list() == [0, 1]


def test_payments_are_all_but_refunds() -> None:
    rows = pl.DataFrame({"kind": ["payment", "refund", None, "withdrawal"]})
    assert payments_of(rows)["kind"].to_list() == ["payment", None, "withdrawal"]
    assert payments_of(rows.drop("kind").with_columns(x=1)).height == 4
