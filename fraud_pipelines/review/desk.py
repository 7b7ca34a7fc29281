"""The desk: what the page reads and writes in the warehouse, without waiting long."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from fraud_pipelines.bootstrap import open_existing_warehouse
from fraud_pipelines.decisions.review import Verdict, record_verdict
from fraud_pipelines.decisions.review_case import Case, read_case
from fraud_pipelines.decisions.review_queue import (
    GivenVerdict,
    Place,
    Queue,
    place_in_queue,
    read_queue,
    recent_verdicts,
)
from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import CLOCK_SKEW
from fraud_pipelines.storage.opening import warehouse_at

READ_WAIT_SECONDS: Final = 4.0
WRITE_WAIT_SECONDS: Final = 10.0
RECENT: Final = 10


@dataclass(frozen=True)
class QueueView:
    """The queue, and the verdicts given last."""

    queue: Queue
    recent: list[GivenVerdict]


@dataclass(frozen=True)
class CaseView:
    """A case, where it stands in the queue, and the verdicts given last."""

    case: Case
    place: Place
    recent: list[GivenVerdict]


class Desk:
    """The warehouse as the page uses it, from any thread.

    Verdicts are stored one after the other. Readers wait for nobody here: who waits to store a verdict, since another
    process has the file open, has nothing open. Where another process writes for longer than a reader of the page
    would wait, `WarehouseBusy` is raised.

    Args:
        path: the live warehouse.
        plan: what is declared.
        read_wait: seconds that a page waits for another process.
        write_wait: seconds that a verdict waits for one.
        skew: how far a timestamp may lie ahead of the clock.
        stored: called after a verdict was stored.
    """

    def __init__(
        self,
        path: Path,
        *,
        plan: Plan,
        read_wait: float = READ_WAIT_SECONDS,
        write_wait: float = WRITE_WAIT_SECONDS,
        skew: timedelta = CLOCK_SKEW,
        stored: Callable[[], object] = lambda: None,
    ) -> None:
        self._plan = plan
        self._skew = skew
        self._stored = stored
        self._reading = warehouse_at(path, wait_seconds=read_wait)
        self._writing = warehouse_at(path, wait_seconds=write_wait)
        self._storing = threading.Lock()
        self._bringing_up = threading.Lock()
        self._is_current = False

    def queue(self, *, limit: int) -> QueueView:
        """The queue as it stands."""
        self._bring_up_to_date()
        with self._reading.connect(read_only=True):
            return QueueView(read_queue(self._reading, limit=limit), recent_verdicts(self._reading, limit=RECENT))

    def case(self, transaction_id: str) -> CaseView:
        """One case; raises InvalidInput where there is no such transaction."""
        self._bring_up_to_date()
        with self._reading.connect(read_only=True):
            case, place = read_case(self._reading, transaction_id), place_in_queue(self._reading, transaction_id)
            return CaseView(case, place, recent_verdicts(self._reading, limit=RECENT))

    def record(
        self, transaction_id: str, *, actual_fraud: bool, reviewer: str, comment: str, seen: int
    ) -> tuple[Verdict, str | None]:
        """Record a verdict; returns what became of it, and whose turn it is next."""
        self._bring_up_to_date()
        warehouse = self._writing
        with _held(self._storing, warehouse.wait_seconds), warehouse.connect():
            after = place_in_queue(warehouse, transaction_id).after
            verdict = record_verdict(
                warehouse,
                transaction_id,
                actual_fraud=actual_fraud,
                reviewer=reviewer,
                comment=comment,
                seen=seen,
                now=datetime.now(UTC),
                skew=self._skew,
            )
            following = after or place_in_queue(warehouse, transaction_id).after
        self._stored()
        return verdict, following

    def _bring_up_to_date(self) -> None:
        """Once: bring up a warehouse of an earlier release. One that isn't there is not made."""
        if not self._is_current:
            with _held(self._bringing_up, self._reading.wait_seconds):
                open_existing_warehouse(self._reading.path, plan=self._plan, wait_seconds=self._reading.wait_seconds)
                self._is_current = True


@contextmanager
def _held(lock: threading.Lock, seconds: float) -> Iterator[None]:
    if not lock.acquire(timeout=seconds):
        raise WarehouseBusy("Other requests are waiting for the warehouse. Try again in a moment.")
    try:
        yield
    finally:
        lock.release()
