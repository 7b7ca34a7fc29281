"""Tokenising at the door: where a key is set, what is stored of a delivery names no person (`plan.tokens`)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.tokens import Tokens
from fraud_pipelines.plan.types import Attribute
from fraud_pipelines.storage.connection import Connection, insert, select
from fraud_pipelines.transactions.mapping import ColumnMapping

NOT_KEPT: Final = "(not kept: the row can't be read, and FRAUD_PII_KEY is set)"
"""Stands for the text of a row in which nobody can tell what is an id."""
_TABLE: Final = "raw.token_keys"


def tokenised(rows: pl.DataFrame, attributes: Iterable[Attribute]) -> pl.DataFrame:
    """``rows`` with the tokens of those columns that are declared so."""
    columns = [each.tokens.column(rows[each.name]).alias(each.name) for each in attributes if each.tokens]
    return rows.with_columns(columns)


@dataclass(frozen=True)
class PayloadGuard:
    """Keeps of a row that is set aside what was read of it, and the tokens of ids.

    Attributes:
        kept: the source's columns that stay. All others go: nobody declared what is in them.
        tokens: those of them that hold an id, or a part of one.
    """

    kept: frozenset[str]
    tokens: Mapping[str, Tokens] = field(default_factory=dict)

    def of(self, payloads: pl.Series) -> pl.Series:
        """Each payload as one JSON object of the kept columns; what is no JSON object is not kept at all."""
        texts = [self._guarded(text) for text in payloads.to_list()]
        return pl.Series(payloads.name, texts, dtype=pl.String)

    def on(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that are set aside, their column ``payload`` as by `of`."""
        return rows.with_columns(self.of(rows["payload"])) if rows.height else rows

    def _guarded(self, text: str) -> str:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            return NOT_KEPT
        if not isinstance(row, dict):
            return NOT_KEPT
        found = {name: _inside(row, name) for name in sorted(self.kept)}
        return json.dumps(
            {name: self._value(name, value) for name, value in found.items() if value is not None}, ensure_ascii=False
        )

    def _value(self, name: str, value: object) -> object:
        if name not in self.tokens:
            return value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return self.tokens[name].of(value if isinstance(value, str) else json.dumps(value))


def guard_of(mapping: ColumnMapping) -> PayloadGuard | None:
    """What guards the rows that are set aside of a file with this mapping; None where nothing is tokenised."""
    tokens: dict[str, Tokens] = {}
    for each in mapping.attributes:
        if each.tokens:
            rule = mapping.rules.get(each.name)
            sources = rule.reads.values() if rule else ()
            tokens |= dict.fromkeys([mapping.wanted_columns.get(each.name, each.name), *sources], each.tokens)
    return PayloadGuard(frozenset(mapping.source_columns), tokens) if tokens else None


def require_same_key(connection: Connection, attributes: Sequence[Attribute], *, now: datetime) -> None:
    """Make sure that new rows get the tokens that stored rows have: by another key everybody would be a stranger.

    Raises:
        InvalidInput: the key, or the tokenised columns, are others than those of the rows that are stored.
    """
    keys = {each.tokens.fingerprint for each in attributes if each.tokens}
    columns = sorted(each.name for each in attributes if each.tokens)
    noted = select(connection, f"SELECT fingerprint, columns FROM {_TABLE}").rows()
    if not keys and not noted:
        return
    if not keys:
        raise InvalidInput(
            "FRAUD_PII_KEY is not set, and the stored ids are tokens made with it: new rows would not be found to be "
            "of the same people. Set it as it was."
        )
    if not noted:
        if not select(connection, "SELECT 1 FROM raw.transactions LIMIT 1").is_empty():
            raise InvalidInput(
                "FRAUD_PII_KEY is set, and the stored ids are no tokens: new rows would not be found to be of the same "
                "people. Import the payments again into a new FRAUD_DATA_DIR (docs/privacy.md)."
            )
        row = {"fingerprint": keys.pop(), "columns": columns, "noted_at": now}
        insert(connection, _TABLE, pl.DataFrame([row]))
        return
    [(fingerprint, stored_columns)] = noted
    if fingerprint not in keys:
        raise InvalidInput(
            "FRAUD_PII_KEY is another key than the one that the stored tokens were made with: new rows would not be "
            "found to be of the same people. Set it as it was."
        )
    if stored_columns != columns:
        raise InvalidInput(
            f"tokenise says {', '.join(columns)}, and what is stored was tokenised in {', '.join(stored_columns)}. "
            "Declare it as it was, or import the payments again into a new FRAUD_DATA_DIR (docs/privacy.md)."
        )


def _inside(row: Mapping[str, object], name: str) -> object:
    """A value by its name, or by the dotted path to it."""
    if name in row:
        return row[name]
    head, dot, rest = name.partition(".")
    inner = row.get(head)
    return _inside(inner, rest) if dot and isinstance(inner, dict) else None
