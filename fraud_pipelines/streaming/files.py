"""The stream's landing zone: which files wait, in what order, and where they go afterwards."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.landing_zone import MAPPING_FILE, UNFINISHED, move_aside

LANDED_FOLDER: Final = "_landed"
UNREADABLE_FOLDER: Final = "_unreadable"
REASON_SUFFIX: Final = ".reason.txt"


@dataclass(frozen=True, order=True)
class WaitingFile:
    """A file that waits; the oldest is the first."""

    changed_ns: int
    name: str
    size: int
    path: Path

    def has_changed(self) -> bool:
        """Whether it is another file by now, or none."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return True
        return (status.st_mtime_ns, status.st_size) != (self.changed_ns, self.size)


def waiting_files(folder: Path) -> list[WaitingFile]:
    """The files that wait below ``folder``, oldest first; not the hidden, the unfinished and the mappings.

    Folders whose name begins with ``_`` or a dot are passed over, and nothing is opened.
    """
    if not folder.is_dir():
        return []
    return sorted(_files(folder, ""))


def settled_files(
    folder: Path,
    *,
    settle_seconds: float,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> list[WaitingFile]:
    """As `waiting_files`, but for those that are still growing: what changed just now is looked at again a bit later.

    A producer should write aside and rename; this is for those that don't.
    """
    found = waiting_files(folder)
    newest = max((file.changed_ns for file in found), default=0) / 1e9
    wait = min(newest + settle_seconds - clock(), settle_seconds)
    if wait <= 0:
        return found
    sleep(wait)
    settled_by = (clock() - settle_seconds) * 1e9
    return [file for file in found if file.changed_ns <= settled_by and not file.has_changed()]


def digest_of(files: list[WaitingFile]) -> str:
    """Names what waits, by names, sizes and times of change: the content isn't read, yet another one is told apart."""
    listing = "\n".join(f"{file.name}\0{file.size}\0{file.changed_ns}" for file in files)
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def archive(file: WaitingFile, folder: Path) -> None:
    """Move a file whose rows are committed out of the way."""
    move_aside(file.path, folder, LANDED_FOLDER)


def set_aside(file: WaitingFile, folder: Path, reason: str) -> None:
    """Move a file that can't be read to ``_unreadable``, with the reason beside it."""
    try:
        moved = move_aside(file.path, folder, UNREADABLE_FOLDER)
    except InvalidInput:
        if file.path.exists():
            raise
        return
    moved.with_name(moved.name + REASON_SUFFIX).write_text(reason + "\n")


def _files(folder: Path, prefix: str) -> Iterator[WaitingFile]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    except PermissionError:  # waits as if it were a file: one that can't be read
        status = folder.stat()
        yield WaitingFile(status.st_mtime_ns, prefix.rstrip("/") or ".", status.st_size, folder)
        return
    for entry in entries:
        name = entry.name
        if name.startswith((".", "_")) or name == MAPPING_FILE or name.lower().endswith(UNFINISHED):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / name, f"{prefix}{name}/")
            continue
        try:
            status = entry.stat()
        except FileNotFoundError:  # taken away since the folder was listed
            continue
        except PermissionError:
            yield WaitingFile(0, prefix + name, 0, folder / name)
            continue
        if stat.S_ISREG(status.st_mode):  # a pipe would block whoever opens it
            yield WaitingFile(status.st_mtime_ns, prefix + name, status.st_size, folder / name)
