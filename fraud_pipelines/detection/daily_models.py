"""The daily models: one version a day and backend, trained once for the same input, and how they score a day."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.detection.backends import AMOUNT, MODEL_NAMES
from fraud_pipelines.detection.default_schema import daily_schema, default_schema, grouped_schema
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.groups import Grouping
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import FeatureRole, Schema
from fraud_pipelines.detection.score_rows import score_rows
from fraud_pipelines.detection.serving import serving_code
from fraud_pipelines.detection.supervised import LABEL, WEIGHT, fit_supervised, supervised_schema, with_model_scores
from fraud_pipelines.detection.training import TrainingWindow, rows_digest, training_fingerprint
from fraud_pipelines.detection.training_log import training_record
from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.versions import earlier_version
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.model_registry import ModelRegistry, ModelVersionInfo
from fraud_pipelines.storage.training_runs import BACKEND_TAG, FINGERPRINT_TAG
from fraud_pipelines.storage.warehouse import Warehouse

DAILY_MODEL: Final = MODEL_NAMES["isolation_forest"]
ENSEMBLE_MODEL: Final = MODEL_NAMES["suod"]
SUPERVISED_MODEL: Final = MODEL_NAMES["supervised"]
AMOUNT_MODEL: Final = MODEL_NAMES["amount"]
DAILY_MODELS: Final = tuple(MODEL_NAMES.values())
"""In the order in which they score a day: the supervised model comes after those whose scores it takes."""
SECOND_STAGE: Final = "second_stage"
"""What ``monitoring.model_promotions`` names, instead of a model, where it says which of them decides the day."""

DIGEST_TAG: Final = "model_digest"
"""The hash of the model, kept in the registry's database, apart from the files that it protects."""
FEATURES_TAG: Final = "feature_schema"
"""The features that a version reads, with commas between."""
FRAUDS_TAG: Final = "training_frauds"
"""How many known frauds a supervised version learned from."""
TRAINED_FROM_TAG: Final = "trained_from"
TRAINED_TO_TAG: Final = "trained_to"
INPUTS_TAG: Final = "inputs_digest"
"""A digest of what a plan was made from, so that a rerun need not read it to know that nothing has changed."""
_TRAINING_ROWS: Final = "training_rows"
_ROWS_IN_WINDOW: Final = "rows_in_window"
_TRAINING_DAYS: Final = "training_days"
_BOOTSTRAP: Final = "bootstrap"
_LEFT_OUT: Final = "left_out"


@dataclass(frozen=True)
class LoadedModel:
    """A registered version, ready to score. ``inputs`` are the models whose scores it takes beside the features."""

    name: str
    version: int
    model: FraudModel
    inputs: tuple["LoadedModel", ...] = ()


def load_version(registry: ModelRegistry, name: str, version: int) -> LoadedModel:
    """A version of a model.

    Raises:
        MissingData: there is no such version.
        ArtifactRejected: what is stored was damaged or tampered with.
        RegistryUnavailable: MLflow can't be reached.
    """
    found = registry.get_version(name, version)
    model = FraudModel.load(registry.download(name, version), digest=found.tags.get(DIGEST_TAG))
    return LoadedModel(name, version, model)


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
    return load_version(registry, name, version.version)


def load_models_in_use(
    warehouse: Warehouse, registry: ModelRegistry, day: date, *, declared: Plan
) -> list[LoadedModel]:
    """Every model that scores ``day``, in the order of `DAILY_MODELS`.

    Raises:
        MissingData: the isolation forest or the ensemble, which the decisions need, has no version for the day.
        ArtifactRejected: as for `load_version`, or a version learned from features that are computed otherwise now.
        RegistryUnavailable: MLflow can't be reached.
    """
    in_use = versions_in_use(warehouse, day)
    models = [
        load_version(registry, name, in_use[name]) if name in in_use else load_daily_model(registry, name, day)
        for name in DAILY_MODELS
        if name in in_use or name in (DAILY_MODEL, ENSEMBLE_MODEL)
    ]
    for loaded in models:
        require_current_features(loaded.model, declared)
    return models


def versions_in_use(warehouse: Warehouse, day: date) -> dict[str, int]:
    """Model → version that scores ``day``, by ``monitoring.model_promotions``; empty where nothing was decided.

    That is the champion as of the day. A model that has none yet is scored by its candidate, so that there is
    something to judge it by.
    """
    rows = warehouse.read(
        "SELECT model_name, coalesce(champion_version, candidate_version) FROM monitoring.model_promotions "
        "WHERE as_of = ? AND model_name <> ?",
        [day, SECOND_STAGE],
    )
    return dict(rows.iter_rows())


