"""The audit: is every entry of the decision log as it was written, and do the decisions in force follow from it?"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.decisions.cases.events import TABLE as CASE_EVENTS
from fraud_pipelines.decisions.cases.events import chain_findings
from fraud_pipelines.decisions.chain_walk import (
    MOST_FINDINGS,
    WALKED,
    ChainWalk,
    Findings,
    WalkKey,
    WalkShard,
    missing_entries,
    verify_chains,
    walk_chains,
)
from fraud_pipelines.decisions.hash_chain import EMPTY_CHAIN, GENESIS, REDACTED, ChainHead
from fraud_pipelines.decisions.seal_walk import SealWalk
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.work_folder import work_folder
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.storage.connection import Connection, registered, select, table_exists
from fraud_pipelines.storage.shard_files import export, shard_sql
from fraud_pipelines.storage.warehouse import Warehouse

_IN_FORCE: Final = Path(__file__).with_name("audit_in_force.sql")
_CHUNK: Final = 200_000
"""Entries read at once, into memory."""
_CHUNK_OF_SHARD: Final = 1_000_000
"""Entries read at once, for each shard."""

_ENTRIES: Final = f"""
    SELECT {", ".join(WALKED)} FROM scoring.decision_revisions WHERE sequence > ? AND sequence <= ?
