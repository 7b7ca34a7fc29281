"""The daily models: one version a day and backend, trained once for the same input, and how they score a day."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.detection.backends import MODEL_NAMES
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import Schema, default_schema
from fraud_pipelines.detection.serving import serving_code
from fraud_pipelines.detection.training import TrainingWindow, training_fingerprint
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.catalog import FEATURES
from fraud_pipelines.storage.model_registry import ModelRegistry, ModelVersionInfo

DAILY_MODEL: Final = MODEL_NAMES["isolation_forest"]
ENSEMBLE_MODEL: Final = MODEL_NAMES["suod"]
DAILY_MODELS: Final = (DAILY_MODEL, ENSEMBLE_MODEL)

DIGEST_TAG: Final = "model_digest"
"""The hash of the model, kept in the registry's database, apart from the files that it protects."""


@dataclass(frozen=True)
class LoadedModel:
    """A registered version, ready to score."""

    name: str
    version: int
    model: FraudModel


def load_daily_model(registry: ModelRegistry, name: str, day: date) -> LoadedModel:
    """The version of ``name`` that was trained for ``day``.

    Raises:
        MissingData: there is none.
        ArtifactRejected: what is stored was damaged or tampered with.
        RegistryUnavailable: MLflow can't be reached.
    """
    version = registry.latest_for_partition(name, day)
    if version is None:
        backend = next(backend for backend, model_name in MODEL_NAMES.items() if model_name == name)
        raise MissingData(f"{name} has no version for {day}: materialize models/{backend} for the day first")
    model = FraudModel.load(registry.download(name, version.version), digest=version.tags.get(DIGEST_TAG))
    return LoadedModel(name, version.version, model)


def load_version(registry: ModelRegistry, name: str, number: int) -> LoadedModel:
    """A registered version by its number, whatever day it was trained for.

    Raises:
        MissingData: there is none.
        ArtifactRejected: what is stored was damaged or tampered with.
        RegistryUnavailable: MLflow can't be reached.
    """
    version = next((each for each in registry.list_versions(name) if each.version == number), None)
    if version is None:
        raise MissingData(f"MLflow has no version {number} of {name}: it was deleted, or is kept on another server")
    model = FraudModel.load(registry.download(name, number), digest=version.tags.get(DIGEST_TAG))
    return LoadedModel(name, number, model)


def score_day(features: pl.DataFrame, loaded: LoadedModel, *, day: date, now: datetime) -> pl.DataFrame:
    """Rows of ``scoring.transaction_scores`` in the channel ``batch``, one for each row of ``features``."""
    scores = loaded.model.score(features)
    return features.select("transaction_id").with_columns(
        pl.lit(loaded.name).alias("model_name"),
        pl.lit("batch").alias("channel"),
        pl.lit(day).alias("event_date"),
        pl.lit(loaded.version, dtype=pl.Int32).alias("model_version"),
        scores["raw_score"],
        scores["score"],
        scores["is_anomaly"],
        pl.lit(now, dtype=pl.Datetime("us")).alias("scored_at"),
    )


@dataclass(frozen=True)
class TrainingPlan:
    """What a daily model is trained on and with."""

    backend: str
    day: date
    window: TrainingWindow
    features: pl.DataFrame
    parameters: Parameters
    contamination: float


@dataclass(frozen=True)
class TrainingReport:
    """What is logged beside a model: metrics by name, and figures by name, as PNG."""

    metrics: Mapping[str, float]
    figures: Mapping[str, bytes]


@dataclass(frozen=True)
class TrainedModel:
    """The version in use for a day; ``reused`` where the same input had been trained on before."""

    version: ModelVersionInfo
    reused: bool
    left_out: Mapping[str, str]
    metrics: Mapping[str, float]
    figures: Mapping[str, bytes]


def ensure_daily_model(
    registry: ModelRegistry, plan: TrainingPlan, *, report: Callable[[FraudModel], TrainingReport]
) -> TrainedModel:
    """The version trained by ``plan``: the one that is registered already, else a new one.

    A version is never replaced. To run a day again with unchanged input finds its version by the fingerprint of
    the input; with changed input it adds a version, which the day's scoring then uses. The alias ``champion``
    moves to the newest day's version.
    """
    name = MODEL_NAMES[plan.backend]
    schema, left_out = default_schema(plan.features)
    feature_version = _feature_version(schema)
    fingerprint = training_fingerprint(
        plan.features,
        backend=plan.backend,
        schema=schema,
        contamination=plan.contamination,
        parameters=plan.parameters,
        feature_version=feature_version,
    )
    latest = registry.latest_for_partition(name, plan.day)
    if latest and latest.tags.get("training_fingerprint") == fingerprint:
        registry.set_alias_to_newest_partition(name)
        return TrainedModel(latest, True, left_out, {}, {})
    registry.mark_abandoned_runs(partition=plan.day, backend=plan.backend)
    model = FraudModel.fit(
        plan.features,
        backend=plan.backend,
        schema=schema,
        contamination=plan.contamination,
        parameters=plan.parameters,
        feature_version=feature_version,
    )
    reported = report(model)
    with tempfile.TemporaryDirectory() as folder:
        digest = model.save(Path(folder))
        version = registry.log_version(
            name,
            partition=plan.day,
            fingerprint=fingerprint,
            artifact_folder=Path(folder),
            params=_params(plan, model),
            metrics=dict(reported.metrics),
            figures=dict(reported.figures),
            tags={
                "backend": plan.backend,
                "training_rows": str(model.training_rows),
                "feature_schema": ",".join(schema),
                DIGEST_TAG: digest,
                "bootstrap": str(plan.window.bootstrap).lower(),
            },
            serving=serving_code(model, plan.features.head(5)),
        )
    registry.set_alias_to_newest_partition(name)
    return TrainedModel(version, False, left_out, reported.metrics, reported.figures)


def _params(plan: TrainingPlan, model: FraudModel) -> dict[str, object]:
    """Parameters under the same names for every backend, so that MLflow's comparison lines them up."""
    return {
        "backend": plan.backend,
        "contamination": plan.contamination,
        "normalization": model.calibration.normalization,
        "seed": model.seed,
        "training_rows": model.training_rows,
        "training_days": len(plan.window.days),
        "trained_from": plan.window.days[0].isoformat(),
        "trained_to": plan.window.days[-1].isoformat(),
        "features": len(model.schema),
        **plan.parameters.model_dump(mode="json"),
    }


def _feature_version(schema: Schema) -> str:
    """A hash of how the features of the schema are defined: a model fits only features of the same definition."""
    definitions = [
        (name, feature.formula, feature.window, feature.null_rule)
        for name, feature in FEATURES.items()
        if name in schema
    ]
    return hashlib.sha256(repr(definitions).encode()).hexdigest()[:12]
