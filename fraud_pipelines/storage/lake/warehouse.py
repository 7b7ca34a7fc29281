"""The lake as a warehouse: readers see the last snapshot, and writers come one after the other."""

import fcntl
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import polars as pl

from fraud_pipelines.errors import InvalidInput, MissingData, WarehouseBusy
from fraud_pipelines.storage.connection import Connection, FileConnection, insert, select
from fraud_pipelines.storage.lake.catalogue import Catalogue
from fraud_pipelines.storage.lake.connection import LakeConnection
from fraud_pipelines.storage.lake.engine import ENGINES
from fraud_pipelines.storage.lake.manifests import Manifests
from fraud_pipelines.storage.lake.snapshot import Snapshot, WriteConflict
from fraud_pipelines.storage.schema_version import (
    SCHEMA_SQL,
    SchemaVersion,
    current_version,
    migrations,
    stored_version,
)
from fraud_pipelines.storage.waiting import GrowingPause
from fraud_pipelines.storage.warehouse import Warehouse, written_at

_VERSION_TABLE: Final = "main.schema_version"
_PAUSE: Final = 0.01

Answer = TypeVar("Answer")


class LakeWarehouse(Warehouse):
    """The tables in the lake at the folder ``path``.

    A connection reads the snapshot that was the last one when it was opened, however long it stays open, and stands in
    nobody's way. A transaction begins with the last snapshot and ends with a further one.

    Args:
        path: the folder.
        wait_seconds: how long to wait for another writer.
        prepare: called before the lake is opened for the first time; again, where it raised.
        at: the number of the snapshot to read; by default the last one. A lake of the past is only read.
        one_writer: whether writers wait for each other. Without it they go on side by side, and the later of two
            that change the same day of a table is refused (`WriteConflict`).

    Raises:
        MissingData: the extra ``lake`` is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        wait_seconds: float = 120.0,
        prepare: Callable[[], object] | None = None,
        at: int | None = None,
        one_writer: bool = True,
    ) -> None:
        super().__init__(path, wait_seconds=wait_seconds, prepare=prepare)
        require_extra()
        self.path = self.path.resolve()
        self._manifests = Manifests(self.path)
        self._at = at
        self._one_writer = one_writer

    def exists(self) -> bool:
        return bool(self._manifests.numbers())

    def written_at(self) -> float | None:
        """When the last snapshot was written, in seconds since 1970; None where there is none."""
        return written_at(self._manifests.folder) if self.exists() else None

    def initialise(self, *, declared: str = "", make_declared: Callable[[Connection], None] | None = None) -> None:
        """Make the lake, or bring one of an earlier release up to date, in one transaction."""
        if self.exists() and self._version() == current_version(declared):
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with self._lock():
            base = self._snapshot() if self.exists() else Snapshot.empty(self.path)
            with self._engine(base) as connection:
                stored = stored_version(connection) if _VERSION_TABLE in connection.tables() else None
                if stored == current_version(declared):
                    return
                with self._writing(connection):
                    _bring_up(connection, stored, self.path)
                    if make_declared:
                        make_declared(connection)
                    _note_version(connection, current_version(declared))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: all of what is done inside is stored, or, on any exception, nothing of it.

        Raises:
            WarehouseBusy: another process wrote for longer than ``wait_seconds``.
            WriteConflict: without ``one_writer``, another writer has changed the same.
        """
        if self._at is not None:
            raise InvalidInput(f"The lake is read as of snapshot {self._at}, and the past can't be written to.")
        with self.connect() as connection:
            assert isinstance(connection, LakeConnection)
            if self._held.rehearsing:
                yield connection
                return
            with self._lock():
                connection.show(self._snapshot())
                with self._writing(connection):
                    yield connection

    @contextmanager
    def rehearsal(self) -> Iterator[Connection]:
        """What is done inside, in this thread, is seen inside, and in the end nothing of it is stored."""
        with self.connect() as connection:
            assert isinstance(connection, LakeConnection)
            connection.execute("BEGIN")
            connection.writing = self._held.rehearsing = True
            try:
                yield connection
            finally:
                connection.writing = self._held.rehearsing = False
                connection.execute("ROLLBACK")
                connection.begin()

    def retrying(self, work: Callable[[Connection], Answer], *, tries: int = 10) -> Answer:
        """What ``work`` answers, done in a transaction; done again where another writer was faster.

        Raises:
            WriteConflict: it was so as often as it was tried.
        """
        for _ in range(tries - 1):
            try:
                with self.transaction() as connection:
                    return work(connection)
            except WriteConflict:
                time.sleep(_PAUSE * random.uniform(0.5, 1.5))
        with self.transaction() as connection:
            return work(connection)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody writes as long as the block lasts.

        Raises:
            WarehouseBusy: another process wrote for longer than ``wait_seconds``.
            MissingData: there is no lake yet.
        """
        self._snapshot()
        with self._lock():
            yield

    @contextmanager
    def _writing(self, connection: LakeConnection) -> Iterator[None]:
        connection.execute("BEGIN")
        connection.begin()
        connection.writing = True
        after = connection.snapshot
        try:
            yield
            after = connection.commit()
        finally:
            connection.writing = False
            connection.execute("ROLLBACK")
            connection.show(after)

    @contextmanager
    def _opened(self, *, read_only: bool) -> Iterator[FileConnection]:  # noqa: ARG002
        with self._engine(self._snapshot()) as connection:
            yield connection

    @contextmanager
    def _engine(self, snapshot: Snapshot) -> Iterator[LakeConnection]:
        engine = ENGINES.take(snapshot)
        connection = LakeConnection(engine, snapshot)
        try:
            yield connection
        finally:
            connection.close()
            ENGINES.give_back(self.path, engine)

    def _snapshot(self) -> Snapshot:
        manifest = self._manifests.latest() if self._at is None else self._manifests.read(self._at)
        if manifest is None:
            raise MissingData(
                f"There is no lake at {self.path} yet. Start with fraud-pipelines demo, or fraud-pipelines import; if "
                "there should be one, check FRAUD_LAKE and FRAUD_DATA_DIR."
            )
        return Snapshot.of(self.path, manifest)

    def _version(self) -> SchemaVersion | None:
        with self.connect(read_only=True) as connection:
            return stored_version(connection)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Be the only writer; the lock of a process that dies goes with it."""
        if not self._one_writer:
            yield
            return
        descriptor = os.open(self.path / "_writer.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._wait_for(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _wait_for(self, descriptor: int) -> None:
        began, pause = time.monotonic(), GrowingPause()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() - began > self.wait_seconds:
                    raise WarehouseBusy(
                        f"The lake {self.path} was written to by another process for {self.wait_seconds:.0f} s. Wait "
                        "for it to end, or raise FRAUD_WAREHOUSE_WAIT_SECONDS."
                    ) from error
            pause.wait()


def require_extra() -> None:
    """Raises MissingData where the extra is missing that the lake needs."""
    if find_spec("deltalake") is None:
        raise MissingData("FRAUD_WAREHOUSE=lake needs deltalake: pip install 'fraud-pipelines[lake]'")


def _bring_up(connection: LakeConnection, stored: SchemaVersion | None, path: Path) -> None:
    """Give the lake the tables, views and macros of this release.

    The migrations that it hasn't had run in a DuckDB in memory that has its tables, those which they name with their
    rows; what comes of it is stored.
    """
    before = connection.catalogue
    text = SCHEMA_SQL.read_text()
    pending = migrations()[stored.version :] if stored else ()
    migrated = {table for table in before.tables if any(_names(each.sql, table) for each in pending)}
    with duckdb.connect(":memory:") as opened:
        model = FileConnection(opened)
        for schema in before.schemas:
            opened.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for name, table in before.tables.items():
            opened.execute(table.definition(name))
            for column in table.columns:
                if column.comment:
                    model.comment(name, column.name, column.comment)
            if name in migrated:
                insert(model, name, select(connection, f"FROM {name}"))
        for migration in pending:
            try:
                opened.execute(migration.sql)
            except duckdb.Error as error:
                raise InvalidInput(
                    f"{path} could not be brought to version {migration.version} of its schema ({migration.name}): "
                    f"{str(error).splitlines()[0]}. The lake is as it was."
                ) from error
        opened.execute(text)
        after = Catalogue.of(model, text)
        for name in before.tables.keys() - after.tables.keys():
            connection.drop_table(name)
        for name, table in after.tables.items():
            if before.tables.get(name) != table:
                connection.define(name, table.columns)
        for name in migrated & after.tables.keys():
            _replace(connection, name, select(model, f"FROM {name}"))
    connection.set_objects(after.objects)


def _names(sql: str, table: str) -> bool:
    return re.search(rf"\b{re.escape(table)}\b", sql) is not None


def _replace(connection: LakeConnection, table: str, rows: pl.DataFrame) -> None:
    connection.delete(table, "true")
    insert(connection, table, rows)


def _note_version(connection: LakeConnection, version: SchemaVersion) -> None:
    row = {
        "version": [version.version],
        "declared": [version.declared],
        "applied_at": [datetime.now(UTC).replace(tzinfo=None)],
    }
    _replace(connection, _VERSION_TABLE, pl.DataFrame(row))
