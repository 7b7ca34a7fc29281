"""Appends entries to the decision log: to their chains in ``scoring.decision_revisions``, under a seal in
``scoring.decision_chain``."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import polars as pl

from fraud_pipelines.decisions.hash_chain import (
    EMPTY_CHAIN,
    ENTRY_SCHEMA,
    GENESIS,
    Chain,
    ChainHead,
    Link,
    chained,
    root_hash,
)
from fraud_pipelines.storage.connection import Connection, insert, registered, select
from fraud_pipelines.storage.row_files import RowFiles

PLACE = "place"
"""In files of entries, the place of an entry among those that are appended to its chain, from 0."""


def log_head(connection: Connection) -> ChainHead:
    """Where the log ends, as noted when the last entries were appended."""
    query = "SELECT max(sequence), arg_max(head_hash, sequence) FROM scoring.decision_chain"
    sequence, noted = select(connection, query).row(0)
    return EMPTY_CHAIN if sequence is None else ChainHead(sequence, noted)


def chain_heads(connection: Connection, chains: Iterable[Chain]) -> Mapping[Chain, str]:
    """The hash of the last entry of each chain; `GENESIS` of one that has none yet."""
    asked = list(chains)
    rows = select(
        connection,
        """
        SELECT channel, event_date, shard, arg_max(entry_hash, sequence) FROM scoring.decision_revisions
        WHERE event_date BETWEEN $first AND $last AND shard IS NOT NULL AND list_contains($channels, channel)
        GROUP BY ALL
        """,
        {
            "first": min(chain.day for chain in asked),
            "last": max(chain.day for chain in asked),
            "channels": list({chain.channel for chain in asked}),
        },
    ).rows()
    known = {Chain(channel, day, shard): head for channel, day, shard, head in rows}
    return {chain: known.get(chain, GENESIS) for chain in asked}


def append_entries(connection: Connection, entries: pl.DataFrame, *, channel: str, now: datetime) -> ChainHead:
    """Append entries to their chains in an open transaction; returns the new end of the log.

    Args:
        entries: the columns of `ENTRY_SCHEMA`; those of a chain in the order in which they are chained.
        channel: noted with the seal, as is ``now``.
    """
    head = log_head(connection)
    if entries.is_empty():
        return head
    entries = entries.select(ENTRY_SCHEMA.names()).cast(ENTRY_SCHEMA).with_columns(shard=pl.lit(0, dtype=pl.Int32))
    by_chain = entries.partition_by("channel", "event_date", "shard", as_dict=True, maintain_order=True)
    parts = {Chain(*key): part for key, part in by_chain.items()}
    heads = chain_heads(connection, parts)
    appended = {chain: chained(part, heads[chain]) for chain, part in parts.items()}
    insert(
        connection,
        "scoring.decision_revisions",
        pl.concat(appended.values()).with_columns(
            pl.int_range(head.sequence + 1, head.sequence + 1 + entries.height).alias("sequence")
        ),
    )
    links = [Link(chain, part.height, part["entry_hash"][-1]) for chain, part in appended.items()]
    return _seal(connection, head, links, channel=channel, now=now)


def append_files(
    connection: Connection, entries: RowFiles, links: Sequence[Link], *, channel: str, now: datetime
) -> ChainHead:
    """`append_entries` of entries that were chained elsewhere and lie in files.

    Args:
        entries: the columns of `ENTRY_SCHEMA`, ``shard``, ``previous_hash``, ``entry_hash`` and `PLACE`.
        links: what they add to each chain.
    """
    head = log_head(connection)
    if not links:
        return head
    firsts = [head.sequence + 1]
    for link in links[:-1]:
        firsts.append(firsts[-1] + link.entries)
    begins = pl.DataFrame(
        {
            "channel": [link.chain.channel for link in links],
            "event_date": [link.chain.day for link in links],
            "shard": pl.Series([link.chain.shard for link in links], dtype=pl.Int32),
            "first": firsts,
        }
    )
    with registered(connection, _entries=entries, _begins=begins):
        connection.append(
            "scoring.decision_revisions",
            f"""
            SELECT e.* EXCLUDE ({PLACE}), b.first + e.{PLACE} AS sequence
            FROM _entries e JOIN _begins b USING (channel, event_date, shard)
            """,
        )
    return _seal(connection, head, links, channel=channel, now=now)


def _seal(
    connection: Connection, before: ChainHead, links: Sequence[Link], *, channel: str, now: datetime
) -> ChainHead:
    """Note in ``scoring.decision_chain`` what an append has added, in the order of its numbers."""
    entries = sum(link.entries for link in links)
    sequence, heads = before.sequence + entries, [str(link) for link in links]
    head = ChainHead(sequence, root_hash(before.hash, sequence, channel, now, heads))
    connection.append(
        "scoring.decision_chain",
        """
        SELECT $sequence AS sequence, $entries AS entries, $channel AS channel, $root AS head_hash,
               $now::TIMESTAMP AS appended_at, $previous AS previous_root, $heads::VARCHAR[] AS heads
        """,
        {
            "sequence": sequence,
            "entries": entries,
            "channel": channel,
            "root": head.hash,
            "now": now,
            "previous": before.hash,
            "heads": heads,
        },
    )
    return head
