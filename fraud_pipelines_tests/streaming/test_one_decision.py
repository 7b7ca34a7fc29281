"""One payment, one decision: at the end of the day, in micro-batches, by itself, and made again from the log."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final
from unittest import mock

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions.configuration import engine_in_force
from fraud_pipelines.decisions.decided_day import decide_day
from fraud_pipelines.decisions.log import record_decisions
from fraud_pipelines.decisions.replay import Channel, replay_decisions
from fraud_pipelines.detection.daily_models import current_feature_version, load_models_in_use, score_day
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import LABEL_FREE_SCHEMA, parse_schema
from fraud_pipelines.detection.supervised import fit_supervised
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.streaming import session as session_module
from fraud_pipelines.streaming.batches import FrameBatch
from fraud_pipelines.streaming.detector import StreamDetector
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines.streaming.settings import DetectorSettings, StreamSettings
from fraud_pipelines.transactions.landing import land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.streaming.samples import ENSEMBLE, YESTERDAY, now, register, traffic

DAILY, SUPERVISED, AMOUNT = "fraud-daily", "fraud-supervised", "fraud-amount"
BEFORE: Final = YESTERDAY - timedelta(days=1)
PLAN: Final = shipped_plan()


class ScoresOfTheDay(StreamDetector):
    """A detector whose model is the daily one, for the two channels to screen by the same score.

    By itself the stream screens by a detector of its own, and so differs from the day wherever the screening decides.
    """

    daily: ClassVar[FraudModel]

    def _in_force(self, position: int) -> int:
        return 1

    def _learn(self, begun: int) -> None:
        pass

    def _model(self, version: int) -> FraudModel:
        return self.daily


class World:
    """Payments of two days, of which the first has been derived, and a version of each model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(data_dir=folder / "data", policy="drawn")
        rows = traffic(300, users=12, days=2).unique("transaction_id", maintain_order=True)
        today = pl.col("timestamp").dt.date() == YESTERDAY
        self.rows = rows.filter(today).head(40)
        warehouse = open_warehouse(self.settings.warehouse_path, plan=PLAN, wait_seconds=10)
        rows.filter(~today).write_parquet(folder / "before.parquet")
        land_transactions(warehouse, folder / "before.parquet", ColumnMapping.identity(PLAN.attributes), now=now())
        derive_day(warehouse, BEFORE, plan=PLAN)
        self.registry = ModelRegistry(self.settings.tracking_uri, artifact_root=self.settings.artifact_root)
        self.registry.initialise()
        self.models = self._register(read_features(warehouse, BEFORE, BEFORE))
        ScoresOfTheDay.daily = self.models[DAILY]

    def _register(self, features: pl.DataFrame) -> dict[str, FraudModel]:
        def detector(backend: str) -> FraudModel:
            schema = {"amount": "numeric"} if backend == "amount" else LABEL_FREE_SCHEMA
            version = current_feature_version(parse_schema(schema), PLAN)
            return FraudModel.fit(features, backend=backend, schema=schema, contamination=0.1, feature_version=version)

        daily, ensemble = detector("isolation_forest"), detector("ecod")
        scores = {"isolation_forest_score": daily, "suod_score": ensemble}
        told = features.with_columns(model.score(features)["score"].alias(name) for name, model in scores.items())
        schema = dict.fromkeys(("amount", "user_z", *scores), "numeric")
        # One whose score follows every one of its inputs, for a missing one to show.
        risk = told["isolation_forest_score"] + told["suod_score"] + told["user_z"].clip(-1, 1) / 4
        supervised = fit_supervised(
            told.with_columns(is_fraud=risk.rank("random", seed=1) > told.height * 0.7),
            told,
            schema=schema,
            contamination=0.5,
            parameters={"min_samples_leaf": 2, "max_iter": 40},
            feature_version=current_feature_version(parse_schema(schema), PLAN),
        )
        models = {DAILY: daily, ENSEMBLE: ensemble, SUPERVISED: supervised, AMOUNT: detector("amount")}
        for name, model in models.items():
            register(self.registry, 0, name=name, model=model)
        return models

    def warehouse(self, case: "Case") -> Warehouse:
        """A copy of the first day's, on whose second day what is ``in_use`` decides."""
        path = self.folder / "case.duckdb"
        path.unlink(missing_ok=True)
        shutil.copy(self.settings.warehouse_path, path)
        warehouse = warehouse_at(path)
        in_use = [(name, 1 if name in case.in_use else None, None) for name in self.models]
        promotions = pl.DataFrame(
            [*in_use, ("second_stage", None, case.best)],
            schema={"model_name": pl.String, "champion_version": pl.Int32, "deciding_model": pl.String},
            orient="row",
        ).with_columns(
            as_of=YESTERDAY, candidate_version=1, rule=pl.lit(""), decision=pl.lit(""), evidence=pl.lit("{}")
        )
        with warehouse.transaction() as connection:
            insert(connection, "monitoring.model_promotions", promotions.cast({"candidate_version": pl.Int32}))
        for name in self.models:
            self.registry.set_alias(name, "champion", 1 if name in case.in_use else None)
        return warehouse


