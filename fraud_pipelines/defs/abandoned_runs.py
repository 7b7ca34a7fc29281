"""Abandoned runs: the process that executed them was killed, and Dagster would show them as running for ever.

They would also hold the pool of the warehouse, and every later run would wait. A process that executes runs itself
notes them in a file that it keeps locked: the system lets go of the lock when the process ends, however it ends.
"""

import fcntl
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final, Self

import dagster as dg

_FOLDER: Final = "shell_runs"
FINISHED: Final = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
"""Of a run that has ended."""


class RunNote:
    """The file in which this process notes the run that it executes. Use as a context manager."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._folder = _folder(instance)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = NamedTemporaryFile(dir=self._folder, suffix=".run", mode="w", delete=False)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_error: object) -> None:
        Path(self._file.name).unlink()
        self._file.close()

    def note(self, run_id: str) -> None:
        """Note the run; it takes the place of the one before, which has ended."""
        self._file.seek(0)
        self._file.write(run_id)
        self._file.flush()


def close_abandoned_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Mark the runs whose process was killed as failed, and let go of what they hold; returns them."""
    closed = []
    for path in sorted(_folder(instance).glob("*.run")):
        with path.open() as file:
            if not _is_abandoned(file):
                continue
            run = instance.get_run_by_id(file.read())
            if run and not run.is_finished:
                _close(instance, run)
                closed.append(run)
            path.unlink(missing_ok=True)
    return closed


def close_restored_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Mark the runs that were under way when a backup was made as failed; returns them."""
    under_way = [status for status in dg.DagsterRunStatus if status not in FINISHED]
    runs = list(instance.get_runs(dg.RunsFilter(statuses=under_way)))
    for run in runs:
        _close(instance, run)
    return runs


def _close(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run)
    else:
        # Whoever started it in a shell knows best whether to start it again.
        instance.add_run_tags(run.run_id, {"dagster/max_retries": "0"})
        instance.report_run_failed(run, "The process that executed the run has ended. Run the day again.")
    # Where the instance counts pools by step, a dead run would hold its slot for ever.
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_abandoned(file: IO[str]) -> bool:
    """Whether nobody holds the lock; then this process does, until ``file`` is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folder(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / _FOLDER
