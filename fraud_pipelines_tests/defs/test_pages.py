"""Dagster's pages: what a person reads on the page of an asset, a check, a job, a schedule or a sensor."""

from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.features import catalog
from fraud_pipelines.features.declarations import Feature
from fraud_pipelines.features.tables import create_tables

UNDESCRIBED = "_history"
"""Tables of state, which no asset shows; but the view of that name shows labels."""


def test_every_column_is_described_also_one_that_a_feature_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", wait_seconds=5)
    added = Feature("amount_twice", "Twice the amount.", "2 × amount", "–", "–", "derived", computed=("2a",))
    monkeypatch.setitem(catalog.FEATURES, added.name, added)
    with warehouse.transaction() as connection:
        create_tables(connection)

    columns = warehouse.read(
        "SELECT schema_name || '.' || table_name AS name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
    ).filter(~pl.col("name").str.ends_with(UNDESCRIBED) | (pl.col("name") == "feedback.label_history"))
    described = dict(columns.select("column_name", "comment").iter_rows())
    assert described["amount_twice"] == "Twice the amount."
    bare = columns.filter(
        pl.col("comment").fill_null("").str.strip_chars() == "", pl.col("name") != "main.schema_version"
    )
    assert bare.select("name", "column_name").rows() == []
