"""Death at any moment, restarts, forgetting: none of them changes a bit of what the stream leaves in the tables."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.streaming.settings import StreamSettings
from fraud_pipelines_tests.conftest import assert_same_content
from fraud_pipelines_tests.streaming.drain_process import drain_until_empty
from fraud_pipelines_tests.streaming.samples import SMALL, Stream, drop, results, traffic

pytestmark = pytest.mark.slow

BATCHES = 50
KILLS = 4


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which 50 batches wait: some twice, some late, some broken, some that hold broken rows."""
    stream = Stream(tmp_path_factory.mktemp("delivered") / "data").prepare()
    rows = traffic(10 * BATCHES, users=100)
    dice = random.Random(5)
    pieces = [rows[10 * k : 10 * k + 10] for k in range(BATCHES)]
    order = sorted(range(BATCHES), key=lambda k: k + dice.uniform(-3, 3))
    for number, k in enumerate(order):
        name = f"{k:03}.{dice.choice(['jsonl', 'parquet', 'jsonl.gz'])}"
        path = drop(stream.folder, name, pieces[k])
        match number % 10:
            case 3:
                shutil.copy(path, stream.folder / f"copy-of-{name}")
            case 5:
                drop(stream.folder, f"overlap-{k:03}.jsonl", pl.concat([pieces[k], pieces[order[number - 1]]]))
            case 7:
                (stream.folder / f"broken-{k:03}.parquet").write_bytes(b"PAR1" + dice.randbytes(50))
            case 9:
                (stream.folder / f"mixed-{k:03}.jsonl").write_text('{"transaction_id": "?"}\nnothing\n')
    for number, path in enumerate(sorted(stream.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (number, number))
    return stream.data_dir


def copy_of(delivered: Path, data_dir: Path, stream: StreamSettings = SMALL) -> Stream:
    shutil.copytree(delivered, data_dir)
    return Stream(data_dir, stream)


@pytest.fixture(scope="module")
def undisturbed(delivered: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    stream = copy_of(delivered, tmp_path_factory.mktemp("undisturbed") / "data")
    report = stream.drain()
    assert len(report.unreadable) == 5
    assert report.accepted == 10 * BATCHES
    return results(stream)


def test_killed_at_random_moments_it_decides_every_transaction_once_as_if_undisturbed(
    delivered: Path, undisturbed: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    stream = copy_of(delivered, tmp_path / "data")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([drain_until_empty.__module__])
    dice = random.Random(11)
    for attempt in range(KILLS + 1):
        process = processes.Process(target=drain_until_empty, args=(stream.data_dir,))
        process.start()
        if attempt == KILLS:
            process.join()
            assert process.exitcode == 0
            break
        waiting = len(stream.waiting())
        while process.is_alive() and (len(stream.waiting()) == waiting or dice.random() < 0.7):
            time.sleep(dice.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it was done before it could be killed: raise BATCHES"

    assert stream.waiting() == []
    assert_same_content(results(stream), undisturbed)


def test_a_session_for_each_commit_gives_the_bits_of_one_for_all(
    delivered: Path, undisturbed: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    stream = copy_of(delivered, tmp_path / "data", SMALL.model_copy(update={"run_rows": 1, "commit_files": 5}))
    runs = 0
    while stream.drain().waiting:
        runs += 1

    assert runs > 8
    assert_same_content(results(stream), undisturbed)


def test_with_few_histories_in_memory_the_others_are_read_again(
    delivered: Path, undisturbed: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    stream = copy_of(delivered, tmp_path / "data", SMALL.model_copy(update={"users_in_memory": 40, "commit_rows": 20}))
    stream.drain()

    assert_same_content(results(stream), undisturbed)
