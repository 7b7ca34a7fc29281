"""Further metrics: each that is there has a column, a description and a defined value, without a line elsewhere."""

import math
import re
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.evaluation.metric import TABLE, add_metric_columns, metrics
from fraud_pipelines.evaluation.metrics import Performance, performance
from fraud_pipelines.plan.compile import shipped_plan

SCHEMA = {
    "user_id": pl.String,
    "event_date": pl.Date,
    "amount": pl.Float64,
    "score": pl.Float64,
    "raw_score": pl.Float64,
    "alert": pl.Boolean,
    "is_fraud": pl.Boolean,
    "labelled": pl.Boolean,
}


def measured(*rows: tuple[bool, bool]) -> Performance:
    """Of payments given as (alert, is fraud)."""
    frame = [
        (f"u{k}", date(2026, 1, 1 + k % 3), 10.0 + k, float(alert), float(alert), alert, fraud, True)
        for k, (alert, fraud) in enumerate(rows)
    ]
    return performance(pl.DataFrame(frame, schema=SCHEMA, orient="row"), review_cost=1.0, resamples=0)


@pytest.mark.parametrize("name", metrics())
def test_each_is_named_described_and_finite_or_null(name: str) -> None:
    metric = metrics()[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]{2,40}", name)
    assert name == metric.name
    assert metric.description[0].isupper()
    assert metric.description.endswith(".")
    assert name not in vars(measured())
    for rows in ([], [(False, False)], [(True, False)], [(True, True)], [(True, True), (True, False), (False, True)]):
        value = measured(*rows).further[name]
        assert value is None or math.isfinite(value)
    assert measured().further[name] is None


def test_the_values_follow_their_formulas() -> None:
    further = measured((True, True), (True, False), (True, False), (True, False), *[(False, False)] * 6).further
    assert further["false_positive_ratio"] == pytest.approx(3.0)
    assert further["alert_rate"] == pytest.approx(0.4)
    assert measured((True, False)).further["false_positive_ratio"] is None


def test_a_warehouse_gets_a_described_column_for_each_also_one_that_lacks_it(tmp_path: Path) -> None:
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", plan=shipped_plan(), wait_seconds=5)
    with warehouse.transaction() as connection:
        connection.execute(f"ALTER TABLE {TABLE} DROP COLUMN alert_rate")
        add_metric_columns(connection)
    found = dict(
        warehouse.read(
            "SELECT column_name, comment FROM duckdb_columns() WHERE schema_name || '.' || table_name = ?", [TABLE]
        ).iter_rows()
    )
    assert {name: found[name] for name in metrics()} == {name: each.description for name, each in metrics().items()}
