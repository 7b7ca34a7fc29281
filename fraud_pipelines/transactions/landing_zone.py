"""The landing zone: a folder where files arrive, and from which they are moved once they are stored."""

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.intake import LandingReport, RecordIntake, land_file

LANDED_FOLDER: Final = "_landed"
MAPPING_FILE: Final = "mapping.yaml"

UNFINISHED: Final = (".tmp", ".part")
"""Endings of files that are still being written."""


def land_pending(warehouse: Warehouse, folder: Path, intake_for: Callable[[Path], RecordIntake]) -> list[LandingReport]:
    """Take in every file below ``folder``, sorted by path, and move each to ``_landed`` once it is stored.

    A file that can't be read stays where it is and doesn't hold up the others. If the process dies before a file
    is moved, the next call finds its content in the warehouse already.

    Raises:
        InvalidInput: after all the others have been taken in, for those that could not be.
    """
    reports: list[LandingReport] = []
    failures: list[InvalidInput] = []
    for path in pending_files(folder):
        try:
            reports.append(land_file(warehouse, path, intake_for(path)))
            move_aside(path, folder, LANDED_FOLDER)
        except InvalidInput as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise InvalidInput(f"{len(failures)} files could not be taken in:\n" + "\n".join(map(str, failures)))
    return reports


def pending_files(folder: Path) -> list[Path]:
    """The files that wait below ``folder``, sorted; not the hidden, the unfinished and the mappings.

    Hidden is what begins with a dot or ``_``: ``_landed``, and the marks that Spark and others leave, such as
    ``_SUCCESS``.
    """
    if not folder.is_dir():
        return []
    return sorted(_deliveries(folder))


def nearest_mapping(path: Path, folder: Path) -> Path | None:
    """The ``mapping.yaml`` beside ``path``, or in the nearest parent up to ``folder``."""
    for parent in path.parents:
        if (parent / MAPPING_FILE).is_file():
            return parent / MAPPING_FILE
        if parent == folder:
            return None
    return None


def relative_name(path: Path, folder: Path) -> str:
    """The name of a delivery within ``folder``, as text that can be stored."""
    return printable_name(path.relative_to(folder).as_posix())


def printable_name(name: str) -> str:
    """``name`` with the bytes escaped that are no UTF-8, which a file system doesn't forbid."""
    return name.encode("utf-8", "backslashreplace").decode()


def move_aside(path: Path, folder: Path, aside: str) -> Path:
    """Move a file that is done with into the folder ``aside`` of ``folder``, to its place there; returns that.

    Raises:
        InvalidInput: it can't be moved.
    """
    try:
        target = next(free for free in _names(folder / aside / path.relative_to(folder), path) if not free.exists())
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    except OSError as error:
        raise InvalidInput(
            f"{path} is done with, but can't be moved to {folder / aside}: {error.strerror}. "
            "Make the folder writable, or move the file away."
        ) from error
    return target


def _deliveries(folder: Path) -> Iterator[Path]:
    """Goes down by itself, so that what has landed in the course of the years isn't looked at.

    A folder that can't be listed is itself a delivery: one that can't be read.
    """
    try:
        entries = list(os.scandir(folder))
    except PermissionError:
        yield folder
        return
    for entry in entries:
        if entry.name.startswith((".", "_")):
            continue
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _deliveries(path)
        elif entry.name != MAPPING_FILE and path.suffix.lower() not in UNFINISHED and _may_be_read(entry):
            yield path


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or can't be told for lack of permission; a pipe would block whoever opens it."""
    try:
        return entry.is_file()
    except PermissionError:
        return True


def _names(target: Path, path: Path) -> Iterator[Path]:
    yield target
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    yield target.with_name(f"{target.name}.{digest}")
    for number in count(2):
        yield target.with_name(f"{target.name}.{digest}.{number}")
