"""A day in the warehouse equals the same day in one long run, whenever and however often it is derived."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.features import daily, engine, tables
from fraud_pipelines.features.catalog import FEATURES
from fraud_pipelines.features.daily import derive_day
from fraud_pipelines.features.declarations import ENTITIES, USER
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.features.oracle import Transaction
from fraud_pipelines_tests.features.random_transactions import frame
from fraud_pipelines_tests.features.stored import store

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=k) for k in range(5)]


def _transaction(number: int, user: str, moment: datetime, amount: float) -> Transaction:
    return {
        "transaction_id": f"t{number:04d}",
        "user_id": user,
        "timestamp": moment,
        "amount": amount,
        "merchant_id": f"the shop of {user}",
        "device_fingerprint": f"the phone of {user}",
        "country": "DE" if number % 4 else "FR",
    }


def _transactions() -> list[Transaction]:
    """Five days in which u0 pays hourly, u1 at midnight, u2 only on the first and the last, and u9 on the third."""
    start = datetime(2026, 3, 1)
    moments = [("u0", start + timedelta(hours=k)) for k in range(120)]
    moments += [("u1", start + timedelta(days=k)) for k in range(5)]
    moments += [("u2", start + timedelta(hours=1)), ("u2", start + timedelta(days=4, hours=9))]
    moments += [("u9", start + timedelta(days=2, hours=3))]
    return [_transaction(n, user, t, 1.0 + (n * 37) % 101) for n, (user, t) in enumerate(moments)]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    found = Warehouse(tmp_path / "fraud.duckdb")
    found.initialise()
    store(found, _transactions())
    return found


def _tables(warehouse: Warehouse) -> list[pl.DataFrame]:
    return [
        warehouse.read("SELECT * FROM features.transaction_features ORDER BY transaction_id"),
        warehouse.read("SELECT * FROM features.user_history ORDER BY event_date, user_id"),
    ]


def _stale(warehouse: Warehouse) -> list[date]:
    return warehouse.read("SELECT event_date FROM raw.stale_days ORDER BY 1").to_series().to_list()


def test_day_by_day_equals_all_at_once(warehouse: Warehouse) -> None:
    for day in DAYS:
        derive_day(warehouse, day)
    stored = warehouse.read("SELECT * FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id")
    assert_frame_equal(stored, compute_features(frame(_transactions()))[0])
    assert _stale(warehouse) == []


def test_a_rerun_of_an_old_day_changes_nothing(warehouse: Warehouse) -> None:
    for day in DAYS:
        derive_day(warehouse, day)
    before = _tables(warehouse)
    report = derive_day(warehouse, DAYS[1])
    for old, new in zip(before, _tables(warehouse), strict=True):
        assert_frame_equal(old, new)
    assert report.outdated_days == ()
    assert _stale(warehouse) == []


def test_a_late_transaction_outdates_the_next_day_of_its_user(warehouse: Warehouse) -> None:
    for day in DAYS:
        derive_day(warehouse, day)
    store(warehouse, [_transaction(900, "u2", datetime(2026, 3, 2, 12), 5.0)])
    assert derive_day(warehouse, DAYS[1]).outdated_days == (DAYS[4],)
    assert _stale(warehouse) == [DAYS[4]]

    assert derive_day(warehouse, DAYS[4]).outdated_days == ()
    expected, _ = compute_features(frame([*_transactions(), _transaction(900, "u2", datetime(2026, 3, 2, 12), 5.0)]))
    stored = warehouse.read("SELECT * FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id")
    assert_frame_equal(stored, expected)


def test_a_deleted_transaction_outdates_what_followed_it(warehouse: Warehouse) -> None:
    for day in DAYS:
        derive_day(warehouse, day)
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM raw.transactions WHERE user_id = 'u1' AND event_date = ?", [DAYS[2]])
    assert derive_day(warehouse, DAYS[2]).outdated_days == (DAYS[3],)


@pytest.fixture
def changed_declaration(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """All days derived, and then another column declared for the user."""
    for day in DAYS:
        derive_day(warehouse, day)
    user = replace(USER, changes=("country", "city"))
    for module in (daily, engine, tables):
        monkeypatch.setattr(module, "ENTITIES", (user, *(entity for entity in ENTITIES if entity != USER)))
    monkeypatch.setattr(engine, "USER", user)


@pytest.mark.usefixtures("changed_declaration")
def test_after_a_changed_declaration_all_days_can_be_derived_again(warehouse: Warehouse) -> None:
    assert derive_day(warehouse, DAYS[0]).outdated_days == (DAYS[1], DAYS[4])
    for day in DAYS[1:]:
        derive_day(warehouse, day)
    columns = warehouse.read("SELECT * FROM features.user_history").columns
    stored = warehouse.read("SELECT * FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id")
    assert "last_city" in columns
    assert_frame_equal(stored, compute_features(frame(_transactions()))[0])


@pytest.mark.usefixtures("changed_declaration")
def test_after_a_changed_declaration_a_later_day_alone_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(InvalidInput, match=r"user history was kept for other windows.*from the first day on"):
        derive_day(warehouse, DAYS[4])
    derive_day(warehouse, DAYS[0])
    with pytest.raises(InvalidInput, match=r"user history was kept for other windows.*from the first day on"):
        derive_day(warehouse, DAYS[4])


def test_the_report_counts_users_and_nulls(warehouse: Warehouse) -> None:
    report = derive_day(warehouse, DAYS[0])
    assert (report.rows, report.users, report.new_users) == (26, 3, 3)
    assert report.nulls["amount_lag_1"] == 3
    assert report.uncomputable == {}
    assert [derive_day(warehouse, day).new_users for day in DAYS[1:3]] == [0, 1]


def test_a_column_without_values_is_reported_and_its_features_are_null(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute("UPDATE raw.transactions SET country = NULL")
    report = derive_day(warehouse, DAYS[0])
    assert report.uncomputable == {"country_changed": "country", "impossible_travel": "country"}
    assert report.nulls["impossible_travel"] == report.rows


def test_a_day_without_transactions_names_the_nearest(warehouse: Warehouse) -> None:
    with pytest.raises(MissingData, match=r"2026-03-09.* 2026-03-05"):
        derive_day(warehouse, date(2026, 3, 9))
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM raw.transactions")
    with pytest.raises(MissingData, match="2026-03-01"):
        derive_day(warehouse, FIRST)


def _comments(warehouse: Warehouse) -> dict[str, str]:
    comments = warehouse.read(
        "SELECT column_name, comment FROM duckdb_columns() "
        "WHERE schema_name = 'features' AND table_name = 'transaction_features'"
    )
    return dict(comments.drop_nulls().iter_rows())


def test_every_feature_column_is_described_in_the_database(warehouse: Warehouse) -> None:
    derive_day(warehouse, FIRST)
    described = {name: feature.description for name, feature in FEATURES.items()}
    assert _comments(warehouse).items() >= described.items()


def test_a_feature_declared_later_gets_its_column(warehouse: Warehouse) -> None:
    derive_day(warehouse, FIRST)
    with warehouse.transaction() as connection:
        connection.execute("ALTER TABLE features.transaction_features DROP COLUMN user_z")
    derive_day(warehouse, DAYS[1])
    assert _comments(warehouse)["user_z"] == FEATURES["user_z"].description
    counts = warehouse.read("SELECT event_date, count(user_z) FROM features.transaction_features GROUP BY 1 ORDER BY 1")
    assert counts.rows() == [(DAYS[0], 0), (DAYS[1], 25)]
