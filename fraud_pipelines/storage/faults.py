"""Faults of disks and databases that no caller expects, in one sentence each: what happened and what to do."""

import errno
import sys
from typing import Final

_FULL: Final = ("no space left", "disk is full", "disk full")
_CORRUPT: Final = ("corrupt", "checksum", "malformed")
_READ_ONLY: Final = ("read-only", "readonly", "permission denied")
_OF_DISK: Final = ("Error", "IOException", "FatalException", "SerializationException", "OutOfMemoryException")
"""Those of DuckDB. What is read piece by piece fails with the first, which has no kind."""
_OF_STORES: Final = {
    "duckdb": ("Error",),
    "sqlite3": ("OperationalError", "DatabaseError"),
    "sqlalchemy.exc": ("OperationalError", "DatabaseError"),
}


def store_errors() -> tuple[type[Exception], ...]:
    """The errors that a disk or a damaged database gives, of those libraries that are in use."""
    return (
        OSError,
        *(
            getattr(sys.modules[module], name)
            for module, names in _OF_STORES.items()
            if module in sys.modules
            for name in names
        ),
    )


def is_fault(error: Exception) -> bool:
    """Whether an error is a fault of a disk or database, and not of a query: that one is a fault of ours."""
    return not type(error).__module__.endswith("duckdb") or type(error).__name__ in _OF_DISK


def in_words(error: Exception) -> str:
    """One message for who has to act."""
    [cause, *_] = [
        line.strip() for line in str(getattr(error, "orig", None) or error).splitlines() if line.strip()
    ] or [type(error).__name__]
    text = cause.lower()
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(word in text for word in _FULL):
        return f"{cause}. The disk is full: make room (fraud-pipelines prune), and try again. What was stored is whole."
    if any(word in text for word in _CORRUPT):
        return (
            f"{cause}. The file is damaged, which a database does not do by itself: check the disk, and restore a "
            "backup (fraud-pipelines restore)."
        )
    if getattr(error, "errno", None) == errno.EROFS or any(word in text for word in _READ_ONLY):
        return f"{cause}. Make the file and its folder writable for this user: fraud-pipelines doctor names them."
    return cause
