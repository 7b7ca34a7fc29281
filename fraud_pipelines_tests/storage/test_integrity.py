"""Digests of what a table holds: any change of a value changes them, wherever else the same is changed alike."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.integrity import content_version
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse

ROW = st.tuples(st.sampled_from("ab"), st.integers(0, 3) | st.none())
PAIRS = st.integers(0, 6).flatmap(lambda rows: st.tuples(*[st.lists(ROW, min_size=rows, max_size=rows)] * 2))


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return warehouse_at(tmp_path_factory.mktemp("integrity") / Path("fraud.duckdb"))


def _version(warehouse: Warehouse, rows: list[tuple[str, int | None]]) -> str:
    with warehouse.connect() as connection:
        connection.execute("CREATE OR REPLACE TABLE t (name VARCHAR, number INTEGER, taken_in INTEGER)")
        taken_in = pl.int_range(pl.len(), dtype=pl.Int32).shuffle()
        schema = {"name": pl.String, "number": pl.Int32}
        insert(connection, "t", pl.DataFrame(rows, schema=schema, orient="row").with_columns(taken_in=taken_in))
        return content_version(connection, "t", without=["taken_in"])


@given(PAIRS)
def test_two_contents_have_one_version_only_if_they_are_equal(
    warehouse: Warehouse, contents: tuple[list[tuple[str, int | None]], list[tuple[str, int | None]]]
) -> None:
    before, after = contents
    as_set = [sorted(rows, key=repr) for rows in (before, after)]
    assert (_version(warehouse, before) == _version(warehouse, after)) == (as_set[0] == as_set[1])


def test_rows_that_change_alike_in_pairs_are_noticed(warehouse: Warehouse) -> None:
    rows = pl.DataFrame({"name": ["a", "b", "c", "d"], "number": [1, 1, 1, 1]})
    moved = rows.with_columns(number=pl.lit(2))
    assert _version(warehouse, rows.rows()) != _version(warehouse, moved.rows())
