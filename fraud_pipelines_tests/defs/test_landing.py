"""Landing in Dagster: what could not be taken in is told once, and stays in sight until it is gone."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.defs.feedback.assets import labels
from fraud_pipelines.defs.raw.assets import transactions
from fraud_pipelines.defs.streaming.assets import processed_batches
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.decisions.webhooks import Webhook as Hook
from fraud_pipelines_tests.decisions.webhooks import webhook
from fraud_pipelines_tests.streaming.samples import NoModels

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as hook:
        yield hook


def payment(path: Path, name: str) -> None:
    row = {"transaction_id": name, "user_id": "u", "timestamp": f"{YESTERDAY}T12:00:00", "amount": 5.0}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row))


def materialize(asset: dg.AssetsDefinition, installation: Installation, hook: Hook) -> bool:
    """Whether a run of the asset succeeds."""
    settings = Settings(data_dir=installation.data_dir, alert_webhook=SecretStr(hook.url))
    warehouse = open_warehouse(settings.warehouse_path, plan=shipped_plan(), wait_seconds=10)
    resources = {"settings": settings, "warehouse": warehouse, "model_registry": NoModels()}
    partition = None if asset.partitions_def is None else YESTERDAY.isoformat()
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [asset], partition_key=partition, resources=resources, instance=instance, raise_on_error=False
        ).success


def test_trouble_in_a_landing_zone_stops_no_intake_and_is_told_once(installation: Installation, hook: Hook) -> None:
    zones = [installation.settings.landing_transactions, installation.settings.landing_stream]
    for zone in zones:
        payment(zone / "good.jsonl", f"of {zone.name}")
        (zone / "loop").symlink_to(zone / "loop")
    labels_zone = installation.settings.landing_labels
    labels_zone.mkdir()
    (labels_zone / "gone").symlink_to("/nowhere")

    for _ in range(2):
        for asset in (transactions, labels, processed_batches):
            assert materialize(asset, installation, hook)

    stored = installation.warehouse.read("SELECT transaction_id FROM raw.transactions ORDER BY 1").to_series()
    assert stored.to_list() == ["of stream", "of transactions"]
    assert [text.splitlines()[0] for text in hook.texts] == [
        f"1 entry of the landing zone {zone} could not be taken in; the others were."
        for zone in ("transactions", "labels", "stream")
    ]
    assert [text.splitlines()[1] for text in hook.texts] == [
        "• loop: Too many levels of symbolic links",
        "• gone: a link to what isn't there: No such file or directory",
        "• loop: Too many levels of symbolic links",
    ]
    alerts = installation.warehouse.read("SELECT DISTINCT kind FROM monitoring.alerts").to_series()
    assert alerts.to_list() == ["landing"]
    shown = installation.invoke("status")
    assert "What of the landing zones could not be taken in" in shown
    assert shown.count("Too many levels of symbolic links") == 2

    for zone in zones:
        (zone / "loop").unlink()
    (labels_zone / "gone").unlink()
    for asset in (transactions, labels, processed_batches):
        assert materialize(asset, installation, hook)
    assert "What of the landing zones could not be taken in: none" in installation.invoke("status")
    assert len(hook.texts) == 3


def test_a_file_that_can_not_be_read_is_told_and_the_day_waits_for_it(installation: Installation, hook: Hook) -> None:
    zone = installation.settings.landing_transactions
    payment(zone / "good.jsonl", "a")
    (zone / "bad.parquet").write_text("no parquet")

    assert not materialize(transactions, installation, hook)

    assert installation.warehouse.read("SELECT transaction_id FROM raw.transactions").item() == "a"
    [text] = hook.texts
    assert "bad.parquet" in text
    assert "bad.parquet" in installation.invoke("status")
    (zone / "bad.parquet").unlink()
    assert materialize(transactions, installation, hook)


def test_a_file_of_the_stream_that_is_set_aside_is_told(installation: Installation, hook: Hook) -> None:
    zone = installation.settings.landing_stream
    payment(zone / "good.jsonl", "a")
    (zone / "bad.parquet").write_text("no parquet")
    assert materialize(processed_batches, installation, hook)
    assert materialize(processed_batches, installation, hook)
    [text] = hook.texts
    assert "can't be read as Parquet" in text
    assert "What of the landing zones could not be taken in: none" in installation.invoke("status")
