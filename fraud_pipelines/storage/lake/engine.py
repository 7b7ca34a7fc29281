"""A DuckDB in memory in which the tables of a snapshot are views over its files, under their names."""

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import duckdb

from fraud_pipelines.storage.lake.catalogue import Catalogue, Table
from fraud_pipelines.storage.lake.delta import LakeFile, folder_of
from fraud_pipelines.storage.lake.manifests import sync
from fraud_pipelines.storage.lake.snapshot import Snapshot
from fraud_pipelines.storage.processors import keep_to_cores

PENDING: Final = "_pending"
"""The schema of the rows that a transaction has written: a table for each, empty outside of one."""
FILE_COLUMN: Final = "_file"
"""The path of a row's file, in `scan`."""

IDLE_ENGINES: Final = 4
SMALL_BYTES: Final = 4_000_000
MANY_SMALL: Final = 24
"""From so many small files of a partition on, a transaction that adds one puts them together."""


def pending(table: str) -> str:
    """Where a transaction keeps its rows of ``schema.table``."""
    return f'{PENDING}."{table}"'


def scan(root: Path, name: str, table: Table, files: Iterable[LakeFile], *, told: bool = False) -> str:
    """The rows of ``files`` as a query, in their order; ``told``: with the path of the file of each row.

    A file may lack columns that the table got later; they are null.
    """
    groups: dict[str, list[str]] = {}
    for file in files:
        path = str(folder_of(root, name) / file.path).replace("'", "''")
        groups.setdefault(_columns_of(file), []).append(f"'{path}'")
    options = "hive_partitioning = false"
    if table.partition:
        options = f"hive_partitioning = true, hive_types = {{'{table.partition}': 'DATE'}}"
    if told:
        options += f", filename = '{FILE_COLUMN}'"
    read = [f"FROM read_parquet([{', '.join(paths)}], {options})" for paths in groups.values()]
    if set(groups) != {columns_key(table)}:
        read.append(f"FROM {pending(name)} WHERE false")
    names = [f'"{column}"' for column in table.names] + ([FILE_COLUMN] if told else [])
    return f"SELECT {', '.join(names)} FROM ({' UNION ALL BY NAME '.join(read)})"


def columns_key(table: Table) -> str:
    """What tells the columns of a file in its name."""
    return hashlib.sha256("\n".join(sorted(table.names)).encode()).hexdigest()[:8]


def _columns_of(file: LakeFile) -> str:
    return file.order.split("-")[1]


class FileWriter:
    """Writes the Parquet files of one transaction: their names sort in the order in which they are written."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
        self._connection = connection
        self._root = snapshot.root
        self._number = snapshot.manifest.number + 1
        self._written = 0

    def write(self, name: str, table: Table, query: str, partition: str | None) -> LakeFile:
        """Write the rows of ``query``, which are of one partition, as a file of the table."""
        self._written += 1
        file = f"{self._number:012d}.{self._written:06d}-{columns_key(table)}-{uuid4().hex[:12]}.parquet"
        path = file if partition is None else f"{table.partition}={partition}/{file}"
        target = folder_of(self._root, name) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        columns = ", ".join(f'"{column}"' for column in table.names if partition is None or column != table.partition)
        quoted = str(target).replace("'", "''")
        copied = self._connection.execute(
            f"COPY (SELECT {columns} FROM ({query})) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"
        ).fetchall()
        sync(target)
        return LakeFile(path, target.stat().st_size, int(copied[0][0]), partition)


class Engine:
    """A DuckDB in memory; `show` makes its tables those of a snapshot."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(":memory:")
        keep_to_cores(self.connection)
        spill = str(Path(tempfile.gettempdir()) / f"fraud-lake-{os.getpid()}").replace("'", "''")
        self.connection.execute(f"SET temp_directory = '{spill}'")
        self.connection.execute(f"CREATE SCHEMA {PENDING}")
        self._tables: dict[str, Table] = {}
        self._files: dict[str, Sequence[LakeFile]] = {}
        self._objects: tuple[str, ...] = ()

    def show(self, snapshot: Snapshot) -> None:
        """Let the names of the tables mean those of the snapshot; what hasn't changed stays."""
        catalogue = snapshot.catalogue
        self._create(catalogue)
        for name, table in catalogue.tables.items():
            files = snapshot.files(name)
            if self._tables.get(name) != table or self._files.get(name) != files:
                self._show_table(snapshot.root, name, table, files)
        if self._objects != catalogue.objects:
            for statement in catalogue.objects:
                self.connection.execute(statement)
            self._objects = catalogue.objects

    def _create(self, catalogue: Catalogue) -> None:
        for name in self._tables.keys() - catalogue.tables.keys():
            self.connection.execute(f"DROP VIEW {name}; DROP TABLE {pending(name)}")
            del self._tables[name], self._files[name]
        for schema in sorted(catalogue.schemas - {name.partition(".")[0] for name in self._tables}):
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")

    def _show_table(self, root: Path, name: str, table: Table, files: Sequence[LakeFile]) -> None:
        if self._tables.get(name) != table:
            self.connection.execute(f"DROP TABLE IF EXISTS {pending(name)}; {table.definition(pending(name))}")
        self.connection.execute(view(root, name, table, files))
        self._tables[name], self._files[name] = table, files


def view(root: Path, name: str, table: Table, files: Sequence[LakeFile]) -> str:
    """The statement that lets ``name`` mean the rows of ``files`` and those that the transaction has written."""
    written = f"FROM {pending(name)}"
    rows = f"{scan(root, name, table, files)} UNION ALL {written}" if files else written
    return f"CREATE OR REPLACE VIEW {name} AS {rows}"


class Engines:
    """Engines that nobody uses at the moment, by the folder of their lake: to make one costs half a second."""

    def __init__(self) -> None:
        self._idle: list[tuple[Path, Engine]] = []
        self._lock = threading.Lock()
        self._process = os.getpid()

    def take(self, snapshot: Snapshot) -> Engine:
        """An engine that shows the snapshot, to be given back."""
        with self._lock:
            if self._process != os.getpid():
                self._idle, self._process = [], os.getpid()  # a forked process has no part in its parent's engines
            at = next((place for place, (root, _) in enumerate(self._idle) if root == snapshot.root), None)
            engine = Engine() if at is None else self._idle.pop(at)[1]
        engine.show(snapshot)
        return engine

    def give_back(self, root: Path, engine: Engine) -> None:
        """Keep an engine for the next one."""
        with self._lock:
            self._idle.append((root, engine))
            while len(self._idle) > IDLE_ENGINES:
                self._idle.pop(0)[1].connection.close()


ENGINES: Final = Engines()


def small_files(files: Iterable[LakeFile]) -> Mapping[str | None, list[LakeFile]]:
    """The small files by their partition."""
    found: dict[str | None, list[LakeFile]] = {}
    for file in files:
        if file.size < SMALL_BYTES:
            found.setdefault(file.partition, []).append(file)
    return found
