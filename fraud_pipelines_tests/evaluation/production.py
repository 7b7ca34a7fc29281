"""A small production with real features, two models in force and their scores, made without Dagster."""

import hashlib
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from fraud_pipelines.bootstrap import open_warehouse, publication_of
from fraud_pipelines.detection.backends import MODEL_NAMES, parse_parameters
from fraud_pipelines.detection.daily_models import (
    LoadedModel,
    TrainingReport,
    ensure_daily_model,
    load_version,
    score_day,
)
from fraud_pipelines.detection.detector_plan import DetectorTraining
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import Connection, insert
from fraud_pipelines.storage.model_registry import CHAMPION, ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.simulator import SimulationConfig, simulate

FIRST = date(2026, 9, 1)
DAYS = 9
LAST = FIRST + timedelta(days=DAYS - 1)
BACKENDS = {"isolation_forest": {"n_estimators": 15, "max_samples": 128}, "ecod": {}}
_NOW = datetime(2026, 9, 10)


def make_production(settings: Settings) -> None:
    """`DAYS` days of features; versions of two backends, trained for the last day, that scored every day.

    Every fraud is charged back two days later.
    """
    warehouse = open_warehouse(settings.warehouse_path, plan=plan_in_force(settings), wait_seconds=10)
    settings.mlflow_dir.mkdir(parents=True, exist_ok=True)
    settings.landing_transactions.mkdir(parents=True)
    (settings.landing_transactions / "waiting.csv").write_text("transaction_id,user_id,timestamp,amount\n")
    registry = registry_of(settings)
    registry.initialise()
    _take_in(warehouse)
    days = [FIRST + timedelta(days=number) for number in range(DAYS)]
    for day in days:
        derive_day(warehouse, day, plan=plan_in_force(settings))
    models = list(_train(settings, warehouse, registry))
    with warehouse.transaction() as connection:
        for day in days:
            scores = score_day(read_features(warehouse, day, day), models, day=day, now=_NOW)
            insert(connection, "scoring.transaction_scores", scores)
            _promote(connection, models, day)
    for model in models:
        registry.set_alias(model.name, CHAMPION, model.version)
    publication_of(settings).publish()


def registry_of(settings: Settings) -> ModelRegistry:
    return ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)


def state_of(settings: Settings) -> dict[str, object]:
    """All that a trial must leave as it is: the warehouse's file to the byte, the landing zone and the registry."""
    registry = registry_of(settings)
    versions = [version for name in MODEL_NAMES.values() for version in registry.list_versions(name)]
    aliases = {name: registry.aliases(name) for name in MODEL_NAMES.values()}
    files = {
        str(path.relative_to(settings.data_dir)): (path.stat().st_ino, path.stat().st_mtime_ns, _digest(path))
        for path in sorted(settings.data_dir.rglob("*"))
        if path.is_file() and "mlflow.db" not in path.name
    }
    return {"files": files, "versions": versions, "aliases": aliases}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _take_in(warehouse: Warehouse) -> None:
    simulation = simulate(
        SimulationConfig(first_day=FIRST, days=DAYS, users=80, transactions_per_day=250, fraud_rate=0.04)
    )
    transactions = simulation.transactions.with_columns(
        event_date=pl.col("timestamp").dt.date(), source=pl.lit("test"), ingested_at=pl.col("timestamp")
    )
    known = pl.col("timestamp") + timedelta(days=2)
    labels = simulation.truth.filter("is_fraud").select(
        "transaction_id",
        source=pl.lit("chargeback"),
        actual_fraud=pl.lit(True),
        known_at=known,
        ingested_at=known,
    )
    with warehouse.transaction() as connection:
        insert(connection, "raw.transactions", transactions)
        insert(connection, "feedback.labels", labels)


def _train(settings: Settings, warehouse: Warehouse, registry: ModelRegistry) -> Iterator[LoadedModel]:
    for backend, parameters in BACKENDS.items():
        plan = DetectorTraining(
            declared=plan_in_force(settings),
            backend=backend,
            parameters=parse_parameters(backend, parameters),
            contamination=0.02,
            training_days=settings.training_days,
            min_training_days=settings.min_training_days,
            label_delay_days=settings.label_delay_days,
            sample_rows=settings.training_sample_rows,
        ).plan(warehouse, LAST)
        trained = ensure_daily_model(registry, plan, report=lambda _: TrainingReport({}, {}))
        yield load_version(registry, MODEL_NAMES[backend], trained.version.version)


def _promote(connection: Connection, models: list[LoadedModel], day: date) -> None:
    rows = pl.DataFrame(
        {
            "as_of": [day] * len(models),
            "model_name": [model.name for model in models],
            "candidate_version": pl.Series([model.version for model in models], dtype=pl.Int32),
            "champion_version": pl.Series([model.version for model in models], dtype=pl.Int32),
            "rule": ["no_rival"] * len(models),
            "decision": ["promoted"] * len(models),
            "evidence": ["{}"] * len(models),
        }
    )
    insert(connection, "monitoring.model_promotions", rows)
