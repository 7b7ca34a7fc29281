"""Runs that a process of ours executes itself, and that Dagster knows as runs of the code location like any other.

Dagster's public ``execute_in_process`` leaves out where the job of a run is defined. Such a run is on no timeline and
on no job's page, and the UI can neither execute it again nor cancel it. What a run needs of Dagster's private names is
in this module and in no other; its test fails where Dagster changes them.
"""

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import dagster as dg
import grpc
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._grpc.__generated__.dagster_api_pb2 import CancelExecutionReply
from dagster._grpc.__generated__.dagster_api_pb2 import CancelExecutionRequest as CancelExecutionMessage
from dagster._grpc.__generated__.dagster_api_pb2_grpc import (
    DagsterApiServicer,
    add_DagsterApiServicer_to_server,
)
from dagster._grpc.types import CancelExecutionRequest, CancelExecutionResult
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils.interrupts import check_captured_interrupt

from fraud_pipelines.bootstrap import WAREHOUSE_POOL
from fraud_pipelines.defs.abandoned_runs import close_abandoned_runs

LOCATION: Final = "fraud_pipelines"
"""The code location's name in workspace.yaml and pyproject.toml."""
REPOSITORY: Final = "__repository__"
"""What Dagster calls the definitions of a code location."""

_REPOSITORY_TAG = ".dagster/repository"
_SERVER_TAG = ".dagster/grpc_info"
_POLL_SECONDS = 2.0
_UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_LONGEST_WAIT = timedelta(minutes=15)
_ENDED_FROM_OUTSIDE = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


class RunCancelled(Exception):
    """The run was ended from outside: in Dagster's UI, or by its daemon."""


class ShellRuns:
    """Creates and executes runs of one job in this process, one after another. Use as a context manager.

    While a run is executed, Dagster can cancel it: see `_Cancellation`.
    """

    def __init__(
        self, instance: dg.DagsterInstance, job: dg.JobDefinition, *, tell: Callable[[str], None] | None = None
    ) -> None:
        self._instance = instance
        self._job = job
        self._tell = tell or (lambda _: None)
        self._cancellation = _Cancellation(instance)

    def __enter__(self) -> Self:
        self._cancellation.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._cancellation.stop()

    def create(self, partition: str, *, run_config: Mapping[str, Any], tags: Mapping[str, str]) -> dg.DagsterRun:
        """A run that has not started yet. It has ``tags``, and those of a run that the UI starts for a partition.

        It is created once no other run is under way that takes the same place in the concurrency pool. Dagster's
        queue counts it from then on.
        """
        self._wait_for_place()
        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(LOCATION), REPOSITORY)
        return self._instance.create_run_for_job(
            self._job,
            run_config=run_config,
            tags={
                **self._job.run_tags,
                **self._job.get_tags_for_partition_key(partition, None),
                **tags,
                _REPOSITORY_TAG: repository.get_label(),
                _SERVER_TAG: json.dumps({"host": "localhost", "socket": self._cancellation.socket}),
            },
            remote_job_origin=RemoteJobOrigin(repository, self._job.name),
        )

    def _wait_for_place(self) -> None:
        told = False
        while others := [each for each in self._under_way() if _takes_place(each)]:
            if not told:
                told = True
                partition = others[0].tags.get("dagster/partition", "")
                self._tell(f"Waiting for the run {others[0].run_id} of {others[0].job_name} {partition}".rstrip() + ".")
            time.sleep(_POLL_SECONDS / 2)
            close_abandoned_runs(self._instance)

    def _under_way(self) -> Sequence[dg.DagsterRun]:
        """The runs that are executed; one that began long ago may be dead, and the warehouse has a lock, too."""
        since = datetime.now(UTC) - _LONGEST_WAIT
        return self._instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY, updated_after=since))

    def execute(self, run: dg.DagsterRun) -> Iterator[dg.DagsterEvent]:
        """Execute ``run`` in this thread, the main one, and give its events as they happen.

        Raises:
            RunCancelled: the run was ended from outside.
            KeyboardInterrupt: Ctrl-C; Dagster has the run as cancelled.
        """
        stopped_here = False
        try:
            with self._cancellation.of(run.run_id):
                events = execute_run_iterator(InMemoryJob(self._job), run, self._instance)
                assert isinstance(events, Generator)
                event = next(events, None)
                while event:
                    # Dagster would sleep until a step is tried again, and Ctrl-C would have to wait.
                    stop = _is_interrupted_within(_pause_before_retry(event))
                    if (stop or _is_interrupt(event)) and not self._cancellation.interrupted:
                        # Else Dagster takes Ctrl-C for a crash, of which people are alerted.
                        self._cancellation.end()
                        self._instance.report_run_canceling(run, message="Ctrl-C in the shell that executes the run.")
                        stopped_here = True
                    yield event
                    event = events.throw(KeyboardInterrupt()) if stop else next(events, None)
        except KeyboardInterrupt:
            # That of a run that has ended just before it was to be cancelled is of no use any more.
            if not self._cancellation.interrupted:
                raise
        if stopped_here:
            raise KeyboardInterrupt
        if self._cancellation.interrupted and not self._succeeded(run):
            raise RunCancelled

    def _succeeded(self, run: dg.DagsterRun) -> bool:
        ended = self._instance.get_run_by_id(run.run_id)
        return ended is not None and ended.is_success


