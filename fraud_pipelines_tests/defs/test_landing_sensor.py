"""The night: a day starts when all of it has landed, in order, or late, which is told once."""

from datetime import datetime, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest

from fraud_pipelines.defs import sensors
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse

NOW = datetime(2026, 11, 28, 1, 0)


@pytest.fixture
def zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRAUD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FRAUD_DAY_MARKER", "_complete-%Y-%m-%d")
    zone = tmp_path / "landing" / "transactions"
    zone.mkdir(parents=True)
    return zone


def tick(now: datetime, cursor: str | None) -> tuple[list[str], str | None]:
    """The days that are started, and the cursor that is left."""
    with mock.patch.object(sensors, "utc_now", return_value=now), dg.DagsterInstance.ephemeral() as instance:
        done = sensors.landing_sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
    if isinstance(done, dg.SkipReason):
        return [], cursor
    assert isinstance(done, dg.SensorResult)
    return [str(request.partition_key) for request in done.run_requests or []], done.cursor


def alerts(warehouse: Warehouse) -> list[str]:
    return warehouse.read("SELECT message FROM monitoring.alerts ORDER BY ALL")["message"].to_list()


def test_days_start_in_order_as_they_are_complete_and_at_last_without(zone: Path) -> None:
    assert tick(NOW, None) == ([], None)
    (zone / "_complete-2026-11-27").touch()
    started, cursor = tick(NOW, None)
    assert (started, cursor) == (["2026-11-27"], "2026-11-27")
    assert tick(NOW, cursor) == ([], cursor), "the 28th has not ended"
    # Two days later: the 28th is late, and goes before the 29th, which is there.
    (zone / "_complete-2026-11-29").touch()
    later = NOW + timedelta(days=2)
    started, cursor = tick(later, cursor)
    assert started == ["2026-11-28"]
    assert tick(later, cursor)[0] == ["2026-11-29"]
    warehouse = warehouse_at(Settings.from_environment().warehouse_path)
    assert alerts(warehouse) == [
        "The transactions of 2026-11-28 are late: _complete-2026-11-28 is not there. The day was run without."
    ]
    tick(later, "2026-11-27")
    assert len(alerts(warehouse)) == 1


def test_without_a_sign_of_completeness_the_hour_counts(zone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_DAY_MARKER", "")
    monkeypatch.setenv("FRAUD_DAY_LATEST", "02:30")
    assert tick(NOW, None)[0] == []
    assert tick(NOW + timedelta(hours=2), None)[0] == ["2026-11-27"]
    assert not Settings.from_environment().warehouse_path.exists(), "nothing is late"
