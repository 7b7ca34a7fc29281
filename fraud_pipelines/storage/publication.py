"""Publication: what people open is a copy of the live warehouse, put in the place of the one before, whole.

DuckDB lets nobody open a file that a process writes to, and nobody write to one that another process has open. So runs
write to a live file, and people open a published one. Who has that open keeps the state that they opened, and nobody
waits for them.
"""

import errno
import fcntl
import logging
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb
from pydantic import BaseModel, ConfigDict, ValidationError

from fraud_pipelines.errors import NotPublished, WarehouseBusy
from fraud_pipelines.storage.warehouse import Warehouse

INTERVAL_SECONDS: Final = 300.0
"""What runs for long publishes at most so often."""
LIGHT: Final = 0.05
"""A publication is light that takes no more than this share of the time since the one before."""
_ROOM: Final = 1.1
"""A copy is left out unless so many times its size is free: what is live has to grow, too."""
_TRIES: Final = 5

_log = logging.getLogger(__name__)

FileState = tuple[int, int, int]
"""Inode, size in bytes and time of the last change in nanoseconds."""


class Record(BaseModel):
    """What is known of the last publication. It is kept beside the live file.

    Attributes:
        published_at: when its copy was begun, naive UTC; None where nothing was published yet.
        seconds: how long it took.
        live: what the live file was then.
        published: what the published file was then.
        left_out: why the published file was not made new at the last try; empty where it was.
        tried_at: when that was, naive UTC; None where it was made new.
    """

    model_config = ConfigDict(frozen=True)

    published_at: datetime | None = None
    seconds: float = 0.0
    live: FileState | None = None
    published: FileState | None = None
    left_out: str = ""
    tried_at: datetime | None = None


