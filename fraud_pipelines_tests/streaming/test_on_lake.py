"""The stream on the lake: what it leaves is what it leaves in the file, whatever dies when."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Literal

import polars as pl
import pytest

from fraud_pipelines_tests.conftest import assert_same_content
from fraud_pipelines_tests.streaming.drain_process import drain_until_empty
from fraud_pipelines_tests.streaming.samples import SMALL, Stream, drop, results, traffic

BATCHES = 16
KILLS = 3


def delivered(data_dir: Path, kind: Literal["duckdb", "lake"]) -> Stream:
    """A stream whose batches wait; one came twice, one holds a broken row."""
    stream = Stream(data_dir, SMALL.model_copy(update={"commit_rows": 20}), kind).prepare()
    rows = traffic(10 * BATCHES, users=30)
    for number in range(BATCHES):
        drop(stream.folder, f"{number:03}.jsonl", rows[10 * number : 10 * number + 10])
    shutil.copy(stream.folder / "003.jsonl", stream.folder / "copy-of-003.jsonl")
    (stream.folder / "broken.jsonl").write_text('{"transaction_id": "?"}\n')
    for number, path in enumerate(sorted(stream.folder.iterdir())):
        os.utime(path, (number, number))
    return stream


@pytest.fixture(scope="module")
def in_the_file(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    stream = delivered(tmp_path_factory.mktemp("file") / "data", "duckdb")
    drain_until_empty(stream.data_dir)
    return results(stream)


def test_it_leaves_the_same_to_the_bit(in_the_file: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    stream = delivered(tmp_path / "data", "lake")

    drain_until_empty(stream.data_dir, "lake")

    assert stream.decisions().height == 10 * BATCHES
    assert_same_content(results(stream), in_the_file)


@pytest.mark.slow
def test_killed_at_random_moments_it_decides_every_transaction_once(
    in_the_file: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    stream = delivered(tmp_path / "data", "lake")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([drain_until_empty.__module__])
    dice = random.Random(11)
    for _ in range(KILLS):
        process = processes.Process(target=drain_until_empty, args=(stream.data_dir, "lake"))
        process.start()
        waiting = len(stream.waiting())
        while process.is_alive() and len(stream.waiting()) == waiting:
            time.sleep(dice.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it was done before it could be killed: raise BATCHES"

    drain_until_empty(stream.data_dir, "lake")

    assert stream.waiting() == []
    assert_same_content(results(stream), in_the_file)
