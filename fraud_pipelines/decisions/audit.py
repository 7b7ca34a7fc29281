"""The audit: is every entry of the decision log as it was written, and do the decisions in force follow from it?"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.decisions.hash_chain import (
    ENTRY_SCHEMA,
    FORGOTTEN,
    GENESIS,
    REDACTED,
    ChainHead,
    canonical,
    chain_head,
)
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.storage.connection import Connection, select, table_exists
from fraud_pipelines.storage.warehouse import Warehouse

_IN_FORCE: Final = Path(__file__).with_name("audit_in_force.sql")
_CHUNK: Final = 200_000
"""Entries read at once."""

MOST_FINDINGS: Final = 20
"""So many findings of one kind are told in full; the rest is counted."""


@dataclass(frozen=True)
class Audit:
    """What was verified, and what was found; ``forgotten`` entries have no content any more that could be."""

    entries: int
    decisions: int
    head: ChainHead
    findings: tuple[str, ...]
    forgotten: int = 0


def audit_decisions(warehouse: Warehouse, *, expected_head: str | None = None) -> Audit:
    """Verify the decision log and the decisions in force, on one state of the warehouse.

    It finds an entry that was changed, removed, inserted or moved; entries missing at the end, by the heads noted
    in ``scoring.decision_chain``; a decision in force that is not the last entry on its transaction; a policy,
    thresholds or rules whose text doesn't have its hash, or whose text is missing.

    What a chain can't tell: whoever may write to the file may also write all of it anew, every hash included. Only
    a head kept elsewhere shows that: in Dagster's record of ``scoring/decisions``, in a ticket, on paper. Give it
    as ``expected_head``. And the chain shows what was decided, not that it was right.

    Args:
        expected_head: a hash noted earlier, or the ``number:hash`` that an earlier audit printed; the chain must
            have come by it.

    Raises:
        InvalidInput: ``expected_head`` is no hash.
    """
    wanted_hash = _hash_of(expected_head)
    with warehouse.connect(read_only=True) as connection:
        _require_log(connection, warehouse)
        walk = _Walk(dict(select(connection, "SELECT sequence, head_hash FROM scoring.decision_chain").rows()))
        for chunk in _chunks(connection):
            walk.take(connection, chunk, wanted_hash)
        findings = [*walk.findings, *walk.missing_at_the_end(chain_head(connection))]
        if wanted_hash not in (None, GENESIS) and not walk.came_by_wanted:
            findings.append(f"the expected head {expected_head} is nowhere in the chain: the log was written anew")
        findings += _forgotten_unnoted(connection, walk.forgotten)
        findings += _revisions_out_of_order(connection)
        findings += _decisions_that_differ(connection)
        findings += _versions_that_differ(connection)
        decisions = int(select(connection, "SELECT count(*) FROM scoring.decisions").item())
    return Audit(walk.entries, decisions, walk.head, tuple(findings), walk.forgotten)


class _Walk:
    """Walks along the chain, from the first entry to the last, and notes what doesn't fit."""

    def __init__(self, noted: dict[int, str]) -> None:
        self.head = ChainHead(0, GENESIS)
        self.entries = 0
        self.came_by_wanted = False
        self.forgotten = 0
        self._noted = noted
        self._findings = _Findings()

    @property
    def findings(self) -> list[str]:
        return self._findings.told()

    def take(self, connection: Connection, chunk: pl.DataFrame, wanted_hash: str | None) -> None:
        """Verify the next entries: content against hash, hash against the entry before, place against the noted."""
        columns = ("sequence", "transaction_id", "channel", "revision", "action", "previous_hash", "entry_hash")
        for (sequence, transaction, channel, revision, action, previous, entry_hash), text in zip(
            chunk.select(columns).iter_rows(), canonical(chunk), strict=True
        ):
            entry = f"entry {sequence} (transaction {transaction}, {channel}, revision {revision})"
            if sequence == self.head.sequence:
                self._findings.add("twice", f"{entry}: the number {sequence} stands twice in the log")
            elif sequence > self.head.sequence + 1:
                gap = f"entry {self.head.sequence + 1}" + (
                    f" to {sequence - 1} are" if sequence > self.head.sequence + 2 else " is"
                )
                self._findings.add("gap", f"{gap} missing from the log")
            if previous != self.head.hash:
                self._findings.add("link", f"{entry} does not follow {self._before()}{_where(connection, previous)}")
            if action == FORGOTTEN:
                self.forgotten += 1
            elif hashlib.sha256((previous + text).encode()).hexdigest() != entry_hash:
                self._findings.add("changed", f"{entry} was changed: its content no longer has its hash")
            if self._noted.get(sequence, entry_hash) != entry_hash:
                self._findings.add("noted", f"{entry} is not the one noted when it was appended")
            self.came_by_wanted |= entry_hash == wanted_hash
            self.head = ChainHead(sequence, entry_hash)
        self.entries += chunk.height

    def missing_at_the_end(self, noted: ChainHead) -> list[str]:
        """Whether the log ends before the last head noted."""
        if noted.sequence > self.head.sequence:
            return [
                f"the log ends at entry {self.head.sequence}, and once had {noted.sequence}: the last "
                f"{noted.sequence - self.head.sequence} were removed"
            ]
        if noted.sequence < self.head.sequence:
            return [f"the log goes on to entry {self.head.sequence}, beyond {noted.sequence}, the last one noted"]
        return []

    def _before(self) -> str:
        return f"entry {self.head.sequence}" if self.head.sequence else "the beginning"


