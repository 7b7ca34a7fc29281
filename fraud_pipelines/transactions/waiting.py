"""What waits in a landing zone: its files, and the entries that can't be looked at."""

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

MAPPING_FILE: Final = "mapping.yaml"
UNFINISHED: Final = (".tmp", ".part")
"""Endings of files that are still being written."""


@dataclass(frozen=True, order=True)
class WaitingFile:
    """A file that waits, as it was when it was looked at; the oldest is the first.

    Attributes:
        changed_ns: when it was written last, nanoseconds of the epoch.
        name: its path below the landing zone, as the file system has it, which may be no text.
    """

    changed_ns: int
    name: str
    size: int
    inode: int
    path: Path

    @classmethod
    def of(cls, path: Path, name: str, status: os.stat_result) -> Self:
        return cls(status.st_mtime_ns, name, status.st_size, status.st_ino, path)

    def looks_like(self, status: os.stat_result) -> bool:
        return (status.st_mtime_ns, status.st_size, status.st_ino) == (self.changed_ns, self.size, self.inode)

    def has_changed(self) -> bool:
        """Whether it is another file by now, or none, or one that can't be looked at."""
        try:
            return not self.looks_like(self.path.stat())
        except OSError:
            return True


@dataclass(frozen=True)
class Waiting:
    """The files that wait, and why other entries can't be looked at, by `printable_name`."""

    files: list[WaitingFile] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)


def look_into(folder: Path) -> Waiting:
    """What waits below ``folder``, whatever is the matter with one or other of its entries.

    Passed over are the unfinished, the mappings, pipes and devices, and what begins with a dot or ``_``: ``_landed``,
    and the marks that Spark and others leave, such as ``_SUCCESS``. So what has landed in the course of the years
    isn't looked at. Nothing is opened.

    A link to a folder outside is followed. No folder is looked into twice, so that a circle of links comes to an end.
    """
    waiting = Waiting()
    zone = os.path.realpath(folder)
    seen: set[tuple[int, int]] = set()
    # Links come last: what can be reached without one has the name that it has without.
    folders: deque[tuple[str, Path]] = deque([("", folder)])
    links: deque[tuple[str, Path]] = deque()
    while folders or links:
        name, path = folders.popleft() if folders else links.popleft()
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            for entry in _listed(path):
                _sort(entry, name + entry.name, path / entry.name, waiting, folders, links, zone)
        except FileNotFoundError:  # taken away since the folder above was listed
            continue
        except OSError as error:
            waiting.troubles[printable_name(name.rstrip("/") or ".")] = _reason(error)
    return waiting


def printable_name(name: str) -> str:
    """``name`` as text that can be stored and shown: what is no character of a line is escaped.

    A file system forbids neither line ends nor bytes that are no UTF-8.
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _listed(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


def _sort(
    entry: os.DirEntry[str],
    name: str,
    path: Path,
    waiting: Waiting,
    folders: deque[tuple[str, Path]],
    links: deque[tuple[str, Path]],
    zone: str,
) -> None:
    """Add an entry to the files, to the folders still to be looked into, or to the troubles."""
    if entry.name.startswith((".", "_")) or entry.name == MAPPING_FILE or entry.name.lower().endswith(UNFINISHED):
        return
    is_link = False
    try:
        is_link = entry.is_symlink()
        status = entry.stat()
    except FileNotFoundError as error:
        if is_link:
            waiting.troubles[printable_name(name)] = f"a link to what isn't there: {_reason(error)}"
        return
    except OSError as error:
        waiting.troubles[printable_name(name)] = _reason(error)
        return
    if stat.S_ISREG(status.st_mode):  # a pipe would block whoever opens it
        waiting.files.append(WaitingFile.of(path, name, status))
    elif stat.S_ISDIR(status.st_mode) and not is_link:
        folders.append((f"{name}/", path))
    elif stat.S_ISDIR(status.st_mode):
        target = os.path.realpath(path)
        if _is_within(zone, target):
            waiting.troubles[printable_name(name)] = "a link to a folder that holds the landing zone itself"
        elif not _is_within(target, zone):  # else it is there under its own name, or hidden on purpose
            links.append((f"{name}/", path))


def _is_within(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
