"""The two sets of models of a trial: with the features that the models in force read, and with those declared now."""

from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from fraud_pipelines.detection.backends import MODEL_NAMES, SUPERVISED
from fraud_pipelines.detection.daily_models import (
    TrainingPlan,
    current_feature_version,
    load_version,
    require_current_features,
    versions_in_use,
)
from fraud_pipelines.detection.default_schema import default_schema
from fraud_pipelines.detection.detector_plan import DetectorTraining
from fraud_pipelines.detection.known_frauds import EVIDENCE_DAYS
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import MODEL_SCORES, Schema
from fraud_pipelines.detection.supervised import MIN_FRAUDS, TRAINING_DAYS, supervised_schema, with_model_scores
from fraud_pipelines.detection.supervised_plan import SupervisedTraining
from fraud_pipelines.errors import ArtifactRejected, MissingData
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse


@dataclass(frozen=True)
class InForce:
    """The version of a backend's model that was in use on the last day of a trial."""

    backend: str
    version: int
    model: FraudModel

    @property
    def features(self) -> Schema:
        """The features it reads, the scores of other models aside."""
        return {name: role for name, role in self.model.schema.items() if name not in MODEL_SCORES}

    def redefined(self, plan: Plan) -> bool:
        """Whether a feature it reads is computed otherwise now, or declared no more."""
        try:
            require_current_features(self.model, plan)
        except ArtifactRejected:
            return True
        return False

    def days_before(self, settings: Settings, training_days: int) -> int:
        """How many days before the one it scores it learns from, and those it is anchored on or shown frauds of."""
        if self.backend == SUPERVISED.name:
            return settings.label_delay_days + TRAINING_DAYS
        if self.model.grouped:
            return max(training_days, settings.label_delay_days + EVIDENCE_DAYS)
        return training_days


def models_in_force(production: Warehouse, registry: ModelRegistry, day: date) -> dict[str, InForce]:
    """Backend → the version that was in use on ``day``, in the order in which they score.

    Raises:
        MissingData: none was.
        ArtifactRejected: what is stored was damaged or tampered with.
        RegistryUnavailable: MLflow can't be reached.
    """
    in_use = versions_in_use(production, day)
    if not in_use:
        raise MissingData(f"No model was in use on {day}, so there is nothing to compare with. Run that day first.")
    return {
        backend: InForce(backend, in_use[name], load_version(registry, name, in_use[name]).model)
        for backend, name in MODEL_NAMES.items()
        if name in in_use
    }


@dataclass(frozen=True)
class Arm:
    """One of the two sets.

    Attributes:
        warehouse: with its features.
        training_days: trailing days that its detectors learn from.
        as_declared: it reads what is declared now, not what the models in force read.
        without: features that it does without.
    """

    warehouse: Warehouse
    settings: Settings
    training_days: int
    as_declared: bool
    without: tuple[str, ...] = ()

    def plan(self, model: InForce, day: date) -> tuple[TrainingPlan, Schema]:
        """What the model of ``day`` is trained on, and the features it reads.

        Raises:
            MissingData: too little is known before the day.
        """
        plan = self._plan(model, day)
        if self.without:
            left = None if plan.calibration is None else plan.calibration.drop(self.without, strict=False)
            plan = replace(plan, features=plan.features.drop(self.without, strict=False), calibration=left)
        if self.as_declared:
            return plan, plan.schema()[0]
        if plan.calibration is None:
            plan = plan if model.model.grouped else replace(plan, frauds=None)
            return plan, default_schema(plan.features, model.features)[0]
        # What is declared as daily has to have values on most days; the further features of a supervised model don't.
        left_out = default_schema(plan.features)[1]
        kept = {name: role for name, role in model.features.items() if name not in left_out}
        return plan, supervised_schema(kept, pl.concat([plan.features, plan.calibration], how="diagonal"))

    def score(self, model: InForce, day: date, fitted: FraudModel) -> pl.DataFrame:
        """``transaction_id`` and ``raw_score`` of the day's transactions."""
        rows = read_features(self.warehouse, day, day)
        if model.backend == SUPERVISED.name:
            rows = with_model_scores(
                rows,
                self.warehouse.read(
                    "SELECT transaction_id, model_name, score FROM scoring.transaction_scores WHERE event_date = ?",
                    [day],
                ),
            )
        return rows.select("transaction_id").with_columns(fitted.score(rows)["raw_score"])

    def fit(self, plan: TrainingPlan, schema: Schema, *, seed: int) -> FraudModel:
        return plan.fit(schema, current_feature_version(schema, plan.declared), seed=seed)

    def _plan(self, model: InForce, day: date) -> TrainingPlan:
        if model.backend == SUPERVISED.name:
            return SupervisedTraining(
                parameters=model.model.parameters,
                contamination=model.model.contamination,
                label_delay_days=self.settings.label_delay_days,
                min_frauds=MIN_FRAUDS,
                sample_rows=self.settings.training_sample_rows,
                declared=plan_in_force(self.settings),
            ).plan(self.warehouse, day)
        return DetectorTraining(
            backend=model.backend,
            parameters=model.model.parameters,
            contamination=model.model.contamination,
            training_days=self.training_days,
            min_training_days=self.settings.min_training_days,
            label_delay_days=self.settings.label_delay_days,
            sample_rows=self.settings.training_sample_rows,
            declared=plan_in_force(self.settings),
        ).plan(self.warehouse, day)