"""
_KEY: Final = "chain"
_CHAIN: Final = "CASE WHEN shard IS NULL THEN '' ELSE concat_ws('/', channel, event_date, shard) END"
"""A chain as text, as `Chain` gives it; empty for that of earlier releases."""


@dataclass(frozen=True)
class Audit:
    """What was verified, and what was found; ``forgotten`` entries have no content any more that could be."""

    entries: int
    decisions: int
    head: ChainHead
    findings: tuple[str, ...]
    forgotten: int = 0
    case_events: int = 0
    case_head: ChainHead = EMPTY_CHAIN


def audit_decisions(warehouse: Warehouse, *, expected_head: str | None = None, engine: Engine | None = None) -> Audit:
    """Verify the decision log and the decisions in force, on one state of the warehouse.

    It finds an entry that was changed, removed, inserted or moved; entries, shards and days that are missing, by the
    seals in ``scoring.decision_chain``; a seal that was changed or removed; a decision in force that is not the last
    entry on its transaction; a policy, thresholds or rules whose text doesn't have its hash, or whose text is missing.
    The same goes for the chain of what people did with cases; a name or note that was erased there is none of these.

    What hashes can't tell: whoever may write to the file may also write all of it anew, every hash included. Only
    a head kept elsewhere shows that: in Dagster's record of ``scoring/decisions``, in a ticket, on paper. Give it
    as ``expected_head``. And the log shows what was decided, not that it was right.

    Args:
        expected_head: a hash noted earlier, or the ``number:hash`` that an earlier audit printed; the log must
            have come by it.
        engine: verifies chains in parallel where it has several shards; by default all are verified here.

    Raises:
        InvalidInput: ``expected_head`` is no hash.
        ShardFailed: a shard failed.
    """
    engine = engine or InProcess()
    wanted_hash = _hash_of(expected_head)
    with warehouse.connect(read_only=True) as connection:
        _require_log(connection, warehouse)
        seals, walks = SealWalk(wanted_hash), dict[WalkKey, ChainWalk]()
        _walk_along(connection, seals, walks, wanted_hash, engine)
        entries = sum(walk.entries for walk in walks.values())
        last = int(select(connection, "SELECT coalesce(max(sequence), 0) FROM scoring.decision_revisions").item())
        findings = _found(walks.values())
        findings.extend(missing_entries(walks.values()))
        findings.extend(_misplaced(connection, walks.values()))
        findings.extend(seals.findings)
        told = [*findings.told(), *_missing_at_the_end(last, seals.head)]
        came_by = seals.came_by_wanted or any(walk.came_by_wanted for walk in walks.values())
        if wanted_hash is not None and not came_by:
            told.append(f"the expected head {expected_head} is nowhere in the chain: the log was written anew")
        forgotten = sum(walk.forgotten for walk in walks.values())
        told += _forgotten_unnoted(connection, forgotten)
        told += _revisions_out_of_order(connection)
        told += _decisions_that_differ(connection)
        told += _versions_that_differ(connection)
        decisions = int(select(connection, "SELECT count(*) FROM scoring.decisions").item())
        # A file that an earlier release published has no cases yet.
        has_cases = table_exists(connection, CASE_EVENTS)
        case_events, case_head, case_findings = chain_findings(connection) if has_cases else (0, EMPTY_CHAIN, [])
    return Audit(entries, decisions, seals.head, (*told, *case_findings), forgotten, case_events, case_head)


def _found(walks: Iterable[ChainWalk]) -> Findings:
    findings = Findings()
    for walk in sorted(walks, key=lambda walk: str(walk.key)):
        findings.extend(walk.findings)
    return findings


def _missing_at_the_end(last: int, noted: ChainHead) -> list[str]:
    """Whether the log ends before or beyond the last seal."""
    if noted.sequence > last:
        gone = noted.sequence - last
        return [f"the log ends at entry {last}, and once had {noted.sequence}: the last {gone} were removed"]
    if noted.sequence < last:
        return [f"the log goes on to entry {last}, beyond {noted.sequence}, the last one noted"]
    return []


def _walk_along(
    connection: Connection, seals: SealWalk, walks: dict[WalkKey, ChainWalk], wanted_hash: str | None, engine: Engine
) -> None:
    """Walk along all chains at once, in the order of the log, some entries at a time."""
    last = int(
        select(
            connection,
            """
            SELECT greatest((SELECT coalesce(max(sequence), 0) FROM scoring.decision_revisions),
                            (SELECT coalesce(max(sequence), 0) FROM scoring.decision_chain))
            """,
        ).item()
    )
    at_once = _CHUNK if engine.shards == 1 else _CHUNK_OF_SHARD * engine.shards
    for start in range(0, last, at_once):
        seals.take(_seals(connection, start, start + at_once), walks)
        if engine.shards == 1:
            walk_chains(
                select(connection, f"{_ENTRIES} ORDER BY sequence, entry_hash", [start, start + at_once]),
                walks,
                wanted_hash=wanted_hash,
            )
        else:
            _walk_in_shards(connection, start, start + at_once, walks, wanted_hash, engine)
    for walk in walks.values():
        walk.finish()


def _walk_in_shards(
    connection: Connection,
    start: int,
    end: int,
    walks: dict[WalkKey, ChainWalk],
    wanted_hash: str | None,
    engine: Engine,
) -> None:
    with work_folder(engine) as folder:
        files = export(
            connection,
            f"SELECT *, {_CHAIN} AS {_KEY} FROM ({_ENTRIES})",
            [start, end],
            key=(_KEY,),
            shards=engine.shards,
            folder=folder / "entries",
        )
        keys = pl.DataFrame({_KEY: ["" if key is None else str(key) for key in walks]}, schema={_KEY: pl.String})
        with registered(connection, _walks=keys):
            places = select(connection, f"SELECT {shard_sql((_KEY,), engine.shards)} AS shard FROM _walks")["shard"]
        of_shard: dict[int, list[ChainWalk]] = {}
        for place, walk in zip(places, walks.values(), strict=True):
            of_shard.setdefault(place, []).append(walk)
        for found in engine.map(
            verify_chains,
            [
                WalkShard(tuple(of_shard.get(shard, ())), rows, wanted_hash, folder / f"walked-{shard}")
                for shard, rows in enumerate(files)
                if rows.paths
            ],
        ):
            walks.update({walk.key: walk for walk in found})


def _seals(connection: Connection, start: int, end: int) -> pl.DataFrame:
    """The seals whose first entry is one of those after ``start`` up to ``end``."""
    return select(
        connection,
        """
        SELECT sequence, entries, channel, head_hash, appended_at, previous_root, heads FROM scoring.decision_chain
        WHERE sequence - entries >= ? AND sequence - entries < ? ORDER BY sequence, appended_at, head_hash
        """,
        [start, end],
    )


def _misplaced(connection: Connection, walks: Iterable[ChainWalk]) -> Findings:
    findings = Findings()
    misplaced = sorted((each for walk in walks for each in walk.misplaced), key=lambda each: each.sequence)
    for number, each in enumerate(misplaced):
        where = _where(connection, each.previous) if number < MOST_FINDINGS else ""
        findings.add("link", f"{each.entry} does not follow {each.before}{where}")
    return findings


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
    findings = Findings()
    for transaction, channel, revisions in rows.iter_rows():
        findings.add("revisions", f"transaction {transaction} ({channel}) has the revisions {revisions}, out of order")
    return findings.told()


def _decisions_that_differ(connection: Connection) -> list[str]:
    findings = Findings()
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
    findings, redacted = Findings(), _redacted_policies(connection)
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
