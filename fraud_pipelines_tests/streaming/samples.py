"""What the tests of the stream share: traffic, files, and an installation without an MLflow server."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, cast

import numpy as np
import polars as pl

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.detection.daily_models import DIGEST_TAG, current_feature_version
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import LABEL_FREE_SCHEMA
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.training_record import TrainingRecord
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.streaming.drain import DrainReport, drain
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines.streaming.settings import DetectorSettings, StreamSettings
from fraud_pipelines.transactions.simulator import SimulationConfig, simulate
from fraud_pipelines_tests.conftest import warehouse_content

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
ENSEMBLE = "fraud-ensemble"
FEATURE_VERSION = current_feature_version(LABEL_FREE_SCHEMA, shipped_plan())
SMALL = StreamSettings(
    detector=DetectorSettings(min_samples=30, retrain_interval=50, window_size=100, contamination=0.03),
    settle_seconds=0,
    commit_rows=100,
)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def traffic(rows: int, *, users: int = 20, days: int = 1) -> pl.DataFrame:
    """So many simulated transactions of the days up to yesterday, in order of time."""
    first = YESTERDAY - timedelta(days=days - 1)
    config = SimulationConfig(first_day=first, days=days, users=users, transactions_per_day=2 * rows // days + 50)
    transactions = simulate(config).transactions
    assert transactions.height >= rows
    return transactions.gather_every(transactions.height // rows).head(rows)


def results(stream: "Stream") -> dict[str, pl.DataFrame]:
    """All tables, without what only says when, and without the log's hashes over that."""
    hashed = ("scoring.decision_chain", "scoring.decision_revisions")
    return {
        table: rows.drop("processed_at", strict=False)
        for table, rows in warehouse_content(stream.warehouse).items()
        if table not in hashed
    }


@dataclass(frozen=True)
class Stream:
    """A data directory with a stream, and a registry that holds no models yet."""

    data_dir: Path
    stream: StreamSettings = SMALL
    kind: Literal["duckdb", "lake"] = "duckdb"

    @property
    def settings(self) -> Settings:
        return Settings(data_dir=self.data_dir, warehouse=self.kind)

    @property
    def folder(self) -> Path:
        return self.settings.landing_stream

    @property
    def warehouse(self) -> Warehouse:
        return warehouse_at(self.settings.warehouse_path)

    def prepare(self) -> "Stream":
        self.folder.mkdir(parents=True, exist_ok=True)
        open_warehouse(self.settings.warehouse_path, plan=shipped_plan(), wait_seconds=10)
        return self

    def session(self) -> StreamSession:
        return StreamSession(self.warehouse, cast(ModelRegistry, NoModels()), self.settings, self.stream)

    def drain(self, clock: Callable[[], datetime] = now) -> DrainReport:
        """What one run does, in a session of its own."""
        return drain(self.session(), self.folder, clock=clock)

    def waiting(self) -> list[str]:
        """The files that were left where they had been dropped."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_file())

    def decisions(self) -> pl.DataFrame:
        return self.warehouse.read("FROM scoring.decisions ORDER BY transaction_id")


class NoModels:
    """A registry in which nothing was registered: the stream starts on the first day, before any daily run."""

    def champion(self, name: str) -> None:
        return None


def drop(folder: Path, name: str, rows: pl.DataFrame) -> Path:
    """Write a micro-batch as a producer should: aside, then renamed."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    if ".parquet" in name:
        rows.write_parquet(aside)
    else:
        compression: Literal["gzip", "uncompressed"] = "gzip" if name.endswith(".gz") else "uncompressed"
        rows.write_ndjson(aside, compression=compression, check_extension=False)
    aside.rename(path)
    return path


def register(registry: ModelRegistry, number: int, *, name: str = ENSEMBLE, model: FraudModel | None = None) -> None:
    """Register the next version, by default of the ensemble; of a single day each, the latest is champion."""
    model = model or fitted(number)
    with tempfile.TemporaryDirectory() as folder:
        digest = model.save(Path(folder))
        registry.log_version(
            name,
            partition=YESTERDAY + timedelta(days=number),
            fingerprint=str(number),
            artifact_folder=Path(folder),
            record=TrainingRecord(tags={DIGEST_TAG: digest}),
        )
    registry.set_alias(name, "champion", registry.list_versions(name)[-1].version)


def fitted(number: int, feature_version: str = FEATURE_VERSION) -> FraudModel:
    rng = np.random.default_rng(number)
    rows = pl.DataFrame({name: rng.lognormal(1, 1, 500) for name in LABEL_FREE_SCHEMA})
    return FraudModel.fit(rows, backend="ecod", schema=LABEL_FREE_SCHEMA, feature_version=feature_version)
