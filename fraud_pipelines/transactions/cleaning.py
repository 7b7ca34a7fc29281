"""Cleaning: columns of a source become columns of ours, and each row that can't gets its reason."""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.settings import MAX_AGE_YEARS
from fraud_pipelines.transactions.column_rules import PLAIN, ColumnRule
from fraud_pipelines.transactions.null_words import Kind, NullWords, is_identity
from fraud_pipelines.transactions.numbers import NumberFormat, NumbersSoFar, has_decimal_comma
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.row_ids import row_ids
from fraud_pipelines.transactions.source_text import EXACT_INTEGERS, as_text
from fraud_pipelines.transactions.timestamps import TimestampRule

MAX_TEXT_CHARACTERS: Final = 256
IN_THE_FUTURE: Final = "is in the future"

_CONTROL: Final = r"[\x00-\x1f\x7f-\x{9f}]"
_CONTROL_IN_TEXT: Final = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}]"
_CLEAN: Final = r"^(?:[^\s\x00-\x1f\x7f-\x{9f}+](?:[^\x00-\x1f\x7f-\x{9f}+]*[^\s\x00-\x1f\x7f-\x{9f}+])?)?$"
"""What needs no further look: nothing to take off, no control character, and no plus, as a damaged id has."""
_DAMAGED: Final = r"^[+-]?[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2,3}$"

_CURRENCY_CODES: Final = {"€": "EUR", "£": "GBP", "US$": "USD", "R$": "BRL", "zł": "PLN", "Kč": "CZK", "₹": "INR"}
"""The signs that mean one currency only."""
_SHARED_SIGNS: Final[Mapping[str, frozenset[str]]] = {
    "$": frozenset(["USD", "CAD", "AUD", "NZD", "SGD", "HKD", "TWD", "MXN", "CLP", "COP", "ARS"]),
    "kr": frozenset(["SEK", "NOK", "DKK", "ISK"]),
    "¥": frozenset(["JPY", "CNY"]),
    "R": frozenset({"ZAR"}),
    "Rs": frozenset(["INR", "PKR", "LKR", "NPR", "MUR"]),
    "Fr.": frozenset({"CHF"}),
}
"""The signs that mean one of several currencies."""


