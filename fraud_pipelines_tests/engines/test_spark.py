"""Spark keeps the contract of engines, says what is missing, and is imported by nothing that doesn't use it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import pytest

from fraud_pipelines.engines import spark
from fraud_pipelines.engines.opening import engine_of
from fraud_pipelines.engines.spark import Spark, require_spark
from fraud_pipelines.errors import InvalidInput, MissingData, ShardFailed
from fraud_pipelines.settings import Settings
from fraud_pipelines_tests.engines import steps
from fraud_pipelines_tests.engines.spark import spark_engine
from fraud_pipelines_tests.engines.steps import Number


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    yield from spark_engine(tmp_path_factory.mktemp("spark"), 3, "local[2,2]")


def works(folder: Path, count: int) -> list[Number]:
    return [Number(value, folder / str(value)) for value in range(count)]


def test_results_come_in_the_order_of_the_shards(engine: Spark, tmp_path: Path) -> None:
    assert engine.map(steps.squared, works(tmp_path, 5)) == [0, 1, 4, 9, 16]
    assert engine.map(steps.squared, []) == []
    assert sorted(cost.shard for cost in engine.taken_costs()) == list(range(5))
    assert "local[2,2]" in engine.described()


def test_each_attempt_writes_into_a_folder_of_its_own(engine: Spark, tmp_path: Path) -> None:
    first, second = (engine.map(steps.folder_of, works(tmp_path, 2)) for _ in range(2))
    assert len({*first, *second}) == 4
    assert {Path(path).parent for path in first} == {work.folder for work in works(tmp_path, 2)}


def test_what_an_executor_left_that_died_is_not_what_its_second_attempt_returns(engine: Spark, tmp_path: Path) -> None:
    found = engine.map(steps.killed_once, works(tmp_path, 3))
    assert {Path(name).read_text() for name in found} == {"half of it, and the rest"}
    assert len(list((tmp_path / "1").iterdir())) == 2
    assert Path(found[1]).parent == max((tmp_path / "1").iterdir(), key=lambda folder: folder.stat().st_mtime)


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (steps.refused, InvalidInput, "^transactions.amount holds nulls$"),
        (steps.mistaken, ShardFailed, "gave up the step 'mistaken': ZeroDivisionError: .*Nothing of the day"),
        (steps.on_a_full_disk, ShardFailed, "No space left on device.*Nothing of the day was stored"),
    ],
)
def test_one_failed_shard_fails_all(
    engine: Spark, tmp_path: Path, step: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        engine.map(step, works(tmp_path, 2)[1:])  # type: ignore[arg-type]


def test_an_interrupted_wait_cancels_the_job(engine: Spark, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spark, "wait", _interrupted_once(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            engine.map(steps.asleep, [Number(0, tmp_path)])
    assert engine.map(steps.squared, works(tmp_path, 1)) == [0]  # which waits until the thread is free again


def _interrupted_once(folder: Path) -> object:
    """A `wait` that raises what Ctrl-C does, as soon as the step has begun."""
    raised: list[bool] = []

    def wait(running: list[object], timeout: float) -> object:
        if not raised and list(folder.rglob("*[0-9]")):
            raised.append(True)
            time.sleep(0.2)
            raise KeyboardInterrupt
        return futures.wait(running, timeout)  # type: ignore[arg-type]

    return wait


def _java(folder: Path, version: str) -> Path:
    home = folder / "jdk"
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return home


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "find_spec", lambda name: None)
    with pytest.raises(MissingData, match=r"pip install 'fraud-pipelines\[spark\]'"):
        require_spark(remote=True)
    monkeypatch.setattr(spark, "find_spec", lambda name: name)
    require_spark(remote=True)
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path, "11.0.2")))
    with pytest.raises(MissingData, match=r'is too old: it says openjdk version "11\.0\.2".*Java 17 or newer'):
        require_spark(remote=False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(MissingData, match=r"no Java at .*nowhere.*Java 17 or newer"):
        require_spark(remote=False)
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingData, match=r"There is no Java\. .*JAVA_HOME"):
        require_spark(remote=False)


def test_settings_name_the_engine(tmp_path: Path) -> None:
    found = engine_of(Settings(data_dir=tmp_path, engine="spark", spark_master="spark://host:7077"))
    assert isinstance(found, Spark)
    assert (found.shards, found.master, found.work_dir) == (2, "spark://host:7077", tmp_path / "work")


IMPORTS = """
import json, sys
from fraud_pipelines.engines.opening import engine_of
import fraud_pipelines.definitions
print(json.dumps([name for name in sys.modules if name.split(".")[0] in ("pyspark", "py4j")]))
"""


def test_nothing_of_spark_is_imported_without_it(tmp_path: Path) -> None:
    environment = {**os.environ, "FRAUD_DATA_DIR": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(told.stdout.splitlines()[-1]) == []
