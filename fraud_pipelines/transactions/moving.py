"""Moving: a file that is done with leaves the landing zone for a folder beside it, unless it is another one by now."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.waiting import WaitingFile


def move_aside(file: WaitingFile, folder: Path, aside: str) -> Path | None:
    """Move a file that is done with into the folder ``aside`` of ``folder``, to its place there; returns that.

    If a producer has written over the file since it was looked at, or put another in its place, that one stays and
    waits: None is returned.

    Raises:
        InvalidInput: it can't be moved.
    """
    if file.has_changed():
        return None
    try:
        target = folder / aside / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target = next(free for free in _names(target, file.path) if not os.path.lexists(free))
        moved = _moved(file, target)
        if moved and not moved.is_symlink():
            with suppress(PermissionError):  # a producer's file stays the producer's
                moved.chmod(moved.stat().st_mode & 0o777 & ~_umask())
        return moved
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.lexists(file.path):  # somebody else took it away
            return None
        raise InvalidInput(
            f"{file.path} is done with, but can't be moved to {folder / aside}: {error.strerror}. "
            "Make the folder writable, or move the file away."
        ) from error


def _umask() -> int:
    before = os.umask(0o077)
    os.umask(before)
    return before


def with_ending(path: Path, ending: str) -> Path:
    """``path`` with ``ending`` behind its name, which is cut where the file system takes no name as long as that."""
    name = path.name
    while len(os.fsencode(name + ending)) > _longest_name(path.parent):
        name = name[:-1]
    return path.with_name(name + ending)


def _with_beginning(path: Path, beginning: str) -> Path:
    name = path.name
    while len(os.fsencode(beginning + name)) > _longest_name(path.parent):
        name = name[1:]
    return path.with_name(beginning + name)


def _longest_name(folder: Path) -> int:
    return os.pathconf(folder, "PC_NAME_MAX")


def _moved(file: WaitingFile, target: Path) -> Path | None:
    link = file.path.lstat() if file.path.is_symlink() else None
    try:
        file.path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return _copied(file, target)
    moved = target.lstat()
    if link is None and not file.looks_like(moved):
        # A producer came between the look and the move: its file goes back, under a name that keeps its ending.
        target.rename(next(free for free in _names(file.path, target, keep_ending=True) if not os.path.lexists(free)))
        return None
    return target


def _copied(file: WaitingFile, target: Path) -> Path | None:
    """Move by a copy, as from a folder on another file system."""
    try:
        shutil.copy2(file.path, target)
        if file.has_changed():
            target.unlink()
            return None
        file.path.unlink()
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return target


def _names(target: Path, path: Path, *, keep_ending: bool = False) -> Iterator[Path]:
    """Names for the file at ``path``: ``target``, then others that tell its content."""
    yield target
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    for number in count(1):
        mark = digest if number == 1 else f"{digest}.{number}"
        yield _with_beginning(target, f"{mark}.") if keep_ending else with_ending(target, f".{mark}")
