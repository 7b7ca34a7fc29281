"""Dagster's storage on SQLite, with connections that are kept: named in the ``dagster.yaml`` that we write.

Dagster's own makes an engine and a connection for every event it stores, about 500 of them in a run of the daily job.
Kept, they save 2.4 of the 3.9 seconds of CPU that Dagster takes for a run. Files and tables are Dagster's own, so
that either can go on with what the other has stored.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy
from dagster import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, SqliteStorageConfig
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine

KEPT_RUNS: Final = 4
"""A run's events have a file of their own. Of so many, the one of all runs included, the connection is kept."""

_BUSY_TIMEOUT_SECONDS: Final = 60
_PAGE_BYTES: Final = 1024
"""Of a run's database: a run of the stream leaves a third of what it leaves with SQLite's own 4096."""
_BATCH_SIZE: Final = ("DAGSTER_EVENT_BATCH_SIZE", "200")
"""The setting by which Dagster hands over the events that a run is planned with at once, not one after another."""


def _sync_at_checkpoints(connection: sqlite3.Connection, _record: object) -> None:
    """Of a database with a write-ahead log, wait for the disk at checkpoints and not after every event.

    A process that dies loses nothing; a machine without power may lose its last events, and no database is damaged.
    """
    if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        connection.execute("PRAGMA synchronous=NORMAL")


class Engines:
    """An engine for each of the databases used last, made in this process."""

    def __init__(self) -> None:
        self._engines: dict[tuple[int, str], Engine] = {}

    def engine(self, address: str) -> Engine:
        """The engine of the database at ``address``."""
        key = (os.getpid(), address)
        found = self._engines.pop(key, None)
        if found is None:
            found = create_engine(address, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS})
            sqlalchemy.event.listen(found, "connect", _sync_at_checkpoints)
        self._engines[key] = found
        while len(self._engines) > KEPT_RUNS:
            self._engines.pop(next(iter(self._engines))).dispose()
        return found

    def dispose(self) -> None:
        """Close what is open."""
        while self._engines:
            self._engines.popitem()[1].dispose()


class _Together(threading.local):
    """The connections of a thread that stores one event, or several at once."""

    connections: dict[str, Connection] | None = None
    stack: ExitStack


class KeptEventLogStorage(SqliteEventLogStorage):
    """The event log, a database for each run and one for all."""

    def __init__(self, base_dir: str) -> None:
        self._kept = Engines()
        self._together = _Together()
        self._tables: set[str] = set()
        super().__init__(base_dir)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, in one transaction of each database that it goes to; Dagster's own makes up to four."""
        with self._at_once():
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store several in the same way; all those that a run is planned with come at once."""
        with self._at_once():
            for event in events:
                super().store_event(event)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table, which Dagster asks for every check of an asset; one that is there stays."""
        if table_name not in self._tables:
            with self.index_connection() as connection:
                if not sqlalchemy.inspect(connection).has_table(table_name):
                    return False
            self._tables.add(table_name)
        return True

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Let this thread's connections stay in the transactions that they begin, until the block ends."""
        if self._together.connections is not None:
            yield
            return
        with self._db_lock, ExitStack() as stack:
            self._together.connections, self._together.stack = {}, stack
            try:
                yield
            finally:
                self._together.connections = None

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        connections = self._together.connections
        if connections is None:
            with self._db_lock, self._begin(shard) as connection:
                yield connection
            return
        if shard not in connections:
            connections[shard] = self._together.stack.enter_context(self._begin(shard))
        yield connections[shard]

    @contextmanager
    def _begin(self, shard: str) -> Iterator[Connection]:
        engine = self._kept.engine(self.conn_string_for_shard(shard))
        if shard not in self._initialized_dbs:
            is_new = shard != INDEX_SHARD_NAME and not Path(self.path_for_shard(shard)).exists()
            if not (is_new and self._make_like_index(engine)):
                self._initdb(engine)
            self._initialized_dbs.add(shard)
        with engine.connect() as connection, connection.begin():
            yield connection

    def _make_like_index(self, engine: Engine) -> bool:
        """Make the tables of a run's database, which are those of the index; Dagster asks alembic for each anew.

        False where somebody else has begun to make them, or the index has no revision.
        """
        with self._kept.engine(self.conn_string_for_shard(INDEX_SHARD_NAME)).connect() as index:
            tables = index.exec_driver_sql(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            if not any("alembic_version" in sql for (sql,) in tables):
                return False
            revisions = index.exec_driver_sql("SELECT version_num FROM alembic_version").fetchall()
        with engine.connect() as run:
            # Before anything is written. Each of 25 tables and indexes takes a page, most of them for nothing.
            run.exec_driver_sql(f"PRAGMA page_size={_PAGE_BYTES}")
            run.exec_driver_sql("PRAGMA journal_mode=WAL")
            run.exec_driver_sql("BEGIN IMMEDIATE")
            if run.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
                return False
            for (sql,) in tables:
                run.exec_driver_sql(sql)
            for revision in revisions:
                run.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", tuple(revision))
            run.commit()
        return True

    def dispose(self) -> None:
        super().dispose()
        self._kept.dispose()


class KeptRunStorage(SqliteRunStorage):
    """The runs, in one database."""

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        if not hasattr(self, "_kept"):
            self._kept = Engines()
        with self._kept.engine(self._conn_string).connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        if hasattr(self, "_kept"):
            self._kept.dispose()


class KeptSqliteStorage(DagsterSqliteStorage):
    """Runs, events and schedules below ``base_dir``, where Dagster's default storage has them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        os.environ.setdefault(*_BATCH_SIZE)
        history = os.path.join(base_dir, "history", "")  # noqa: PTH118 as Dagster spells it, which names its files by it
        self.base_dir = base_dir
        self._run_storage = KeptRunStorage.from_local(history)
        self._event_log_storage = KeptEventLogStorage(os.path.join(history, "runs", ""))  # noqa: PTH118
        self._schedule_storage = SqliteScheduleStorage.from_local(os.path.join(base_dir, "schedules"))  # noqa: PTH118
        self._inst_data = inst_data

    @classmethod
    def from_config_value(  # type: ignore[override] # Dagster's own differs from its base class, too
        cls, inst_data: ConfigurableClassData | None, config_value: SqliteStorageConfig
    ) -> "KeptSqliteStorage":
        return cls.from_local(inst_data=inst_data, **config_value)
