"""Histories of releases that kept them in columns of their own are dropped, and come back by a rebuild."""

from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.features.derivation import derive_day, rebuild
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.features.oracle import Transaction, user_features
from fraud_pipelines_tests.features.stored import store

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=k) for k in range(9)]
TABLES = ("user", "device", "merchant")
TIMES = pl.List(pl.Datetime("us"))
SCHEMAS: dict[str, dict[str, Any]] = {
    "user": {
        "user_id": pl.String,
        "last_timestamp": pl.Datetime("us"),
        "last_country": pl.String,
        "transactions": pl.Int64,
        "amount_total": pl.Float64,
        "recent_amounts": pl.List(pl.Float64),
        "recent_timestamps": TIMES,
        "recent_counts": pl.List(pl.Int64),
        "outsized_timestamps": TIMES,
        "declaration": pl.String,
        "event_date": pl.Date,
    },
    "device": {
        "device_fingerprint": pl.String,
        "last_timestamp": pl.Datetime("us"),
        "recent_timestamps": TIMES,
        "declaration": pl.String,
        "event_date": pl.Date,
    },
}
SCHEMAS["merchant"] = {"merchant_id": pl.String, **{k: v for k, v in SCHEMAS["device"].items() if k[:6] != "device"}}


def _transactions() -> list[Transaction]:
    dice = Random(7)
    rows: list[Transaction] = []
    for number in range(700):
        large = dice.random() < 0.03
        rows.append(
            {
                "transaction_id": f"t{number:04d}",
                "user_id": f"u{dice.randrange(6)}",
                "timestamp": datetime(2026, 3, 1) + timedelta(seconds=dice.randrange(8 * 86_400)),
                "amount": dice.randrange(90_000, 99_000) / 10 if large else dice.randrange(100, 5_000) / 100,
                "merchant_id": dice.choice(["m1", "m2", None]),
                "device_fingerprint": dice.choice(["d1", "d2", None]),
                "country": dice.choice(["DE", "FR", None]),
            }
        )
    return sorted(rows, key=lambda row: (row["timestamp"], row["transaction_id"]))


def _kept(entity: str, life: list[Transaction], day: date) -> dict[str, Any]:
    """What an earlier release kept of an entity after these transactions."""
    newest = life[-1]["timestamp"]
    span = timedelta(days=7) if entity == "user" else timedelta(hours=24)
    row: dict[str, Any] = {
        next(iter(SCHEMAS[entity])): life[-1][_KEYS[entity]],  # type: ignore[literal-required]
        "last_timestamp": newest,
        "recent_timestamps": [each["timestamp"] for each in life if each["timestamp"] > newest - span],
        "declaration": "earlier",
        "event_date": day,
    }
    if entity == "user":
        told = user_features(life)
        values = [told[each["transaction_id"]] for each in life]
        total = 0.0
        for each in life:
            total += each["amount"]
        row |= {
            "last_country": life[-1]["country"],
            "transactions": len(life),
            "amount_total": total,
            "recent_amounts": [each["amount"] for each in life][-50:],
            "recent_counts": [value["tx_count_24h"] for value in values][-4:],
            "outsized_timestamps": [
                each["timestamp"]
                for each, value in zip(life, values, strict=True)
                if (value["user_z"] or 0) > 4 and each["timestamp"] > newest - timedelta(days=14)
            ],
        }
    return row


_KEYS = {"user": "user_id", "device": "device_fingerprint", "merchant": "merchant_id"}


def _make_earlier(warehouse: Warehouse, rows: list[Transaction]) -> None:
    """Put the histories of an earlier release in the place of those that are stored."""
    with warehouse.transaction() as connection:
        for entity in TABLES:
            kept = []
            for day in DAYS:
                lives: dict[Any, list[Transaction]] = {}
                active = set()
                for row in rows:
                    key: Any = row[_KEYS[entity]]  # type: ignore[literal-required]
                    if key is not None and row["timestamp"].date() <= day:
                        lives.setdefault(key, []).append(row)
                        if row["timestamp"].date() == day:
                            active.add(key)
                kept += [_kept(entity, lives[key], day) for key in active]
            frame = pl.DataFrame(kept, schema=SCHEMAS[entity])
            connection.execute(f"DROP TABLE features.{entity}_history")
            connection.register("_kept", frame.to_arrow())
            connection.execute(f"CREATE TABLE features.{entity}_history AS FROM _kept LIMIT 0")
            connection.unregister("_kept")
            insert(connection, f"features.{entity}_history", frame)
        connection.execute("UPDATE main.schema_version SET declared = 'of an earlier release'")


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    found = open_warehouse(tmp_path / "fraud.duckdb", plan=shipped_plan(), wait_seconds=5)
    store(found, _transactions())
    return found


def _histories(warehouse: Warehouse) -> list[pl.DataFrame]:
    return [warehouse.read(f"SELECT * FROM features.{entity}_history ORDER BY ALL") for entity in TABLES]


def test_they_are_dropped_and_a_rebuild_gives_what_the_fold_would_have_kept(warehouse: Warehouse) -> None:
    *days, last = sorted({row["timestamp"].date() for row in _transactions()})
    for day in days:
        derive_day(warehouse, day, plan=shipped_plan())
    expected, features = _histories(warehouse), warehouse.read(_FEATURES)
    _make_earlier(warehouse, [row for row in _transactions() if row["timestamp"].date() < last])
    open_warehouse(warehouse.path, plan=shipped_plan(), wait_seconds=5)
    assert all(each.is_empty() for each in _histories(warehouse))
    assert {"user_z", "device_tx_count_24h"} <= derive_day(warehouse, last, plan=shipped_plan()).cold.keys()
    assert [report.cold for report in rebuild(warehouse, plan=shipped_plan())] == [{}] * (len(days) + 1)
    for before, after in zip(expected, _histories(warehouse), strict=True):
        assert_frame_equal(before, after.filter(pl.col("event_date") < last))
    assert_frame_equal(features, warehouse.read(_FEATURES).filter(pl.col("event_date") < last), check_exact=True)


_FEATURES = "SELECT * FROM features.transaction_features ORDER BY transaction_id"
