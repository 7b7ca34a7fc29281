"""The engine of several processes on one machine."""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fraud_pipelines.engines.interface import Costs, Result, ShardCost, Work, name_of
from fraud_pipelines.engines.worker import receive, send
from fraud_pipelines.errors import ShardFailed
from fraud_pipelines.storage.processors import cores

_THREADS: Final = ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SECONDS_TO_END: Final = 10.0
_TOLD: Final = 2_000
"""So many characters at the end of what a process wrote are looked at for its error."""


class _Worker:
    """A started process. It is a fresh interpreter: nothing is forked, neither threads nor open databases."""

    def __init__(self, threads: int) -> None:
        paths = [path or str(Path.cwd()) for path in sys.path]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `end`)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fraud_pipelines.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **dict.fromkeys(_THREADS, str(threads)), "PYTHONPATH": os.pathsep.join(paths)},
        )
        self.shard = -1

    def begin(self, step: Callable[..., object], shard: int, work: object) -> None:
        """Give it a shard."""
        self.shard = shard
        assert self.process.stdin is not None
        try:
            send(self.process.stdin, (step, shard, work))
        except BrokenPipeError as error:
            raise self._ended(step) from error

    def answer(self, step: Callable[..., object]) -> Any:
        """What it has made of the shard; waits for it.

        Raises:
            FraudPipelinesError: the step raised it.
            ShardFailed: see `Engine.map`.
        """
        assert self.process.stdout is not None
        try:
            found = receive(self.process.stdout)
        except EOFError as error:
            raise self._ended(step) from error
        if isinstance(found, OSError):
            raise ShardFailed(f"{self._named(step)} failed: {found}. {_NOTHING_STORED}") from found
        if isinstance(found, Exception):
            raise found
        return found

    def end(self) -> None:
        """Kill it, if it still runs, and wait until it has gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(_SECONDS_TO_END)
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream:
                stream.close()

    def _ended(self, step: Callable[..., object]) -> ShardFailed:
        code = self.process.wait(_SECONDS_TO_END)
        if code < 0:
            cause = f"was killed ({signal.Signals(-code).name})"
            remedy = " If memory ran out, a greater FRAUD_SHARDS makes each shard smaller." if code == -9 else ""
        else:
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(size - _TOLD, 0))
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            cause, remedy = f"failed: {lines[-1] if lines else f'exit code {code}'}", ""
        return ShardFailed(f"{self._named(step)} {cause}. {_NOTHING_STORED}{remedy}")

    def _named(self, step: Callable[..., object]) -> str:
        return f"Shard {self.shard + 1} of the step '{name_of(step)}'"


_NOTHING_STORED: Final = "Nothing of the day was stored; run it again."


@dataclass
class Processes:
    """Runs steps in processes of their own, as many at a time as there are cores, or shards where these are fewer.

    A process takes one shard after the other, and stays until `close`.
    """

    shards: int
    work_dir: Path
    _costs: Costs = field(default_factory=Costs, repr=False)
    _workers: list[_Worker] = field(default_factory=list, repr=False)

    def begin(self) -> None:
        """Start the processes, so that they are ready when there is something to do."""
        wanted = min(self.shards, cores())
        while len(self._workers) < wanted:
            self._workers.append(_Worker(max(cores() // wanted, 1)))

    def map(self, step: Callable[[Work], Result], works: Sequence[Work]) -> list[Result]:
        """See `Engine.map`."""
        found: dict[int, Result] = {}
        waiting = list(enumerate(works))[::-1]
        self.begin()
        try:
            with selectors.DefaultSelector() as answers:
                idle = list(self._workers)
                while waiting or len(found) < len(works):
                    while idle and waiting:
                        worker = idle.pop()
                        worker.begin(step, *waiting.pop())
                        answers.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
                    for key, _ in answers.select():
                        worker = key.data
                        result, cost = worker.answer(step)
                        answers.unregister(key.fileobj)
                        self._costs.add(cost)
                        found[worker.shard] = result
                        idle.append(worker)
        except BaseException:
            self.close()
            raise
        return [found[shard] for shard in range(len(works))]

    def taken_costs(self) -> list[ShardCost]:
        """See `Engine.taken_costs`."""
        return self._costs.taken()

    def described(self) -> str:
        """See `Engine.described`."""
        return f"{min(self.shards, cores())} processes on this machine"

    def close(self) -> None:
        """End all processes, at whatever they are."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.end()
