"""The DuckDB file: brief connections, patience with others, and clear errors."""

import multiprocessing
import time
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from fraud_pipelines.errors import InvalidInput, WarehouseBusy
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
