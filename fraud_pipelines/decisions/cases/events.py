"""The events of cases: what people did, each entry chained to the one before, its author and note erasable.

The chain is made as that of the decision log (`decisions.hash_chain`): an entry's hash is SHA-256 over the hash before
it and the entry's canonical text. Author and note stand in that text as SHA-256 of a random salt and the words. Whoever
removes words and salt leaves the chain as it was, and nobody can find the words by trying.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from fraud_pipelines.decisions.hash_chain import FORGOTTEN, GENESIS, REDACTED, ChainHead, canonical
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.connection import Connection, insert, select

TABLE: Final = "feedback.case_events"
ERASED: Final = "erased"
_SALT_BYTES: Final = 16

COVERED: Final = pl.Schema(
    {
        "sequence": pl.Int64(),
        "case_id": pl.String(),
        "column_name": pl.String(),
        "value": pl.String(),
        "number": pl.Int32(),
        "action": pl.String(),
        "happened_at": pl.Datetime("us"),
        "until": pl.Datetime("us"),
        "outcome": pl.String(),
        "tag": pl.String(),
        "transactions": pl.List(pl.String()),
        "evidence": pl.String(),
        "about": pl.Int64(),
        "author_named_by": pl.String(),
        "author_digest": pl.String(),
        "note_digest": pl.String(),
    }
)
"""What an entry's hash covers, in this order."""

_WORDS: Final = ("author", "note")
_SCHEMA: Final = pl.Schema(
    {
        **COVERED,
        "previous_hash": pl.String(),
        "entry_hash": pl.String(),
        **{name: pl.String() for word in _WORDS for name in (word, f"{word}_salt")},
    }
)


@dataclass(frozen=True)
class CaseKey:
    """Whom a case is about: the value of a column, and which case of that value it is, from 1."""

    column_name: str
    value: str
    number: int

    @property
    def case_id(self) -> str:
        """By which the case is named, as ``scoring.case_queue`` makes it."""
        text = f"{self.column_name}:{self.number}:{self.value}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Deed:
    """What somebody did; what an action has no use for is None.

    Attributes:
        action: one of those that ``feedback.case_events.action`` tells.
        until, outcome, tag, transactions, evidence, about, note: as the columns of that table.
    """

    action: str
    until: datetime | None = None
    outcome: str | None = None
    tag: str | None = None
    transactions: tuple[str, ...] | None = None
    evidence: str | None = None
    about: int | None = None
    note: str | None = None


@dataclass(frozen=True)
class CaseEvent:
    """An entry, as it is stored; author and note are None where they were erased, or there is none."""

    sequence: int
    case_id: str
    action: str
    happened_at: datetime
    until: datetime | None
    outcome: str | None
    tag: str | None
    transactions: list[str] | None
    evidence: str | None
    about: int | None
    author: str | None
    author_named_by: str | None
    author_digest: str
    note: str | None
    note_digest: str | None
    previous_hash: str
    entry_hash: str


def append_event(
    connection: Connection, key: CaseKey, deed: Deed, *, author: str, named_by: str | None, now: datetime
) -> int:
    """Append what somebody did to the chain, in an open transaction; returns its sequence."""
    head = chain_head(connection)
    words = {"author": author, "note": deed.note}
    salts = {word: secrets.token_hex(_SALT_BYTES) if text is not None else None for word, text in words.items()}
    entry = {
        **vars(deed),
        **vars(key),
        **words,
        **{f"{word}_salt": salt for word, salt in salts.items()},
        **{f"{word}_digest": digest_of(salts[word], text) for word, text in words.items()},
        "sequence": head.sequence + 1,
        "case_id": key.case_id,
        "happened_at": now,
        "author_named_by": named_by,
        "transactions": None if deed.transactions is None else list(deed.transactions),
        "previous_hash": head.hash,
    }
    row = pl.DataFrame([entry | {"entry_hash": None}], schema=_SCHEMA)
    [entry_hash] = entry_hashes(row)
    insert(connection, TABLE, row.with_columns(entry_hash=pl.lit(entry_hash)))
    noted = {"sequence": head.sequence + 1, "head_hash": entry_hash, "appended_at": now}
    insert(
        connection, "feedback.case_chain", pl.DataFrame([noted], schema_overrides={"appended_at": pl.Datetime("us")})
    )
    return head.sequence + 1


