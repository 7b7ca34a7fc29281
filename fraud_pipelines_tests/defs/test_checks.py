"""Each asset check fails where what it states isn't so, and passes where it is."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hash_chain import ChainHead
from fraud_pipelines.decisions.log import Recorded
from fraud_pipelines.decisions.recorded_day import RecordedDay
from fraud_pipelines.decisions.shadow_records import NOTHING
from fraud_pipelines.engines.opening import engine_of
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.review.samples import NOW, Decided, store

PAYMENTS = [Decided(f"t{number}", days_ago=1.0) for number in range(4)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def warehouse(settings: Settings) -> Warehouse:
    settings.data_dir.mkdir()
    found = open_warehouse(settings.warehouse_path, plan=shipped_plan(), wait_seconds=10)
    store(found, PAYMENTS)
    return found


@pytest.fixture
def day(warehouse: Warehouse) -> date:
    [[found]] = warehouse.read("SELECT min(event_date) FROM raw.transactions").rows()
    assert isinstance(found, date)
    return found


Checks = Callable[[dg.AssetsDefinition], dict[str, bool]]


@pytest.fixture
def checks(settings: Settings, warehouse: Warehouse, day: date) -> Checks:
    """Materializes an asset for the day; the outcome of each of its checks."""

    def run(asset: dg.AssetsDefinition) -> dict[str, bool]:
        resources = {
            "settings": settings,
            "warehouse": warehouse,
            "model_registry": SimpleNamespace(experiment_id="1"),
            "engine": engine_of(settings),
        }
        wanted = {name: resources[name] for name in asset.required_resource_keys if name in resources}
        with dg.DagsterInstance.ephemeral() as instance:
            done = dg.materialize(
                [asset], partition_key=day.isoformat(), resources=wanted, instance=instance, raise_on_error=False
            )
        assert done.get_asset_check_evaluations(), "the asset failed before its checks"
        return {each.check_name: each.passed for each in done.get_asset_check_evaluations()}

    return run


def execute(warehouse: Warehouse, statement: str, *parameters: object) -> None:
    with warehouse.transaction() as connection:
        connection.execute(statement, list(parameters))


def test_of_raw_transactions(checks: Checks, warehouse: Warehouse, day: date) -> None:
    from fraud_pipelines.defs.raw.assets import transactions

    assert checks(transactions) == {"transaction_ids_are_unique": True, "no_earlier_day_is_stale": True}
    execute(warehouse, "INSERT INTO raw.stale_days VALUES (?, 'late', ?)", date(2020, 1, 1), NOW)
    assert not checks(transactions)["no_earlier_day_is_stale"]
    execute(warehouse, "INSERT INTO raw.transactions SELECT * FROM raw.transactions WHERE transaction_id = 't0'")
    assert not checks(transactions)["transaction_ids_are_unique"]


def test_of_labels(checks: Checks, warehouse: Warehouse) -> None:
    from fraud_pipelines.defs.feedback.assets import labels

    assert checks(labels) == {"a_source_labels_a_transaction_once": True}
    for _ in range(2):
        execute(
            warehouse,
            "INSERT INTO feedback.labels (transaction_id, actual_fraud, source, known_at, ingested_at) "
            "VALUES ('t0', true, 'review', ?, ?)",
            NOW,
            NOW,
        )
    assert checks(labels) == {"a_source_labels_a_transaction_once": False}


@pytest.mark.parametrize(
    ("broken_by", "failing"),
    [
        ("DELETE FROM {} WHERE transaction_id = 't0'", "every_transaction_has_features"),
        ("INSERT INTO {} SELECT * FROM {} WHERE transaction_id = 't0'", "transaction_ids_are_unique"),
        ("UPDATE {} SET transaction_id = 't1' WHERE transaction_id = 't0'", "transaction_ids_are_unique"),
    ],
)
def test_of_features(
    checks: Checks, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, broken_by: str, failing: str
) -> None:
    from fraud_pipelines.defs.features.assets import transaction_features
    from fraud_pipelines.features import derivation

    derive = derivation.derive_day
    assert all(checks(transaction_features).values())

    def derive_and_break(*arguments: Any, **options: Any) -> object:
        report = derive(*arguments, **options)
        execute(warehouse, broken_by.replace("{}", "features.transaction_features"))
        return report

    monkeypatch.setattr(derivation, "derive_day", derive_and_break)
    assert not checks(transaction_features)[failing]


@pytest.mark.parametrize(
    ("ids", "score", "outcome"),
    [
        (["t0", "t1", "t2", "t3"], 0.5, (True, True)),
        (["t0", "t1", "t2", "t3"], 1.5, (False, True)),
        (["t0", "t1", "t2"], 0.5, (True, False)),
        (["t0", "t1", "t2", "t2"], 0.5, (True, False)),
    ],
)
def test_of_scores(
    checks: Checks, day: date, monkeypatch: pytest.MonkeyPatch, ids: list[str], score: float, outcome: tuple[bool, bool]
) -> None:
    from fraud_pipelines.defs.scoring.assets import transaction_scores
    from fraud_pipelines.detection import daily_models, scored_day

    scores = pl.DataFrame({"transaction_id": ids}).with_columns(
        model_name=pl.lit("fraud-daily"),
        channel=pl.lit("batch"),
        event_date=pl.lit(day),
        model_version=pl.lit(1, dtype=pl.Int32),
        raw_score=pl.lit(score),
        score=pl.lit(score),
        is_anomaly=pl.lit(False),
        scored_at=pl.lit(NOW),
    )
    monkeypatch.setattr(daily_models, "load_models_in_use", lambda *_, **__: [])
    scored = scored_day.ScoredDay(scores, scores.select("model_name", "score", "is_anomaly"), len(PAYMENTS))
    monkeypatch.setattr(scored_day, "scored_day", lambda *_, **__: nullcontext(scored))
    found = checks(transaction_scores)
    assert (found["scores_lie_in_unit_interval"], found["every_transaction_has_a_daily_score"]) == outcome


@pytest.mark.parametrize(
    ("broken_by", "outcome"),
    [
        ("SELECT 1", True),
        ("DELETE FROM {} WHERE transaction_id = 't0'", False),
        ("UPDATE {} SET transaction_id = 't1' WHERE transaction_id = 't0'", False),
    ],
)
def test_of_decisions(
    checks: Checks, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, broken_by: str, outcome: bool
) -> None:
    from fraud_pipelines.decisions import configuration, recorded_day
    from fraud_pipelines.defs.scoring.assets import decisions

    thresholds = SimpleNamespace(
        review_threshold=0.5, block_threshold=0.8, objective="policy", policy="balanced", effective_date=NOW.date()
    )
    engine = SimpleNamespace(
        thresholds=thresholds, policy=SimpleNamespace(name="balanced", second_stage="fraud-amount", audit=None)
    )
    rows = warehouse.read("FROM scoring.decisions")
    monkeypatch.setattr(configuration, "engine_in_force", lambda *_: engine)
    of_day = RecordedDay(Recorded(0, 0, 0, ChainHead(0, "")), cast(DecisionEngine, engine), rows, NOTHING)
    monkeypatch.setattr(recorded_day, "decide_and_record", lambda *_, **__: of_day)
    if "{}" in broken_by:
        execute(warehouse, broken_by.format("scoring.decisions"))
    assert checks(decisions) == {"every_transaction_is_decided_once": outcome}


@pytest.mark.parametrize("drifted", [True, False])
def test_of_drift(checks: Checks, monkeypatch: pytest.MonkeyPatch, drifted: bool) -> None:
    from fraud_pipelines.defs.monitoring.assets import feature_drift
    from fraud_pipelines.evaluation import daily_drift

    rows = pl.DataFrame({"feature": ["amount"], "psi": [0.4], "drifted": [drifted]})
    monkeypatch.setattr(daily_drift, "measure_drift", lambda *_: SimpleNamespace(rows=rows))
    monkeypatch.setattr(daily_drift, "store_drift", lambda *_: None)
    assert checks(feature_drift) == {"no_feature_has_drifted": not drifted}


@pytest.mark.parametrize("bootstrap", [True, False])
@pytest.mark.parametrize("backend", ["isolation_forest", "suod", "ecod"])
def test_of_models(checks: Checks, monkeypatch: pytest.MonkeyPatch, backend: str, bootstrap: bool) -> None:
    from fraud_pipelines.defs.models import assets
    from fraud_pipelines.evaluation import detector_training

    trained = SimpleNamespace(left_out={}, bootstrap=bootstrap)
    monkeypatch.setattr(detector_training, "train_detector", lambda *_, **__: trained)
    monkeypatch.setattr(assets, "training_metadata", lambda *_: {})
    assert checks(getattr(assets, backend)) == {"trained_on_earlier_days": not bootstrap}
