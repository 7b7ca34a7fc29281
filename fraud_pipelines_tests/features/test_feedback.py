"""Feedback features see the labels that were known, of transactions that had time to be labelled, and no others."""

import random
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.history import Histories
from fraud_pipelines.features.label_events import LabelEvents, with_label_features
from fraud_pipelines.features.program import from_labels
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features.label_oracle import label_features
from fraud_pipelines_tests.features.oracle import Label, Transaction, shared_features
from fraud_pipelines_tests.features.random_transactions import frame, label_frame, labels, transactions
from fraud_pipelines_tests.features.stored import store

FEEDBACK = [each.name for entity in shipped_plan().entities for each in from_labels(entity)]
EXAMPLES = examples(30)


def _found(rows: list[Transaction], known: list[Label]) -> pl.DataFrame:
    past = LabelEvents.of(shipped_plan().entities, frame(rows), label_frame(known))
    return compute_features(frame(rows), past=past)[0].sort("transaction_id")


@EXAMPLES
@given(transactions(max_size=60), st.data())
def test_label_features_agree_with_the_plain_definitions(rows: list[Transaction], data: st.DataObject) -> None:
    known = data.draw(labels(rows))
    found = {row["transaction_id"]: row for row in _found(rows, known).to_dicts()}
    for entity in with_label_features(shipped_plan().entities):
        only = replace(entity, aggregates=from_labels(entity))
        for row in rows:
            expected = label_features(only, row, rows, known)
            assert {name: found[row["transaction_id"]][name] for name in expected} == expected


@EXAMPLES
@given(transactions())
def test_counts_by_device_and_merchant_agree_with_the_plain_definitions(rows: list[Transaction]) -> None:
    expected = shared_features(rows)
    features, _ = compute_features(frame(rows))
    for found in features.to_dicts():
        shared = expected[found["transaction_id"]]
        for name, value in shared.items():
            assert found[name] == (None if value is None else pytest.approx(value, rel=1e-12)), name


@EXAMPLES
@given(transactions(max_size=60), st.data())
def test_any_cut_gives_the_same_feedback(rows: list[Transaction], data: st.DataObject) -> None:
    known = data.draw(labels(rows))
    cut = data.draw(st.integers(min_value=0, max_value=len(rows)))
    past = LabelEvents.of(shipped_plan().entities, frame(rows), label_frame(known))
    parts = []
    histories: Histories = {}
    for part in (rows[:cut], rows[cut:]):
        features, histories = compute_features(frame(part), histories, past)
        parts.append(features)
    assert_frame_equal(pl.concat(parts).sort("transaction_id"), _found(rows, known))


@EXAMPLES
@given(transactions(max_size=60), st.data())
def test_labels_that_become_known_later_change_nothing(rows: list[Transaction], data: st.DataObject) -> None:
    known = data.draw(labels(rows))
    instant = rows[data.draw(st.integers(min_value=0, max_value=len(rows) - 1))]["timestamp"]
    altered: list[Label] = [
        {**label, "actual_fraud": not label["actual_fraud"]} if label["known_at"] >= instant else label
        for label in known
    ]
    so_far = pl.col("timestamp") <= instant
    assert_frame_equal(_found(rows, known).filter(so_far), _found(rows, altered).filter(so_far))


def _busy_days() -> tuple[list[Transaction], list[Label]]:
    """Transactions on days that lie at the edges of each other's windows, many of them labelled."""
    rng = random.Random(5)
    rows: list[Transaction] = []
    known: list[Label] = []
    for day in (0, 1, 7, 8, 14, 15, 37, 38):
        for _ in range(40):
            moment = datetime(2026, 3, 1) + timedelta(days=day, minutes=rng.choice([0, 1, rng.randrange(1440), 1439]))
            rows.append(
                {
                    "transaction_id": f"t{len(rows):04d}",
                    "user_id": f"u{rng.randrange(6)}",
                    "timestamp": moment,
                    "amount": rng.randrange(1, 9_999) / 100,
                    "merchant_id": rng.choice(["m1", "m2", "m3", None]),
                    "device_fingerprint": rng.choice(["d1", "d2", None]),
                    "country": "DE",
                }
            )
            for source in rng.sample(["review", "chargeback"], rng.randrange(3)):
                wait = rng.choice([timedelta(days=1), timedelta(days=7), timedelta(days=rng.randrange(30))])
                known.append(
                    {
                        "transaction_id": rows[-1]["transaction_id"],
                        "source": source,
                        "actual_fraud": rng.random() < 0.5,
                        "known_at": moment + wait,
                    }
                )
    return rows, known


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    found = warehouse_at(tmp_path / "fraud.duckdb")
    found.initialise()
    return found


def test_the_warehouse_gives_day_by_day_what_memory_gives_at_once(warehouse: Warehouse) -> None:
    rows, known = _busy_days()
    store(warehouse, rows, known)
    for day in sorted({row["timestamp"].date() for row in rows}):
        derive_day(warehouse, day, plan=shipped_plan())
    found = warehouse.read("SELECT * FROM features.transaction_features ORDER BY transaction_id")
    expected = _found(rows, known)
    assert_frame_equal(found, expected)
    assert expected.select(pl.col(FEEDBACK).n_unique()).row(0) > (3, 3, 3, 3)


def test_a_late_transaction_outdates_the_days_whose_risk_it_changes(warehouse: Warehouse) -> None:
    rows = [row for row in _busy_days()[0] if row["merchant_id"]]
    store(warehouse, rows)
    days = sorted({row["timestamp"].date() for row in rows})
    for day in days:
        derive_day(warehouse, day, plan=shipped_plan())
    store(warehouse, [{**rows[0], "transaction_id": "late", "user_id": "u7", "device_fingerprint": None}])
    next_day, within_a_week, *reached, beyond = days[1:]
    assert derive_day(warehouse, days[0], plan=shipped_plan()).outdated_days == (next_day, within_a_week, *reached)
    assert (next_day, within_a_week, beyond) == (date(2026, 3, 2), date(2026, 3, 8), date(2026, 4, 8))
