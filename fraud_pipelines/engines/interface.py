"""What an engine does: it maps a step over the shards of a day.

A *step* is a pure function at the top level of a module. It is given one frozen data class, in which shards are named
by their files, writes its own files into the folder that it is told, and returns a small result that names them. So
the same step runs in this process, in another one, or on another machine that sees the same folder.
"""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

_STATUS: Final = Path("/proc/self/status")


class HasFolder(Protocol):
    """What a step is given: among the rest the folder that it writes to, which it makes if it needs one."""

    @property
    def folder(self) -> Path: ...


Work = TypeVar("Work", bound=HasFolder)
Result = TypeVar("Result")


@dataclass(frozen=True)
class ShardCost:
    """What a step took on one shard: wall seconds, and the peak memory of its process so far, in bytes.

    ``cpu_seconds`` are those of all threads of the process, which on a busy machine tell more.
    """

    step: str
    shard: int
    seconds: float
    peak_bytes: int
    cpu_seconds: float


class Engine(Protocol):
    """Runs steps over shards.

    Attributes:
        shards: into how many parts a day is cut; with one, the day is computed in memory and no step is mapped.
        work_dir: where a day has a folder for its files, for as long as it is computed.
    """

    @property
    def shards(self) -> int: ...

    @property
    def work_dir(self) -> Path: ...

    def map(self, step: Callable[[Work], Result], works: Sequence[Work]) -> list[Result]:
        """What ``step`` makes of each of ``works``, in their order.

        Raises:
            FraudPipelinesError: a step raised it; the other shards are given up.
            ShardFailed: a step failed otherwise: its process was killed, the disk is full, an error in the code.
        """

    def taken_costs(self) -> list[ShardCost]:
        """What was mapped since this was last asked, in the order in which it ended."""

    def described(self) -> str:
        """What runs the steps, in words."""

    def close(self) -> None:
        """End what is running; nothing is left behind. The engine may be used again."""


class Costs:
    """Keeps what shards took, until it is asked."""

    def __init__(self) -> None:
        self._costs: list[ShardCost] = []

    def add(self, cost: ShardCost) -> None:
        """Keep one."""
        self._costs.append(cost)

    def taken(self) -> list[ShardCost]:
        """All that were added since this was last asked."""
        costs, self._costs = self._costs, []
        return costs


def peak_bytes() -> int:
    """The peak memory of this process.

    Linux hands the peak of the process that started it on to `getrusage`, but not to ``/proc``.
    """
    if _STATUS.exists():
        [line] = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def name_of(step: Callable[..., object]) -> str:
    """What a step is called in messages."""
    return step.__name__.replace("_", " ")


def timed(step: Callable[[Work], Result], shard: int, work: Work) -> tuple[Result, ShardCost]:
    """What the step makes of ``work``, and what that took."""
    begun, cpu = time.perf_counter(), time.process_time()
    result = step(work)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return result, ShardCost(name_of(step), shard, seconds, peak_bytes(), cpu)
