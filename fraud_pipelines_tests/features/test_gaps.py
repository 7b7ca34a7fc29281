"""Days whose earlier days were never derived: refused by name, or derived after those; late payments stop nothing."""

import tempfile
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.derivation import derive_day, derive_earlier_days
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.landing import land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features.oracle import Transaction
from fraud_pipelines_tests.features.random_transactions import frame
from fraud_pipelines_tests.features.stored import store
from fraud_pipelines_tests.lakes import copied

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=k) for k in range(6)]


def payment(number: int, day: date, *, user: str = "u") -> Transaction:
    return {
        "transaction_id": f"t{number:03}",
        "user_id": user,
        "timestamp": datetime(day.year, day.month, day.day, 9, number % 60),
        "amount": 10.0 + number,
        "merchant_id": f"m{number % 2}",
        "device_fingerprint": None,
        "country": None,
    }


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with its tables, of which each test takes a copy."""
    path = tmp_path_factory.mktemp("gaps") / "fraud.duckdb"
    open_warehouse(path, plan=shipped_plan(), wait_seconds=5)
    return path


@pytest.fixture
def warehouse(empty: Path, tmp_path: Path) -> Warehouse:
    return warehouse_at(copied(empty, tmp_path))


def pay(warehouse: Warehouse, *days: date) -> None:
    store(warehouse, [payment(k, day) for k, day in enumerate(days)])


def arrive_late(warehouse: Warehouse, folder: Path, *days: date) -> tuple[date, ...]:
    """A file of payments, taken in after other days were derived; returns the days it made stale."""
    path = folder / "late.csv"
    rows = [f"late-{day},u,{day}T08:00,7" for day in days]
    path.write_text("\n".join(["transaction_id,user_id,timestamp,amount", *rows]) + "\n")
    return land_transactions(warehouse, path, ColumnMapping.identity(), now=datetime(2026, 6, 1)).late_days


def stale(warehouse: Warehouse) -> list[date]:
    return warehouse.read("SELECT DISTINCT event_date FROM raw.stale_days ORDER BY 1")["event_date"].to_list()


def derived(warehouse: Warehouse) -> list[date]:
    query = "SELECT DISTINCT event_date FROM features.transaction_features ORDER BY 1"
    return warehouse.read(query)["event_date"].to_list()


def assert_as_in_one_run(warehouse: Warehouse, days: Sequence[date]) -> None:
    """The features of ``days`` are those of one run over all transactions that are stored."""
    stored = warehouse.read("SELECT * EXCLUDE (event_date, source, ingested_at) FROM raw.transactions")
    features, _ = compute_features(stored.select(frame([]).columns))
    for day in days:
        query = "SELECT * FROM features.transaction_features WHERE event_date = ? ORDER BY user_id, timestamp"
        expected = features.filter(features["event_date"] == day).sort("user_id", "timestamp")
        assert_frame_equal(warehouse.read(query, [day]), expected)


def test_a_day_whose_earlier_days_were_never_derived_is_refused_by_name(warehouse: Warehouse) -> None:
    pay(warehouse, DAYS[0], DAYS[1], DAYS[3])
    with pytest.raises(MissingData) as refused:
        derive_day(warehouse, DAYS[3], plan=shipped_plan())
    message = str(refused.value)
    assert f"{DAYS[0]} and {DAYS[1]} have transactions" in message
    assert f"run --from {DAYS[0]} --to {DAYS[3]}" in message
    assert f"run --from {DAYS[3]} --to {DAYS[3]} --with-earlier" in message
    assert "with_earlier" in message
    derive_day(warehouse, DAYS[0], plan=shipped_plan())
    with pytest.raises(MissingData, match=f"{DAYS[1]} has transactions"):
        derive_day(warehouse, DAYS[3], plan=shipped_plan())
    derive_day(warehouse, DAYS[1], plan=shipped_plan())
    derive_day(warehouse, DAYS[3], plan=shipped_plan())
    assert stale(warehouse) == []
    assert_as_in_one_run(warehouse, DAYS)


def test_of_many_days_the_first_are_named_and_all_are_counted(warehouse: Warehouse) -> None:
    days = [FIRST + timedelta(days=k) for k in range(40)]
    pay(warehouse, *days)
    with pytest.raises(MissingData, match=f"39 days from {days[0]} to {days[38]} .*{days[4]}, ") as refused:
        derive_day(warehouse, days[39], plan=shipped_plan())
    assert len(str(refused.value)) < 700


def test_the_earlier_days_can_be_derived_first(warehouse: Warehouse) -> None:
    pay(warehouse, DAYS[0], DAYS[1], DAYS[3])
    assert [report.day for report in derive_earlier_days(warehouse, DAYS[3], plan=shipped_plan())] == [DAYS[0], DAYS[1]]
    derive_day(warehouse, DAYS[3], plan=shipped_plan())
    assert list(derive_earlier_days(warehouse, DAYS[4], plan=shipped_plan())) == []
    assert_as_in_one_run(warehouse, DAYS)


def test_a_late_payment_before_the_first_derived_day_is_stale_and_stops_nothing(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    pay(warehouse, DAYS[3], DAYS[4], DAYS[5])
    derive_day(warehouse, DAYS[3], plan=shipped_plan())
    assert arrive_late(warehouse, tmp_path, DAYS[0]) == (DAYS[0],)
    for day in (DAYS[4], DAYS[3], DAYS[5]):
        derive_day(warehouse, day, plan=shipped_plan())
    assert stale(warehouse) == [DAYS[0]]
    derive_day(warehouse, DAYS[0], plan=shipped_plan())
    assert DAYS[3] in stale(warehouse)


def test_a_late_payment_on_a_day_that_had_none_is_stale_and_stops_nothing(warehouse: Warehouse, tmp_path: Path) -> None:
    pay(warehouse, DAYS[0], DAYS[3], DAYS[4])
    for day in (DAYS[0], DAYS[3]):
        derive_day(warehouse, day, plan=shipped_plan())
    assert arrive_late(warehouse, tmp_path, DAYS[1]) == (DAYS[1],)
    derive_day(warehouse, DAYS[4], plan=shipped_plan())
    assert stale(warehouse) == [DAYS[1]]


def test_late_days_among_themselves_are_derived_in_order(warehouse: Warehouse, tmp_path: Path) -> None:
    pay(warehouse, DAYS[4])
    derive_day(warehouse, DAYS[4], plan=shipped_plan())
    arrive_late(warehouse, tmp_path, DAYS[0], DAYS[1])
    with pytest.raises(MissingData, match=f"{DAYS[0]} has"):
        derive_day(warehouse, DAYS[1], plan=shipped_plan())


def test_days_that_an_earlier_release_passed_over_are_named_as_stale_once(warehouse: Warehouse) -> None:
    pay(warehouse, DAYS[4])
    derive_day(warehouse, DAYS[4], plan=shipped_plan())
    store(warehouse, [payment(90, DAYS[0]), payment(91, DAYS[5])])
    for _ in range(2):
        derive_day(warehouse, DAYS[5], plan=shipped_plan())
    marks = warehouse.read("SELECT event_date, reason FROM raw.stale_days")
    assert marks.rows() == [(DAYS[0], "has transactions and lies before the first day that was run")]


def test_what_was_derived_over_a_gap_is_derived_again_with_the_earlier_days(warehouse: Warehouse) -> None:
    """As an earlier release left it: the fourth day was derived without the third."""
    pay(warehouse, DAYS[0], DAYS[1], DAYS[3])
    for day in (DAYS[0], DAYS[1], DAYS[3]):
        derive_day(warehouse, day, plan=shipped_plan())
    store(warehouse, [payment(90, DAYS[2]), payment(91, DAYS[4])])
    with pytest.raises(MissingData, match=f"{DAYS[2]} has"):
        derive_day(warehouse, DAYS[4], plan=shipped_plan())
    assert [report.day for report in derive_earlier_days(warehouse, DAYS[4], plan=shipped_plan())] == [DAYS[2], DAYS[3]]
    derive_day(warehouse, DAYS[4], plan=shipped_plan())
    assert_as_in_one_run(warehouse, DAYS)
    assert stale(warehouse) == [DAYS[3]]


@examples(6)
@given(
    st.lists(st.sampled_from(DAYS[:4]), min_size=1, max_size=8),
    st.permutations(DAYS[:4]),
    st.sets(st.sampled_from(DAYS[:4]), max_size=2),
)
def test_whatever_order_days_are_asked_for_in_what_is_not_stale_is_right(
    empty: Path, paid: list[date], order: list[date], late: set[date]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = warehouse_at(copied(empty, Path(folder)))
        store(warehouse, [payment(k, day, user=f"u{k % 3}") for k, day in enumerate(sorted(paid))])
        for number, day in enumerate(order):
            if number == 2 and late:
                arrive_late(warehouse, Path(folder), *sorted(late))
            if day in {*paid, *(late if number >= 2 else ())}:
                try:
                    derive_day(warehouse, day, plan=shipped_plan())
                except MissingData:
                    for _ in derive_earlier_days(warehouse, day, plan=shipped_plan()):
                        pass
                    derive_day(warehouse, day, plan=shipped_plan())
        marked = set(stale(warehouse))
        assert_as_in_one_run(warehouse, [day for day in derived(warehouse) if not _follows(day, marked)])


def _follows(day: date, marked: set[date]) -> bool:
    """What follows a stale day may be outdated by it, which only its rerun shows."""
    return any(each <= day for each in marked)
