"""Resources: a run finds the tables it needs, whoever started it and whatever release made the warehouse."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import dagster as dg
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.defs.resources import WarehouseResource
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.publication import INTERVAL_SECONDS, Publication
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


@pytest.mark.parametrize(
    ("tags", "pause", "published"),
    [
        ({}, 0.0, True),
        ({"fraud_pipelines/command": "run"}, 0.0, False),  # publishes at its end
        ({"fraud_pipelines/command": "run"}, INTERVAL_SECONDS, True),
        ({"dagster/sensor_name": "transaction_stream_sensor"}, 0.0, False),
        ({"dagster/sensor_name": "transaction_stream_sensor"}, INTERVAL_SECONDS - 1, True),  # it takes little
    ],
)
def test_a_run_publishes_at_its_end_or_when_it_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tags: dict[str, str], pause: float, published: bool
) -> None:
    publication = Publication(tmp_path / "warehouse" / "live.duckdb", tmp_path / "fraud.duckdb")
    warehouse = Warehouse(publication.live)
    warehouse.initialise()
    publication.publish()
    with warehouse.transaction() as connection:
        connection.execute("INSERT INTO raw.stale_days VALUES ('2026-10-01', 'late', now())")
    record = publication.record()
    assert record.published_at
    now = record.published_at + timedelta(seconds=record.seconds + pause)
    monkeypatch.setattr("fraud_pipelines.storage.publication._now", lambda: now)
    resource = WarehouseResource(path=str(publication.live), published=str(publication.published), wait_seconds=5)

    resource.teardown_after_execution(cast(dg.InitResourceContext, SimpleNamespace(run=SimpleNamespace(tags=tags))))

    assert publication.is_current() is published