def chain_head(connection: Connection) -> ChainHead:
    """Where the chain ends, as noted when the last entry was appended."""
    rows = select(
        connection, "SELECT sequence, head_hash FROM feedback.case_chain ORDER BY sequence DESC LIMIT 1"
    ).rows()
    return ChainHead(*rows[0]) if rows else ChainHead(0, GENESIS)


def read_events(connection: Connection, case_id: str) -> list[CaseEvent]:
    """The events of a case, in order."""
    columns = ", ".join(CaseEvent.__dataclass_fields__)
    rows = select(connection, f"SELECT {columns} FROM {TABLE} WHERE case_id = ? ORDER BY sequence", [case_id])
    return [CaseEvent(**row) for row in rows.iter_rows(named=True)]


def erase_words(
    connection: Connection, sequence: int, words: Sequence[str], *, author: str, named_by: str | None, now: datetime
) -> None:
    """Erase the author or the note of an entry, with the salt, and append that it was done.

    Raises:
        InvalidInput: there is no such entry, or nothing left to erase of it.
    """
    rows = select(
        connection,
        f"SELECT column_name, value, number, {', '.join(_WORDS)} FROM {TABLE} WHERE sequence = ?",
        [sequence],
    )
    if rows.is_empty():
        raise InvalidInput(f"entry: no event of a case has the number {sequence}")
    entry = rows.row(0, named=True)
    if not any(entry[word] is not None for word in words):
        raise InvalidInput(f"entry: of the event {sequence} there is no {' or '.join(words)} to erase")
    gone = ", ".join(f"{word} = NULL, {word}_salt = NULL" for word in words)
    connection.update(TABLE, gone, "sequence = $sequence", {"sequence": sequence})
    key = CaseKey(entry["column_name"], entry["value"], entry["number"])
    append_event(connection, key, Deed(ERASED, about=sequence), author=author, named_by=named_by, now=now)


def chain_findings(connection: Connection) -> tuple[int, ChainHead, list[str]]:
    """Verify the chain: how many entries it has, where it ends, and what is not as it was written."""
    columns = ", ".join(_SCHEMA)
    entries = select(connection, f"SELECT {columns} FROM {TABLE} ORDER BY sequence, entry_hash")
    erased = set(entries["about"].drop_nulls().to_list())
    noted = dict(select(connection, "SELECT sequence, head_hash FROM feedback.case_chain").rows())
    head, findings, forgotten = ChainHead(0, GENESIS), [], 0
    for row, computed in zip(entries.iter_rows(named=True), entry_hashes(entries), strict=True):
        entry = f"event {row['sequence']} of the case {row['case_id']}"
        if row["sequence"] != head.sequence + 1:
            findings.append(f"{entry} stands after event {head.sequence}: one between them is missing, or stands twice")
        if row["previous_hash"] != head.hash:
            findings.append(f"{entry} does not follow what stands before it")
        is_forgotten = row["action"] == FORGOTTEN
        forgotten += is_forgotten
        stored = row["entry_hash"]
        if (computed != stored and not is_forgotten) or noted.get(row["sequence"], stored) != stored:
            findings.append(f"{entry} was changed: its content no longer has its hash")
        for word in _WORDS:
            text, salt, digest = (row[name] for name in (word, f"{word}_salt", f"{word}_digest"))
            if text is None and salt is None:
                if digest is not None and row["sequence"] not in erased and not is_forgotten:
                    findings.append(f"{entry}: its {word} is gone, and no event says that it was erased")
            elif digest_of(salt, text) != digest:
                if REDACTED in (text or ""):
                    forgotten += 1
                else:
                    findings.append(f"{entry}: its {word} was changed")
        head = ChainHead(row["sequence"], row["entry_hash"])
    if forgotten and not select(connection, "SELECT count(*) FROM main.forgotten").item():
        findings.append(f"{forgotten} events of cases are of a forgotten person, and nobody was ever forgotten")
    last = max(noted, default=0)
    if last != head.sequence:
        findings.append(f"the events of cases end at {head.sequence}, and the last one noted is {last}")
    return entries.height, head, findings


def entry_hashes(entries: pl.DataFrame) -> list[str]:
    """The hash that each entry has by its content and its ``previous_hash``."""
    texts = canonical(entries, COVERED)
    return [
        hashlib.sha256((previous + text).encode()).hexdigest()
        for previous, text in zip(entries["previous_hash"], texts, strict=True)
    ]


def digest_of(salt: str | None, text: str | None) -> str | None:
    """What the chain covers of words; None of none."""
    return None if salt is None or text is None else hashlib.sha256(f"{salt}:{text}".encode()).hexdigest()