class _Findings:
    """Findings by kind; of each kind the first `MOST_FINDINGS` are kept and the rest is counted."""

    def __init__(self) -> None:
        self._kept: dict[str, list[str]] = {}
        self._more: dict[str, int] = {}

    def add(self, kind: str, finding: str) -> None:
        kept = self._kept.setdefault(kind, [])
        if len(kept) < MOST_FINDINGS:
            kept.append(finding)
        else:
            self._more[kind] = self._more.get(kind, 0) + 1

    def told(self) -> list[str]:
        told = []
        for kind, kept in self._kept.items():
            told += kept
            if kind in self._more:
                told.append(f"… and {self._more[kind]} more of this kind")
        return told


def _chunks(connection: Connection) -> Iterator[pl.DataFrame]:
    last = int(select(connection, "SELECT coalesce(max(sequence), 0) FROM scoring.decision_revisions").item())
    columns = ", ".join(("sequence", *ENTRY_SCHEMA.names(), "previous_hash", "entry_hash"))
    for start in range(0, last, _CHUNK):
        chunk = select(
            connection,
            f"SELECT {columns} FROM scoring.decision_revisions WHERE sequence > ? AND sequence <= ? "
            "ORDER BY sequence, entry_hash",
            [start, start + _CHUNK],
        )
        if chunk.height:
            yield chunk


def _where(connection: Connection, previous: str) -> str:
    """What the entry that an entry was written after has become of, in words."""
    if previous == GENESIS:
        return ": it was written as the first"
    found = select(connection, "SELECT sequence FROM scoring.decision_revisions WHERE entry_hash = ?", [previous])
    if found.is_empty():
        return ": the one it was written after was changed or removed"
    return f": it was written after what is entry {found.item(0, 0)} now, so that one of them was moved"


def _forgotten_unnoted(connection: Connection, forgotten: int) -> list[str]:
    if not table_exists(connection, "main.forgotten"):
        return []
    noted = int(select(connection, "SELECT coalesce(sum(log_entries), 0) FROM main.forgotten").item())
    if noted == forgotten:
        return []
    return [f"{forgotten:,} entries say that they were forgotten, and main.forgotten notes {noted:,}"]


def _revisions_out_of_order(connection: Connection) -> list[str]:
    rows = select(
        connection,
        """
        SELECT transaction_id, channel, list(revision ORDER BY sequence) AS revisions
        FROM scoring.decision_revisions GROUP BY transaction_id, channel
        HAVING list(revision ORDER BY sequence) <> range(1, count(*) + 1)
        ORDER BY ALL
        """,
    )
    findings = _Findings()
    for transaction, channel, revisions in rows.iter_rows():
        findings.add("revisions", f"transaction {transaction} ({channel}) has the revisions {revisions}, out of order")
    return findings.told()


def _decisions_that_differ(connection: Connection) -> list[str]:
    findings = _Findings()
    for transaction, channel, fault in select(connection, _IN_FORCE.read_text()).iter_rows():
        findings.add(fault, f"the decision on transaction {transaction} ({channel}) {fault}")
    return findings.told()


def _versions_that_differ(connection: Connection) -> list[str]:
    kept = select(connection, "SELECT hash, kind, content FROM scoring.policy_versions ORDER BY first_used_at, hash")
    named = select(
        connection,
        """
        SELECT DISTINCT unnest(['policy', 'thresholds', 'rules']) AS kind,
               unnest([policy_hash, thresholds_hash, rules_hash]) AS hash
        FROM scoring.decision_revisions ORDER BY ALL
        """,
    ).drop_nulls("hash")
    findings, redacted = _Findings(), _redacted_policies(connection)
    for digest, kind, content in kept.iter_rows():
        if digest in redacted and REDACTED in content:
            continue
        if hashlib.sha256(content.encode()).hexdigest() != digest:
            findings.add("text", f"the {kind} {digest[:12]} was changed: its text no longer has its hash")
    for kind, digest in named.join(kept, on=["kind", "hash"], how="anti").iter_rows():
        findings.add("lost", f"the {kind} {digest[:12]}, which decided, is missing from scoring.policy_versions")
    return findings.told()


def _redacted_policies(connection: Connection) -> frozenset[str]:
    if not table_exists(connection, "main.forgotten"):
        return frozenset()
    return frozenset(select(connection, "SELECT DISTINCT unnest(policies) AS hash FROM main.forgotten")["hash"])


def _hash_of(head: str | None) -> str | None:
    if head is None:
        return None
    sequence, colon, digest = head.strip().lower().rpartition(":")
    if len(digest) != len(GENESIS) or set(digest) - set("0123456789abcdef") or (colon and not sequence.isdecimal()):
        raise InvalidInput(
            f"{head!r} is no head of the chain: give its 64 hexadecimal digits, or number:digits as audit prints it"
        )
    return digest


def _require_log(connection: Connection, warehouse: Warehouse) -> None:
    if not table_exists(connection, "scoring.decision_revisions"):
        raise MissingData(
            f"{warehouse.path} has no decision log yet: an earlier release made it. Run a day, or start "
            "fraud-pipelines up, and its decisions are taken over."
        )
