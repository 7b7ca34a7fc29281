"""Null words: texts that stand for no value, such as ``nan``, or ``guest`` where a customer is named.

Each is taken as null where it would be wrong as a value: two customers ``guest`` are two strangers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import polars as pl

Kind = Literal["identity", "text", "number", "time", "flag"]
"""What a column holds; an identity tells apart people, payments, merchants or devices."""

EVERYWHERE: Final = (
    "null",
    "NULL",
    "Null",
    "(null)",
    "<null>",
    "(NULL)",
    "<NULL>",
    "nan",
    "NaN",
    "NAN",
    "none",
    "None",
    "NONE",
    "nil",
    "NIL",
    "NaT",
    "nat",
    "NAT",
    "N/A",
    "n/a",
    "#N/A",
    "<NA>",
    "<na>",
    "<nan>",
    "<None>",
    "\\N",
    "undefined",
)
"""Spelled like this alone, since Nan is a town and Nil a name. NA is the code of Namibia."""

IN_IDENTITIES: Final = (
    *EVERYWHERE,
    "na",
    "#na",
    "-",
    "--",
    "---",
    "?",
    "??",
    "guest",
    "anonymous",
    "anon",
    "unknown",
    "unregistered",
    "unspecified",
    "not available",
    "not applicable",
    "not set",
    "no user",
    "guest user",
    "guest checkout",
    "anonymous user",
    "00000000-0000-0000-0000-000000000000",
)
"""In lower and upper case, and with capitals."""

_NOT_A_NUMBER: Final = frozenset({"nan", "NaN", "NAN", "<nan>"})
_IDENTITY_ENDINGS: Final = ("_id", "_fingerprint", "_token", "_hash", "_key", "_number", "_email", "_phone", "_iban")
_IDENTITY_NAMES: Final = frozenset({"id", "ip_prefix", "email", "phone", "iban", "pan", "card", "account", "ip"})


def is_identity(name: str) -> bool:
    """Whether a column of text tells apart people, payments, merchants or devices; its name says so."""
    return name in _IDENTITY_NAMES or name.endswith(_IDENTITY_ENDINGS)


@dataclass(frozen=True)
class NullWords:
    """The words of one mapping.

    Attributes:
        further: words that count in every column beside the defaults; empty for none.
        defaults: whether the defaults count.
        by_column: column → its words; for it no others count.
    """

    further: tuple[str, ...] = ()
    defaults: bool = True
    by_column: Mapping[str, tuple[str, ...]] | None = None

    @classmethod
    def of(cls, given: Sequence[str] | Mapping[str, Sequence[str]] | None) -> "NullWords":
        """What a mapping says: nothing, a list (an empty one for no words at all), or a list for each column."""
        if given is None:
            return cls()
        if isinstance(given, Mapping):
            return cls(by_column={name: tuple(words) for name, words in given.items()})
        return cls(further=tuple(given), defaults=bool(given))

    def find(self, name: str, text: pl.Series, kind: Kind, *, required: bool) -> pl.Series | None:
        """The rows of trimmed ``text`` that hold a word of the column; None if there are none."""
        words = self._words(name, kind, required=required)
        hits = text.is_in(words) if words else None
        return None if hits is None or not hits.any() else hits.fill_null(value=False)

    def numbers(self, name: str) -> list[float]:
        """Those of the mapping's own words that are numbers, for a column of numbers."""
        words = (self.by_column or {}).get(name, self.further)
        return [number for word in words if (number := _as_number(word)) is not None]

    def _words(self, name: str, kind: Kind, *, required: bool) -> list[str]:
        """Every spelling of the words that count in a column."""
        if self.by_column and name in self.by_column:
            return _spellings(self.by_column[name])
        if not self.defaults:
            return []
        if kind == "identity":
            return _spellings((*IN_IDENTITIES, *self.further))
        # A required number that is none says so itself.
        left_out = _NOT_A_NUMBER if kind == "number" and required else frozenset[str]()
        return [*(word for word in EVERYWHERE if word not in left_out), *_spellings(self.further)]


@cache
def _spellings(words: tuple[str, ...]) -> list[str]:
    """The words as they stand, in lower and in upper case, and with capitals: to look these up is far cheaper than to
    make a whole column lower case."""
    ways = (str, str.lower, str.upper, str.capitalize, str.title)
    return list(dict.fromkeys(way(word) for word in words for way in ways))


def _as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