class Publication:
    """The live file, and the published one that people open.

    Args:
        live: what runs write to.
        published: what people open, on the same file system.
        wait_seconds: how long to wait for who writes to the live file.
    """

    def __init__(self, live: Path, published: Path, *, wait_seconds: float = 120.0) -> None:
        self.live = live
        self.published = published
        self._warehouse = Warehouse(live, wait_seconds=wait_seconds)
        self._wait_seconds = wait_seconds
        self._record = live.with_name("publication.json")
        self._aside = published.with_name(f"{published.name}.new")

    def record(self) -> Record:
        """What is known of the last publication."""
        try:
            return Record.model_validate_json(self._record.read_bytes())
        except (FileNotFoundError, ValidationError):
            return Record()

    def is_current(self) -> bool:
        """Whether nothing was stored since the last publication, and nobody has changed the published file."""
        record, live, published = self.record(), self._live_state(), _state(self.published)
        if live is None or published is None or _log_of(self.live).exists():
            return False
        return (live, published) == (record.live, record.published)

    def was_changed(self) -> bool:
        """Whether the published file is not as it was published: somebody wrote into it, or put another there."""
        record = self.record()
        if record.published is None or not self.published.exists():
            return False
        return _log_of(self.published).exists() or _state(self.published) != record.published

    def age_seconds(self) -> float | None:
        """How long ago the published file was copied; None where it never was."""
        published_at = self.record().published_at
        return None if published_at is None else (_now() - published_at).total_seconds()

    def due_in(self, *, light: bool = False) -> float:
        """In how many seconds what runs for long may publish again, 0 for now: `INTERVAL_SECONDS` after the last try.

        Args:
            light: sooner after one that took little, see `LIGHT`.
        """
        record, now = self.record(), _now()
        last = record.tried_at or record.published_at
        if last is None or last > now:  # the clock was set back
            return 0.0
        pause = min(INTERVAL_SECONDS, record.seconds / LIGHT) if light and not record.tried_at else INTERVAL_SECONDS
        return max(pause - (now - last).total_seconds(), 0.0)

    def settle(self) -> None:
        """Move what an earlier release left, or a backup of the published file, to where the live one belongs.

        A published file that is missing is made. Where both are there, this takes two looks and does nothing.

        Raises:
            WarehouseBusy: another process writes to the file that is to be moved.
            InvalidInput: it is no warehouse, or one of a newer release.
        """
        there = (self.live.exists(), self.published.exists())
        if all(there) or not any(there):
            return
        if not there[0]:
            with self._alone():
                self._adopt()
        self.publish_or_tell()

    def publish(self) -> bool:
        """Make the published file new, unless nothing was stored since it was made; returns whether it was.

        Raises:
            NotPublished: there is no room for a copy, or it can't be made; the published file is as it was.
            InvalidInput: there is no live file, and the published one is no warehouse.
        """
        if self.is_current() or not (self.live.exists() or self.published.exists()):
            return False
        with self._alone() as lock:
            self._adopt()
            if self.is_current():  # another process has done it meanwhile
                return False
            try:
                self._publish(lock)
            except (NotPublished, WarehouseBusy, OSError, duckdb.Error) as error:
                reason = str(error)
                with suppress(OSError):
                    self._keep(self.record().model_copy(update={"left_out": reason, "tried_at": _now()}))
                raise NotPublished(f"{self.published} was not made new: {reason}") from error
        return True

    def publish_or_tell(self) -> bool:
        """As `publish`; where it can't be done, a warning says why, and what was stored stays stored."""
        try:
            return self.publish()
        except (NotPublished, OSError) as error:
            _log.warning("%s", error)
            return False

    def publish_if_due(self, *, light: bool = False) -> bool:
        """As `publish_or_tell`, but not sooner than `due_in` says."""
        return not self.due_in(light=light) and self.publish_or_tell()

    def copy_to(self, target: Path) -> None:
        """Copy the live file, as of one moment, to a path that nobody opens meanwhile; who writes waits.

        Raises:
            NotPublished: there is no room for a copy, or it can't be made.
            WarehouseBusy: another process wrote for longer than the wait.
            InvalidInput: it is no warehouse.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._alone() as lock:
            self._adopt()
            self._copy_live(_now(), lock, target)

    def _publish(self, lock: int) -> None:
        begun, clock = _now(), time.monotonic()
        try:
            live = self._copy(begun, lock)
            if self.published.exists():
                self._aside.chmod(stat.S_IMODE(self.published.stat().st_mode))
            _sync(self._aside)
            # What somebody wrote into the file of before: with it, DuckDB would refuse to open another one.
            _log_of(self.published).unlink(missing_ok=True)
            self._aside.replace(self.published)
        except BaseException:
            self._aside.unlink(missing_ok=True)
            raise
        _sync(self.published.parent)
        seconds = time.monotonic() - clock
        self._keep(Record(published_at=begun, seconds=seconds, live=live, published=_state(self.published)))

    def _copy(self, begun: datetime, lock: int) -> FileState | None:
        """Make what is to be published, aside; returns what the live file was."""
        return self._copy_live(begun, lock, self._aside)

    def _copy_live(self, begun: datetime, lock: int, target: Path) -> FileState | None:
        """Copy the live file while nobody writes to it; returns what it was."""
        for _ in range(_TRIES):
            self._note(begun)
            with self._warehouse.still():
                if _log_of(self.live).exists():
                    continue  # who wrote meanwhile was killed
                target.unlink(missing_ok=True)
                state = self._live_state()
                _copy_file(self.live, target, lock)
                return state
        raise NotPublished(f"{_log_of(self.live)} comes again and again; does another program write to the live file?")

    def _note(self, begun: datetime) -> None:
        """Say in the live file, and so in its copy, of when it is; and leave nothing in DuckDB's log."""
        with self._warehouse.connect() as connection:
            # One of an earlier release has no such table yet.
            known = connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'publication'").fetchall()
            if known:
                connection.execute("BEGIN")
                connection.execute("DELETE FROM main.publication")
                connection.execute("INSERT INTO main.publication VALUES (?, ?)", [begun, str(self.live)])
                connection.execute("COMMIT")
            connection.execute("CHECKPOINT")

    def _adopt(self) -> None:
        """Make the published file the live one, where that is missing: by one rename, while nobody writes to it."""
        if self.live.exists() or not self.published.exists():
            return
        found = Warehouse(self.published, wait_seconds=self._wait_seconds)
        for _ in range(_TRIES):
            if _log_of(self.published).exists():
                with found.connect() as connection:
                    connection.execute("CHECKPOINT")
            with found.still():
                if _log_of(self.published).exists():
                    continue
                _log_of(self.live).unlink(missing_ok=True)  # of a live file that is no longer there
                if self.published.is_symlink():  # a relative one would lead elsewhere from there
                    self.live.symlink_to(self.published.resolve())
                    self.published.unlink()
                else:
                    self.published.replace(self.live)
                _sync(self.live.parent)
                _sync(self.published.parent)
                return
        raise WarehouseBusy(f"{self.published} is written to by another program; close it, and try again.")

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Publish one after the other: later states would be replaced by earlier ones. Gives the lock's descriptor."""
        self.live.parent.mkdir(parents=True, exist_ok=True)
        with self.live.with_name("publication.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file.fileno()

    def _live_state(self) -> FileState | None:
        return _state(self.live)

    def _keep(self, record: Record) -> None:
        aside = self._record.with_suffix(".tmp")
        aside.write_text(record.model_dump_json())
        aside.replace(self._record)


def _copy_file(source: Path, target: Path, lock: int) -> None:
    """Copy by reference where the file system can, else byte by byte where there is room.

    A process of its own copies: to close a second handle of the file would give up this process's lock on it. It
    keeps the publication's lock for as long as it runs, even where this process is killed.

    Raises:
        NotPublished: there is no room, or it failed.
    """
    if sys.platform == "linux" and not _run(["cp", "--reflink=always", "-p", "--", str(source), str(target)], lock):
        return
    target.unlink(missing_ok=True)
    size, free = source.stat().st_size, shutil.disk_usage(target.parent).free
    if free < size * _ROOM:
        raise NotPublished(
            f"a copy takes {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free in {target.parent}. Make room, "
            "then: fraud-pipelines publish"
        )
    clone = ["-c"] if sys.platform == "darwin" else []
    failure = _run(["cp", *clone, "-p", "--", str(source), str(target)], lock)
    if failure:
        raise NotPublished(f"the copy failed: {failure}")


def _run(command: list[str], lock: int) -> str:
    """Run a command; returns what it complained of, nothing where it succeeded."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, pass_fds=[lock])
    return (done.stderr.strip() or f"{command[0]} ended with {done.returncode}") if done.returncode else ""


def _log_of(path: Path) -> Path:
    """Where DuckDB keeps what is committed and not yet in the file."""
    file = path.resolve()
    return file.with_name(f"{file.name}.wal")


def _state(path: Path) -> FileState | None:
    """What tells a file from what it was; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _sync(path: Path) -> None:
    """Have what was written on the disk; a folder's names, too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that can't do it for folders
            raise
    finally:
        os.close(descriptor)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
