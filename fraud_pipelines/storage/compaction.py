"""Compaction of the live DuckDB file: DuckDB reuses what is empty in a file, and gives nothing back to the disk."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.storage.connection import Connection
from fraud_pipelines.storage.warehouse import Warehouse

WORTH: Final = 0.05
"""A file is written anew where more than this share of it is empty."""
_TRIES: Final = 3


@dataclass(frozen=True)
class Compaction:
    """Bytes of the file before and after, and how long it took; ``done`` where it was written anew."""

    before: int
    after: int
    seconds: float
    done: bool


def compact(warehouse: Warehouse, *, worth: float = WORTH) -> Compaction:
    """Write the file anew without what is empty in it, and put it in its place by one rename.

    Every table, view, macro and comment is copied by DuckDB, and the rows of every table are counted. Writers wait
    meanwhile. What dies half-way leaves the file as it was.

    Args:
        worth: the share of the file that has to be empty; with 0 it is written anew in any case.

    Raises:
        WarehouseBusy: others wrote for longer than the wait, or came in between again and again.
        MissingData, InvalidInput: as `Warehouse.connect`.
        OSError: there is no room for the second file.
    """
    begun = time.monotonic()
    aside = warehouse.path.with_name(f"{warehouse.path.name}.compact")
    for _ in range(_TRIES):
        with warehouse.connect() as connection:
            connection.execute("CHECKPOINT")
            before = warehouse.path.stat().st_size
            if _empty_share(connection) < worth:
                return Compaction(before, before, time.monotonic() - begun, done=False)
            aside.unlink(missing_ok=True)
            _copy(connection, aside)
        was = _state(warehouse.path)
        with warehouse.still():
            if _state(warehouse.path) == was:
                after = aside.stat().st_size
                aside.chmod(warehouse.path.stat().st_mode & 0o777)
                aside.replace(warehouse.path.resolve())
                return Compaction(before, after, time.monotonic() - begun, done=True)
    aside.unlink(missing_ok=True)
    raise WarehouseBusy(f"{warehouse.path} was written to each time it was to be replaced; try again later.")


def _copy(connection: Connection, aside: Path) -> None:
    """Copy all there is into a new file, on the disk whole when this returns."""
    (name,) = connection.execute("SELECT current_database()").fetchall()[0]
    with _attached(connection, aside):
        connection.execute(f'COPY FROM DATABASE "{name}" TO compacted')
        connection.execute("CHECKPOINT compacted")
        for table in connection.tables():
            counts = [
                connection.execute(f'SELECT count(*) FROM "{database}".{table}').fetchall()[0][0]
                for database in (name, "compacted")
            ]
            assert counts[0] == counts[1], f"{table} has {counts[0]} rows, and its copy {counts[1]}"
    descriptor = os.open(aside, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@contextmanager
def _attached(connection: Connection, aside: Path) -> Iterator[None]:
    quoted = str(aside).replace("'", "''")
    connection.execute(f"ATTACH '{quoted}' AS compacted")
    try:
        yield
    finally:
        connection.execute("DETACH compacted")


def _empty_share(connection: Connection) -> float:
    total, empty = connection.execute("SELECT total_blocks, free_blocks FROM pragma_database_size()").fetchall()[0]
    return float(empty / total) if total else 0.0


def _state(path: Path) -> tuple[int, int, int, bool]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, path.with_name(f"{path.name}.wal").exists()
