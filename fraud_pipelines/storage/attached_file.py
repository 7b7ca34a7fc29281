"""A DuckDB file as this process has it open: attached to an engine that stays, while somebody uses it."""

import atexit
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import duckdb

from fraud_pipelines.storage.processors import keep_to_cores

CATALOG: Final = "fraud"
"""What the attached file is called: what DuckDB calls ``fraud.duckdb`` when it is opened by itself."""

IDLE_ENGINES: Final = 4
"""Of more files the engines that were used least lately are stopped; a process has to do with one or two."""
_CHECKPOINT_AT: Final = "128MB"
"""How far the write-ahead log grows before it is written into the file, which it is at the latest when the file is
closed. A checkpoint writes tables anew, so that at DuckDB's 16 MB a stream paid one for every third commit. To replay a
log of this size after a crash takes less than half a second."""


class HeldHere(Exception):
    """Another thread of this process has the file open, which excludes what is asked for; the message says who."""


class AttachedFile:
    """One file, and the engine it is attached to.

    To start an engine costs 40 ms of CPU, to attach a file to one that runs 6 ms. Between uses the file is detached,
    so that other processes can have it. Threads share what is attached: those that read any, those that write one
    that is attached for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.users = 0
        self._lock = threading.Lock()
        self._writable = False
        self._engine: duckdb.DuckDBPyConnection | None = None
        self._process = os.getpid()
        self._stopped = False

    def open(self, *, read_only: bool, still: bool = False) -> duckdb.DuckDBPyConnection | None:
        """A connection to the file, to be given back with `close`; None where the engine was stopped for good.

        Args:
            still: nobody may write to it meanwhile, in another thread neither.

        Raises:
            duckdb.IOException: another process has the file, it is missing, or no DuckDB file.
            HeldHere: another thread reads it, or writes to it.
        """
        with self._lock:
            if self._stopped:
                return None
            if self._engine is not None and self._process != os.getpid():
                self._engine, self.users = None, 0  # a forked process has no part in its parent's engine
            if not self.users:
                self._attach(read_only=read_only)
            elif not (read_only or self._writable):
                raise HeldHere("a reader in this process")
            elif still and self._writable:
                raise HeldHere("a writer in this process")
            assert self._engine is not None
            connection = self._engine.cursor()
            connection.execute(f"USE {CATALOG}")
            self.users += 1
            return connection

    def close(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give back a connection; with the last one the file is free for others."""
        try:
            connection.close()
        finally:  # Ctrl-C may come here; the file would stay attached for good
            with self._lock:
                self.users -= 1
                if not self.users:
                    self._detach()

    def stop(self) -> bool:
        """Stop the engine for good, unless somebody uses the file; whether it is stopped now."""
        with self._lock:
            if not self.users:
                self._discard()
                self._stopped = True
            return self._stopped

    def _attach(self, *, read_only: bool) -> None:
        statement = f"ATTACH '{str(self.path).replace(chr(39), 2 * chr(39))}' AS {CATALOG}"
        statement += " (READ_ONLY)" if read_only else ""
        try:
            self._running().execute(statement)
        except (duckdb.FatalException, duckdb.InternalException):
            # An error of that kind, in whatever was done before, leaves the engine unusable.
            self._discard()
            self._running().execute(statement)
        self._writable = not read_only

    def _detach(self) -> None:
        assert self._engine is not None
        try:
            self._engine.execute(f"DETACH {CATALOG}")
        except duckdb.Error:
            # What was committed is in the file or its log. Without the engine, the file is free.
            self._discard()

    def _running(self) -> duckdb.DuckDBPyConnection:
        if self._engine is None:
            self._engine = duckdb.connect(":memory:", config={"checkpoint_threshold": _CHECKPOINT_AT})
            self._process = os.getpid()
            keep_to_cores(self._engine)
        return self._engine

    def _discard(self) -> None:
        if self._engine is not None:
            with suppress(duckdb.Error):
                self._engine.close()
        self._engine = None


_FILES: Final[dict[Path, AttachedFile]] = {}
_FILES_LOCK: Final = threading.Lock()


def open_file(path: Path, *, read_only: bool, still: bool = False) -> tuple[AttachedFile, duckdb.DuckDBPyConnection]:
    """A connection to the file at ``path``, and the `AttachedFile` to give it back to.

    Raises:
        duckdb.IOException, HeldHere: as `AttachedFile.open`.
    """
    while True:
        file = _file_at(path.resolve())
        connection = file.open(read_only=read_only, still=still)
        if connection is not None:
            return file, connection


def stop_engine(path: Path) -> None:
    """Stop the engine of the file at ``path``, unless somebody uses it; the next use starts another."""
    path = path.resolve()
    with _FILES_LOCK:
        file = _FILES.get(path)
        if file is not None and file.stop():
            del _FILES[path]


def _file_at(path: Path) -> AttachedFile:
    """The one `AttachedFile` of this process for ``path``, whoever asks; of others, engines long idle are stopped."""
    with _FILES_LOCK:
        found = _FILES.pop(path, None) or AttachedFile(path)
        _FILES[path] = found
        idle = [other for other, file in _FILES.items() if not file.users and other != path]
        for other in idle[: max(len(_FILES) - IDLE_ENGINES, 0)]:
            _FILES.pop(other).stop()
    return found


@atexit.register
def _stop_engines() -> None:
    """DuckDB complains of connections that are open when Python ends."""
    for file in _FILES.values():
        file.stop()
