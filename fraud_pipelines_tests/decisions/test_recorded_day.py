"""A day decided in shards has the same decisions, to the bit, and a log that verifies."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.decisions.audit import audit_decisions
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hash_chain import ENTRY_SCHEMA
from fraud_pipelines.decisions.log import Recorded
from fraud_pipelines.decisions.recorded_day import decide_and_record
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.engines.spark import Spark
from fraud_pipelines.errors import MissingData, ShardFailed
from fraud_pipelines.storage.connection import select
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.conftest import warehouse_content
from fraud_pipelines_tests.decisions import killed_day
from fraud_pipelines_tests.decisions.scored_world import CAPPED, PLAIN, SHADOWS, World, process_day, scored_world
from fraud_pipelines_tests.detection.scored_samples import DAY, NOW
from fraud_pipelines_tests.engines.spark import spark_engine
from fraud_pipelines_tests.features.random_declarations import bits
from fraud_pipelines_tests.lakes import copied


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return scored_world(tmp_path_factory.mktemp("day"))


def decided(world: World, warehouse: Warehouse, engine: Engine, deciding: DecisionEngine) -> list[Recorded]:
    """The day decided; again, after scores have changed and a payment is gone; and as it was."""

    def again(now: datetime) -> Recorded:
        return decide_and_record(
            warehouse, world.registry, deciding, engine, day=DAY, now=now, shadows=SHADOWS
        ).recorded

    recorded = [again(NOW)]
    kept = warehouse.read("FROM scoring.transaction_scores")
    with warehouse.transaction() as connection:
        connection.update("scoring.transaction_scores", "score = 1 - score", "transaction_id < 't03'")
        connection.delete("scoring.transaction_scores", "transaction_id > 't195'")
    recorded.append(again(NOW + timedelta(hours=1)))
    warehouse.overwrite("scoring.transaction_scores", kept, event_date=DAY)
    return [*recorded, again(NOW + timedelta(hours=2))]


def content(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """Decisions, entries without their hashes, and what decided."""
    entries = ", ".join(ENTRY_SCHEMA.names())
    return {
        "decisions": bits(warehouse.read("FROM scoring.decisions ORDER BY transaction_id")),
        "entries": bits(
            warehouse.read(f"SELECT {entries} FROM scoring.decision_revisions ORDER BY transaction_id, revision")
        ),
        "versions": warehouse.read("FROM scoring.policy_versions ORDER BY ALL"),
        "in shadow": bits(warehouse.read("FROM scoring.shadow_decisions ORDER BY ALL")),
        "days in shadow": warehouse.read("FROM scoring.shadow_days ORDER BY ALL"),
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
    assert set(warehouse.read("SELECT DISTINCT kind FROM scoring.shadow_decisions").to_series()) == {"rule", "policy"}
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
    spark.shards = shards
    assert_the_same(world, tmp_path, spark)


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


@pytest.mark.slow
def test_killed_at_ten_random_moments_the_day_comes_out_equal_and_no_reader_sees_half_of_it(tmp_path: Path) -> None:
    pytest.importorskip("deltalake")
    world = scored_world(tmp_path / "world", "lake")
    lake = warehouse_at(copied(world.path, tmp_path / "killed"))
    whole = world.copy(tmp_path / "whole")
    process_day(whole, world, InProcess())
    stop, seen = threading.Event(), set[tuple[int, int]]()

    def read() -> None:
        while not stop.is_set():
            with lake.connect(read_only=True) as connection:
                counts = (f"(SELECT count(*) FROM scoring.{name})" for name in ("decisions", "decision_revisions"))
                seen.add(select(connection, f"SELECT {', '.join(counts)}").row(0))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        moments = random.Random(14)
        command = [sys.executable, "-m", killed_day.__name__, str(lake.path), str(world.folder)]
        for _ in range(10):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
            assert process.stdout
            process.stdout.readline()
            time.sleep(moments.uniform(0, 4))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        subprocess.run(command, check=True)
    finally:
        stop.set()
        reader.join()
    assert seen <= {(0, 0), (200, 200)}
    expected = content(whole)
    for name, rows in content(lake).items():
        assert_frame_equal(rows, expected[name])
    assert audit_decisions(lake).findings == ()
