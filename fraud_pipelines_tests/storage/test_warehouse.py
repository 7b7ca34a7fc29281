"""The warehouse: whole transactions, brief connections, patience with others, and clear errors."""

import multiprocessing
import time
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from fraud_pipelines.errors import InvalidInput, MissingData, WarehouseBusy
from fraud_pipelines.storage.connection import add_columns, insert, overwrite, registered, select
from fraud_pipelines.storage.integrity import KeyDefects, count_rows, key_defects
from fraud_pipelines.storage.warehouse import Warehouse

DAY, NEXT = date(2026, 10, 1), date(2026, 10, 2)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "fraud.duckdb", wait_seconds=20)
    warehouse.initialise()
    return warehouse


def drift(day: date, **psi: float) -> pl.DataFrame:
    return pl.DataFrame({"event_date": day, "feature": list(psi), "psi": list(psi.values())})


def stored(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.read("SELECT event_date, feature, psi FROM monitoring.feature_drift ORDER BY ALL").rows()


def test_to_initialise_again_keeps_what_is_there(warehouse: Warehouse) -> None:
    warehouse.overwrite("monitoring.feature_drift", drift(DAY, amount=0.1), event_date=DAY)

    warehouse.initialise()

    assert stored(warehouse) == [(DAY, "amount", 0.1)]


def test_overwrite_replaces_its_day_and_no_other(warehouse: Warehouse) -> None:
    for day in (DAY, NEXT):
        warehouse.overwrite("monitoring.feature_drift", drift(day, amount=0.1, user_z=0.2), event_date=day)

    warehouse.overwrite("monitoring.feature_drift", drift(DAY, amount=0.3), event_date=DAY)

    assert stored(warehouse) == [(DAY, "amount", 0.3), (NEXT, "amount", 0.1), (NEXT, "user_z", 0.2)]


def test_an_overwrite_without_condition_is_refused(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection, pytest.raises(InvalidInput, match="without a condition"):
        overwrite(connection, "monitoring.feature_drift", drift(DAY, amount=0.1))


def test_a_transaction_that_fails_stores_nothing(warehouse: Warehouse) -> None:
    def half_way() -> None:
        with warehouse.transaction() as connection:
            insert(connection, "monitoring.feature_drift", drift(DAY, amount=0.1))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        half_way()

    assert stored(warehouse) == []


def test_a_new_column_is_added_and_null_in_older_rows(warehouse: Warehouse) -> None:
    warehouse.overwrite("monitoring.feature_drift", drift(DAY, amount=0.1), event_date=DAY)

    with warehouse.transaction() as connection:
        add_columns(connection, "monitoring.feature_drift", {"psi": pl.Float64(), "bins": pl.Int32()})
    rows = drift(NEXT, amount=0.2).with_columns(bins=pl.lit(10))
    warehouse.overwrite("monitoring.feature_drift", rows, event_date=NEXT)

    found = warehouse.read("SELECT event_date, psi, bins FROM monitoring.feature_drift ORDER BY ALL").rows()
    assert found == [(DAY, 0.1, None), (NEXT, 0.2, 10)]


def test_rows_with_a_column_that_the_table_lacks_are_refused(warehouse: Warehouse) -> None:
    rows = drift(DAY, amount=0.1).with_columns(bins=pl.lit(10))

    with pytest.raises(duckdb.BinderException, match="bins"):
        warehouse.overwrite("monitoring.feature_drift", rows, event_date=DAY)

    assert "bins" not in warehouse.read("FROM monitoring.feature_drift").columns


def test_an_error_within_a_transaction_is_told_as_it_is(warehouse: Warehouse) -> None:
    rows = drift(DAY, amount=0.1).with_columns(psi=pl.lit("no number"))

    with pytest.raises(duckdb.ConversionException, match="no number"):
        warehouse.overwrite("monitoring.feature_drift", rows, event_date=DAY)

    assert stored(warehouse) == []


def test_frames_are_tables_for_as_long_as_the_block_lasts(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        with registered(connection, _one=drift(DAY, amount=0.1), _other=drift(NEXT, amount=0.2)):
            assert select(connection, "SELECT psi FROM (FROM _one UNION ALL FROM _other) ORDER BY 1").rows() == [
                (0.1,),
                (0.2,),
            ]
        with pytest.raises(RuntimeError, match="inside"), registered(connection, _one=drift(DAY, amount=0.1)):
            raise RuntimeError("inside")
        for name in ("_one", "_other"):
            with pytest.raises(duckdb.CatalogException, match=name):
                connection.execute(f"FROM {name}")


def test_a_connection_within_a_connection_is_the_same_and_closes_last(warehouse: Warehouse) -> None:
    with warehouse.connect(read_only=True) as outer:
        with warehouse.connect(read_only=True) as inner:
            assert inner is outer
        assert outer.execute("SELECT 1").fetchall() == [(1,)]
        with pytest.raises(RuntimeError, match="only reads"), warehouse.transaction():
            pass
    warehouse.overwrite("monitoring.feature_drift", drift(DAY, amount=0.1), event_date=DAY)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fraud.duckdb"
    path.write_text("not a database, but long enough to look like a file of some size" * 100)

    with pytest.raises(InvalidInput, match=r"fraud\.duckdb can't be opened"), Warehouse(path).connect():
        pass


def test_a_path_with_the_word_lock_in_it_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "locked-up" / "lock.duckdb"
    path.parent.mkdir()
    path.write_text("not a database, but long enough to look like a file of some size" * 100)

    with pytest.raises(InvalidInput, match="can't be opened"), Warehouse(path, wait_seconds=0.1).connect():
        pass


def test_to_read_from_a_warehouse_that_is_not_there_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="fraud-pipelines demo, or fraud-pipelines import"):
        Warehouse(tmp_path / "lock" / "fraud.duckdb", wait_seconds=0.1).read("SELECT 1")


def _hold(path: Path, seconds: float, held: "multiprocessing.synchronize.Event") -> None:
    with duckdb.connect(str(path)):
        held.set()
        time.sleep(seconds)


@pytest.mark.parametrize(("patience", "succeeds"), [(20.0, True), (0.3, False)])
def test_who_finds_the_file_locked_waits_for_as_long_as_agreed(
    warehouse: Warehouse, patience: float, succeeds: bool
) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=_hold, args=(warehouse.path, 2.0, held))
    other.start()
    try:
        assert held.wait(60)
        patient = Warehouse(warehouse.path, wait_seconds=patience)
        if succeeds:
            patient.overwrite("monitoring.feature_drift", drift(DAY, amount=0.1), event_date=DAY)
        else:
            with pytest.raises(WarehouseBusy, match="FRAUD_WAREHOUSE_WAIT_SECONDS"):
                patient.read("SELECT 1")
    finally:
        other.join()


def test_integrity_counts_rows_and_finds_broken_keys(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute("CREATE TABLE scoring.keys (id VARCHAR, event_date DATE)")
        connection.execute("INSERT INTO scoring.keys VALUES ('a', $d), ('a', $d), ('b', $d), (NULL, $d)", {"d": DAY})
        connection.execute("INSERT INTO scoring.keys VALUES ('b', ?)", [NEXT])

    with warehouse.connect(read_only=True) as connection:
        assert count_rows(connection, "scoring.keys", event_date=DAY) == 4
        assert key_defects(connection, "scoring.keys", ["id"], event_date=DAY) == KeyDefects(duplicated=1, null=1)
        assert not key_defects(connection, "scoring.keys", ["id"], event_date=NEXT)
