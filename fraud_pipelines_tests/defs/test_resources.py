"""Resources: a run finds the tables it needs, whoever started it and whatever release made the warehouse."""

from pathlib import Path

import dagster as dg
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.defs.resources import WarehouseResource
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.warehouse import Warehouse


@pytest.mark.parametrize("made", ["not yet", "by an earlier release"])
def test_a_warehouse_has_what_this_release_needs(tmp_path: Path, made: str) -> None:
    path = tmp_path / "fraud.duckdb"
    if made != "not yet":
        with open_warehouse(path, plan=shipped_plan(), wait_seconds=5).transaction() as connection:
            connection.execute("DROP MACRO TABLE scoring.stage_scores")
            connection.execute("DROP TABLE monitoring.model_promotions")
            connection.execute("DROP TABLE main.schema_version")

    resource = WarehouseResource(path=str(path), wait_seconds=5)
    for _ in range(2):
        warehouse = resource.create_resource(dg.build_init_resource_context())
        assert isinstance(warehouse, Warehouse)
        scores = "scoring.stage_scores('batch', DATE '2026-10-01', DATE '2026-10-02', 'a', 'b', 'c')"
        assert warehouse.read(f"FROM {scores}").is_empty()
