"""The stream's landing zone: which of the files that wait have settled, and where one goes that can't be read."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fraud_pipelines.transactions.moving import move_aside, with_ending
from fraud_pipelines.transactions.waiting import Waiting, WaitingFile, look_into

UNREADABLE_FOLDER: Final = "_unreadable"
REASON_SUFFIX: Final = ".reason.txt"


def settled_files(
    folder: Path,
    *,
    settle_seconds: float,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Waiting:
    """What waits, oldest first, but for what is still growing: what changed just now is looked at again a bit later.

    A producer should write aside and rename; this is for those that don't. A file that seems to have been written in
    the future, by a server whose clock is ahead, counts as written just now.
    """
    waiting = look_into(folder)
    now = clock()
    newest = max((min(file.changed_ns / 1e9, now) for file in waiting.files), default=0.0)
    wait = newest + settle_seconds - now
    files = sorted(waiting.files)
    if wait > 0:
        sleep(wait)
        files = [file for file in files if not file.has_changed()]
    return Waiting(files, waiting.troubles)


def digest_of(waiting: Waiting) -> str:
    """Names what waits, by names, sizes and times of change: the content isn't read, yet another one is told apart."""
    files = [f"{file.name}\0{file.size}\0{file.changed_ns}" for file in sorted(waiting.files)]
    troubles = [f"{name}\0{reason}" for name, reason in sorted(waiting.troubles.items())]
    listing = "\n".join([*files, *troubles])
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def set_aside(file: WaitingFile, folder: Path, reason: str) -> None:
    """Move a file that can't be read to ``_unreadable``, with the reason beside it.

    Raises:
        InvalidInput: it can't be moved.
    """
    moved = move_aside(file, folder, UNREADABLE_FOLDER)
    if moved:
        with_ending(moved, REASON_SUFFIX).write_text(reason + "\n")
