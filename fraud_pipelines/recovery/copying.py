"""Copies of files and databases while others write to them."""

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import InvalidInput

_WAIT_SECONDS: Final = 60.0
_LOGS: Final = ("-wal", "-shm", "-journal")


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy an SQLite database as of one moment, by SQLite's own backup; who writes to it is not stopped.

    Raises:
        InvalidInput: it is no database, or is damaged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_SECONDS)) as read,
            closing(sqlite3.connect(target)) as written,
        ):
            read.backup(written)
    except sqlite3.DatabaseError as error:
        raise InvalidInput(f"{source} can't be copied: {error}") from error


def copy_folder(source: Path, target: Path, *, leave_out: frozenset[Path] = frozenset()) -> None:
    """Copy all files below ``source``, SQLite databases as by `copy_sqlite`; what is removed meanwhile is left out.

    Of a folder, what lies in it directly comes before what lies deeper: so a file that is moved to a folder below while
    this goes on is copied, once or twice.

    Args:
        leave_out: files and folders that are not copied.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        found = sorted(os.scandir(source), key=lambda each: (each.is_dir(), each.name))
    except FileNotFoundError:
        return
    for each in found:
        path = Path(each.path)
        if path in leave_out or each.name.endswith(tuple(f".db{ending}" for ending in _LOGS)):
            continue
        if each.is_dir() and not each.is_symlink():
            copy_folder(path, target / each.name, leave_out=leave_out)
            continue
        try:
            if path.suffix == ".db":
                copy_sqlite(path, target / each.name)
            elif each.is_file() or each.is_symlink():
                shutil.copy2(path, target / each.name, follow_symlinks=False)
        except (FileNotFoundError, InvalidInput):
            if path.exists():
                raise


def digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
