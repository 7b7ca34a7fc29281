"""What a clean-up found of one kind and removed, and what files take."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_WAIT_SECONDS: Final = 10.0
_WORTH: Final = 0.1
"""A database is written anew where more than this share of its pages is empty."""


@dataclass(frozen=True)
class Pruned:
    """What is older than is kept.

    Attributes:
        what: such as ``model versions``.
        kept_days: the setting.
        count: how many go, or went.
        bytes: of these; where a database holds them, what their rows take.
        kept_older: how many are older, and stay because something needs them.
        note: why, or what is left to do; empty where there is nothing to say.
    """

    what: str
    kept_days: int
    count: int
    bytes: int
    kept_older: int = 0
    note: str = ""


def bytes_of(*paths: Path) -> int:
    """The size of files, and of all files below folders; one that is gone counts nothing. Links are not followed."""
    total = 0
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                total += bytes_of(*(Path(each.path) for each in os.scandir(path)))
            else:
                total += path.lstat().st_size
        except FileNotFoundError:  # Somebody else has removed it meanwhile.
            continue
    return total


def shrink_database(path: Path) -> int:
    """Give back to the disk what is empty in an SQLite database; returns how many bytes.

    Where another process holds it, or little is empty, nothing is done: the next time is soon enough.
    """
    before = bytes_of(path, path.with_name(f"{path.name}-wal"))
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_WAIT_SECONDS)) as opened:
            opened.isolation_level = None
            pages, empty = (opened.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
            if empty > pages * _WORTH:
                opened.execute("VACUUM")
            opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError:  # Held, or no such database.
        return 0
    return max(before - bytes_of(path, path.with_name(f"{path.name}-wal")), 0)
