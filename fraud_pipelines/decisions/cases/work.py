"""Working a case: what people do with it, each in one transaction, and refused whole where it can't be done.

A case that somebody has claimed is theirs until the claim expires: others may note and tag, and nothing else. Whoever
sends what they do from a page says which event of the case they saw last. If somebody else has changed the case since,
it is refused, so that nobody overwrites what another did.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from fraud_pipelines.decisions.cases.events import (
    ERASED,
    CaseEvent,
    CaseKey,
    Deed,
    append_event,
    read_events,
)
from fraud_pipelines.decisions.cases.evidence import evidence_of
from fraud_pipelines.decisions.cases.policy import CasePolicy
from fraud_pipelines.decisions.cases.queue import QueuedCase, find_case, queue_of
from fraud_pipelines.decisions.review import MAX_REVIEWER_CHARACTERS, Naming, record_verdicts
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import CLOCK_SKEW
from fraud_pipelines.storage.connection import Connection, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.timestamps import as_utc

CaseOutcome = Literal["fraud", "legitimate", "unclear"]
OUTCOMES: Final[tuple[CaseOutcome, ...]] = get_args(CaseOutcome)
MAX_NOTE_CHARACTERS: Final = 2000
MOST_TAGS: Final = 20
LONGEST_CLAIM: Final = timedelta(days=1)
LONGEST_WAIT: Final = timedelta(days=366)
_TAG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_FREE: Final = ("noted", "tagged", "untagged", ERASED)
"""What changes nothing that another may do."""


class CaseTaken(InvalidInput):
    """Somebody else works on the case, or has changed it meanwhile."""


@dataclass(frozen=True)
class Person:
    """Who does something; ``named_by`` says where the name comes from, None in the shell."""

    name: str
    named_by: Naming | None = None


@dataclass(frozen=True)
class _Doing:
    """What is done with a case, inside one transaction: who, when, and the case as it is.

    Attributes:
        unclosed: the case, None where it is closed.
    """

    connection: Connection
    key: CaseKey
    unclosed: QueuedCase | None
    tags: list[str]
    person: Person
    now: datetime

    def require_unclosed(self) -> QueuedCase:
        """The case, where it is not closed."""
        if self.unclosed is None:
            raise InvalidInput("The case is closed. Reopen it to go on with it, or write a note.")
        return self.unclosed

    def append(self, deed: Deed) -> None:
        append_event(
            self.connection, self.key, deed, author=self.person.name, named_by=self.person.named_by, now=self.now
        )


class CaseDesk:
    """What people do with the cases of a warehouse.

    Every method names a case by its id, and raises `InvalidInput` with the name of the field where it can't be done,
    `CaseTaken` where somebody else is in the way, and `WarehouseBusy` where another process holds the file.

    Args:
        warehouse: an initialised one.
        cases: what the policy says of them.
        blind: whether reviewers may not tell audited payments from alerts.
        skew: how far clocks may be apart.
    """

    def __init__(
        self, warehouse: Warehouse, cases: CasePolicy, *, blind: bool = False, skew: timedelta = CLOCK_SKEW
    ) -> None:
        self._warehouse = warehouse
        self._cases = cases
        self._blind = blind
        self._skew = skew

    def claim(
        self, case_id: str, person: Person, *, now: datetime, until: datetime | None = None, seen: int | None = None
    ) -> datetime:
        """Claim a case, or renew one's claim; returns until when it holds, naive UTC."""
        with self._doing(case_id, person, now, seen) as done:
            done.require_unclosed()
            until = self._claimed_until(until, done.now)
            done.append(Deed("claimed", until=until))
        return until

    def claim_next(self, person: Person, *, now: datetime) -> str | None:
        """Claim the open case that is worth most and nobody works on; returns its id, or None where there is none.

        A case whose outcome this person has proposed is left to others.
        """
        person, now = checked_person(person), as_utc(now)
        with self._warehouse.transaction() as connection:
            found = queue_of(
                connection,
                self._cases,
                now=now,
                blind=self._blind,
                condition="state = 'open' AND payments > 0 AND coalesce(claimed_by, $person) = $person "
                "AND lower(proposed_by) IS DISTINCT FROM lower($person)",
                rest="LIMIT 1",
                parameters={"person": person.name},
            )
            if not found:
                return None
            deed = Deed("claimed", until=self._claimed_until(None, now))
            append_event(connection, found[0].key, deed, author=person.name, named_by=person.named_by, now=now)
            return found[0].case_id

    def release(self, case_id: str, person: Person, *, now: datetime, seen: int | None = None) -> None:
        """Give a claim back."""
        with self._doing(case_id, person, now, seen) as done:
            if done.require_unclosed().claimed_by is None:
                raise InvalidInput("release: nobody has claimed the case")
            done.append(Deed("released"))

    def note(self, case_id: str, person: Person, text: str, *, now: datetime) -> None:
        """Write a note, without a verdict; of a closed case, too."""
        with self._doing(case_id, person, now, free=True) as done:
            done.append(Deed("noted", note=_note(text, required=True)))

    def tag(self, case_id: str, person: Person, tag: str, *, now: datetime, remove: bool = False) -> None:
        """Put a tag on, or take it off."""
        tag = tag.strip()
        if not _TAG.fullmatch(tag):
            raise InvalidInput(
                f"tag: {tag[:40]!r} is none; write 1 to 32 small letters, digits and hyphens, such as card-testing"
            )
        with self._doing(case_id, person, now, free=True) as done:
            if remove != (tag in done.tags):
                raise InvalidInput(
                    f"tag: the case has {'no tag' if remove else 'the tag'} {tag}{'' if remove else ' already'}"
                )
            if not remove and len(done.tags) >= MOST_TAGS:
                raise InvalidInput(f"tag: the case has {MOST_TAGS} already; take one off first")
            done.append(Deed("untagged" if remove else "tagged", tag=tag))

    def set_due(self, case_id: str, person: Person, due: datetime, *, now: datetime, seen: int | None = None) -> None:
        """Say by when the case is due."""
        due = as_utc(due)
        with self._doing(case_id, person, now, seen) as done:
            case = done.require_unclosed()
            if case.last_payment and due < case.last_payment:
                raise InvalidInput(
                    f"due: {due:%Y-%m-%d %H:%M} lies before the payment of {case.last_payment:%Y-%m-%d %H:%M}"
                )
            if due > done.now + LONGEST_WAIT:
                raise InvalidInput(f"due: {due:%Y-%m-%d} is more than a year away")
            done.append(Deed("due", until=due))

    def escalate(self, case_id: str, person: Person, reason: str, *, now: datetime, seen: int | None = None) -> None:
        """Make the case of high severity, first in the queue; a claim is given back, for somebody else to take it."""
        with self._doing(case_id, person, now, seen) as done:
            if done.require_unclosed().escalated:
                raise InvalidInput("escalate: the case has been escalated already")
            done.append(Deed("escalated", note=_note(reason, required=True)))
            if done.require_unclosed().claimed_by:
                done.append(Deed("released"))

    def wait(
        self,
        case_id: str,
        person: Person,
        reason: str,
        *,
        now: datetime,
        until: datetime | None = None,
        seen: int | None = None,
    ) -> None:
        """Set the case aside for something outside, such as the customer's answer, until a time or until resumed."""
        with self._doing(case_id, person, now, seen) as done:
            if done.require_unclosed().state == "waiting":
                raise InvalidInput("wait: the case waits already")
            if until is not None:
                until = _later("until", as_utc(until), done.now, LONGEST_WAIT)
            done.append(Deed("waiting", until=until, note=_note(reason, required=True)))

    def resume(self, case_id: str, person: Person, *, now: datetime, seen: int | None = None) -> None:
        """Go on with a case that waits."""
        with self._doing(case_id, person, now, seen) as done:
            if done.require_unclosed().state != "waiting":
                raise InvalidInput("resume: the case does not wait")
            done.append(Deed("resumed"))

    def judge(
        self,
        case_id: str,
        person: Person,
        outcome: str,
        *,
        now: datetime,
        transactions: Sequence[str] | None = None,
        note: str = "",
        seen: int | None = None,
    ) -> Literal["closed", "judged", "proposed"]:
        """Give one outcome to payments of the case that wait; all of them close it.

        ``fraud`` and ``legitimate`` become the reviewer's verdict on each payment, in ``feedback.labels``. ``unclear``
        gives none, and the payments wait no longer. Where the policy asks for a second reviewer, the first one's
        outcome is ``proposed``, and nothing is stored of it elsewhere until somebody else gives the same one.

        Args:
            transactions: all that wait, unless it names some; payments judged in the case before may be among them.
            note: what was noted.
        """
        if outcome not in OUTCOMES:
            raise InvalidInput(f"outcome: {outcome!r} is none of {', '.join(OUTCOMES)}")
        with self._doing(case_id, person, now, seen) as done:
            case = done.require_unclosed()
            chosen = _chosen(case, transactions)
            left = set(case.waiting_transactions) - set(chosen)
            evidence = evidence_of(done.connection, chosen, blind=self._blind)
            action: Literal["closed", "judged", "proposed"] = "judged" if left else "closed"
            if case.proposed_by:
                _require_agreement(case, done.person, outcome, chosen)
            elif self._cases.needs_second(case.severity):
                action = "proposed"
            elif left and outcome == "unclear":
                raise InvalidInput(
                    "transactions: what is unclear closes the case; give all of its payments, or judge the others first"
                )
            if outcome != "unclear" and action != "proposed":
                record_verdicts(
                    done.connection,
                    chosen,
                    actual_fraud=outcome == "fraud",
                    now=done.now,
                    skew=self._skew,
                    reviewer=done.person.name,
                    named_by=done.person.named_by,
                    comment=f"case {case_id}",
                )
            done.append(Deed(action, outcome=outcome, transactions=chosen, evidence=evidence, note=_note(note)))
            return action

    def decline(self, case_id: str, person: Person, reason: str, *, now: datetime, seen: int | None = None) -> None:
        """Send a proposed outcome back, as the second reviewer or as who proposed it."""
        with self._doing(case_id, person, now, seen) as done:
            if done.require_unclosed().proposed_by is None:
                raise InvalidInput("decline: nobody has proposed an outcome")
            done.append(Deed("declined", note=_note(reason, required=True)))

    def reopen(self, case_id: str, person: Person, reason: str, *, now: datetime, seen: int | None = None) -> None:
        """Open a closed case again. Its verdicts stay until somebody gives others."""
        with self._doing(case_id, person, now, seen) as done:
            if done.unclosed is not None:
                raise InvalidInput("reopen: the case is not closed")
            newer = select(
                done.connection,
                "SELECT max(number) FROM feedback.case_events WHERE column_name = ? AND value = ?",
                [done.key.column_name, done.key.value],
            ).item()
            if newer != done.key.number:
                raise InvalidInput(f"reopen: {done.key.value} has a newer case, the {newer}th; work on that one")
            done.append(Deed("reopened", note=_note(reason, required=True)))

    @contextmanager
    def _doing(
        self, case_id: str, person: Person, now: datetime, seen: int | None = None, *, free: bool = False
    ) -> Iterator[_Doing]:
        """The case, in a transaction; ``free``: what is done is in nobody's way."""
        person, now = checked_person(person), as_utc(now)
        with self._warehouse.transaction() as connection:
            unclosed, record, key = find_case(connection, self._cases, case_id, now=now, blind=self._blind)
            if not free:
                _require_free(unclosed, read_events(connection, case_id), person, seen)
            yield _Doing(connection, key, unclosed, record["tags"] if record else [], person, now)

    def _claimed_until(self, until: datetime | None, now: datetime) -> datetime:
        if until is None:
            return now + timedelta(minutes=self._cases.claim_minutes)
        return _later("until", as_utc(until), now, LONGEST_CLAIM)