class ChunkCleaner:
    """Cleans the columns of one chunk.

    Each method returns a column with a value for each row of ``chunk.fields``, and notes in ``reasons`` the rows
    whose value can't be used; the first reason of a row stays, so the order of the calls is the order of the
    reasons. A column that the chunk lacks is null.

    Args:
        columns: our name → the source's.
        constants: our name → a text that stands in every row.
        rules: our name → how its values are made of the source's.
        null_words: the texts that stand for no value; none by default.
        numbers_so_far: what those of the file's earlier chunks have shown; filled in here.
        one_currency: the numbers of a column may not bear different currency signs.

    Attributes:
        null_counts: (our column, word) → in how many rows the word was taken as null.
    """

    def __init__(
        self,
        chunk: RecordChunk,
        columns: Mapping[str, str],
        constants: Mapping[str, str] | None = None,
        *,
        rules: Mapping[str, ColumnRule] | None = None,
        null_words: NullWords | None = None,
        numbers_so_far: NumbersSoFar | None = None,
        one_currency: bool = False,
    ) -> None:
        self._chunk = chunk
        self._constants = constants or {}
        self._columns = {ours: theirs for ours, theirs in columns.items() if theirs in chunk.fields.columns}
        self._rules = rules or {}
        self._null_words = null_words
        self._numbers_so_far = numbers_so_far or NumbersSoFar()
        self._one_currency = one_currency
        self._negative_rows: dict[str, pl.Series] = {}
        self.null_counts: Counter[tuple[str, str]] = Counter()
        self.date_only: dict[str, pl.Series] = {}
        """Column of times → which of its values are dates without a time, once it has been read."""
        self.reasons = pl.repeat(None, chunk.fields.height, dtype=pl.String, eager=True).alias("reason")

    def text(self, name: str, *, required: bool = False, lines: bool = False) -> pl.Series:
        """Trimmed text, empty meaning null; whole numbers become their digits, and binary ids hexadecimal digits.

        Args:
            lines: line breaks and tabs are part of the text.
        """
        if self._is_absent(name) and not required:
            return self._nulls(name, pl.String())
        raw = self._as_text(name)
        identity = is_identity(name)
        if raw.str.contains(_CLEAN).all():
            value = _or_null(raw)
        else:
            self.reject(raw.str.contains(_CONTROL_IN_TEXT if lines else _CONTROL), f"{name} has control characters")
            value = _trimmed(raw)
            if identity:
                damaged = value.str.contains(_DAMAGED)
                lost = "a number in scientific notation lost its digits"
                self.reject(damaged, f"{name} was damaged by a spreadsheet: {lost}")
        value = self._without_words(name, value, "identity" if identity else "text", required=required)
        if required:
            self.reject(value.is_null(), f"{name} is missing")
        self.reject(
            value.str.len_chars() > MAX_TEXT_CHARACTERS, f"{name} is longer than {MAX_TEXT_CHARACTERS} characters"
        )
        return value

    def one_of(self, name: str, choices: Collection[str]) -> pl.Series:
        """One of ``choices``, in any case."""
        value = self.text(name, required=True).str.to_lowercase()
        self.reject(~value.is_in(list(choices)), f"{name} is none of {', '.join(choices)}")
        return value

    def number(
        self,
        name: str,
        *,
        required: bool = False,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> pl.Series:
        """A finite number between the bounds, both inclusive; text is read as the column's rule says, by default with
        a decimal point, or in scientific notation."""
        number = self._quantity(name, required=required)
        self._reject_beyond(name, number, minimum, maximum)
        return number.set((number == 0).fill_null(value=False), 0.0)  # minus zero is zero

    def refunds(self, name: str) -> pl.Series:
        """The rows whose number is negative, and so stands for a refund of that amount."""
        rule = self._rules.get(name)
        if rule is None or rule.negative != "refund":
            return pl.repeat(False, self._chunk.fields.height, dtype=pl.Boolean, eager=True)
        return self._negative_rows[name]

    def _quantity(self, name: str, *, required: bool) -> pl.Series:
        """A finite number, before its bounds."""
        rule = self._rules.get(name)
        raw = self._numeric(name, "not a number", required=required)
        if required:
            self.reject(raw.is_null(), f"{name} is missing")
        number = self._parsed(name, raw, rule.number_format if rule else PLAIN)
        self.reject(raw.is_not_null() & number.is_null(), f"{name} is not a number")
        self.reject(~number.is_finite(), f"{name} is not finite")
        return self._adjusted(name, number, rule) if rule else number

    def _adjusted(self, name: str, number: pl.Series, rule: ColumnRule) -> pl.Series:
        """The number in the unit and with the sign that the rule says."""
        if rule.divide_by is not None:
            # NumPy divides; Polars may multiply by the inverse, which differs in the last bit.
            nulls = number.is_null()
            number = pl.Series(name, np.divide(number.to_numpy(), rule.divide_by)).set(nulls, None)
        negative = (number < 0).fill_null(value=False)
        self._negative_rows[name] = negative
        if rule.negative == "reject":
            self.reject(negative, f"{name} is negative")
        elif rule.negative is not None:
            number = number.abs()
        return number

    def _parsed(self, name: str, raw: pl.Series, number_format: NumberFormat) -> pl.Series:
        """The numbers of a column, null where there is none."""
        if not isinstance(raw.dtype, pl.String):
            return raw.cast(pl.Float64, strict=False)
        if number_format.decimal == ".":
            number = raw.cast(pl.Float64, strict=False)
            unread = number.is_null() & raw.is_not_null()
        else:
            number = pl.repeat(None, raw.len(), dtype=pl.Float64, eager=True).alias(name)
            unread = raw.is_not_null()
        positions = unread.arg_true()
        if not number_format.declared:
            self._reject_uncertain(name, raw, any_unread=positions.len() > 0)
        if not positions.len():
            return number
        text = raw.gather(positions)
        found, marks = number_format.parse(text)
        if not number_format.declared:
            commas = positions.filter(has_decimal_comma(text) & found.is_null())
            rows = pl.repeat(False, raw.len(), dtype=pl.Boolean, eager=True).scatter(commas, True)
            self.reject(rows, f"{name} is not a number: a comma; declare it as decimal or thousands in the mapping")
        self._check_marks(name, positions, marks.set(found.is_null(), None))
        return number.scatter(positions, found)

    def _reject_uncertain(self, name: str, raw: pl.Series, *, any_unread: bool) -> None:
        """Refuse points that may stand between thousands, in a file that has decimal commas."""
        uncertain = self._numbers_so_far.uncertain(name, raw, may_have_commas=any_unread)
        if uncertain is not None:
            self.reject(
                uncertain,
                f"{name} is ambiguous: other rows have a decimal comma, so that the point may stand between thousands; "
                "declare decimal, and thousands, in the mapping",
            )

    def _check_marks(self, name: str, positions: pl.Series, marks: pl.Series) -> None:
        """Reject numbers whose currency sign is another than that of the rows before: they can't be added up."""
        if not self._one_currency or marks.null_count() == marks.len():
            return
        codes = marks.replace_strict(_CURRENCY_CODES, default=marks)
        expected = self._numbers_so_far.currencies.setdefault(name, codes.drop_nulls()[0])
        for code in codes.drop_nulls().unique().sort():
            if code == expected or code in _SHARED_SIGNS.get(expected, ()) or expected in _SHARED_SIGNS.get(code, ()):
                continue
            rows = pl.repeat(False, self._chunk.fields.height, dtype=pl.Boolean, eager=True)
            at = positions.filter((codes == code).fill_null(value=False))
            self.reject(rows.scatter(at, True), f"{name} is in another currency than the file's {expected}: {code}")

    def integer(
        self,
        name: str,
        *,
        required: bool = False,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> pl.Series:
        """A whole number of 64 bits between the bounds, both inclusive."""
        rule = self._rules.get(name)
        if rule and rule.numeric_keys:
            raw = self._quantity(name, required=required)
        else:
            raw = self._numeric(name, "not a whole number", required=required)
        if raw.dtype.is_float():
            raw = raw.fill_nan(None)  # what Pandas makes of whole numbers as soon as one of them is missing
        if required:
            self.reject(raw.is_null(), f"{name} is missing")
        if raw.dtype.is_float() or raw.dtype.is_decimal():
            number = raw.cast(pl.Float64)
            inexact = (number != number.floor()) | (number.abs() >= EXACT_INTEGERS)
            self.reject(inexact, f"{name} is not a whole number")
            whole = number.set(inexact.fill_null(value=False), None).cast(pl.Int64)
        else:
            # "3.0" is how some tools write a whole number.
            text = raw.str.replace(r"^([+-]?\d+)\.0*$", "$1") if isinstance(raw.dtype, pl.String) else raw
            whole = text.cast(pl.Int64, strict=False)
            self.reject(raw.is_not_null() & whole.is_null(), f"{name} is not a whole number")
        self._reject_beyond(name, whole, minimum, maximum)
        return whole.alias(name)

    def as_written(self, name: str) -> pl.Series:
        """The column as trimmed text, whatever it holds; empty means null, and so does what no text can be made of."""
        raw = self._raw(name)
        return _trimmed(raw.cast(pl.String, strict=False))

    def moment(
        self, name: str, rule: TimestampRule, *, required: bool = False, zones: pl.Series | None = None
    ) -> pl.Series:
        """An instant in UTC, of any time; ``zones`` as for `timestamp`."""
        raw = self._timestamps(name, ())
        if required:
            self.reject(raw.is_null(), f"{name} is missing")
        return self._in_utc(name, raw, rule, zones)

    def _reject_beyond(self, name: str, value: pl.Series, minimum: float | None, maximum: float | None) -> None:
        if minimum is not None:
            self.reject(value < minimum, f"{name} is negative" if minimum == 0 else f"{name} is below {minimum:g}")
        if maximum is not None:
            self.reject(value > maximum, f"{name} is above {maximum:g}")

    def timestamp(
        self,
        name: str,
        rule: TimestampRule,
        *,
        latest: datetime,
        max_age_years: int = MAX_AGE_YEARS,
        zones: pl.Series | None = None,
    ) -> pl.Series:
        """An instant of the years up to and including ``latest``, in UTC.

        Every day since the first transaction is a partition for good: one wrong year would make thousands of them.

        Args:
            max_age_years: how far before ``latest`` it may lie.
            zones: the zone of each row's time, as text; where it is null, that of the rule.
        """
        raw = self._timestamps(name, rule.columns or ())
        self.reject(raw.is_null(), f"{name} is missing")
        value = self._in_utc(name, raw, rule, zones)
        self.reject(value > latest, f"{name} {IN_THE_FUTURE}")
        earliest = pl.Series([latest]).dt.offset_by(f"-{max_age_years}y").item()
        self.reject(value < earliest, f"{name} is more than {max_age_years} years old")
        return value.alias(name)

    def _timestamps(self, name: str, columns: Collection[str]) -> pl.Series:
        if columns:
            return self._joined(name, columns, " ", "time")
        raw = self._raw(name)
        if isinstance(raw.dtype, pl.String):
            self._reject_types(name, "not a time")
            return self._without_words(name, _trimmed(raw), "time")
        if not (raw.dtype.is_numeric() or isinstance(raw.dtype, pl.Null | pl.Date | pl.Datetime)):
            return self._misfit(name, raw, "not a time")
        return raw

    def _in_utc(self, name: str, raw: pl.Series, rule: TimestampRule, zones: pl.Series | None = None) -> pl.Series:
        self.date_only[name] = rule.date_only(raw)
        if zones is None:
            value, clock_change = rule.to_utc(raw)
        else:
            value, clock_change, unknown = rule.to_utc_by_zone(raw, zones)
            for zone in unknown.drop_nulls().unique().sort():
                self.reject(unknown == zone, f"{name} is in an unknown zone: {zone}")
        self.reject(clock_change, f"{name} never was or occurred twice in {rule.zone} (clock change)")
        as_number = raw.dtype.is_numeric()
        counted = as_number and rule.origin is None
        hint = ": a number, which needs timestamp.format epoch_seconds (or another), or an origin" if counted else ""
        self.reject(raw.is_not_null() & value.is_null(), f"{name} is unreadable as {rule.name}{hint}")
        return value.alias(name)

    def flag(
        self,
        name: str,
        *,
        true: Collection[str],
        false: Collection[str],
        neither: Collection[str] = (),
        required: bool = False,
    ) -> pl.Series:
        """A boolean from the texts that mean it, in any case; null where there is none, and for ``neither``."""
        if self._is_absent(name) and not required:
            return self._nulls(name, pl.Boolean())
        raw = self._raw(name)
        text = raw.cast(pl.String) if isinstance(raw.dtype, pl.Boolean) else self._as_text(name, apart_from="boolean")
        text = self._without_words(name, _trimmed(text), "flag").str.to_lowercase()
        if neither:
            text = text.set(text.is_in(list(neither)), None)
        value = pl.select(
            pl.when(text.is_in(list(true))).then(True).when(text.is_in(list(false))).then(False).alias(name)
        ).to_series()
        if required:
            self.reject(text.is_null(), f"{name} is missing")
        self.reject(text.is_not_null() & value.is_null(), f"{name} is none of {', '.join([*true, *false])}")
        return value

    def reject(self, rows: pl.Series, reason: str) -> None:
        """Note ``reason`` for the rows that have none yet; a null in ``rows`` is no reason."""
        if rows.any():
            first = rows.fill_null(False) & self.reasons.is_null()
            self.reasons = self.reasons.set(first, reason)

    def _is_absent(self, name: str) -> bool:
        """Whether the source has nothing that the column could be made of."""
        return name not in self._columns and name not in self._constants and name not in self._rules

    def _nulls(self, name: str, dtype: pl.DataType) -> pl.Series:
        return pl.repeat(None, self._chunk.fields.height, dtype=dtype, eager=True).alias(name)

    def _raw(self, name: str) -> pl.Series:
        if name in self._constants:
            return pl.repeat(self._constants[name], self._chunk.fields.height, dtype=pl.String, eager=True).alias(name)
        rule = self._rules.get(name)
        if rule is not None and rule.column is None:
            return self._computed(name, rule).alias(name)
        if name not in self._columns:
            return self._nulls(name, pl.Null())
        return self._chunk.fields[self._columns[name]].alias(name)

    def _computed(self, name: str, rule: ColumnRule) -> pl.Series:
        """The values that a rule makes of several columns, or of the whole row."""
        if rule.row:
            return row_ids(self._chunk)
        kind: Kind = "identity" if is_identity(name) else "text"
        if rule.join:
            return self._joined(name, rule.join, "-", kind)
        if rule.first_of:
            parts = [self._part(name, theirs, kind) for theirs in rule.first_of]
            return pl.select(pl.coalesce(parts)).to_series()
        assert rule.expression is not None
        found = rule.expression.run(self._chunk.fields)
        for problem in found.problems.drop_nulls().unique().sort():
            self.reject(found.problems == problem, f"{name} can't be computed: {problem}")
        return found.values

    def _joined(self, name: str, columns: Collection[str], between: str, kind: Kind) -> pl.Series:
        """The texts of the source's ``columns``, joined; null where one of them is."""
        parts = [self._part(name, theirs, kind) for theirs in columns]
        return pl.select(pl.concat_str(parts, separator=between)).to_series()

    def _part(self, name: str, theirs: str, kind: Kind) -> pl.Series:
        """A column of the source as trimmed text; what no text can be made of is a reason to reject the row."""
        if theirs not in self._chunk.fields.columns:
            return pl.repeat(None, self._chunk.fields.height, dtype=pl.String, eager=True)
        column = self._chunk.fields[theirs]
        text, is_single = as_text(column)
        if kind == "time" and isinstance(column.dtype, pl.Datetime):
            # A day that is stored as a time; its time stands in another column.
            text = text.str.replace(r"[ T]00:00:00(?:\.0+)?$", "")
        if not is_single:
            self.reject(column.is_not_null(), f"{name} is not text: {theirs} is {_type_name(column.dtype)}")
        self._reject_types(name, "not text", apart_from="boolean", theirs=theirs)
        return self._without_words(name, _trimmed(text), kind)

    def _without_words(self, name: str, text: pl.Series, kind: Kind, *, required: bool = False) -> pl.Series:
        """``text`` with null for the words that stand for no value; each is counted."""
        if self._null_words is None or name in self._constants:
            return text
        hits = self._null_words.find(name, text, kind, required=required)
        if hits is None:
            return text
        for word, rows in text.filter(hits).value_counts().iter_rows():
            self.null_counts[name, word] += rows
        return text.set(hits, None)

    def _numeric(self, name: str, problem: str, *, required: bool) -> pl.Series:
        """Numbers, or text trimmed; anything else is rejected for ``problem``."""
        raw = self._raw(name)
        if isinstance(raw.dtype, pl.String):
            self._reject_types(name, problem)
            return self._without_words(name, _trimmed(raw), "number", required=required)
        if raw.dtype.is_numeric() or isinstance(raw.dtype, pl.Null):
            numbers = self._null_words.numbers(name) if self._null_words else []
            return raw.set(raw.cast(pl.Float64).is_in(numbers), None) if numbers else raw
        return self._misfit(name, raw, problem)

    def _as_text(self, name: str, *, apart_from: str = "") -> pl.Series:
        raw = self._raw(name)
        dtype = raw.dtype
        if isinstance(dtype, pl.String):
            self._reject_types(name, "not text", apart_from=apart_from)
            return raw
        if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null) or dtype.is_integer():
            return raw.cast(pl.String)
        if dtype.is_float():
            # What Pandas makes of whole numbers as soon as one of them is missing.
            raw = raw.cast(pl.Float64).fill_nan(None)
            self.reject(
                raw.abs() >= EXACT_INTEGERS,
                f"{name} has lost digits: a whole number of more than 53 bits that is stored as floating point",
            )
            whole = (raw == raw.floor()) & (raw.abs() < EXACT_INTEGERS)
            self.reject(~whole, f"{name} is not text: number with decimals")
            return raw.set(~whole, None).cast(pl.Int64).cast(pl.String)
        if dtype.is_decimal():
            text = raw.cast(pl.String).str.replace(r"\.0+$", "")
            self.reject(text.str.contains(".", literal=True), f"{name} is not text: number with decimals")
            return text
        if isinstance(dtype, pl.Binary) and is_identity(name):
            return raw.bin.encode("hex")
        return self._misfit(name, raw, "not text").cast(pl.String)

    def _misfit(self, name: str, raw: pl.Series, what: str) -> pl.Series:
        """No value of this type can be used."""
        self.reject(raw.is_not_null(), f"{name} is {what}: {_type_name(raw.dtype)}")
        return pl.repeat(None, raw.len(), dtype=pl.Null, eager=True).alias(name)

    def _reject_types(self, name: str, what: str, *, apart_from: str = "", theirs: str | None = None) -> None:
        theirs = theirs or self._columns.get(name)
        if theirs not in self._chunk.wrong_types.columns:
            return
        kinds = self._chunk.wrong_types[theirs]
        for kind in kinds.drop_nulls().unique().sort():
            if kind != apart_from:
                self.reject(kinds == kind, f"{name} is {what}: {kind}")


def _type_name(dtype: pl.DataType) -> str:
    return str(dtype.base_type()).lower()


def _trimmed(text: pl.Series) -> pl.Series:
    return _or_null(text.str.strip_chars())


def _or_null(text: pl.Series) -> pl.Series:
    return text.set(text.str.len_bytes() == 0, None)
