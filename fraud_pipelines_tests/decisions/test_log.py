"""The decision log: what a rerun keeps, what it adds, what the stream may append, and when a day stops being stale."""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.log import Recorded, append_decisions, record_decisions
from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse

DAY = date(2026, 10, 1)
MONDAY, TUESDAY, WEDNESDAY = datetime(2026, 10, 2, 0, 31), datetime(2026, 10, 3, 9, 0), datetime(2026, 10, 4, 9, 0)
ENGINE = DecisionEngine(policy_named("balanced"), initial_thresholds(policy_named("balanced"), DAY))


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    return warehouse


def decided(**decisions: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "transaction_id": list(decisions),
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


def record(warehouse: Warehouse, now: datetime, channel: str = "batch", **decisions: str) -> Recorded:
    return record_decisions(warehouse, decided(**decisions), engine=ENGINE, day=DAY, channel=channel, now=now)


def append(warehouse: Warehouse, now: datetime, **decisions: str) -> None:
    with warehouse.transaction() as connection:
        append_decisions(connection, decided(**decisions), engine=ENGINE, channel="stream", now=now)


def in_force(warehouse: Warehouse) -> list[tuple[str, str, datetime]]:
    return warehouse.read("SELECT transaction_id, decision, decided_at FROM scoring.decisions ORDER BY ALL").rows()


def log(warehouse: Warehouse) -> list[tuple[str, int, str, str | None]]:
    return warehouse.read(
        "SELECT transaction_id, revision, action, decision FROM scoring.decision_revisions ORDER BY sequence"
    ).rows()


def test_a_decision_that_comes_out_the_same_keeps_its_time_and_adds_nothing(warehouse: Warehouse) -> None:
    first = record(warehouse, MONDAY, a="approve", b="review")

    again = record(warehouse, TUESDAY, a="approve", b="review")

    assert (first.new, first.revised, first.withdrawn) == (2, 0, 0)
    assert again == Recorded(new=0, revised=0, withdrawn=0, head=first.head)
    assert in_force(warehouse) == [("a", "approve", MONDAY), ("b", "review", MONDAY)]
    assert log(warehouse) == [("a", 1, "decided", "approve"), ("b", 1, "decided", "review")]


def test_what_changed_becomes_a_revision_and_what_vanished_is_withdrawn(warehouse: Warehouse) -> None:
    record(warehouse, MONDAY, a="approve", b="review", c="block")

    second = record(warehouse, TUESDAY, a="approve", b="block", d="review")

    assert (second.new, second.revised, second.withdrawn) == (1, 1, 1)
    assert in_force(warehouse) == [("a", "approve", MONDAY), ("b", "block", TUESDAY), ("d", "review", TUESDAY)]
    assert log(warehouse)[:3] == [
        ("a", 1, "decided", "approve"),
        ("b", 1, "decided", "review"),
        ("c", 1, "decided", "block"),
    ]
    assert log(warehouse)[3:] == [
        ("b", 2, "decided", "block"),
        ("c", 2, "withdrawn", None),
        ("d", 1, "decided", "review"),
    ]


def test_what_was_withdrawn_can_be_decided_again(warehouse: Warehouse) -> None:
    record(warehouse, MONDAY, a="approve", b="review")
    record(warehouse, TUESDAY, a="approve")

    third = record(warehouse, WEDNESDAY, a="approve", b="review")

    assert (third.new, third.revised) == (0, 1)
    assert log(warehouse)[2:] == [("b", 2, "withdrawn", None), ("b", 3, "decided", "review")]
    assert in_force(warehouse)[1] == ("b", "review", WEDNESDAY)


def test_every_column_of_a_decision_counts_as_a_change(warehouse: Warehouse) -> None:
    record(warehouse, MONDAY, a="review")
    for column, value in (
        ("score", 0.6),
        ("reason", "rule:x"),
        ("reason_codes", ["other"]),
        ("policy", "own"),
        ("review_threshold", 0.4),
        ("block_threshold", 0.9),
        ("model_versions", ["fraud-daily/2"]),
    ):
        other = decided(a="review").with_columns(pl.lit(pl.Series([value])).alias(column))
        recorded = record_decisions(warehouse, other, engine=ENGINE, day=DAY, channel="batch", now=TUESDAY)
        assert recorded.revised == 1, column
        record(warehouse, TUESDAY, a="review")


def test_the_other_channel_is_left_alone(warehouse: Warehouse) -> None:
    append(warehouse, MONDAY, a="review")

    recorded = record(warehouse, TUESDAY, a="approve")

    assert recorded.new == 1
    assert sorted(in_force(warehouse)) == [("a", "approve", TUESDAY), ("a", "review", MONDAY)]


def test_a_stream_decision_is_logged_once_or_its_batch_not_at_all(warehouse: Warehouse) -> None:
    append(warehouse, MONDAY, a="review", b="approve")

    with pytest.raises(InvalidInput, match="'b' was decided before"):
        append(warehouse, TUESDAY, c="approve", b="approve")
    twice = pl.concat([decided(d="review"), decided(d="block")])
    with warehouse.connect() as connection, pytest.raises(InvalidInput, match="'d' stands twice"):
        append_decisions(connection, twice, engine=ENGINE, channel="stream", now=TUESDAY)

    append(warehouse, TUESDAY)
    append(warehouse, TUESDAY, c="block")
    assert [row[0] for row in log(warehouse)] == ["a", "b", "c"]
    assert [row[0] for row in in_force(warehouse)] == ["a", "b", "c"]


def test_what_decided_is_kept_once_and_named_by_every_entry(warehouse: Warehouse) -> None:
    record(warehouse, MONDAY, a="approve", b="review")
    record(warehouse, TUESDAY, a="approve", b="block")

    kept = warehouse.read("SELECT hash, kind, content FROM scoring.policy_versions WHERE first_used_at = ?", [MONDAY])
    named = warehouse.read("SELECT DISTINCT policy_hash, thresholds_hash, rules_hash FROM scoring.decision_revisions")
    assert sorted(kept.rows()) == sorted((each.hash, each.kind, each.content) for each in ENGINE.versions)
    assert named.rows() == [tuple(each.hash for each in ENGINE.versions)]


def test_a_day_is_fresh_again_once_it_is_decided(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute("INSERT INTO raw.stale_days VALUES (?, '3 transactions arrived late', ?)", [DAY, MONDAY])

    record(warehouse, TUESDAY, a="approve")

    assert warehouse.read("FROM raw.stale_days").is_empty()


def test_a_mark_set_after_the_day_was_scored_outlives_its_decisions(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO scoring.transaction_scores VALUES ('a', 'fraud-daily', 'batch', ?, 1, 0.1, 0.1, false, ?)",
            [DAY, MONDAY],
        )
        connection.execute("INSERT INTO raw.stale_days VALUES (?, 'late', ?)", [DAY, MONDAY + timedelta(minutes=1)])

    record(warehouse, TUESDAY, a="approve")

    assert warehouse.read("FROM raw.stale_days").height == 1
