"""A day decided in shards has the same decisions, to the bit, and a log that verifies."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.decisions.audit import audit_decisions
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRule, HardRules
from fraud_pipelines.decisions.hash_chain import ENTRY_SCHEMA
from fraud_pipelines.decisions.log import Recorded
from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.decisions.recorded_day import decide_and_record
from fraud_pipelines.detection.daily_models import DIGEST_TAG
from fraud_pipelines.detection.scored_day import scored_day
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.engines.spark import Spark
from fraud_pipelines.errors import MissingData, ShardFailed
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.conftest import warehouse_content
from fraud_pipelines_tests.detection.scored_samples import DAY, NOW, small_models, warehouse_with_features
from fraud_pipelines_tests.engines.spark import spark_engine
from fraud_pipelines_tests.features.random_declarations import bits
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
CAPPED = DecisionEngine(POLICY, THRESHOLDS, RULES)
PLAIN = DecisionEngine(POLICY.model_copy(update={"audit_per_day": 0, "alert_budget": None}), THRESHOLDS)


@dataclass(frozen=True)
class World:
    """A scored day in a file to copy, and the models that scored it."""

    path: Path
    registry: ModelRegistry

    def copy(self, folder: Path) -> Warehouse:
        folder.mkdir()
        return warehouse_at(copied(self.path, folder / "fraud.duckdb"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("day")
    warehouse = warehouse_with_features(folder)
    models = small_models(warehouse)
    with scored_day(warehouse, models, InProcess(), day=DAY, now=NOW) as scored:
        warehouse.overwrite("scoring.transaction_scores", scored.rows, event_date=DAY, channel="batch")
    digests = {(each.name, each.version): each.model.save(folder / each.name) for each in models}
    registry = SimpleNamespace(
        get_version=lambda name, version: SimpleNamespace(tags={DIGEST_TAG: digests[name, version]}),
        download=lambda name, version: folder / name,
    )
    return World(warehouse.path, cast(ModelRegistry, registry))


def decided(world: World, warehouse: Warehouse, engine: Engine, deciding: DecisionEngine) -> list[Recorded]:
    """The day decided; again, after scores have changed and a payment is gone; and as it was."""
    recorded = [decide_and_record(warehouse, world.registry, deciding, engine, day=DAY, now=NOW).recorded]
    kept = warehouse.read("FROM scoring.transaction_scores")
    with warehouse.transaction() as connection:
        connection.update("scoring.transaction_scores", "score = 1 - score", "transaction_id < 't03'")
        connection.delete("scoring.transaction_scores", "transaction_id > 't195'")
    later = NOW + timedelta(hours=1)
    recorded.append(decide_and_record(warehouse, world.registry, deciding, engine, day=DAY, now=later).recorded)
    warehouse.overwrite("scoring.transaction_scores", kept, event_date=DAY)
    later += timedelta(hours=1)
    recorded.append(decide_and_record(warehouse, world.registry, deciding, engine, day=DAY, now=later).recorded)
    return recorded


def content(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """Decisions, entries without their hashes, and what decided."""
    entries = ", ".join(ENTRY_SCHEMA.names())
    return {
        "decisions": bits(warehouse.read("FROM scoring.decisions ORDER BY transaction_id")),
        "entries": bits(
            warehouse.read(f"SELECT {entries} FROM scoring.decision_revisions ORDER BY transaction_id, revision")
        ),
        "versions": warehouse.read("FROM scoring.policy_versions ORDER BY ALL"),
    }


def assert_the_same(world: World, folder: Path, engine: Engine, deciding: DecisionEngine = CAPPED) -> None:
    one, other = world.copy(folder / "one"), world.copy(folder / "other")
    whole = decided(world, one, InProcess(), deciding)
    found = decided(world, other, engine, deciding)
    counts = [(each.new, each.revised, each.withdrawn, each.head.sequence) for each in whole]
    assert [(each.new, each.revised, each.withdrawn, each.head.sequence) for each in found] == counts
    expected = content(one)
    for name, rows in content(other).items():
        assert_frame_equal(rows, expected[name])
    for warehouse, head in ((one, whole[0].head), (other, found[0].head)):
        audit = audit_decisions(warehouse, expected_head=str(head), engine=InProcess(2, folder / "audit"))
        assert (audit.findings, audit.decisions) == ((), 200)
    assert not list(folder.glob("work/*"))


def test_the_day_has_all_that_may_decide(world: World, tmp_path: Path) -> None:
    warehouse = world.copy(tmp_path / "one")
    first, second, third = decided(world, warehouse, InProcess(), CAPPED)
    reasons = set(warehouse.read("SELECT DISTINCT reason FROM scoring.decisions").to_series())
    assert {"rule:far", "rule:ours", "alert_cap"} <= reasons
    assert warehouse.read("SELECT count(*) FROM scoring.decisions WHERE audited AND len(reason_codes) > 0").item()
    assert (first.new, second.withdrawn) == (200, 4)
    assert second.revised > 0
    assert third.revised > 0


@pytest.mark.parametrize("deciding", [CAPPED, PLAIN], ids=["capped", "plain"])
@pytest.mark.parametrize("shards", [2, 8])
def test_any_number_of_shards_decides_the_same(
    world: World, tmp_path: Path, shards: int, deciding: DecisionEngine
) -> None:
    assert_the_same(world, tmp_path, InProcess(shards, tmp_path / "work"), deciding)


def test_processes_decide_the_same(world: World, tmp_path: Path) -> None:
    with closing(Processes(2, tmp_path / "work")) as engine:
        assert_the_same(world, tmp_path, engine)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    yield from spark_engine(tmp_path_factory.mktemp("spark"), 2)


@pytest.mark.parametrize("shards", [2, 8])
def test_spark_decides_the_same(world: World, tmp_path: Path, spark: Spark, shards: int) -> None:
    assert_the_same(world, tmp_path, replace(spark, shards=shards))


def test_what_another_process_has_decided_meanwhile_stays(world: World, tmp_path: Path) -> None:
    warehouse = world.copy(tmp_path / "one")

    class Overtaken(InProcess):
        def map(self, step, works):  # type: ignore[no-untyped-def]
            if step.__name__ == "record_shard":
                decide_and_record(warehouse, world.registry, PLAIN, InProcess(), day=DAY, now=NOW)
            return super().map(step, works)

    with pytest.raises(ShardFailed, match="Another process has decided 2026-03-01 meanwhile"):
        decide_and_record(
            warehouse, world.registry, CAPPED, Overtaken(2, tmp_path / "work"), day=DAY, now=NOW + timedelta(hours=1)
        )
    assert warehouse.read("SELECT DISTINCT decided_at FROM scoring.decisions").to_series().to_list() == [NOW]
    assert audit_decisions(warehouse).findings == ()


@pytest.mark.parametrize("step", ["alerts_of_shard", "decide_shard", "record_shard"])
def test_a_killed_shard_leaves_all_tables_as_they_were(world: World, tmp_path: Path, step: str) -> None:
    warehouse = world.copy(tmp_path / "one")
    before = warehouse_content(warehouse)

    class Killed(Processes):
        def map(self, each, works):  # type: ignore[no-untyped-def]
            if each.__name__ == step:
                self.begin()
                self._workers[0].process.kill()
            return super().map(each, works)

    with closing(Killed(2, tmp_path / "work")) as engine, pytest.raises(ShardFailed, match="Nothing of the day"):
        decide_and_record(warehouse, world.registry, CAPPED, engine, day=DAY, now=NOW)
    for table, rows in warehouse_content(warehouse).items():
        assert_frame_equal(rows, before[table])


@pytest.mark.parametrize("shards", [1, 3])
def test_a_day_without_scores_is_told(world: World, tmp_path: Path, shards: int) -> None:
    warehouse = world.copy(tmp_path / "one")
    with pytest.raises(MissingData, match="no scores are stored for 2026-03-02"):
        decide_and_record(
            warehouse,
            world.registry,
            CAPPED,
            InProcess(shards, tmp_path / "work"),
            day=DAY + timedelta(days=1),
            now=NOW,
        )
