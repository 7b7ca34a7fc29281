"""Where MLflow's files lie: beside its SQLite database, wherever that has been copied or moved.

MLflow stores the address of every file absolutely. So a database that finds itself in another place than its
addresses say has them rewritten, before anything is read or written by them.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

SQLITE: Final = "sqlite:///"
_DATABASES: Final = ("postgresql", "mysql", "mssql")
"""Databases besides SQLite that MLflow keeps its records in without a server of its own."""
_WAIT_SECONDS: Final = 60.0
_DEFAULT_EXPERIMENT: Final = 0


def database_path(tracking_uri: str) -> Path | None:
    """The file behind ``sqlite:///path``; None of another address."""
    if not tracking_uri.startswith(SQLITE):
        return None
    return Path(tracking_uri.removeprefix(SQLITE).partition("?")[0])


def names_database_server(tracking_uri: str) -> bool:
    """Whether an address such as ``postgresql+psycopg2://…`` is that of a database's server, and not of MLflow's."""
    return tracking_uri.partition(":")[0].partition("+")[0] in _DATABASES


def local_path(address: str) -> Path | None:
    """The file or folder that an artifact address names on this machine; None where it names none."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(address) if not parts.scheme else None


def follow_database(database: Path, artifact_root: Path, experiments: tuple[str, ...]) -> None:
    """Let the addresses in a database name the files below ``artifact_root``, if it and they were copied or moved.

    What one of ``experiments`` keeps in ``artifact_root``, or in a folder of its name below it, tells where they were.
    Addresses of other places stay. Files that are only in the old place, because an earlier release ran in the copy,
    are copied from there. Of several processes one does it; where nothing has moved, it costs one look.
    """
    if not database.exists():
        return
    root = artifact_root.resolve()
    with closing(sqlite3.connect(database, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
        if not _strays(connection, root, experiments):
            return
        connection.execute("BEGIN IMMEDIATE")
        # Looked up again: another process may have done it while this one waited.
        for old, new in _strays(connection, root, experiments).items():
            _fetch_missing(connection, old, new)
            _rewrite(connection, old, new)
        connection.execute("COMMIT")


def _strays(connection: sqlite3.Connection, root: Path, experiments: tuple[str, ...]) -> dict[str, str]:
    """Address of a folder that the database takes for its own → where it is now, for each that isn't there."""
    found = {}
    in_use = "EXISTS (SELECT 1 FROM runs WHERE runs.experiment_id = experiments.experiment_id)"
    query = f"SELECT experiment_id, name, artifact_location, {in_use} FROM experiments"
    for number, name, address, is_used in connection.execute(query).fetchall():
        folder = local_path(address or "")
        if not folder or folder.is_relative_to(root):
            continue
        if name in experiments:
            old = address.rstrip("/").removesuffix(f"/{name}")
            if Path(old).name == root.name:
                found[old] = root.as_uri()
        # MLflow's own experiment, which lies where the first process happened to be started.
        elif number == _DEFAULT_EXPERIMENT and not is_used:
            found[address] = (root / str(number)).as_uri()
    return found


def _fetch_missing(connection: sqlite3.Connection, old: str, new: str) -> None:
    for _, _, address in _addresses(connection, old):
        source, target = local_path(address), local_path(new + address.removeprefix(old))
        if address != old and source and target and source.is_dir() and not target.exists():
            shutil.copytree(source, target)


def _rewrite(connection: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in {(table, column) for table, column, _ in _addresses(connection, old)}:
        connection.execute(
            f'UPDATE "{table}" SET "{column}" = :new || substr("{column}", length(:old) + 1) '
            f"WHERE {_UNDER.format(column=column)}",
            {"old": old, "new": new},
        )


_UNDER: Final = """("{column}" = :old OR substr("{column}", 1, length(:old) + 1) = :old || '/')"""


def _addresses(connection: sqlite3.Connection, old: str) -> Iterator[tuple[str, str, str]]:
    """Table, column and value of every text that is ``old`` or lies below it."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            if "CHAR" in kind.upper() or "TEXT" in kind.upper():
                query = f'SELECT DISTINCT "{column}" FROM "{table}" WHERE {_UNDER.format(column=column)}'
                for (value,) in connection.execute(query, {"old": old}).fetchall():
                    yield table, column, value
