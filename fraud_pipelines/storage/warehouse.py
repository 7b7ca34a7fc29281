"""The warehouse: one DuckDB file, opened briefly, written in whole transactions."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import polars as pl

from fraud_pipelines.errors import InvalidInput, MissingData, WarehouseBusy
from fraud_pipelines.storage.attached_file import AttachedFile, HeldHere, open_file, stop_engine
from fraud_pipelines.storage.connection import Connection, FileConnection, Parameters, overwrite, select
from fraud_pipelines.storage.row_files import RowFiles
from fraud_pipelines.storage.schema_version import bring_up, current_version, require_readable, stored_version
from fraud_pipelines.storage.waiting import GrowingPause

_LOCKED = "Could not set lock on file"
"""How DuckDB says that another process has the file open."""
_HOLDER = re.compile(r"Conflicting lock is held in (?P<program>.+?) \(PID (?P<pid>\d+)\)")
_TELL_AFTER_SECONDS = 5.0
"""Who waits for longer is told for whom."""

_log = logging.getLogger(__name__)


class _Held(threading.local):
    """The connection that this thread has open."""

    connection: FileConnection | None = None
    read_only: bool = False
    rehearsing: bool = False


class Warehouse:
    """Access to the DuckDB file at ``path``.

    DuckDB lets one process write, and while it does nobody else may even read. So every method opens the
    file, does its work and closes it; who finds it locked waits up to ``wait_seconds``.

    Args:
        path: the file.
        wait_seconds: how long to wait for another process.
        prepare: called before the file is opened for the first time; again, where it raised.
    """

    def __init__(self, path: Path, *, wait_seconds: float = 120.0, prepare: Callable[[], object] | None = None) -> None:
        self.path = Path(path)
        self.wait_seconds = wait_seconds
        self._prepare = prepare
        self._held = _Held()

    def initialise(self, *, declared: str = "", make_declared: Callable[[Connection], None] | None = None) -> None:
        """Make the file, or bring one of an earlier release up to date; the arguments are those of `bring_up`.

        A file that is up to date is only read, which stands in no other reader's way.
        """
        if self.path.exists():
            with self.connect(read_only=True) as connection:
                if stored_version(connection) == current_version(declared):
                    return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.connect() as connection:
            bring_up(connection, self.path, declared=declared, make_declared=make_declared)

    def exists(self) -> bool:
        """Whether there is something to read."""
        return self.path.exists()

    def written_at(self) -> float | None:
        """When it was written to last, in seconds since 1970; None where there is nothing."""
        return written_at(self.path, self.path.with_name(f"{self.path.name}.wal"))

    @contextmanager
    def connect(self, *, read_only: bool = False) -> Iterator[Connection]:
        """Open the file, and close it whatever happens. Within an open connection of this thread, that one is used.

        Raises:
            WarehouseBusy: another process held the file for longer than ``wait_seconds``.
            MissingData: there is no file to read from.
            InvalidInput: the file is no DuckDB database, or a newer release wrote it.
        """
        held = self._held.connection
        if held is not None:
            if self._held.read_only and not read_only:
                raise RuntimeError("a connection that only reads is open; close it before writing")
            yield held
            return
        if self._prepare:
            self._prepare()
            self._prepare = None
        with self._opened(read_only=read_only) as connection:
            self._held.connection, self._held.read_only = connection, read_only
            try:
                require_readable(connection, self.path)
                yield connection
            finally:
                self._held.connection = None

    @contextmanager
    def _opened(self, *, read_only: bool) -> Iterator[FileConnection]:
        file, opened = self._open(read_only=read_only)
        try:
            yield FileConnection(opened)
        finally:
            file.close(opened)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: all of what is done inside is stored, or, on any exception, nothing of it."""
        with self.connect() as connection:
            if self._held.rehearsing:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def rehearsal(self) -> Iterator[Connection]:
        """What is done inside, in this thread, is seen inside, and in the end nothing of it is stored."""
        with self.connect() as connection:
            connection.execute("BEGIN")
            self._held.rehearsing = True
            try:
                yield connection
            finally:
                self._held.rehearsing = False
                connection.execute("ROLLBACK")

    def read(self, query: str, parameters: Parameters = ()) -> pl.DataFrame:
        """Rows of ``query`` as a Polars frame."""
        with self.connect(read_only=True) as connection:
            return select(connection, query, parameters)

    def overwrite(self, table: str, rows: pl.DataFrame | RowFiles, **where: object) -> None:
        """Replace the rows of ``table`` whose columns equal ``where`` by ``rows``, in one transaction."""
        with self.transaction() as connection:
            overwrite(connection, table, rows, **where)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nobody writes to the file as long as the block lasts, in this process neither; others may read it.

        Raises:
            WarehouseBusy, MissingData, InvalidInput: as `connect`.
        """
        file, opened = self._open(read_only=True, still=True)
        try:
            require_readable(FileConnection(opened), self.path)
            yield
        finally:
            file.close(opened)

    def rest(self) -> None:
        """Give back the memory that DuckDB keeps, unless somebody uses the file; to open it again takes 40 ms more.

        What a checkpoint has freed DuckDB keeps for the next one, some hundred megabytes after much was written.
        """
        stop_engine(self.path)

    def _open(self, *, read_only: bool, still: bool = False) -> tuple[AttachedFile, duckdb.DuckDBPyConnection]:
        began = time.monotonic()
        told = False
        pause = GrowingPause()
        while True:
            try:
                return open_file(self.path, read_only=read_only, still=still)
            except (duckdb.IOException, HeldHere) as error:
                holder = self._holder(error, read_only=read_only)
                waited = time.monotonic() - began
                if waited > self.wait_seconds:
                    raise WarehouseBusy(
                        f"{self.path} was held by {holder} for {self.wait_seconds:.0f} s. Close what has it open "
                        "(a DuckDB shell, another run), or raise FRAUD_WAREHOUSE_WAIT_SECONDS."
                    ) from error
            if waited > _TELL_AFTER_SECONDS and not told:
                told = True
                _log.warning("Waiting for %s, which %s has open.", self.path, holder)
            pause.wait()

    def _holder(self, error: duckdb.IOException | HeldHere, *, read_only: bool) -> str:
        """Who has the file open; raises where it could not be opened for another reason."""
        if isinstance(error, HeldHere):
            return str(error)
        if read_only and not self.path.exists():
            raise MissingData(
                f"There is no warehouse at {self.path} yet. Start with fraud-pipelines demo, or "
                "fraud-pipelines import; if there should be one, check FRAUD_DATA_DIR."
            ) from error
        if _LOCKED not in str(error):
            raise InvalidInput(
                f"{self.path} can't be opened as a DuckDB database: {error}. "
                "Check the path and its permissions, or restore the file from a backup."
            ) from error
        found = _HOLDER.search(str(error))
        return f"another process ({found['program']}, PID {found['pid']})" if found else "another process"


def written_at(*paths: Path) -> float | None:
    """When the latest of these files was written to, in seconds since 1970; None where none is there."""
    times = []
    for path in paths:
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times, default=None)