class Case:
    """What may differ: which model decides and whether it is in use, where thresholds lie, what rules say."""

    def __init__(self, data: st.DataObject) -> None:
        supervised = data.draw(st.booleans(), label="the supervised model is in use")
        without_ensemble = data.draw(st.sampled_from([False, False, True]), label="the ensemble has no scores")
        self.in_use = (
            {DAILY, AMOUNT} | (set() if without_ensemble else {ENSEMBLE}) | ({SUPERVISED} if supervised else set())
        )
        second_stages = [ENSEMBLE] if without_ensemble else ["best", ENSEMBLE, SUPERVISED]
        self.second_stage = data.draw(st.sampled_from(second_stages), label="second_stage")
        deciding = [ENSEMBLE, AMOUNT, *([SUPERVISED] if supervised else [])]
        self.best = data.draw(st.sampled_from(deciding), label="best")
        thresholds = sorted(data.draw(st.tuples(*[st.sampled_from([0.2, 0.4, 0.5, 0.7, 0.9])] * 2)))
        policy: dict[str, Any] = {"based_on": "balanced", "alert_budget": 10_000, "second_stage": self.second_stage}
        policy |= {"review_threshold": thresholds[0], "block_threshold": thresholds[1]}
        policy["screening_threshold"] = self.screening = data.draw(st.sampled_from([0.1, 0.4, 0.6]))
        policy["gate"] = data.draw(st.sampled_from([None, True, False]), label="gate")
        if data.draw(st.booleans(), label="segments"):
            policy["segments"] = [{"name": "home", "country": "US", "review_threshold": 0.3, "block_threshold": 0.6}]
        self.policy = policy
        rule = {"name": "large", "decision": "review", "when": {"amount": {"above": 150}}, "expires": "2099-01-01"}
        self.rules = [rule] if data.draw(st.booleans(), label="a rule") else []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("one-decision"))


FIELDS: Final = ("transaction_id", "decision", "score", "reason", "reason_codes")


@examples(12)
@given(st.data())
def test_one_payment_is_decided_alike_in_every_way(world: World, data: st.DataObject) -> None:
    case = Case(data)
    (world.settings.data_dir / "policies.yaml").write_text(
        str({"policies": {"drawn": case.policy}}).replace("None", "null")
    )
    (world.settings.data_dir / "rules.yaml").write_text(str({"rules": case.rules}))
    warehouse = world.warehouse(case)
    stream = StreamSettings(
        detector=DetectorSettings(threshold=case.screening), commit_rows=data.draw(st.sampled_from([7, 1000]))
    )
    cut = data.draw(st.integers(0, world.rows.height), label="cut")
    with mock.patch.object(session_module, "StreamDetector", ScoresOfTheDay):
        session = StreamSession(warehouse, world.registry, world.settings, stream)
        alone = session.open(YESTERDAY, active_days=3)
        singly = [alone.screen_one(row) for row in world.rows.iter_rows(named=True)]
        for number, part in enumerate((world.rows[:cut], world.rows[cut:])):
            session.commit([FrameBatch(str(number), "test", part)], now=now())
    assert session.problem is None

    derive_day(warehouse, YESTERDAY, plan=PLAN)
    models = load_models_in_use(warehouse, world.registry, YESTERDAY, declared=PLAN)
    models = [each for each in models if each.name != ENSEMBLE or ENSEMBLE in case.in_use]
    scores = score_day(read_features(warehouse, YESTERDAY, YESTERDAY), models, day=YESTERDAY, now=now())
    warehouse.overwrite("scoring.transaction_scores", scores, event_date=YESTERDAY, channel="batch")
    day = decide_day(warehouse, world.registry, engine_in_force(warehouse, world.settings, YESTERDAY), YESTERDAY)
    record_decisions(warehouse, day.rows, engine=day.engine, day=YESTERDAY, channel="batch", now=now())

    one_by_one = sorted((tuple(getattr(each, name) for name in FIELDS) for each in singly), key=lambda row: row[0])
    assert len(one_by_one) == world.rows.height
    channels: tuple[Channel, ...] = ("batch", "stream")
    for channel in channels:
        decided = warehouse.read(
            f"SELECT {', '.join(FIELDS)} FROM scoring.decisions WHERE channel = ? AND event_date = ? ORDER BY 1",
            [channel, YESTERDAY],
        )
        assert [(*row[:4], tuple(row[4])) for row in decided.rows()] == one_by_one, channel
        replays = replay_decisions(warehouse, world.registry, decided["transaction_id"].to_list(), channel=channel)
        assert [each.differences for each in replays if not each.equal] == [], channel
