"""Walks along the chains of the decision log, as they were sealed, and notes what doesn't fit."""

import hashlib
from collections import deque
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.decisions.hash_chain import ENTRY_SCHEMA, FORGOTTEN, GENESIS, Chain, canonical
from fraud_pipelines.storage.row_files import RowFiles

MOST_FINDINGS: Final = 20
"""So many findings of one kind are told in full; the rest is counted."""

WALKED: Final = ("sequence", *ENTRY_SCHEMA.names(), "shard", "previous_hash", "entry_hash")
"""What is read of ``scoring.decision_revisions``."""

_FAULTS: Final = {
    "twice": ": its number stands twice in the log",
    "noted": " is not the one noted when it was appended",
    "unsealed": " stands under no seal: it was put or moved there, or its seal is missing",
}

WalkKey = Chain | None
"""A chain; None stands for the one chain of releases before shards, whose entries have no ``shard``."""


class Findings:
    """Findings by kind; of each kind the first `MOST_FINDINGS` are kept and the rest is counted."""

    def __init__(self) -> None:
        self._kept: dict[str, list[str]] = {}
        self._more: dict[str, int] = {}

    def add(self, kind: str, finding: str) -> None:
        """Keep one, or count it."""
        kept = self._kept.setdefault(kind, [])
        if len(kept) < MOST_FINDINGS:
            kept.append(finding)
        else:
            self._more[kind] = self._more.get(kind, 0) + 1

    def extend(self, other: "Findings") -> None:
        """Take over what ``other`` holds."""
        for kind, kept in other._kept.items():
            for finding in kept:
                self.add(kind, finding)
        for kind, more in other._more.items():
            self._more[kind] = self._more.get(kind, 0) + more

    def told(self) -> list[str]:
        """All in words, kind by kind."""
        told = []
        for kind, kept in self._kept.items():
            told += kept
            if kind in self._more:
                told.append(f"… and {self._more[kind]} more of this kind")
        return told


@dataclass
class Span:
    """Entries of a chain that one append has added: their numbers ``next`` to ``last``, and the hash of the last."""

    next: int
    last: int
    head: str


@dataclass(frozen=True)
class Misplaced:
    """An entry that doesn't follow the one before it; ``previous`` is the hash of what it was written after."""

    sequence: int
    entry: str
    before: str
    previous: str


@dataclass
class ChainWalk:
    """How far a chain was walked, and what was found.

    Attributes:
        sealed: what the seals say is still to come, in order.
        missing: the first and last number of what isn't there.
    """

    key: WalkKey
    sealed: deque[Span] = field(default_factory=deque)
    entries: int = 0
    number: int = 0
    hash: str = GENESIS
    missing: list[tuple[int, int]] = field(default_factory=list)
    misplaced: list[Misplaced] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    came_by_wanted: bool = False
    forgotten: int = 0

    def take(self, rows: pl.DataFrame, wanted_hash: str | None = None) -> None:
        """Verify the next entries: content against hash, hash against the entry before, number against the seals.

        Args:
            rows: the columns `WALKED`, by ``sequence``.
            wanted_hash: whether an entry has this one is noted.
        """
        columns = ("sequence", "transaction_id", "channel", "revision", "action", "previous_hash", "entry_hash")
        for (sequence, transaction, channel, revision, action, previous, entry_hash), text in zip(
            rows.select(columns).iter_rows(), canonical(rows), strict=True
        ):
            fault = self._pass(sequence, entry_hash)
            gone = action == FORGOTTEN
            changed = not gone and hashlib.sha256((previous + text).encode()).hexdigest() != entry_hash
            self.forgotten += gone
            if fault or changed or previous != self.hash:
                entry = f"entry {sequence} (transaction {transaction}, {channel}, revision {revision})"
                if fault:
                    self.findings.add(fault, f"{entry}{_FAULTS[fault]}")
                if previous != self.hash:
                    before = f"entry {self.number}" if self.number else "the beginning"
                    self.misplaced.append(Misplaced(sequence, entry, before, previous))
                if changed:
                    self.findings.add("changed", f"{entry} was changed: its content no longer has its hash")
            self.number, self.hash = sequence, entry_hash
        self.entries += rows.height
        self.came_by_wanted |= wanted_hash is not None and bool((rows["entry_hash"] == wanted_hash).any())

    def finish(self) -> None:
        """The log has ended: what the seals still name isn't there."""
        while self.sealed:
            self._miss(self.sealed[0].last)

    def _pass(self, sequence: int, entry_hash: str) -> str | None:
        """Go on to the number of an entry; returns what is wrong with it, as a key of `_FAULTS`."""
        if sequence == self.number:
            return "twice"
        while self.sealed and self.sealed[0].next < sequence:
            self._miss(min(self.sealed[0].last, sequence - 1))
        if not self.sealed or self.sealed[0].next != sequence:
            return "unsealed"
        span = self.sealed[0]
        span.next += 1
        if sequence < span.last:
            return None
        self.sealed.popleft()
        return None if entry_hash == span.head else "noted"

    def _miss(self, last: int) -> None:
        """The entries up to ``last``, of the append that comes next, are missing."""
        span = self.sealed[0]
        self.missing.append((span.next, last))
        span.next = last + 1
        if last == span.last:
            self.sealed.popleft()


