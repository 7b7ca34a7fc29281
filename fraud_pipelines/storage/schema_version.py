"""The version of the warehouse's schema: stored in the file, and raised by numbered migrations, each applied once."""

import hashlib
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import duckdb

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.connection import Connection

SCHEMA_SQL: Final = Path(__file__).with_name("schema.sql")
MIGRATIONS: Final = Path(__file__).with_name("migrations")
_TABLE: Final = "main.schema_version"


@dataclass(frozen=True)
class Migration:
    """One step from a version of the schema to the next, as SQL."""

    version: int
    name: str
    sql: str


@dataclass(frozen=True)
class SchemaVersion:
    """What a file was brought to: the number of its last migration, and a hash of all that is declared beside them."""

    version: int
    declared: str


@cache
def migrations(folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """The migrations of this release in order: 1, 2, … without a gap."""
    files = sorted(folder.glob("*.sql"))
    found = [
        Migration(int(match[1]), path.stem, path.read_text())
        for path in files
        if (match := re.fullmatch(r"(\d{3})_\w+", path.stem))
    ]
    if len(found) < len(files) or [each.version for each in found] != list(range(1, len(found) + 1)):
        names = ", ".join(path.name for path in files)
        raise ValueError(f"migrations are numbered 001_name.sql, 002_name.sql and so on without a gap, not {names}")
    return tuple(found)


def current_version(declared: str = "") -> SchemaVersion:
    """What this release brings a file to; ``declared`` names the tables that are made beside ``schema.sql``."""
    text = f"{SCHEMA_SQL.read_text()}\n{declared}"
    return SchemaVersion(len(migrations()), hashlib.sha256(text.encode()).hexdigest()[:16])


def stored_version(connection: Connection) -> SchemaVersion | None:
    """The version of an open file; None of a file that is empty, or from before versions were stored."""
    try:
        rows = connection.execute(f"SELECT version, declared FROM {_TABLE}").fetchall()
    except duckdb.CatalogException:
        return None
    return SchemaVersion(*rows[0]) if rows else None


def require_readable(connection: Connection, path: Path) -> None:
    """Refuse a file that a newer release has changed in a way that this one knows nothing of.

    Raises:
        InvalidInput: its version is higher than the last migration of this release.
    """
    stored, known = stored_version(connection), len(migrations())
    if stored and stored.version > known:
        raise InvalidInput(
            f"{path} was written by a newer release of fraud-pipelines: its schema has version {stored.version}, and "
            f"this release knows {known}. Install the newer release, or restore the copy that it made before its "
            f"migration ({_copy_before(path, known).name}, beside the file)."
        )


def bring_up(
    connection: Connection,
    path: Path,
    *,
    declared: str = "",
    make_declared: Callable[[Connection], None] | None = None,
) -> None:
    """Bring an open file to the version of this release, in one transaction; a file that is there is left alone.

    A new file gets ``schema.sql`` and is at the newest version. An older one is copied aside first, then gets the
    migrations that it hasn't had, and ``schema.sql`` for the tables that are new.

    Args:
        path: of the file.
        declared: text that changes whenever ``make_declared`` would make something else.
        make_declared: makes the tables that follow from declarations in the code. It is called in the transaction.

    Raises:
        InvalidInput: a migration failed, or there is no room for the copy. The file is as it was.
    """
    stored, current = stored_version(connection), current_version(declared)
    if stored == current:
        return
    done = stored.version if stored else 0
    pending = migrations()[done:] if stored or not _is_empty(connection) else ()
    if pending:
        _copy_aside(connection, path, _copy_before(path, done))
    connection.execute("BEGIN")
    try:
        for migration in pending:
            _apply(connection, migration, path)
        connection.execute(SCHEMA_SQL.read_text())
        if make_declared:
            make_declared(connection)
        connection.execute(f"DELETE FROM {_TABLE}")
        now = datetime.now(UTC).replace(tzinfo=None)
        connection.execute(f"INSERT INTO {_TABLE} VALUES (?, ?, ?)", [current.version, current.declared, now])
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _apply(connection: Connection, migration: Migration, path: Path) -> None:
    try:
        connection.execute(migration.sql)
    except duckdb.Error as error:
        cause = str(error).splitlines()[0]
        raise InvalidInput(
            f"{path} could not be brought to version {migration.version} of its schema ({migration.name}): {cause}. "
            "The file is as it was, and the earlier release goes on reading it."
        ) from error


def _is_empty(connection: Connection) -> bool:
    return not connection.execute("SELECT 1 FROM duckdb_tables() WHERE NOT temporary LIMIT 1").fetchall()


def _copy_before(path: Path, version: int) -> Path:
    """Where the file as it was at ``version`` is kept."""
    return path.with_name(f"{path.stem}.schema-{version}{path.suffix}")


def _copy_aside(connection: Connection, path: Path, target: Path) -> None:
    """Copy an open file, whole or not at all.

    A process of its own copies: to close a second handle of the file would give up this process's lock on it.
    """
    connection.execute("CHECKPOINT")
    aside = target.with_name(f"{target.name}.tmp")
    try:
        subprocess.run(["cp", "-p", "--", str(path), str(aside)], check=True, capture_output=True, text=True)
        aside.replace(target)
    except (OSError, subprocess.CalledProcessError) as error:
        aside.unlink(missing_ok=True)
        cause = getattr(error, "stderr", "") or str(error)
        raise InvalidInput(
            f"{path} was made by an earlier release and is copied to {target.name} before its schema is changed, "
            f"which failed: {cause.strip()}. Make room beside it, and try again."
        ) from error
