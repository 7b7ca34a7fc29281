"""The hash chain over the decision log: each entry's hash covers its content and the hash of the entry before it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from fraud_pipelines.storage.connection import Connection, insert, select

GENESIS: Final = "0" * 64
"""What the first entry has for the hash of the one before it."""

DECIDED: Final = "decided"
WITHDRAWN: Final = "withdrawn"
FORGOTTEN: Final = "forgotten"
"""An entry about a person who was forgotten: its hashes stay, its content is gone (`fraud_pipelines.forgetting`)."""
REDACTED: Final = "[forgotten]"
"""Stands where an id of such a person stood."""

ENTRY_SCHEMA: Final = pl.Schema(
    {
        "transaction_id": pl.String(),
        "channel": pl.String(),
        "revision": pl.Int32(),
        "action": pl.String(),
        "event_date": pl.Date(),
        "decision": pl.String(),
        "score": pl.Float64(),
        "reason": pl.String(),
        "reason_codes": pl.List(pl.String()),
        "policy": pl.String(),
        "review_threshold": pl.Float64(),
        "block_threshold": pl.Float64(),
        "model_versions": pl.List(pl.String()),
        "policy_hash": pl.String(),
        "thresholds_hash": pl.String(),
        "rules_hash": pl.String(),
        "decided_at": pl.Datetime("us"),
        "plan_version": pl.String(),
        "audited": pl.Boolean(),
        "audit_probability": pl.Float64(),
    }
)
"""What an entry's hash covers, in this order."""

_LATER: Final = ("plan_version", "audited", "audit_probability")
"""Columns that came later, the last ones: where all from one of them on are null, they are no part of the hash. So
entries of releases that lacked them have the hash they had, and so has what no audit sample was drawn of."""


@dataclass(frozen=True)
class ChainHead:
    """The last entry of the chain: whoever keeps it can tell later whether anything up to it was changed."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


EMPTY_CHAIN: Final = ChainHead(0, GENESIS)


def canonical(entries: pl.DataFrame) -> pl.Series:
    """The canonical text of each entry, which any language can reproduce.

    It is the fields of `ENTRY_SCHEMA` in order, each as a netstring: the number of UTF-8 bytes in decimal, a colon,
    the bytes, a comma. Inside stand text as it is, whole numbers in decimal, days as ``2026-10-31``, instants as
    microseconds since 1970 in decimal, floating-point numbers as their 64-bit IEEE pattern read as a signed whole
    number (so 0.5 is ``4602678819172646912``), ``true`` and ``false``, lists as the netstrings of their elements. Null
    is ``~``, alone. But for the last fields, ``plan_version``, ``audited`` and ``audit_probability``, nothing stands
    where they and all after them are null.
    """
    texts = entries.select(_text(pl.col(name).cast(kind), kind) for name, kind in ENTRY_SCHEMA.items())
    covered = []
    for place, name in enumerate(texts.columns):
        nothing = pl.lit("~")
        if name in _LATER:
            said_after = pl.any_horizontal(pl.col(later).is_not_null() for later in texts.columns[place:])
            nothing = pl.when(said_after).then(nothing).otherwise(pl.lit(""))
        covered.append(pl.coalesce(_netstring(pl.col(name)), nothing))
    return texts.select(pl.concat_str(covered).alias("")).to_series()


def hashes(previous: str, entries: pl.DataFrame) -> Iterator[str]:
    """The hash of each entry, in hexadecimal: SHA-256 over the hash before it (as hexadecimal) and its canonical text.

    Args:
        previous: the hash of the entry before the first of ``entries``.
        entries: the columns of `ENTRY_SCHEMA`, in the order of the chain.
    """
    for text in canonical(entries):
        previous = hashlib.sha256((previous + text).encode()).hexdigest()
        yield previous


def chain_head(connection: Connection) -> ChainHead:
    """Where the chain ends, as noted when the last entries were appended."""
    query = "SELECT max(sequence), arg_max(head_hash, sequence) FROM scoring.decision_chain"
    sequence, noted = select(connection, query).row(0)
    return EMPTY_CHAIN if sequence is None else ChainHead(sequence, noted)


def append_entries(connection: Connection, entries: pl.DataFrame, *, channel: str, now: datetime) -> ChainHead:
    """Append entries to ``scoring.decision_revisions`` in an open transaction; returns the new end of the chain.

    Args:
        entries: the columns of `ENTRY_SCHEMA`, in the order in which they are chained.
        channel: noted with the new head, as is ``now``.
    """
    head = chain_head(connection)
    if entries.is_empty():
        return head
    entries = entries.select(ENTRY_SCHEMA.names()).cast(ENTRY_SCHEMA)
    entry_hashes = list(hashes(head.hash, entries))
    insert(
        connection,
        "scoring.decision_revisions",
        entries.with_columns(
            pl.int_range(head.sequence + 1, head.sequence + 1 + entries.height).alias("sequence"),
            pl.Series("previous_hash", [head.hash, *entry_hashes[:-1]]),
            pl.Series("entry_hash", entry_hashes),
        ),
    )
    head = ChainHead(head.sequence + entries.height, entry_hashes[-1])
    connection.append(
        "scoring.decision_chain",
        "SELECT $sequence AS sequence, $entries AS entries, "
        "$channel AS channel, $hash AS head_hash, $now::TIMESTAMP AS appended_at",
        {
            "sequence": head.sequence,
            "entries": entries.height,
            "channel": channel,
            "hash": head.hash,
            "now": now,
        },
    )
    return head


def _text(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.Float64):
        return column.reinterpret(dtype=pl.Int64).cast(pl.String)
    if isinstance(kind, pl.Datetime):
        return column.to_physical().cast(pl.String)
    if isinstance(kind, pl.List):
        return column.list.eval(_netstring(pl.element()).fill_null("~")).list.join("")
    return column.cast(pl.String)


def _netstring(text: pl.Expr) -> pl.Expr:
    return pl.concat_str([text.str.len_bytes().cast(pl.String), pl.lit(":"), text, pl.lit(",")])
