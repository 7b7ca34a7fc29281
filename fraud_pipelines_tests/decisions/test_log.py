"""The decision log: what a rerun keeps, what it traces, and when a day stops being stale."""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.decisions.log import record_decisions
from fraud_pipelines.storage.warehouse import Warehouse

DAY = date(2026, 10, 1)
MONDAY, TUESDAY = datetime(2026, 10, 2, 0, 31), datetime(2026, 10, 3, 9, 0)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    return warehouse


def decided(**decisions: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "transaction_id": list(decisions),
            "channel": "batch",
            "event_date": DAY,
            "decision": list(decisions.values()),
            "score": 0.5,
            "reason": "flagged_for_review",
            "reason_codes": [["amount is 14× this customer's usual"]] * len(decisions),
            "policy": "balanced",
            "review_threshold": 0.5,
            "block_threshold": 0.8,
            "model_versions": [["fraud-daily/1", "fraud-ensemble/1"]] * len(decisions),
        }
    )


def stored(warehouse: Warehouse, table: str = "scoring.decisions") -> list[tuple[str, str, datetime]]:
    return warehouse.read(f"SELECT transaction_id, decision, decided_at FROM {table} ORDER BY 1").rows()


def test_a_decision_that_comes_out_the_same_keeps_its_time(warehouse: Warehouse) -> None:
    record_decisions(warehouse, decided(a="approve", b="review"), day=DAY, channel="batch", now=MONDAY)

    superseded = record_decisions(warehouse, decided(a="approve", b="review"), day=DAY, channel="batch", now=TUESDAY)

    assert superseded == 0
    assert stored(warehouse) == [("a", "approve", MONDAY), ("b", "review", MONDAY)]
    assert stored(warehouse, "scoring.superseded_decisions") == []


def test_only_what_changed_or_vanished_is_superseded(warehouse: Warehouse) -> None:
    record_decisions(warehouse, decided(a="approve", b="review", c="block"), day=DAY, channel="batch", now=MONDAY)

    superseded = record_decisions(
        warehouse, decided(a="approve", b="block", d="review"), day=DAY, channel="batch", now=TUESDAY
    )

    assert superseded == 2
    assert stored(warehouse) == [("a", "approve", MONDAY), ("b", "block", TUESDAY), ("d", "review", TUESDAY)]
    assert stored(warehouse, "scoring.superseded_decisions") == [("b", "review", MONDAY), ("c", "block", MONDAY)]


def test_the_other_channel_is_left_alone(warehouse: Warehouse) -> None:
    streamed = decided(a="review").with_columns(channel=pl.lit("stream"))
    record_decisions(warehouse, streamed, day=DAY, channel="stream", now=MONDAY)

    record_decisions(warehouse, decided(a="approve"), day=DAY, channel="batch", now=TUESDAY)

    assert sorted(stored(warehouse)) == [("a", "approve", TUESDAY), ("a", "review", MONDAY)]


def test_a_day_is_fresh_again_once_it_is_decided(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute("INSERT INTO raw.stale_days VALUES (?, '3 transactions arrived late', ?)", [DAY, MONDAY])

    record_decisions(warehouse, decided(a="approve"), day=DAY, channel="batch", now=TUESDAY)

    assert warehouse.read("FROM raw.stale_days").is_empty()


def test_a_mark_set_after_the_day_was_scored_outlives_its_decisions(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO scoring.transaction_scores VALUES ('a', 'fraud-daily', 'batch', ?, 1, 0.1, 0.1, false, ?)",
            [DAY, MONDAY],
        )
        connection.execute("INSERT INTO raw.stale_days VALUES (?, 'late', ?)", [DAY, MONDAY + timedelta(minutes=1)])

    record_decisions(warehouse, decided(a="approve"), day=DAY, channel="batch", now=TUESDAY)

    assert warehouse.read("FROM raw.stale_days").height == 1
