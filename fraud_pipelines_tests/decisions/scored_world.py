"""A day of payments to decide, with the models that score it, and what decides with all that needs a whole day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRule, HardRules
from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.decisions.recorded_day import decide_and_record
from fraud_pipelines.decisions.shadow import ShadowPolicy, ShadowRule, Shadows
from fraud_pipelines.detection.daily_models import DAILY_MODEL, DIGEST_TAG, SUPERVISED_MODEL, LoadedModel
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.scored_day import scored_day
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.detection.scored_samples import DAY, NOW, small_models, warehouse_with_features
from fraud_pipelines_tests.lakes import copied

POLICY = policy_named("balanced").model_copy(
    update={"second_stage": "fraud-supervised", "screening_threshold": 0.01, "audit_per_day": 20, "alert_budget": 4}
)
RULES = HardRules(
    rules=(
        HardRule.model_validate(
            {"name": "far", "decision": "review", "expires": DAY + timedelta(days=9), "when": {"amount": {"above": 97}}}
        ),
        HardRule.model_validate(
            {"name": "ours", "decision": "approve", "expires": DAY + timedelta(days=9), "when": {"merchant_id": "m3"}}
        ),
    )
)
THRESHOLDS = initial_thresholds(POLICY, DAY).model_copy(update={"review_threshold": 0.02, "block_threshold": 0.05})
SHADOWS = Shadows(
    rules=(
        ShadowRule(
            HardRule.model_validate(
                {
                    "name": "tried",
                    "decision": "block",
                    "expires": DAY + timedelta(days=9),
                    "when": {"amount": {"above": 90}},
                    "shadow": True,
                }
            )
        ),
    ),
    policies=(ShadowPolicy(DecisionEngine(policy_named("high_security"), initial_thresholds(POLICY, DAY))),),
)
CAPPED = DecisionEngine(POLICY, THRESHOLDS, RULES)
PLAIN = DecisionEngine(POLICY.model_copy(update={"audit_per_day": 0, "alert_budget": None}), THRESHOLDS)


@dataclass(frozen=True)
class World:
    """A scored day in a file to copy, and the models that scored it."""

    path: Path
    folder: Path
    models: Sequence[LoadedModel]

    @property
    def registry(self) -> ModelRegistry:
        """Gives the models, as MLflow would."""

        def version(name: str, number: int) -> object:
            return SimpleNamespace(tags={DIGEST_TAG: (self.folder / f"{name}.digest").read_text()})

        return cast(
            ModelRegistry,
            SimpleNamespace(get_version=version, download=lambda name, _: self.folder / name),
        )

    def copy(self, folder: Path) -> Warehouse:
        folder.mkdir()
        return warehouse_at(copied(self.path, folder / self.path.name))


def scored_world(folder: Path, name: str = "fraud.duckdb") -> World:
    """The day in a warehouse of that name in ``folder``, with its scores, and the models beside it."""
    folder.mkdir(exist_ok=True)
    warehouse = warehouse_with_features(folder, name)
    models = small_models(warehouse)
    for each in models:
        (folder / f"{each.name}.digest").write_text(each.model.save(folder / each.name))
    _score(warehouse, models, InProcess())
    return World(warehouse.path, folder, models)


def saved_world(path: Path, folder: Path) -> World:
    """The world that another process has saved."""
    versions = {DAILY_MODEL: 3, SUPERVISED_MODEL: 1}
    models = [LoadedModel(name, number, FraudModel.load(folder / name)) for name, number in versions.items()]
    return World(path, folder, models)


def process_day(warehouse: Warehouse, world: World, engine: Engine) -> None:
    """Features, scores and decisions."""
    derive_day(warehouse, DAY, plan=shipped_plan(), engine=engine)
    _score(warehouse, world.models, engine)
    decide_and_record(warehouse, world.registry, CAPPED, engine, day=DAY, now=NOW)


def _score(warehouse: Warehouse, models: Sequence[LoadedModel], engine: Engine) -> None:
    with scored_day(warehouse, models, engine, day=DAY, now=NOW) as scored:
        warehouse.overwrite("scoring.transaction_scores", scored.rows, event_date=DAY, channel="batch")