def _takes_place(run: dg.DagsterRun) -> bool:
    pools = run.run_op_concurrency.all_pools if run.run_op_concurrency else None
    return WAREHOUSE_POOL in (pools or ())


def _pause_before_retry(event: dg.DagsterEvent) -> float:
    waits = event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY
    return float(event.step_retry_data.seconds_to_wait or 0) if waits else 0.0


def _is_interrupted_within(seconds: float) -> bool:
    """Wait, and say whether a signal came meanwhile; Dagster catches and keeps it while it executes a run."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if check_captured_interrupt():
            return True
        time.sleep(min(left, 0.2))
    return False


def _is_interrupt(event: dg.DagsterEvent) -> bool:
    source = event.step_failure_data.error_source if event.is_step_failure else None
    return source is not None and source.name == "INTERRUPT"


class _Cancellation(DagsterApiServicer):
    """Interrupts the main thread when the run that it executes is ended from outside.

    Dagster's default launcher cancels a run by a call to the code server that a tag of the run names. This is a
    server that answers that call alone. Another launcher, or one on another machine, can only set the run's status,
    so that is looked at every few seconds.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.interrupted = False
        self._instance = instance
        self._run_id: str | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._folder = tempfile.TemporaryDirectory(prefix="fraud-run-")
        self.socket = str(Path(self._folder.name) / "socket")
        self._server = grpc.server(ThreadPoolExecutor(max_workers=1))

    def start(self) -> None:
        add_DagsterApiServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self._server.add_insecure_port(f"unix:{self.socket}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(grace=None).wait()
        self._folder.cleanup()

    @contextmanager
    def of(self, run_id: str) -> Iterator[None]:
        """Watch a run as long as the block lasts."""
        self.interrupted, self._run_id = False, run_id
        self._wake.clear()
        watch = threading.Thread(target=self._watch, name="watch for cancellation", daemon=True)
        watch.start()
        try:
            yield
        finally:
            self.end()
            watch.join()

    def end(self) -> None:
        """Interrupt no more."""
        with self._lock:
            self._run_id = None
        self._wake.set()

    def CancelExecution(  # noqa: N802 (Dagster's name)
        self, request: CancelExecutionMessage, _context: grpc.ServicerContext
    ) -> CancelExecutionReply:
        asked = deserialize_value(request.serialized_cancel_execution_request, CancelExecutionRequest)
        known = asked.run_id == self._run_id
        if known:
            self._wake.set()
        result = CancelExecutionResult(success=known, message=None, serializable_error_info=None)
        return CancelExecutionReply(serialized_cancel_execution_result=serialize_value(result))

    def _watch(self) -> None:
        # On until the run has ended: a library may swallow an interrupt.
        while run_id := self._run_id:
            self._wake.wait(_POLL_SECONDS)
            self._wake.clear()
            run = self._instance.get_run_by_id(run_id)
            if run is None or run.status in _ENDED_FROM_OUTSIDE:
                with self._lock:
                    # Under the lock: no interrupt comes after the block's end.
                    if self._run_id:
                        self.interrupted = True
                        os.kill(os.getpid(), signal.SIGINT)
