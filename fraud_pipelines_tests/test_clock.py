"""The clock: at every door, what lies ahead of it by no more than FRAUD_CLOCK_SKEW_SECONDS is taken in."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from unittest import mock

import dagster as dg
import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions.chargebacks import land_chargebacks
from fraud_pipelines.decisions.labels import land_labels
from fraud_pipelines.decisions.review import record_verdict
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import CLOCK_SKEW, Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.streaming.drain import drain
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.streaming.samples import SMALL, NoModels, now

PAST = {"1 h ago", "24 h ago"}
DOORS: list[tuple[dict[str, str], set[str]]] = [({}, {*PAST, "just ahead"}), ({"FRAUD_CLOCK_SKEW_SECONDS": "0"}, PAST)]
"""What of `payments` comes in, by setting."""


def payments(path: Path) -> Path:
    """Payments of the past hours, one of the next minute, and one of the next hour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ahead = {f"{hours} h ago": timedelta(hours=-hours) for hours in (1, 24)}
    ahead |= {"just ahead": timedelta(minutes=1), "far ahead": timedelta(hours=1)}
    rows = [
        {"transaction_id": name, "user_id": "u", "timestamp": (now() + by).isoformat(), "amount": 5.0}
        for name, by in ahead.items()
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def stored(warehouse: Warehouse) -> set[str]:
    return set(warehouse.read("SELECT transaction_id FROM raw.transactions").to_series())


@pytest.mark.parametrize(("environment", "expected"), DOORS)
def test_import(installation: Installation, tmp_path: Path, environment: dict[str, str], expected: set[str]) -> None:
    path = payments(tmp_path / "x.jsonl")
    installation.invoke("import", str(path), succeeds=True, **environment)
    assert stored(installation.warehouse) == expected


@pytest.mark.parametrize(("environment", "expected"), DOORS)
def test_the_daily_landing_zone(installation: Installation, environment: dict[str, str], expected: set[str]) -> None:
    from fraud_pipelines.defs.raw.assets import transactions

    payments(installation.settings.landing_transactions / "x.jsonl")
    with mock.patch.dict(os.environ, installation.environment | environment):
        settings = Settings.from_environment()
    warehouse = open_warehouse(settings.warehouse_path, plan=shipped_plan(), wait_seconds=10)
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    resources = {"settings": settings, "warehouse": warehouse}
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([transactions], partition_key=day, resources=resources, instance=instance).success
    assert stored(warehouse) == expected


@pytest.mark.parametrize(("environment", "expected"), DOORS)
def test_the_stream(tmp_path: Path, environment: dict[str, str], expected: set[str]) -> None:
    with mock.patch.dict(os.environ, {"FRAUD_DATA_DIR": str(tmp_path)} | environment):
        settings = Settings.from_environment()
    warehouse = open_warehouse(settings.warehouse_path, plan=shipped_plan(), wait_seconds=10)
    payments(settings.landing_stream / "x.jsonl")
    session = StreamSession(warehouse, cast(ModelRegistry, NoModels()), settings, SMALL)
    assert drain(session, settings.landing_stream, clock=now).accepted == len(expected)
    assert set(warehouse.read("SELECT transaction_id FROM scoring.decisions").to_series()) == expected


NOON = datetime(2026, 6, 1, 12)


@pytest.fixture
def judged(tmp_path: Path) -> Warehouse:
    """A warehouse with a payment of noon by its own clock, which is a minute ahead of ours."""
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", plan=shipped_plan(), wait_seconds=10)
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO raw.transactions BY NAME SELECT 'a' AS transaction_id, 'u' AS user_id, ? AS timestamp, "
            "?::DATE AS event_date, 5.0 AS amount, 'x' AS source, ? AS ingested_at",
            [NOON, NOON.date(), NOON - timedelta(minutes=1)],
        )
    return warehouse


def known_at(warehouse: Warehouse) -> list[datetime]:
    return warehouse.read("SELECT known_at FROM feedback.labels").to_series().to_list()


@pytest.mark.parametrize("skew", [CLOCK_SKEW, timedelta(0)])
def test_labels_and_chargebacks(judged: Warehouse, tmp_path: Path, skew: timedelta) -> None:
    """Known a minute before their payment, or a minute ahead of the clock: it is known when the payment happens."""
    clock = NOON - timedelta(minutes=1)
    path = tmp_path / "labels.csv"
    path.write_text(f"transaction_id,actual_fraud,source,known_at\na,true,review,{clock.isoformat()}\n")
    assert land_labels(judged, path, now=clock, skew=skew).rows_accepted == bool(skew)
    path.write_text("charge,reason\na,fraud\n")
    assert land_chargebacks(judged, path, now=clock, skew=skew).rows_accepted == bool(skew)
    path.write_text(f"charge,date\na,{NOON.isoformat()}\n")
    last = land_chargebacks(judged, path, now=clock, skew=skew)
    assert last.rejected_by_reason == ({"duplicate": 1} if skew else {"date is in the future": 1})
    assert known_at(judged) == [NOON, NOON] * bool(skew)


def test_a_verdict(judged: Warehouse) -> None:
    clock = NOON - timedelta(minutes=1)
    with pytest.raises(InvalidInput, match="can't have been known before"):
        record_verdict(judged, "a", actual_fraud=True, now=clock, known_at=clock, skew=timedelta(seconds=59))
    with pytest.raises(InvalidInput, match="lies in the future"):
        record_verdict(judged, "a", actual_fraud=True, now=clock, known_at=NOON, skew=timedelta(seconds=59))
    assert record_verdict(judged, "a", actual_fraud=True, now=clock).known_at == NOON
    # The reviewer thinks again before the payment's time has come: the second thought is the later one.
    again = record_verdict(judged, "a", actual_fraud=False, now=clock + timedelta(seconds=5))
    assert (again.outcome, again.known_at) == ("corrected", NOON + timedelta(microseconds=1))
    assert judged.read("SELECT actual_fraud FROM feedback.labels").item() is False


def test_the_setting_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().clock_skew == CLOCK_SKEW == timedelta(seconds=120)
    for wrong in ("-1", "86401", "nan", "inf", "soon"):
        monkeypatch.setenv("FRAUD_CLOCK_SKEW_SECONDS", wrong)
        with pytest.raises(InvalidInput, match=f"FRAUD_CLOCK_SKEW_SECONDS='{wrong}'"):
            Settings.from_environment()


def test_a_timestamp_of_tomorrow_belongs_to_tomorrow(tmp_path: Path) -> None:
    """Just before midnight, a payment of a clock that is ahead is one of the next day."""
    settings = Settings(data_dir=tmp_path)
    warehouse = open_warehouse(settings.warehouse_path, plan=shipped_plan(), wait_seconds=10)
    midnight = datetime(2026, 6, 2)
    settings.landing_stream.mkdir(parents=True)
    row = {"transaction_id": "a", "user_id": "u", "timestamp": midnight.isoformat(), "amount": 5.0}
    (settings.landing_stream / "x.jsonl").write_text(json.dumps(row))
    session = StreamSession(warehouse, cast(ModelRegistry, NoModels()), settings, SMALL)
    drain(session, settings.landing_stream, clock=lambda: midnight - timedelta(seconds=60))
    days = warehouse.read("SELECT event_date FROM raw.transactions UNION ALL SELECT event_date FROM scoring.decisions")
    assert days["event_date"].to_list() == [midnight.date()] * 2
    assert isinstance(days, pl.DataFrame)
