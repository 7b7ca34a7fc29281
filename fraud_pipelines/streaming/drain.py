"""Draining the stream's landing zone: what waits is committed in few transactions, oldest first, and moved away."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import InaccessibleFile, InvalidInput
from fraud_pipelines.plan.types import Attribute
from fraud_pipelines.streaming.batches import BatchReport, FileBatch, UnreadableBatch
from fraud_pipelines.streaming.files import set_aside, settled_files
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines.transactions.landing_zone import LANDED_FOLDER
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.moving import move_aside
from fraud_pipelines.transactions.waiting import WaitingFile, printable_name

_SMALL_ROW: Final = 100
"""Bytes a row of a file seldom takes less of: what a file's size says of its rows before it is read."""
_MANY_ROWS: Final = 10_000
"""After a run of so many transactions the memory that DuckDB keeps is given back."""


@dataclass
class DrainReport:
    """What a run did with the files it found.

    Attributes:
        waiting: files there were at the start.
        batches: those committed, in order.
        unreadable: files that can't be read, and why; they were set aside.
        troubles: entries that can't be looked at, and files that the file system doesn't give out, or whose mapping
            can't be used, and why; they are left, and tried again in each run.
        stuck: files that could not be moved away, and why; they are tried again in each run.
        left: files that are left for the next run.
    """

    waiting: int = 0
    batches: list[BatchReport] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    left: int = 0

    @property
    def transactions(self) -> int:
        return sum(batch.transactions for batch in self.batches)

    @property
    def accepted(self) -> int:
        return sum(batch.accepted for batch in self.batches)

    @property
    def left_out(self) -> int:
        return sum(batch.left_out for batch in self.batches)

    @property
    def problems(self) -> dict[str, str]:
        """What is left in the landing zone although it is no longer wanted there, or can't be taken in."""
        return self.troubles | self.stuck

    @property
    def days(self) -> list[date]:
        """UTC days of the accepted transactions, in order."""
        return sorted({day for batch in self.batches for day in batch.days})

    @property
    def figures(self) -> dict[str, int]:
        """What there is to plot of one run after the other."""
        return {
            "files_waiting": self.waiting,
            "batches": len(self.batches),
            "batches_repeated": sum(batch.repeated for batch in self.batches),
            "transactions": self.transactions,
            "accepted": self.accepted,
            "rejected": self.transactions - self.accepted - self.left_out,
            "left_out": self.left_out,
            "files_unreadable": len(self.unreadable),
            "entries_in_trouble": len(self.troubles),
            "files_left": self.left,
        }

    @property
    def rejected_by_reason(self) -> dict[str, int]:
        return dict(sum((Counter(batch.rejected_by_reason) for batch in self.batches), Counter[str]()).most_common())


def drain(session: StreamSession, folder: Path, *, clock: Callable[[], datetime]) -> DrainReport:
    """Commit what waits below ``folder``, oldest first, until the run has had its share.

    A file is moved to ``_landed`` once it is committed; if the process dies in between, the next run finds its
    content processed already. One that can't be read is moved to ``_unreadable`` with the reason beside it.

    What can't be looked at or moved doesn't hold up the others either, and is named in the report.

    Args:
        clock: gives the time of processing, naive UTC.
    """
    waiting = settled_files(folder, settle_seconds=session.stream.settle_seconds)
    files = waiting.files
    report = DrainReport(waiting=len(files), troubles=waiting.troubles)
    mappings: dict[Path | None, ColumnMapping] = {}
    done = 0
    groups = _groups(files, rows=session.stream.commit_rows, most=session.stream.commit_files)
    with ExitStack() as held:
        let_go = 0.0
        for group in groups:
            if report.transactions >= session.stream.run_rows:
                break
            if time.monotonic() >= let_go:
                # To open and close the warehouse costs more than a small commit; others wait for it meanwhile.
                held.close()
                held.enter_context(session.warehouse.connect())
                let_go = time.monotonic() + session.stream.hold_seconds
            _commit(session, list(_batches(group, folder, mappings, report, session.attributes)), report, clock)
            done += len(group)
    if report.transactions >= _MANY_ROWS:
        session.warehouse.rest()
    report.left = len(files) - done
    return report


def _batches(
    files: Iterable[WaitingFile],
    folder: Path,
    mappings: dict[Path | None, ColumnMapping],
    report: DrainReport,
    attributes: Sequence[Attribute],
) -> Iterator[FileBatch]:
    """The files as batches, but for those whose mapping can't be used."""
    for file in files:
        try:
            yield FileBatch.of(file, folder, mappings, attributes)
        except InvalidInput as error:
            report.troubles[printable_name(file.name)] = str(error)
        except OSError as error:
            report.troubles[printable_name(file.name)] = f"its mapping can't be looked for: {error.strerror}"


def _commit(
    session: StreamSession, batches: list[FileBatch], report: DrainReport, clock: Callable[[], datetime]
) -> None:
    while batches:
        try:
            report.batches += session.commit(batches, now=clock())
        except UnreadableBatch as error:
            culprit = error.batch
            assert isinstance(culprit, FileBatch)
            batches.remove(culprit)
            name = printable_name(culprit.file.name)
            if isinstance(error.reason, InaccessibleFile):
                if os.path.lexists(culprit.file.path):
                    report.troubles[name] = str(error)
            elif not culprit.file.has_changed():  # else it is still being written, and waits
                report.unreadable[name] = str(error)
                with _noting_stuck(culprit, report):
                    set_aside(culprit.file, culprit.folder, str(error))
            continue
        for batch in batches:
            with _noting_stuck(batch, report):
                move_aside(batch.file, batch.folder, LANDED_FOLDER)
        return


@contextmanager
def _noting_stuck(batch: FileBatch, report: DrainReport) -> Iterator[None]:
    """What keeps the file from being moved is noted, beside why it should have been set aside."""
    try:
        yield
    except InvalidInput as error:
        name = printable_name(batch.file.name)
        why = report.unreadable.get(name)
        report.stuck[name] = f"{why}\n{error}" if why else str(error)


def _groups(files: Iterable[WaitingFile], *, rows: int, most: int) -> Iterator[list[WaitingFile]]:
    """Files to be committed together: as many as should hold no more than ``rows``, but at least one."""
    group: list[WaitingFile] = []
    room = rows * _SMALL_ROW
    for file in files:
        if group and (file.size > room or len(group) == most):
            yield group
            group, room = [], rows * _SMALL_ROW
        group.append(file)
        room -= file.size
    if group:
        yield group
