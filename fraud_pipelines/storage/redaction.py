"""Redaction of SQLite databases: texts are replaced in every table, and no page keeps what they were."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import WarehouseBusy

_WAIT_SECONDS: Final = 30.0
_LOGS: Final = ("-wal", "-journal")


def files_of_database(path: Path) -> list[Path]:
    """The database and its logs, those that are there."""
    return [each for each in (path, *(path.with_name(path.name + end) for end in _LOGS)) if each.exists()]


def redact_database(path: Path, holds: Callable[[bytes], bool], redacted: Callable[[str], str]) -> int:
    """Replace texts in an SQLite database, and write it anew without free pages; returns how many values changed.

    Args:
        holds: whether a value has to be looked at.
        redacted: what a text becomes.

    Raises:
        WarehouseBusy: other processes hold it; nothing was changed, or not yet given back.
    """
    changed = 0
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_WAIT_SECONDS)) as opened:
            opened.isolation_level = None
            opened.execute("PRAGMA secure_delete=ON")
            opened.create_function("holds", 1, lambda value: _holds(value, holds), deterministic=True)
            opened.create_function("redacted", 1, lambda value: _redacted(value, redacted), deterministic=True)
            opened.execute("BEGIN IMMEDIATE")
            for table, columns in _columns(opened).items():
                for column in columns:
                    done = opened.execute(
                        f'UPDATE OR REPLACE "{table}" SET "{column}" = redacted("{column}") WHERE holds("{column}")'
                    )
                    changed += done.rowcount
            opened.execute("COMMIT")
            opened.execute("VACUUM")
            opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError as error:
        raise WarehouseBusy(
            f"{path} is held by another process ({error}): stop fraud-pipelines up, runs and streams, and try again."
        ) from error
    return changed


def _columns(opened: sqlite3.Connection) -> dict[str, list[str]]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    tables = [name for (name,) in opened.execute(query)]
    return {
        table: [name for _, name, *_ in opened.execute(f'PRAGMA table_info("{table}")').fetchall()] for table in tables
    }


def _holds(value: object, holds: Callable[[bytes], bool]) -> bool:
    if isinstance(value, str):
        return holds(value.encode())
    return isinstance(value, bytes) and holds(value)


def _redacted(value: str | bytes, redacted: Callable[[str], str]) -> str | bytes:
    if isinstance(value, bytes):
        return redacted(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    return redacted(value)
