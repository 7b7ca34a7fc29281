"""Steps for the tests of engines: each must be at the top level of a module that other processes can import."""

import errno
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fraud_pipelines.errors import InvalidInput


@dataclass(frozen=True)
class Number:
    """A shard."""

    value: int
    folder: Path


def squared(work: Number) -> int:
    sys.stdout.write("what a library prints is no answer")
    return work.value**2


def process_number(work: Number) -> int:
    time.sleep(0.05)
    return os.getpid()


def killed(work: Number) -> int:
    if work.value == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return asleep(work)


def killed_once(work: Number) -> str:
    """Writes a part of its file and dies, at the first attempt; returns the name of the whole file."""
    work.folder.mkdir(parents=True)
    file = work.folder / "rows"
    file.write_text("half of ")
    if work.value == 1 and len(list(work.folder.parent.iterdir())) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    file.write_text("half of it, and the rest")
    return str(file)


def refused(work: Number) -> int:
    if work.value == 1:
        raise InvalidInput("transactions.amount holds nulls")
    return asleep(work)


def mistaken(work: Number) -> int:
    return 1 // (work.value - 1)


def on_a_full_disk(work: Number) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(work.folder / "rows.parquet"))


def asleep(work: Number) -> int:
    """Longer than any test."""
    work.folder.mkdir(parents=True, exist_ok=True)
    (work.folder / str(os.getpid())).touch()
    time.sleep(600)
    return 0


def folder_of(work: Number) -> str:
    return str(work.folder)