def score_day(features: pl.DataFrame, models: Iterable[LoadedModel], *, day: date, now: datetime) -> pl.DataFrame:
    """Rows of ``scoring.transaction_scores`` in the channel ``batch``, one for each model and row of ``features``.

    Args:
        models: in the order of `DAILY_MODELS`; the supervised one is given the scores of those before it.
    """
    scored: list[pl.DataFrame] = []
    for loaded in models:
        supervised = loaded.name == SUPERVISED_MODEL and scored
        scores = loaded.model.score(with_model_scores(features, pl.concat(scored)) if supervised else features)
        of_day = features.select("transaction_id", pl.lit(day).alias("event_date"))
        scored.append(score_rows(of_day, scores, name=loaded.name, version=loaded.version, channel="batch"))
    return pl.concat(scored).with_columns(scored_at=pl.lit(now, dtype=pl.Datetime("us")))


@dataclass(frozen=True)
class TrainingPlan:
    """What a daily model is trained on and with."""

    backend: str
    day: date
    window: TrainingWindow
    features: pl.DataFrame
    parameters: Parameters
    contamination: float
    declared: Plan
    rows_in_window: int
    """Transactions of the window's days, of which ``features`` may be a sample."""
    calibration: pl.DataFrame | None = None
    """Of a supervised model, whose ``features`` have the column ``is_fraud``: the rows its scores are anchored on."""
    frauds: pl.DataFrame | None = None
    """Of a detector of groups: features of known frauds, which need not be any."""

    def schema(self) -> tuple[Schema, dict[str, str]]:
        """The features the model gets, and feature → reason for each one left out."""
        if self.backend == AMOUNT.name:
            return {"amount": FeatureRole(role="numeric")}, {}
        declared = daily_schema(self.declared) if self.frauds is None else grouped_schema(self.declared)
        schema, left_out = default_schema(self.features, declared)
        if self.calibration is None:
            return schema, left_out
        further = {
            name: FeatureRole(role=model.role)
            for name, model in self.declared.model_schema.items()
            if name not in left_out
        }
        rows = pl.concat([self.features, self.calibration], how="diagonal")
        return supervised_schema({**schema, **further}, rows), left_out

    def fingerprint(self, schema: Schema, feature_version: str) -> str:
        """Of all that decides what the model becomes."""
        rows, count = self.features, self.rows_in_window
        if self.calibration is not None:
            rows, count = pl.concat([rows, self.calibration], how="diagonal"), count + self.calibration.height
            schema = {**schema, LABEL: FeatureRole(role="binary")}
            if WEIGHT in rows.columns:
                schema = {**schema, WEIGHT: FeatureRole(role="numeric")}
        fingerprint = training_fingerprint(
            rows,
            backend=self.backend,
            schema=schema,
            contamination=self.contamination,
            parameters=self.parameters,
            feature_version=feature_version,
            rows=count,
        )
        if self.frauds is None:
            return fingerprint
        return hashlib.sha256(f"{fingerprint} {rows_digest(self.frauds, schema)}".encode()).hexdigest()

    def fit(self, schema: Schema, feature_version: str, *, seed: int = 0) -> FraudModel:
        """The model; the daily ones are all fitted with the same ``seed``."""
        if self.calibration is not None:
            return fit_supervised(
                self.features,
                self.calibration,
                rows_in_window=self.rows_in_window,
                schema=schema,
                contamination=self.contamination,
                parameters=self.parameters,
                seed=seed,
                feature_version=feature_version,
            )
        return FraudModel.fit(
            self.features,
            backend=self.backend,
            schema=schema,
            contamination=self.contamination,
            parameters=self.parameters,
            seed=seed,
            feature_version=feature_version,
            groups=self._grouping(),
        )

    def _grouping(self) -> Grouping | None:
        """The groups with a feature that is declared ``daily`` have a detector of the model's own kind."""
        if self.frauds is None:
            return None
        return Grouping(frozenset(role.group for role in daily_schema(self.declared).values()), self.frauds)


@dataclass(frozen=True)
class TrainingReport:
    """What is logged beside a model, by name: metrics, figures (the text of an SVG each), and tables."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedModel:
    """The version trained for a day; ``reused`` where the same input had been trained on before."""

    version: ModelVersionInfo
    reused: bool
    report: TrainingReport = field(default_factory=TrainingReport)
    """What was logged beside it; empty of a version that is reused."""

    @property
    def left_out(self) -> dict[str, str]:
        """Feature → why the model does without it."""
        found: dict[str, str] = json.loads(self.version.tags[_LEFT_OUT])
        return found

    @property
    def counts(self) -> dict[str, int]:
        """``training_rows``, the ``rows_in_window`` of which they may be a sample, and ``training_days``."""
        return {name: int(self.version.tags[name]) for name in (_TRAINING_ROWS, _ROWS_IN_WINDOW, _TRAINING_DAYS)}

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day it was trained on, as ISO dates."""
        return self.version.tags[TRAINED_FROM_TAG], self.version.tags[TRAINED_TO_TAG]

    @property
    def bootstrap(self) -> bool:
        """Whether the day it scores is among those it was trained on."""
        return self.version.tags[_BOOTSTRAP] == "true"


