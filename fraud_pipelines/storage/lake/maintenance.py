"""Maintenance of a lake: small files are put together, and what no snapshot that is kept needs is removed."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.lake.connection import LakeConnection
from fraud_pipelines.storage.lake.delta import files_of, folder_of
from fraud_pipelines.storage.lake.engine import small_files
from fraud_pipelines.storage.lake.manifests import Manifests
from fraud_pipelines.storage.lake.warehouse import LakeWarehouse

KEPT_DAYS: Final = 7
"""Snapshots so old can go: whoever reads one for longer than that has to begin anew."""

_DATA_FILE: Final = re.compile(r"\d{12}\.\d{6}-[0-9a-f]{8}-[0-9a-f]{12}\.parquet")


@dataclass(frozen=True)
class Compacted:
    """How many files were put together, and how many they are now."""

    before: int
    after: int


@dataclass(frozen=True)
class Vacuumed:
    """What was removed: snapshots, files, and the bytes of these."""

    snapshots: int
    files: int
    bytes: int


@dataclass(frozen=True)
class SnapshotLine:
    """A snapshot that can be read: its number, and when it was written, naive UTC."""

    number: int
    written_at: datetime


def snapshots(root: Path) -> list[SnapshotLine]:
    """All snapshots that can be read, the last one first."""
    manifests = Manifests(root)
    found = (manifests.read(number) for number in reversed(manifests.numbers()))
    return [SnapshotLine(each.number, datetime.fromisoformat(each.written_at)) for each in found]


def compact(warehouse: LakeWarehouse) -> Compacted:
    """Put the small files of each partition together, all in one transaction; no row changes.

    Raises:
        WarehouseBusy: another process wrote for longer than the wait.
    """
    before = after = 0
    with warehouse.transaction() as connection:
        assert isinstance(connection, LakeConnection)
        for table in connection.tables():
            for files in small_files(connection.snapshot.files(table)).values():
                if len(files) > 1:
                    connection.put_together(table, files)
                    before, after = before + len(files), after + 1
    return Compacted(before, after)


def vacuum(warehouse: LakeWarehouse, *, now: datetime, kept_days: float = KEPT_DAYS) -> Vacuumed:
    """Remove snapshots that are older than ``kept_days``, and all files that belong to none of the others.

    The last snapshot stays, whatever its age, and with it every row that is stored: decisions, what they were made
    from, and the log. Files that a writer has left behind without a snapshot go, too, once they are as old.

    Args:
        now: naive UTC.

    Raises:
        InvalidInput: fewer than no days are to be kept.
    """
    if kept_days < 0:
        raise InvalidInput(f"{kept_days} days of snapshots can't be kept: give 0 or more")
    oldest = now - timedelta(days=kept_days)
    with warehouse.alone():
        root, manifests = warehouse.path, Manifests(warehouse.path)
        *earlier, last = manifests.numbers()
        old = [number for number in earlier if datetime.fromisoformat(manifests.read(number).written_at) < oldest]
        kept = [manifests.read(number) for number in (*(each for each in earlier if each not in set(old)), last)]
        versions = {(each.lake, table, version) for each in kept for table, version in each.tables.items()}
        needed = {
            folder_of(root, table) / file.path
            for lake, table, version in versions
            for file in files_of(root, lake, table, version)
        }
        for number in old:
            manifests.remove(number)
        files = size = 0
        for path in root.rglob("*.parquet"):
            if path in needed or not _DATA_FILE.fullmatch(path.name) or _modified(path) > oldest:
                continue
            files, size = files + 1, size + path.stat().st_size
            path.unlink()
    return Vacuumed(len(old), files, size)


def _modified(path: Path) -> datetime:
    return datetime(1970, 1, 1) + timedelta(seconds=path.stat().st_mtime)
