"""A day in the warehouse equals the same day in one long run, whenever and however often it is derived."""

from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.errors import MissingData
from fraud_pipelines.features import population
from fraud_pipelines.features.derivation import derive_day, rebuild
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.program import folded
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.features.oracle import Transaction
from fraud_pipelines_tests.features.random_transactions import frame
from fraud_pipelines_tests.features.stored import store
from fraud_pipelines_tests.plan.files import plan_of

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
    found = warehouse_at(tmp_path / "fraud.duckdb")
    found.initialise()
    store(found, _transactions())
    return found


@pytest.fixture
def no_population(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few payments for one, so that only what an entity did matters."""
    monkeypatch.setattr(population, "ENOUGH", 10_000)


def _tables(warehouse: Warehouse) -> list[pl.DataFrame]:
    return [
        warehouse.read("SELECT * FROM features.transaction_features ORDER BY transaction_id"),
        warehouse.read("SELECT * FROM features.user_history ORDER BY event_date, user_id"),
    ]


def _stale(warehouse: Warehouse) -> list[date]:
    return warehouse.read("SELECT event_date FROM raw.stale_days ORDER BY 1").to_series().to_list()


def test_day_by_day_equals_all_at_once(warehouse: Warehouse) -> None:
    for day in DAYS:
        derive_day(warehouse, day, plan=shipped_plan())
    stored = warehouse.read("SELECT * FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id")
    assert_frame_equal(stored, compute_features(frame(_transactions()))[0])
    assert _stale(warehouse) == []


def test_a_rerun_of_an_old_day_changes_nothing(warehouse: Warehouse) -> None:
    for day in DAYS:
        derive_day(warehouse, day, plan=shipped_plan())
    before = _tables(warehouse)
    report = derive_day(warehouse, DAYS[1], plan=shipped_plan())
    for old, new in zip(before, _tables(warehouse), strict=True):
        assert_frame_equal(old, new)
    assert report.outdated_days == ()
    assert _stale(warehouse) == []


@pytest.mark.usefixtures("no_population")
def test_a_late_transaction_outdates_the_next_day_of_its_user(warehouse: Warehouse) -> None:
    for day in DAYS:
        derive_day(warehouse, day, plan=shipped_plan())
    store(warehouse, [_transaction(900, "u2", datetime(2026, 3, 2, 12), 5.0)])
    assert derive_day(warehouse, DAYS[1], plan=shipped_plan()).outdated_days == (DAYS[4],)
    assert _stale(warehouse) == [DAYS[4]]

    assert derive_day(warehouse, DAYS[4], plan=shipped_plan()).outdated_days == ()
    expected, _ = compute_features(frame([*_transactions(), _transaction(900, "u2", datetime(2026, 3, 2, 12), 5.0)]))
    stored = warehouse.read("SELECT * FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id")
    assert_frame_equal(stored, expected)


def test_a_late_transaction_outdates_the_days_on_which_it_changes_what_is_usual(warehouse: Warehouse) -> None:
    for day in DAYS:
        derive_day(warehouse, day, plan=shipped_plan())
    late = [_transaction(900 + k, f"n{k}", datetime(2026, 3, 2, 12, k), 4_000.0) for k in range(20)]
    store(warehouse, late)
    assert derive_day(warehouse, DAYS[1], plan=shipped_plan()).outdated_days == tuple(DAYS[2:])
    for day in DAYS[2:]:
        derive_day(warehouse, day, plan=shipped_plan())
    stored = warehouse.read("SELECT * FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id")
    assert_frame_equal(stored, compute_features(frame([*_transactions(), *late]))[0])


def test_days_that_no_release_counted_are_counted_when_the_next_is_derived(warehouse: Warehouse) -> None:
    for day in DAYS[:-1]:
        derive_day(warehouse, day, plan=shipped_plan())
    counts = "SELECT * FROM features.population ORDER BY ALL"
    before = warehouse.read(counts)
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM features.population")
    derive_day(warehouse, DAYS[-1], plan=shipped_plan())
    assert_frame_equal(before, warehouse.read(counts).filter(pl.col("event_date") < DAYS[-1]))
    stored = warehouse.read("SELECT * FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id")
    assert_frame_equal(stored, compute_features(frame(_transactions()))[0])


@pytest.mark.usefixtures("no_population")
def test_a_deleted_transaction_outdates_what_followed_it(warehouse: Warehouse) -> None:
    for day in DAYS:
        derive_day(warehouse, day, plan=shipped_plan())
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM raw.transactions WHERE user_id = 'u1' AND event_date = ?", [DAYS[2]])
    assert derive_day(warehouse, DAYS[2], plan=shipped_plan()).outdated_days == (DAYS[3],)


CITY = "entities: {user: {key: user_id, aggregates: [{how: changed, of: city}]}}"


@pytest.fixture
def changed(warehouse: Warehouse, tmp_path: Path) -> Plan:
    """All days derived, and then another column declared for the user."""
    for day in DAYS:
        derive_day(warehouse, day, plan=shipped_plan())
    return plan_of(tmp_path, CITY)


def _user_features(plan: Plan) -> list[str]:
    (user,) = (entity for entity in plan.entities if entity.name == "user")
    return [each.name for each in folded(user)]


def test_after_a_changed_declaration_all_days_can_be_derived_again(warehouse: Warehouse, changed: Plan) -> None:
    assert derive_day(warehouse, DAYS[0], plan=changed).outdated_days == (DAYS[1], DAYS[4])
    for day in DAYS[1:]:
        assert not derive_day(warehouse, day, plan=changed).cold
    stored = warehouse.read("SELECT * FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id")
    assert_frame_equal(stored[list(changed.feature_types)], compute_features(frame(_transactions()), plan=changed)[0])


def test_after_a_changed_declaration_a_later_day_alone_is_null_and_not_low(warehouse: Warehouse, changed: Plan) -> None:
    report = derive_day(warehouse, DAYS[4], plan=changed)
    unknown = {*_user_features(changed), "impossible_travel", "amount_below_usual"}
    assert set(report.cold) == unknown
    stored = warehouse.read("SELECT * FROM features.transaction_features WHERE event_date = ?", [DAYS[4]])
    assert all(stored[name].null_count() == stored.height for name in unknown)
    # A count over an hour is complete on the day after, and what looks back on rows once all were folded.
    assert report.cold["tx_count_1h"] == DAYS[4] + timedelta(days=1)
    assert report.cold["tx_count_7d"] == DAYS[4] + timedelta(days=7)
    assert report.cold["amount_lag_1"] is None


def test_a_rebuild_makes_it_whole_and_goes_on_where_it_was_stopped(warehouse: Warehouse, changed: Plan) -> None:
    derive_day(warehouse, DAYS[4], plan=changed)
    assert [report.day for report in islice(rebuild(warehouse, plan=changed), 2)] == DAYS[:2]
    assert derive_day(warehouse, DAYS[4], plan=changed).cold  # the days between have not been folded yet
    assert [report.day for report in rebuild(warehouse, plan=changed)] == DAYS[2:]
    stored = warehouse.read("SELECT * FROM features.transaction_features ORDER BY user_id, timestamp, transaction_id")
    assert_frame_equal(stored[list(changed.feature_types)], compute_features(frame(_transactions()), plan=changed)[0])
    assert list(rebuild(warehouse, plan=changed)) == []
    assert _stale(warehouse) == []


def test_a_new_entity_is_null_until_its_span_has_passed(warehouse: Warehouse, tmp_path: Path) -> None:
    declared = "entities: {shop: {key: merchant_id, aggregates: [{how: sum, of: amount, over: [1h, 48h]}]}}"
    plan = plan_of(tmp_path, declared)
    for day in DAYS[:2]:
        derive_day(warehouse, day, plan=shipped_plan())
    for day in DAYS[2:]:
        derive_day(warehouse, day, plan=plan)
    nulls = warehouse.read(
        "SELECT event_date, count(shop_amount_sum_1h) > 0, count(shop_amount_sum_48h) > 0 "
        "FROM features.transaction_features GROUP BY 1 ORDER BY 1"
    )
    complete = {day: (short, long) for day, short, long in nulls.iter_rows()}
    assert complete == {
        DAYS[0]: (False, False),
        DAYS[1]: (False, False),
        DAYS[2]: (False, False),
        DAYS[3]: (True, False),
        DAYS[4]: (True, True),
    }
    expected, _ = compute_features(frame(_transactions()), plan=plan)
    columns = ["transaction_id", "shop_amount_sum_48h"]
    stored = warehouse.read(
        "SELECT * FROM features.transaction_features WHERE event_date = ? ORDER BY transaction_id", [DAYS[4]]
    )
    of_day = expected.filter(pl.col("event_date") == DAYS[4]).sort("transaction_id")
    assert_frame_equal(stored[columns], of_day[columns])


def test_the_report_counts_users_and_nulls(warehouse: Warehouse) -> None:
    report = derive_day(warehouse, DAYS[0], plan=shipped_plan())
    assert (report.rows, report.users, report.new_users) == (26, 3, 3)
    assert report.nulls["amount_lag_1"] == 3
    assert report.uncomputable == {"category_novelty": "merchant_category"}
    assert [derive_day(warehouse, day, plan=shipped_plan()).new_users for day in DAYS[1:3]] == [0, 1]


def test_a_column_without_values_is_reported_and_its_features_are_null(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute("UPDATE raw.transactions SET country = NULL")
    report = derive_day(warehouse, DAYS[0], plan=shipped_plan())
    needs = {name for name, column in report.uncomputable.items() if column == "country"}
    assert needs == {"country_changed", "country_novelty", "impossible_travel"}
    assert report.nulls["impossible_travel"] == report.rows


def test_a_day_without_transactions_names_the_nearest(warehouse: Warehouse) -> None:
    with pytest.raises(MissingData, match=r"2026-03-09.* 2026-03-05"):
        derive_day(warehouse, date(2026, 3, 9), plan=shipped_plan())
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM raw.transactions")
    with pytest.raises(MissingData, match="2026-03-01"):
        derive_day(warehouse, FIRST, plan=shipped_plan())


def _comments(warehouse: Warehouse) -> dict[str, str]:
    comments = warehouse.read(
        "SELECT column_name, comment FROM duckdb_columns() "
        "WHERE schema_name = 'features' AND table_name = 'transaction_features'"
    )
    return dict(comments.drop_nulls().iter_rows())


def test_every_feature_column_is_described_in_the_database(warehouse: Warehouse) -> None:
    derive_day(warehouse, FIRST, plan=shipped_plan())
    described = {name: feature.description for name, feature in shipped_plan().features.items()}
    assert _comments(warehouse).items() >= described.items()


def test_a_feature_declared_later_gets_its_column(warehouse: Warehouse) -> None:
    derive_day(warehouse, FIRST, plan=shipped_plan())
    with warehouse.transaction() as connection:
        connection.execute("ALTER TABLE features.transaction_features DROP COLUMN user_z")
    derive_day(warehouse, DAYS[1], plan=shipped_plan())
    assert _comments(warehouse)["user_z"] == shipped_plan().features["user_z"].description
    counts = warehouse.read("SELECT event_date, count(user_z) FROM features.transaction_features GROUP BY 1 ORDER BY 1")
    assert counts.rows() == [(DAYS[0], 0), (DAYS[1], 25)]


@pytest.mark.parametrize("days", [1, 7, 8, 9])
def test_a_history_is_found_whenever_its_last_day_was(tmp_path: Path, days: int) -> None:
    """The latest eight days are looked through first: at their edge nothing may be lost."""
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    moment = datetime(2026, 3, 1, 12)
    store(warehouse, [_transaction(k, "u0", moment + timedelta(days=k * days), 10.0 * (k + 1)) for k in range(2)])
    for day in (FIRST, FIRST + timedelta(days=days)):
        derive_day(warehouse, day, plan=shipped_plan())
    lags = warehouse.read("SELECT amount_lag_1 FROM features.transaction_features ORDER BY timestamp")
    assert lags.to_series().to_list() == [None, 10.0]
