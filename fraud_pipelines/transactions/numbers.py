"""Numbers as exports write them: decimal commas, thousands, currency signs, accounting parentheses."""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput

BLANKS: Final = "\u0020\u00a0\u2007\u2009\u202f\u2002\u2003\u2005\u2006\u200a"
"""The blank, and those that typesetters use: no-break, figure, thin, narrow no-break and others."""

_LETTERS: Final = r"(?:\p{Sc}|[A-Z]{1,3}\p{Sc}|[A-Z]{3}|kr\.?|zł|Kč|Ft|lei|лв\.?|руб\.?|Fr\.|Rs\.?|R)"
"""A currency sign with or without letters before it, a code of three letters, or a common abbreviation."""

_SIGNED: Final = (
    rf"^(?P<outer>{_LETTERS})?[{BLANKS}]*(?P<open>\()?[{BLANKS}]*(?P<before>[+-])?[{BLANKS}]*(?P<lead>{_LETTERS})?[{BLANKS}]*(?P<after>[+-])?"
    rf"[{BLANKS}]*(?P<digits>[0-9.,'{BLANKS}]*[0-9.,](?:[eE][+-]?[0-9]+)?)[{BLANKS}]*(?P<inner>[+-])?"
    rf"[{BLANKS}]*(?P<trail>{_LETTERS})?[{BLANKS}]*(?P<last>[+-])?[{BLANKS}]*(?P<close>\))?"
    rf"[{BLANKS}]*(?P<beyond>{_LETTERS})?$"
)
_MINUS: Final = "[−–‒﹣－]"
_APOSTROPHE: Final = "[’ʼ′]"
_AMBIGUOUS: Final = r"^[^0-9.,]*[0-9]{1,3}\.[0-9]{3}[^0-9.,]*$"
_DECIMAL_COMMA: Final = r"^[^0-9.,]*[0-9.]*[0-9],[0-9]+[^0-9.,]*$"


@dataclass(frozen=True)
class NumberFormat:
    """How a column writes numbers.

    Attributes:
        decimal: stands before the decimals.
        thousands: stands between groups of digits; None for none. Blanks may do so in any case.
        declared: a mapping says so; without it, what looks ambiguous is refused.
    """

    decimal: str = "."
    thousands: str | None = None
    declared: bool = False

    def parse(self, text: pl.Series) -> tuple[pl.Series, pl.Series]:
        """The numbers of trimmed ``text``, null where it is none; and the currency sign or code of each, or null.

        A minus may stand before or after the number or its currency; parentheses mean a negative number. Groups are of
        three digits, or of two before the last three.
        """
        plain = text.str.replace_all(_MINUS, "-").str.replace_all(_APOSTROPHE, "'")
        parts = plain.str.extract_groups(_SIGNED).struct.unnest()
        minus = _is(parts["open"], "(").cast(pl.Int8)
        for name in ("before", "after", "inner", "last"):
            minus += _is(parts[name], "-").cast(pl.Int8)
        signs = sum(
            (parts[name].fill_null("").str.len_chars() > 0).cast(pl.Int8)
            for name in ("open", "before", "after", "inner", "last")
        )
        sound = (signs <= 1) & (_is(parts["open"], "(") == _is(parts["close"], ")"))
        marks = [_present(parts[name]) for name in ("outer", "lead", "trail", "beyond")]
        sound &= sum(mark.is_not_null().cast(pl.Int8) for mark in marks) <= 1
        digits = self._digits(parts["digits"])
        number = digits.cast(pl.Float64, strict=False)
        number = (-number).zip_with((minus > 0).fill_null(value=False), number)
        return number.set(~sound.fill_null(value=False), None), pl.select(pl.coalesce(marks)).to_series()

    def _digits(self, text: pl.Series) -> pl.Series:
        """With a decimal point and without groups; null where the groups are none."""
        groups = rf"[{BLANKS}{_escaped(self.thousands) if self.thousands else ''}]"
        decimal = _escaped(self.decimal)
        tail = rf"(?:{decimal}[0-9]*)?(?:[eE][+-]?[0-9]+)?"
        whole = rf"(?:[0-9]+|[0-9]{{1,3}}(?:{groups}[0-9]{{2,3}})*{groups}[0-9]{{3}})"
        sound = text.str.contains(rf"^(?:{whole}{tail}|{decimal}[0-9]+(?:[eE][+-]?[0-9]+)?)$")
        bare = text.str.replace_all(groups, "").str.replace(self.decimal, ".", literal=True)
        return bare.set(~sound.fill_null(value=False), None)


@dataclass
class NumbersSoFar:
    """What the numbers of a file have shown so far, by our column.

    Attributes:
        currencies: the currency sign or code that they bear.
        decimal_commas: one with a decimal comma.
        ambiguous: one whose point may stand before decimals or between thousands, and that was taken for the former.
    """

    currencies: dict[str, str] = field(default_factory=dict)
    decimal_commas: dict[str, str] = field(default_factory=dict)
    ambiguous: dict[str, str] = field(default_factory=dict)

    def uncertain(self, name: str, text: pl.Series, *, may_have_commas: bool) -> pl.Series | None:
        """The rows that are ambiguous, now that the file is known to have decimal commas; None if there are none.

        Args:
            text: numbers of the column ``name``, further ones of the file.
            may_have_commas: some of them have been found to be no plain numbers.

        Raises:
            InvalidInput: rows before these were ambiguous, and were taken for numbers with three decimals.
        """
        if may_have_commas and name not in self.decimal_commas:
            found = text.filter(has_decimal_comma(text))
            if found.len():
                self.decimal_commas[name] = found[0]
        rows = text.str.contains(_AMBIGUOUS).fill_null(value=False)
        if name in self.decimal_commas and name in self.ambiguous:
            raise InvalidInput(
                f"{name}: {self.ambiguous[name]!r} may be one or a thousand, since other rows have decimal commas "
                f"({self.decimal_commas[name]!r}). Declare decimal and thousands of the column in the mapping "
                "(docs/mappings.md). Nothing of the file was stored."
            )
        if not rows.any():
            return None
        if name in self.decimal_commas:
            return rows
        self.ambiguous.setdefault(name, text.filter(rows)[0])
        return None


def has_decimal_comma(text: pl.Series) -> pl.Series:
    """The rows whose only comma stands where decimals may follow."""
    return text.str.contains(_DECIMAL_COMMA).fill_null(value=False)


def _is(part: pl.Series, sign: str) -> pl.Series:
    return (part == sign).fill_null(value=False)


def _present(part: pl.Series) -> pl.Series:
    return part.set((part.str.len_bytes() == 0).fill_null(value=False), None)


def _escaped(sign: str) -> str:
    return "\\" + sign if sign in ".^$*+?()[]{}|\\-" else sign