def trained_before(registry: ModelRegistry, backend: str, day: date, inputs: str) -> TrainedModel | None:
    """The newest version for ``day``, if it was trained on what has this digest."""
    latest = registry.latest_for_partition(MODEL_NAMES[backend], day)
    return TrainedModel(latest, reused=True) if latest and latest.tags.get(INPUTS_TAG) == inputs else None


def ensure_daily_model(
    registry: ModelRegistry,
    plan: TrainingPlan,
    *,
    report: Callable[[FraudModel], TrainingReport],
    inputs: str | None = None,
) -> TrainedModel:
    """The version trained by ``plan``: the one that is registered already, else a new one.

    A version is never replaced. To run a day again with unchanged input finds its version by the fingerprint of
    the input; with changed input it adds a version. It is a candidate: `fraud_pipelines.evaluation.promotion`
    decides whether it is used, and moves the aliases.

    Args:
        report: what to log beside a new model.
        inputs: a digest of what the plan was made from, for `trained_before`.
    """
    name = MODEL_NAMES[plan.backend]
    schema, left_out = plan.schema()
    computed = current_feature_version(schema, plan.declared)
    fingerprint = plan.fingerprint(schema, computed)
    latest = registry.latest_for_partition(name, plan.day)
    seen = _seen(plan, left_out) | ({} if inputs is None else {INPUTS_TAG: inputs})
    if latest and _is_of_input(latest, plan, schema, fingerprint):
        changed = {tag: value for tag, value in seen.items() if latest.tags.get(tag) != value}
        if inputs is not None and changed:
            registry.tag_version(name, latest.version, changed)
        return TrainedModel(replace(latest, tags={**latest.tags, **seen}), reused=True)
    registry.mark_abandoned_runs(partition=plan.day, backend=plan.backend)
    model = plan.fit(schema, computed)
    reported = report(model)
    with tempfile.TemporaryDirectory() as folder:
        tags = {
            BACKEND_TAG: plan.backend,
            FEATURES_TAG: ",".join(schema),
            DIGEST_TAG: model.save(Path(folder)),
            **seen,
        }
        version = registry.log_version(
            name,
            partition=plan.day,
            fingerprint=fingerprint,
            artifact_folder=Path(folder),
            record=training_record(plan, model, reported, tags),
            serving=serving_code(model, plan.features.head(5)),
        )
    return TrainedModel(version, reused=False, report=reported)


def _seen(plan: TrainingPlan, left_out: Mapping[str, str]) -> dict[str, str]:
    """What a version says, in its tags, of what it was trained on."""
    return {
        _TRAINING_ROWS: str(plan.features.height),
        _ROWS_IN_WINDOW: str(plan.rows_in_window),
        _TRAINING_DAYS: str(len(plan.window.days)),
        _BOOTSTRAP: str(plan.window.bootstrap).lower(),
        TRAINED_FROM_TAG: plan.window.days[0].isoformat(),
        TRAINED_TO_TAG: plan.window.days[-1].isoformat(),
        _LEFT_OUT: json.dumps(left_out, sort_keys=True),
        **({FRAUDS_TAG: str(int(plan.features[LABEL].sum()))} if LABEL in plan.features.columns else {}),
    }


def _is_of_input(version: ModelVersionInfo, plan: TrainingPlan, schema: Schema, fingerprint: str) -> bool:
    """Whether the version was trained on this input, by this release or by one that named features otherwise."""
    known = version.tags.get(FINGERPRINT_TAG)
    earlier = earlier_version(schema, plan.declared)
    return known == fingerprint or (earlier is not None and known == plan.fingerprint(schema, earlier))


def current_feature_version(schema: Schema, declared: Plan) -> str:
    """A hash of how the features of the schema are computed: a model fits only features that are computed alike."""
    return declared.version_of(schema)


def require_current_features(model: FraudModel, declared: Plan) -> None:
    """Refuse a model that learned from features that are computed otherwise now.

    Raises:
        ArtifactRejected: as `FraudModel.require_feature_version`.
    """
    current = current_feature_version(model.schema, declared)
    model.require_feature_version(current, earlier_version(model.schema, declared))