def walk_chains(
    rows: pl.DataFrame, walks: MutableMapping[WalkKey, ChainWalk], *, wanted_hash: str | None = None
) -> None:
    """Let the walks take the next entries, each those of its chain; an unknown chain gets a walk of its own.

    Args:
        rows: the columns `WALKED`, by ``sequence``.
        walks: by chain.
        wanted_hash: see `ChainWalk.take`.
    """
    old = rows.filter(pl.col("shard").is_null())
    parts: list[tuple[WalkKey, pl.DataFrame]] = [(None, old)] if old.height else []
    sharded = rows.filter(pl.col("shard").is_not_null())
    by_chain = sharded.partition_by("channel", "event_date", "shard", as_dict=True, maintain_order=True)
    parts += [(Chain(*key), part) for key, part in by_chain.items()]
    for key, part in parts:
        walks.setdefault(key, ChainWalk(key)).take(part, wanted_hash)


@dataclass(frozen=True)
class WalkShard:
    """Some chains to walk on along, and the files of their next entries, in any order."""

    walks: tuple[ChainWalk, ...]
    rows: RowFiles
    wanted_hash: str | None
    folder: Path


def verify_chains(work: WalkShard) -> tuple[ChainWalk, ...]:
    """The step: the walks, and those of chains that were unknown, with what was found."""
    walks = {walk.key: walk for walk in work.walks}
    walk_chains(work.rows.read_all().sort("sequence", "entry_hash"), walks, wanted_hash=work.wanted_hash)
    return tuple(walks.values())


def missing_entries(walks: Iterable[ChainWalk]) -> Findings:
    """What the seals name and isn't there: a day, a shard of it, or single entries."""
    of_day: dict[tuple[str, date], list[ChainWalk]] = {}
    findings = Findings()
    for walk in walks:
        if walk.key is None:
            for first, last in walk.missing:
                findings.add("gap", f"{_numbers(first, last)} missing from the log")
        else:
            of_day.setdefault((walk.key.channel, walk.key.day), []).append(walk)
    for (channel, day), chains in sorted(of_day.items()):
        if not any(walk.entries for walk in chains):
            lost = sum(last - first + 1 for walk in chains for first, last in walk.missing)
            findings.add("day", f"the day {day} ({channel}) is missing from the log: it had {lost} entries")
            continue
        for walk in sorted(chains, key=lambda walk: str(walk.key)):
            shard = f"shard {walk.key.shard if walk.key else 0} of {day} ({channel})"
            if not walk.entries:
                told = " and ".join(f"{first} to {last}" for first, last in walk.missing[:MOST_FINDINGS])
                findings.add("shard", f"{shard} is missing from the log: it had the entries {told}")
                continue
            for first, last in walk.missing:
                findings.add("gap", f"{_numbers(first, last)} missing from the log, in {shard}")
    return findings


def _numbers(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entry {first} to {last} are"
