"""The desk: what the page reads and writes in the warehouse, without waiting long."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fraud_pipelines.bootstrap import open_existing_warehouse
from fraud_pipelines.decisions.cases.policy import CasePolicy
from fraud_pipelines.decisions.cases.queue import QueuedCase, case_of_payment
from fraud_pipelines.decisions.entity_lists import ListEntry, add_entry, end_entry, entries_about, read_entries
from fraud_pipelines.decisions.entity_search import Matches, search
from fraud_pipelines.decisions.payment_filters import Filters, linked_columns
from fraud_pipelines.decisions.payment_list import (
    PaymentList,
    days_of,
    last_stored_day,
    read_payments,
    rules_that_decided,
)
from fraud_pipelines.decisions.review import Naming, Verdict, record_verdict
from fraud_pipelines.decisions.review_case import Case, read_case
from fraud_pipelines.decisions.review_queue import (
    BY_LOSS,
    NO_FILTERS,
    GivenVerdict,
    Place,
    Queue,
    place_in_queue,
    read_queue,
    recent_verdicts,
)
from fraud_pipelines.decisions.shared_entities import Neighbourhood, read_neighbourhood
from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import CLOCK_SKEW
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.currency import base_currency

READ_WAIT_SECONDS: Final = 4.0
WRITE_WAIT_SECONDS: Final = 10.0
RECENT: Final = 10


@dataclass(frozen=True)
class Chosen:
    """What of the queue or of all payments is shown: filters, an order of `ORDERS`, and which rows."""

    filters: Filters = NO_FILTERS
    order: str = BY_LOSS
    limit: int = 25
    offset: int = 0


EVERYTHING: Final = Chosen()


@dataclass(frozen=True)
class QueueView:
    """The queue, the verdicts given last, the rules that have decided, and the currency of amounts, if there is one."""

    queue: Queue
    recent: list[GivenVerdict]
    rules: list[str]
    currency: str | None


@dataclass(frozen=True)
class CaseView:
    """A case, where it stands among what was chosen of the queue, and the verdicts given last.

    Attributes:
        entries: of lists, that count on its day or today.
        about: columns of those who took part, and their values: what an entry can be about.
        collected: the case of its customer, or another entity, that it belongs to; None where it doesn't wait.
    """

    case: Case
    place: Place
    recent: list[GivenVerdict]
    currency: str | None
    entries: list[ListEntry]
    about: dict[str, object]
    collected: QueuedCase | None


@dataclass(frozen=True)
class PaymentsView:
    """Payments, and the filters that chose them: without any, those of the last day."""

    listed: PaymentList
    filters: Filters
    rules: list[str]
    currency: str | None


@dataclass(frozen=True)
class EntityView:
    """All payments of a value of a column, and, where an entity is told by the column, what it shares with whom."""

    listed: PaymentList
    first_day: date | None
    last_day: date | None
    near: Neighbourhood | None
    currency: str | None
    entries: list[ListEntry]


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
        blind: whether reviewers may not tell audited payments from alerts.
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
        blind: bool = False,
        skew: timedelta = CLOCK_SKEW,
        stored: Callable[[], object] = lambda: None,
    ) -> None:
        self._plan = plan
        self._linked = linked_columns(plan)
        self._blind = blind
        self._skew = skew
        self._stored = stored
        self._reading = warehouse_at(path, wait_seconds=read_wait)
        self._writing = warehouse_at(path, wait_seconds=write_wait)
        self._storing = threading.Lock()
        self._bringing_up = threading.Lock()
        self._is_current = False

    def problem(self) -> str:
        """What keeps the page from its work: the file is not there. That others write to it is none."""
        return "" if self._reading.exists() else "there is no warehouse yet"

    def seconds_since_write(self) -> float | None:
        """How long ago anything was written to the file, or to the lake's last snapshot; None where there is none."""
        written = self._reading.written_at()
        return None if written is None else max(time.time() - written, 0.0)

    @property
    def plan(self) -> Plan:
        """What is declared."""
        return self._plan

    @property
    def blind(self) -> bool:
        """Whether reviewers may not tell audited payments from alerts."""
        return self._blind

    @property
    def skew(self) -> timedelta:
        """How far a timestamp may lie ahead of the clock."""
        return self._skew

    def queue(self, chosen: Chosen = EVERYTHING) -> QueueView:
        """The queue as it stands."""
        with self.reading() as warehouse:
            queue = read_queue(
                warehouse,
                limit=chosen.limit,
                offset=chosen.offset,
                filters=chosen.filters,
                order=chosen.order,
                blind=self._blind,
            )
            recent = recent_verdicts(warehouse, limit=RECENT)
            return QueueView(queue, recent, rules_that_decided(warehouse), base_currency(warehouse))

    def case(self, transaction_id: str, chosen: Chosen = EVERYTHING, *, cases: CasePolicy) -> CaseView:
        """One case; raises InvalidInput where there is no such transaction."""
        with self.reading() as warehouse:
            case = read_case(warehouse, transaction_id, plan=self.plan, blind=self._blind)
            place = self._place(warehouse, transaction_id, chosen)
            about = {name: case.transaction[name] for name in self._linked if case.transaction.get(name) is not None}
            days = {case.happened.date(), datetime.now(UTC).date()}
            entries = [each for day in sorted(days) for each in entries_about(warehouse, case.transaction, day=day)]
            return CaseView(
                case,
                place,
                recent_verdicts(warehouse, limit=RECENT),
                base_currency(warehouse),
                list(dict.fromkeys(entries)),
                about,
                case_of_payment(warehouse, transaction_id, cases, now=_now(), blind=self._blind),
            )

    def payments(self, chosen: Chosen) -> PaymentsView:
        """Stored payments, whatever was decided on them."""
        with self.reading() as warehouse:
            filters = chosen.filters or Filters(first_day=last_stored_day(warehouse))
            listed = read_payments(
                warehouse,
                filters,
                order=chosen.order,
                limit=chosen.limit,
                offset=chosen.offset,
                blind=self._blind,
            )
            return PaymentsView(listed, filters, rules_that_decided(warehouse), base_currency(warehouse))

    def entity(self, column: str, value: str, *, limit: int) -> EntityView:
        """All payments of a value of a column that is declared, the newest first."""
        filters = Filters(columns=((column, value),))
        with self.reading() as warehouse:
            listed = read_payments(warehouse, filters, limit=limit, blind=self._blind)
            near = (
                read_neighbourhood(warehouse, self._plan, column, value, blind=self._blind)
                if column in self._linked
                else None
            )
            days = days_of(warehouse, filters)
            entries = entries_about(warehouse, {column: value}, day=datetime.now(UTC).date())
            return EntityView(listed, *days, near, base_currency(warehouse), entries)

    def search(self, text: str) -> Matches:
        """Whatever begins with the text."""
        with self.reading() as warehouse:
            return search(warehouse, self._plan, text)

    def list_entries(self, *, ended: bool) -> list[ListEntry]:
        """The entries of lists that count today; ``ended``: all that there ever were."""
        with self.reading() as warehouse:
            return read_entries(warehouse, day=None if ended else datetime.now(UTC).date())

    def add_to_list(self, **entry: Any) -> ListEntry:
        """Put somebody on a list, as by `add_entry`."""
        with self.writing() as warehouse:
            return add_entry(warehouse, self._plan, now=datetime.now(UTC), **entry)

    def take_off_list(self, entry_id: str, *, author: str) -> ListEntry:
        """End an entry, as by `end_entry`."""
        with self.writing() as warehouse:
            return end_entry(warehouse, entry_id, author=author, now=datetime.now(UTC))

    def record(
        self,
        transaction_id: str,
        *,
        actual_fraud: bool,
        reviewer: str,
        named_by: Naming,
        comment: str,
        seen: int,
        chosen: Chosen = EVERYTHING,
    ) -> tuple[Verdict, str | None]:
        """Record a verdict; returns what became of it, and whose turn it is next among what was chosen."""
        with self.writing() as warehouse:
            after = self._place(warehouse, transaction_id, chosen).after
            verdict = record_verdict(
                warehouse,
                transaction_id,
                actual_fraud=actual_fraud,
                reviewer=reviewer,
                named_by=named_by,
                comment=comment,
                seen=seen,
                now=datetime.now(UTC),
                skew=self._skew,
            )
            following = after or self._place(warehouse, transaction_id, chosen).after
        return verdict, following

    def _place(self, warehouse: Warehouse, transaction_id: str, chosen: Chosen) -> Place:
        return place_in_queue(warehouse, transaction_id, filters=chosen.filters, order=chosen.order, blind=self._blind)

    @contextmanager
    def writing(self) -> Iterator[Warehouse]:
        """The warehouse to write to, for one at a time; what was stored is told when the block has ended well."""
        self._bring_up_to_date()
        with held(self._storing, self._writing.wait_seconds), self._writing.connect():
            yield self._writing
        self._stored()

    @contextmanager
    def reading(self) -> Iterator[Warehouse]:
        """The warehouse, open for as long as the block lasts."""
        self._bring_up_to_date()
        with self._reading.connect(read_only=True):
            yield self._reading

    def _bring_up_to_date(self) -> None:
        """Once: bring up a warehouse of an earlier release. One that isn't there is not made."""
        if not self._is_current:
            with held(self._bringing_up, self._reading.wait_seconds):
                open_existing_warehouse(self._reading.path, plan=self._plan, wait_seconds=self._reading.wait_seconds)
                self._is_current = True


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def held(lock: threading.Lock, seconds: float) -> Iterator[None]:
    """The lock, which others of this page may hold; raises WarehouseBusy where they do for longer."""
    if not lock.acquire(timeout=seconds):
        raise WarehouseBusy("Other requests are waiting for the warehouse. Try again in a moment.")
    try:
        yield
    finally:
        lock.release()