def _require_free(unclosed: QueuedCase | None, events: Sequence[CaseEvent], person: Person, seen: int | None) -> None:
    """Refuse what somebody else's claim is in the way of, or what they did since event ``seen``."""
    if unclosed and unclosed.claimed_by and unclosed.claimed_until and not _same(unclosed.claimed_by, person.name):
        raise CaseTaken(f"{unclosed.claimed_by} works on the case until {unclosed.claimed_until:%H:%M} UTC.")
    for event in events if seen is not None else ():
        theirs = not (event.author and _same(event.author, person.name))
        if theirs and event.sequence > (seen or 0) and event.action not in _FREE:
            author = event.author or "somebody"
            raise CaseTaken(f"{author} has changed the case meanwhile ({event.action}). Look at it again.")


def _require_agreement(case: QueuedCase, person: Person, outcome: str, chosen: Sequence[str]) -> None:
    """Refuse what is no agreement of somebody else with what was proposed."""
    proposer = case.proposed_by or ""
    if _same(proposer, person.name):
        raise InvalidInput(f"outcome: {proposer} proposed it, and somebody else has to agree")
    if outcome != case.proposed_outcome:
        raise InvalidInput(
            f"outcome: {proposer} proposed {case.proposed_outcome}. Agree, or send it back with a reason"
        )
    if not set(chosen) <= set(case.proposed_transactions or []):
        raise InvalidInput(
            "transactions: some of them are no part of what was proposed; send it back to have them judged"
        )


