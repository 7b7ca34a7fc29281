"""Dagster's pages: what a person reads on the page of an asset, a check, a job, a schedule or a sensor."""

from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.defs.metadata import estimate, numbers
from fraud_pipelines.features.tables import create_tables
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines_tests.plan.files import plan_of

UNDESCRIBED = "_history"
"""Tables of state, which no asset shows; but the view of that name shows labels."""


def test_every_column_is_described_also_one_that_a_feature_adds(tmp_path: Path) -> None:
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", plan=shipped_plan(), wait_seconds=5)
    plan = plan_of(tmp_path, "features: {amount_twice: {sql: amount * 2, description: Twice the amount.}}")
    with warehouse.transaction() as connection:
        create_tables(connection, plan)

    columns = warehouse.read(
        "SELECT schema_name || '.' || table_name AS name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
    ).filter(~pl.col("name").str.ends_with(UNDESCRIBED) | (pl.col("name") == "feedback.label_history"))
    described = dict(columns.select("column_name", "comment").iter_rows())
    assert described["amount_twice"] == "Twice the amount."
    bare = columns.filter(
        pl.col("comment").fill_null("").str.strip_chars() == "", pl.col("name") != "main.schema_version"
    )
    assert bare.select("name", "column_name").rows() == []


def test_the_columns_that_a_feature_is_made_from_are_named() -> None:
    reads = shipped_plan().lineage()
    assert list(reads) == list(shipped_plan().features)
    assert all(read.transactions for read in reads.values())
    assert reads["amount_lag_1"].transactions == ("amount", "timestamp", "user_id")
    assert reads["country_changed"].transactions == ("country", "timestamp", "user_id")
    assert reads["impossible_travel"].transactions == ("country", "timestamp", "user_id")
    assert reads["merchant_risk_7d"].transactions == ("merchant_id", "timestamp")
    assert "actual_fraud" in reads["merchant_risk_7d"].labels
    assert reads["hour_of_day"].labels == ()


@pytest.mark.parametrize(
    ("value", "shown"), [(0.41333049873, 0.4133), (1234.5678, 1235.0), (94321.7, 94322.0), (0.00012345, 0.0001234)]
)
def test_of_a_number_the_digits_that_tell_something_are_shown(value: float, shown: float) -> None:
    assert numbers({"figure": value})["figure"].value == pytest.approx(shown, rel=1e-3)
    assert len(str(numbers({"figure": value})["figure"].value)) <= 9


def test_an_estimate_is_shown_with_its_interval_or_not_at_all() -> None:
    assert estimate(None) == "…"
    assert estimate(0.5) == "0.50"
    assert estimate(0.312, 0.25, 0.391).replace("\u2060", "").replace("\u00a0", " ") == "0.31 (0.25–0.39)"


def test_every_check_job_schedule_and_sensor_says_what_it_is() -> None:
    from fraud_pipelines.definitions import defs

    loaded = defs()
    for spec in loaded.resolve_asset_graph().asset_check_keys:
        check = loaded.resolve_asset_graph().get_check_spec(spec)
        assert check.description, spec
        assert check.description.endswith("."), spec
    for each in (*(loaded.jobs or ()), *(loaded.schedules or ()), *(loaded.sensors or ())):
        assert each.description, each
