"""Deliveries: one is taken back whole, and the right mapping then works as if it had been the first."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.decisions.chargebacks import land_chargebacks
from fraud_pipelines.decisions.deliveries import deliveries, find_delivery, undo_delivery
from fraud_pipelines.decisions.labels import land_labels
from fraud_pipelines.decisions.review import record_verdict
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.landing import LandingReport, land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping

NOW = datetime(2026, 6, 1)
ENTITIES = shipped_plan().entities
TABLES = (
    *("raw.transactions", "raw.rejected_transactions", "raw.left_out_rows", "raw.landed_files", "raw.redeliveries"),
    *("feedback.labels", "feedback.superseded_labels", "feedback.rejected_labels"),
)
RIGHT: dict[str, Any] = {"columns": {"user_id": "card"}, "label": {"column": "fraud"}}
WRONG: dict[str, Any] = {"columns": {"user_id": "shop"}, "label": {"column": "fraud"}}
HEADER = "transaction_id,card,shop,timestamp,amount,fraud"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    return warehouse


class Clock:
    """A later instant each time."""

    def __init__(self) -> None:
        self.instant = NOW

    def __call__(self) -> datetime:
        self.instant += timedelta(seconds=1)
        return self.instant


def write(path: Path, first: int, rows: int, *, day: int = 5) -> Path:
    lines = [
        f"t{k},c{k % 3},s{k % 2},2026-01-{day:02d}T10:00:{k:02d},{k + 1},{k % 4 == 0:d}"
        for k in range(first, first + rows)
    ]
    path.write_text("\n".join([HEADER, *lines, "broken"]) + "\n")
    return path


def land(warehouse: Warehouse, path: Path, mapping: dict[str, Any], now: datetime) -> LandingReport:
    return land_transactions(warehouse, path, ColumnMapping.model_validate(mapping), now=now)


def content(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """All tables without the instants of ingestion."""
    frames = {}
    for table in TABLES:
        frame = warehouse.read(f"SELECT * FROM {table}")
        frame = frame.drop("ingested_at", "rejected_at", "left_out_at", "landed_at", strict=False)
        frames[table] = frame.sort(frame.columns)
    return frames


def assert_same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> None:
    for table in TABLES:
        assert_frame_equal(one[table], other[table])


def test_after_it_was_taken_back_the_right_mapping_gives_what_it_gives_at_first(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    path, clock = write(tmp_path / "x.csv", 0, 9), Clock()
    assert land(warehouse, path, WRONG, clock()).rows_accepted == 9
    assert land(warehouse, path, RIGHT, clock()).rejected_by_reason["conflict"] == 9
    undo_delivery(warehouse, deliveries(warehouse)[0], now=clock())
    undone = undo_delivery(warehouse, deliveries(warehouse)[0], now=clock())
    assert (undone.transactions, undone.labels, undone.rejected) == (9, 3, 1)
    assert all(frame.is_empty() for frame in content(warehouse).values())
    land(warehouse, path, RIGHT, clock())

    fresh = warehouse_at(tmp_path / "fresh.duckdb")
    fresh.initialise()
    land(fresh, path, RIGHT, NOW)
    assert_same(content(warehouse), content(fresh))
    record = warehouse.read(
        "SELECT source, transactions, labels, rejected FROM raw.undone_deliveries ORDER BY undone_at"
    )
    assert record.rows() == [("x.csv", 0, 0, 10), ("x.csv", 9, 3, 1)]


def test_the_middle_of_three_goes_and_what_repeated_it_comes_in_again(warehouse: Warehouse, tmp_path: Path) -> None:
    clock = Clock()
    one, two = write(tmp_path / "1.csv", 0, 4), write(tmp_path / "2.csv", 4, 4)
    three = write(tmp_path / "3.csv", 6, 4)  # t6 and t7 are in the second, too
    for path in (one, two, three):
        land(warehouse, path, RIGHT, clock())
    undone = undo_delivery(warehouse, find_delivery(warehouse, "2.csv"), now=clock())
    assert (undone.transactions, undone.reopened) == (4, 2)
    again = land(warehouse, three, RIGHT, clock())
    assert (again.rows_accepted, again.already_landed) == (2, True)
    ids = warehouse.read("SELECT transaction_id FROM raw.transactions ORDER BY ALL")["transaction_id"].to_list()
    assert ids == ["t0", "t1", "t2", "t3", "t6", "t7", "t8", "t9"]
    # What came with the second delivery of the file goes with it.
    undo_delivery(warehouse, find_delivery(warehouse, "3.csv"), now=clock())
    left = warehouse.read("SELECT transaction_id FROM raw.transactions ORDER BY ALL")["transaction_id"].to_list()
    assert left == ["t0", "t1", "t2", "t3"]


def test_a_verdict_that_was_corrected_is_in_force_again(warehouse: Warehouse, tmp_path: Path) -> None:
    clock = Clock()
    land(warehouse, write(tmp_path / "x.csv", 0, 4), {"columns": {"user_id": "card"}}, clock())
    labels = tmp_path / "labels.csv"
    labels.write_text("transaction_id,actual_fraud,source,known_at\nt1,true,chargeback,2026-02-01\n")
    land_labels(warehouse, labels, now=clock())
    record_verdict(warehouse, "t2", actual_fraud=True, now=clock(), known_at=datetime(2026, 2, 2))
    before = content(warehouse)
    disputes = tmp_path / "disputes.csv"
    disputes.write_text(
        "transaction_id,record_date,record_type,reason\n"
        "t1,2026-03-01 10:00,ChargebackReversed,fraud\nt3,2026-03-01 10:00,Chargeback,fraud\n"
    )
    assert land_chargebacks(warehouse, disputes, now=clock()).rows_accepted == 2
    undone = undo_delivery(warehouse, find_delivery(warehouse, "disputes.csv"), now=clock())
    assert (undone.transactions, undone.labels) == (0, 2)
    assert_same(content(warehouse), before)


def test_processed_days_are_stale_and_a_day_without_payments_is_forgotten(warehouse: Warehouse, tmp_path: Path) -> None:
    clock = Clock()
    land(warehouse, write(tmp_path / "1.csv", 0, 4, day=5), RIGHT, clock())
    land(warehouse, write(tmp_path / "2.csv", 4, 4, day=5), RIGHT, clock())
    land(warehouse, write(tmp_path / "3.csv", 8, 4, day=6), RIGHT, clock())
    land(warehouse, write(tmp_path / "4.csv", 12, 4, day=7), RIGHT, clock())
    for day in (5, 6, 7):
        derive_day(warehouse, date(2026, 1, day), plan=shipped_plan())
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM raw.stale_days")

    undone = undo_delivery(warehouse, find_delivery(warehouse, "2.csv"), now=clock(), entities=ENTITIES)
    assert date(2026, 1, 5) in undone.stale
    undone = undo_delivery(warehouse, find_delivery(warehouse, "3.csv"), now=clock(), entities=ENTITIES)
    assert date(2026, 1, 6) not in undone.stale
    assert date(2026, 1, 7) in undone.stale
    derived = warehouse.read("SELECT DISTINCT event_date FROM features.transaction_features ORDER BY ALL")
    assert derived["event_date"].to_list() == [date(2026, 1, 5), date(2026, 1, 7)]
    marked = warehouse.read("SELECT DISTINCT event_date FROM raw.stale_days ORDER BY ALL")["event_date"].to_list()
    assert marked == [date(2026, 1, 5), date(2026, 1, 7)]


def test_a_delivery_is_told_by_its_name_or_its_hash_and_an_ambiguous_name_is_refused(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    clock = Clock()
    with pytest.raises(InvalidInput, match="Nothing was taken in yet"):
        find_delivery(warehouse, "x.csv")
    for first in (0, 4):
        land(warehouse, write(tmp_path / "x.csv", first, 4), {"source": "bank", **RIGHT}, clock())
    latest, earlier = deliveries(warehouse)
    assert latest.landed_at > earlier.landed_at
    assert find_delivery(warehouse, latest.content_hash[:8]) == latest
    with pytest.raises(InvalidInput, match=rf"(?s)names 2 deliveries.*{earlier.content_hash[:12]}"):
        find_delivery(warehouse, "x.csv")
    with pytest.raises(InvalidInput, match=r"no delivery 'y\.csv'\. The latest are"):
        find_delivery(warehouse, "y.csv")
    undo_delivery(warehouse, latest, now=clock())
    assert find_delivery(warehouse, "x.csv") == earlier == find_delivery(warehouse, "bank: x.csv")


def test_a_rehearsal_leaves_nothing(warehouse: Warehouse, tmp_path: Path) -> None:
    clock = Clock()
    land(warehouse, write(tmp_path / "1.csv", 0, 4), RIGHT, clock())
    before = content(warehouse)
    with warehouse.rehearsal():
        assert land(warehouse, write(tmp_path / "2.csv", 4, 4), RIGHT, clock()).rows_accepted == 4
        undo_delivery(warehouse, find_delivery(warehouse, "1.csv"), now=clock())
        assert warehouse.read("SELECT count(*) FROM raw.transactions").item() == 4
    assert_same(content(warehouse), before)
    with warehouse.rehearsal(), pytest.raises(InvalidInput):
        land(warehouse, tmp_path / "none.csv", RIGHT, clock())
    assert_same(content(warehouse), before)