def _chosen(case: QueuedCase, transactions: Sequence[str] | None) -> tuple[str, ...]:
    waiting = case.waiting_transactions
    if transactions is None:
        proposed = set(case.proposed_transactions or [])
        chosen = [each for each in waiting if each in proposed] if proposed else list(waiting)
    else:
        chosen = list(dict.fromkeys(transactions))
    if foreign := set(chosen).difference(waiting, case.judged_transactions):
        raise InvalidInput(
            f"transactions: {min(foreign)} does not wait in this case; it may have been judged meanwhile"
        )
    if not chosen and waiting:
        raise InvalidInput("transactions: choose at least one payment")
    return tuple(chosen)


def checked_person(person: Person) -> Person:
    """The person, the name without blanks around it.

    Raises:
        InvalidInput: there is no name, or it is too long.
    """
    name = " ".join(person.name.split())
    if not name:
        raise InvalidInput("by: say who you are; it can't be empty")
    if len(name) > MAX_REVIEWER_CHARACTERS or not name.isprintable():
        raise InvalidInput(f"by: write a name of at most {MAX_REVIEWER_CHARACTERS} characters, on one line")
    return Person(name, person.named_by)


def _note(text: str, *, required: bool = False) -> str | None:
    """A note: lines of plain text."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    note = "\n".join(lines).strip()
    if not note and required:
        raise InvalidInput("note: say it; it can't be empty")
    if len(note) > MAX_NOTE_CHARACTERS:
        raise InvalidInput(f"note: has {len(note):,} characters; write at most {MAX_NOTE_CHARACTERS:,}")
    if not all(line.isprintable() for line in note.replace("\t", " ").split("\n")):
        raise InvalidInput("note: has control characters; write plain text")
    return note or None


def _later(field: str, moment: datetime, now: datetime, longest: timedelta) -> datetime:
    if moment <= now:
        raise InvalidInput(f"{field}: {moment:%Y-%m-%d %H:%M} lies in the past; it is {now:%Y-%m-%d %H:%M} UTC")
    if moment > now + longest:
        raise InvalidInput(
            f"{field}: {moment:%Y-%m-%d %H:%M} is more than {longest.days} day{'s' if longest.days > 1 else ''} away"
        )
    return moment


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
