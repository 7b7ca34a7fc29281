"""Tokens: what stands in the place of a person's id, so that the id itself is never stored (pseudonymisation).

A token is a keyed hash (HMAC-SHA-256) of the id, cut to 128 bits. The same id has the same token in every file, column
and day, so that histories, links and features are what they would be of the id. Without the key nobody can tell which
id a token stands for, nor try ids until one fits.
"""

import hmac
import re
from dataclasses import dataclass, field
from typing import Final

import polars as pl

PREFIX: Final = "tok_"
_DIGITS: Final = 32
_TOKEN: Final = re.compile(rf"{PREFIX}[0-9a-f]{{{_DIGITS}}}")
_FINGERPRINT: Final = b"fraud-pipelines: which key is this?"


@dataclass(frozen=True)
class Tokens:
    """Makes tokens with a key. It is never written anywhere: pickled, it is None."""

    key: bytes = field(repr=False)

    def of(self, value: str) -> str:
        """The token of an id, without the spaces around it; a token is its own."""
        text = value.strip()
        if is_token(text):
            return text
        return PREFIX + hmac.digest(self.key, text.encode(), "sha256").hex()[:_DIGITS]

    def column(self, values: pl.Series) -> pl.Series:
        """The token of each id of a column of text; null stays null."""
        known = {value: self.of(value) for value in values.drop_nulls().unique()}
        return values.replace_strict(known, default=None, return_dtype=pl.String) if known else values

    @property
    def fingerprint(self) -> str:
        """Tells this key from another one, and tells nothing of it."""
        return hmac.digest(self.key, _FINGERPRINT, "sha256").hex()[:16]

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def is_token(text: str) -> bool:
    """Whether a text looks like a token."""
    return _TOKEN.fullmatch(text) is not None
