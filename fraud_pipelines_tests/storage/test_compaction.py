"""Compaction: the file is smaller and says the same; a writer that comes in between loses nothing."""

from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.compaction import compact
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.lakes import ON_LAKE

pytestmark = pytest.mark.skipif(ON_LAKE, reason="about the DuckDB file")

SCHEMA = {
    "tables": "SELECT schema_name, table_name, comment, sql FROM duckdb_tables() WHERE NOT internal ORDER BY ALL",
    "columns": "SELECT * EXCLUDE (database_name, database_oid, schema_oid, table_oid) FROM duckdb_columns() "
    "WHERE NOT internal ORDER BY ALL",
    "views": "SELECT schema_name, view_name, comment, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
    "macros": "SELECT schema_name, function_name, macro_definition FROM duckdb_functions() WHERE NOT internal "
    "ORDER BY ALL",
}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """All tables of an installation, and one out of which most rows were deleted."""
    made = open_warehouse(tmp_path / "live.duckdb", plan=shipped_plan(), wait_seconds=1)
    with made.connect() as connection:
        connection.execute("CREATE TABLE main.large AS SELECT range AS number, hash(range) AS mixed FROM range(500000)")
        connection.execute("CHECKPOINT")
        connection.execute("DELETE FROM main.large WHERE number > 100000")
    return made


def content(warehouse: Warehouse) -> list[pl.DataFrame]:
    queries = [*SCHEMA.values(), "FROM main.large ORDER BY number"]
    return [warehouse.read(query) for query in queries]


def test_the_file_is_smaller_and_all_that_is_in_it_the_same(warehouse: Warehouse) -> None:
    before, mode = content(warehouse), warehouse.path.stat().st_mode
    done = compact(warehouse)
    assert done.done
    assert done.after == warehouse.path.stat().st_size < done.before
    assert all(was.equals(now) for was, now in zip(before, content(warehouse), strict=True))
    assert warehouse.path.stat().st_mode == mode
    assert not compact(warehouse).done
    assert [path.name for path in warehouse.path.parent.iterdir()] == ["live.duckdb"]


@pytest.mark.parametrize("times", [1, 9])
def test_what_is_written_between_copy_and_rename_is_kept(warehouse: Warehouse, times: int) -> None:
    before, still, writes = warehouse.read("SELECT count(*) FROM main.large").item(), Warehouse.still, 0

    def written_before(self: Warehouse) -> Any:
        nonlocal writes
        if writes < times:
            with self.connect() as connection:
                connection.execute("INSERT INTO main.large VALUES (-1, 0)")
            writes += 1
        return still(self)

    with mock.patch.object(Warehouse, "still", written_before):
        if times > 1:
            with pytest.raises(WarehouseBusy):
                compact(warehouse)
        else:
            assert compact(warehouse).done
    assert warehouse.read("SELECT count(*) FROM main.large").item() == before + writes
    assert not warehouse.path.with_name("live.duckdb.compact").exists()
