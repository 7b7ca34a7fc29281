"""Every engine keeps one contract; several processes are ended whatever happens to any of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.errors import InvalidInput, ShardFailed
from fraud_pipelines_tests.engines import steps
from fraud_pipelines_tests.engines.steps import Number


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(3, tmp_path)
    yield found
    found.close()


def works(folder: Path, count: int = 3) -> list[Number]:
    return [Number(value, folder) for value in range(count)]


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("kind", [InProcess, Processes])
def test_results_come_in_the_order_of_the_shards(kind: type[InProcess] | type[Processes], tmp_path: Path) -> None:
    engine: Engine = kind(3, tmp_path)
    assert engine.map(steps.squared, works(tmp_path, 7)) == [0, 1, 4, 9, 16, 25, 36]
    assert engine.map(steps.squared, []) == []
    costs = engine.taken_costs()
    assert sorted(cost.shard for cost in costs) == list(range(7))
    assert all(cost.step == "squared" and cost.peak_bytes > 1e6 for cost in costs)
    assert engine.taken_costs() == []
    engine.close()


def test_no_more_processes_run_than_cores_and_they_stay(engine: Processes, tmp_path: Path) -> None:
    first = set(engine.map(steps.process_number, works(tmp_path, 6)))
    assert first == set(engine.map(steps.process_number, works(tmp_path, 6)))
    assert 1 <= len(first) <= min(3, len(os.sched_getaffinity(0)))
    assert os.getpid() not in first
    engine.close()
    assert all(map(gone, first))


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (steps.killed, ShardFailed, r"Shard 2 of the step 'killed' was killed \(SIGKILL\).*greater FRAUD_SHARDS"),
        (steps.refused, InvalidInput, "^transactions.amount holds nulls$"),
        (steps.mistaken, ShardFailed, "Shard 2 of the step 'mistaken' failed: ZeroDivisionError: .*was stored"),
        (steps.on_a_full_disk, ShardFailed, "No space left on device.*rows.parquet.*Nothing of the day was stored"),
    ],
)
def test_one_failed_shard_ends_all(
    engine: Processes, tmp_path: Path, step: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        engine.map(step, works(tmp_path))  # type: ignore[arg-type]
    assert all(gone(int(path.name)) for path in tmp_path.iterdir())
    assert engine.map(steps.squared, works(tmp_path)) == [0, 1, 4]  # it can be used again


STARTS_AND_WAITS = """
import sys
from pathlib import Path
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines_tests.engines import steps
folder = Path(sys.argv[1])
Processes(2, folder).map(steps.asleep, [steps.Number(value, folder) for value in range(2)])
"""


@pytest.mark.parametrize("signalled", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_one_that_started_it(signalled: signal.Signals, tmp_path: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", STARTS_AND_WAITS, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < min(2, len(os.sched_getaffinity(0))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signalled)
    driver.wait()
    while not all(gone(int(path.name)) for path in tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
