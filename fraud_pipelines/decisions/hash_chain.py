"""The hash chains of the decision log, and the seals over them.

Each entry's hash covers its content and the hash of the entry before it in its chain. There is a chain for each
channel, day and shard, so that a big day is hashed and verified in parallel. What appends to the log seals it: the seal
names the end of every chain that grew, and its hash covers that and the seal before it, from the first day to the last.
Releases before seals had one chain over everything. The first seal goes on from its last entry.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Self

import polars as pl

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
    """Where the log ends: whoever keeps it can tell later whether anything up to it was changed.

    Attributes:
        sequence: the number of the last entry.
        hash: of the last seal; in a log that only earlier releases have written to, of the last entry.
    """

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


EMPTY_CHAIN: Final = ChainHead(0, GENESIS)


@dataclass(frozen=True, order=True)
class Chain:
    """One chain: the entries of a channel on the payments of a day, or on those in one shard of it."""

    channel: str
    day: date
    shard: int = 0

    def __str__(self) -> str:
        return f"{self.channel}/{self.day}/{self.shard}"


@dataclass(frozen=True)
class Link:
    """What one append added to a chain: how many entries, and the hash of the last one."""

    chain: Chain
    entries: int
    head: str

    def __str__(self) -> str:
        """As it stands in the column ``heads`` of ``scoring.decision_chain``."""
        return f"{self.chain}/{self.entries}/{self.head}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The link of such a text.

        Raises:
            ValueError: it is none.
        """
        channel, day, shard, entries, head = text.split("/")
        return cls(Chain(channel, date.fromisoformat(day), int(shard)), int(entries), head)


def canonical(entries: pl.DataFrame, schema: pl.Schema = ENTRY_SCHEMA) -> pl.Series:
    """The canonical text of each entry, which any language can reproduce.

    It is the fields of the ``schema`` in order, each as a netstring: the number of UTF-8 bytes in decimal, a colon,
    the bytes, a comma. Inside stand text as it is, whole numbers in decimal, days as ``2026-10-31``, instants as
    microseconds since 1970 in decimal, floating-point numbers as their 64-bit IEEE pattern read as a signed whole
    number (so 0.5 is ``4602678819172646912``), ``true`` and ``false``, lists as the netstrings of their elements. Null
    is ``~``, alone. But for the last fields of a decision, ``plan_version``, ``audited`` and ``audit_probability``,
    nothing stands where they and all after them are null.
    """
    texts = entries.select(_text(pl.col(name).cast(kind), kind) for name, kind in schema.items())
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


def chained(entries: pl.DataFrame, previous: str) -> pl.DataFrame:
    """Entries of one chain with ``previous_hash`` and ``entry_hash``.

    Args:
        entries: the columns of `ENTRY_SCHEMA` and maybe others, in the order of the chain; at least one row.
        previous: the hash of the entry before the first.
    """
    entry_hashes = list(hashes(previous, entries))
    return entries.with_columns(
        pl.Series("previous_hash", [previous, *entry_hashes[:-1]]), pl.Series("entry_hash", entry_hashes)
    )


def root_hash(previous: str, sequence: int, channel: str, appended_at: datetime, heads: Iterable[str]) -> str:
    """The hash of a seal: SHA-256 over the hash of the seal before it and the text of this one.

    The text is, each as a netstring, ``sequence`` in decimal, ``channel``, ``appended_at`` as microseconds since 1970,
    and ``heads`` one by one, as they stand in ``scoring.decision_chain``.
    """
    instant = (appended_at - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    fields = (text.encode() for text in (str(sequence), channel, str(instant), *heads))
    sealed = b"".join(str(len(field)).encode() + b":" + field + b"," for field in fields)
    return hashlib.sha256(previous.encode() + sealed).hexdigest()


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
