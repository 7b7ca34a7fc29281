"""Cleaning: columns of a source become columns of ours, and each row that can't gets its reason."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

import polars as pl

from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.timestamps import TimestampRule

MAX_TEXT_CHARACTERS: Final = 256
MAX_AGE_YEARS: Final = 20
IN_THE_FUTURE: Final = "is in the future"

_CONTROL: Final = r"[\x00-\x1f\x7f-\x{9f}]"
_EXACT_INTEGERS: Final = 2.0**53


class ChunkCleaner:
    """Cleans the columns of one chunk, where ``columns`` is our name → the source's.

    ``constants`` are texts that stand in every row.

    Each method returns a column with a value for each row of ``chunk.fields``, and notes in ``reasons`` the rows
    whose value can't be used; the first reason of a row stays, so the order of the calls is the order of the
    reasons. A column that the chunk lacks is null.
    """

    def __init__(
        self, chunk: RecordChunk, columns: Mapping[str, str], constants: Mapping[str, str] | None = None
    ) -> None:
        self._chunk = chunk
        self._constants = constants or {}
        self._columns = {ours: theirs for ours, theirs in columns.items() if theirs in chunk.fields.columns}
        self.reasons = pl.repeat(None, chunk.fields.height, dtype=pl.String, eager=True).alias("reason")

    def text(self, name: str, *, required: bool = False) -> pl.Series:
        """Trimmed text, empty meaning null; whole numbers become their digits."""
        raw = self._as_text(name)
        self.reject(raw.str.contains(_CONTROL), f"{name} has control characters")
        value = _trimmed(raw)
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
        """A finite number between the bounds, both inclusive; text is read with a decimal point, or in scientific
        notation."""
        raw = self._numeric(name, "not a number")
        if required:
            self.reject(raw.is_null(), f"{name} is missing")
        number = raw.cast(pl.Float64, strict=False)
        self.reject(raw.is_not_null() & number.is_null(), f"{name} is not a number")
        self.reject(~number.is_finite(), f"{name} is not finite")
        self._reject_beyond(name, number, minimum, maximum)
        return number.set((number == 0).fill_null(value=False), 0.0)  # minus zero is zero

    def integer(
        self,
        name: str,
        *,
        required: bool = False,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> pl.Series:
        """A whole number of 64 bits between the bounds, both inclusive."""
        raw = self._numeric(name, "not a whole number")
        if raw.dtype.is_float():
            raw = raw.fill_nan(None)  # what Pandas makes of whole numbers as soon as one of them is missing
        if required:
            self.reject(raw.is_null(), f"{name} is missing")
        if raw.dtype.is_float() or raw.dtype.is_decimal():
            number = raw.cast(pl.Float64)
            inexact = (number != number.floor()) | (number.abs() >= _EXACT_INTEGERS)
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
        raw = self._timestamps(name)
        if required:
            self.reject(raw.is_null(), f"{name} is missing")
        return self._in_utc(name, raw, rule, zones)

    def _reject_beyond(self, name: str, value: pl.Series, minimum: float | None, maximum: float | None) -> None:
        if minimum is not None:
            self.reject(value < minimum, f"{name} is negative" if minimum == 0 else f"{name} is below {minimum:g}")
        if maximum is not None:
            self.reject(value > maximum, f"{name} is above {maximum:g}")

    def timestamp(
        self, name: str, rule: TimestampRule, *, latest: datetime, zones: pl.Series | None = None
    ) -> pl.Series:
        """An instant of the twenty years up to and including ``latest``, in UTC.

        Every day since the first transaction is a partition for good: one wrong year would make thousands of them.

        Args:
            zones: the zone of each row's time, as text; where it is null, that of the rule.
        """
        raw = self._timestamps(name)
        self.reject(raw.is_null(), f"{name} is missing")
        value = self._in_utc(name, raw, rule, zones)
        self.reject(value > latest, f"{name} {IN_THE_FUTURE}")
        earliest = pl.Series([latest]).dt.offset_by(f"-{MAX_AGE_YEARS}y").item()
        self.reject(value < earliest, f"{name} is more than {MAX_AGE_YEARS} years old")
        return value.alias(name)

    def _timestamps(self, name: str) -> pl.Series:
        raw = self._raw(name)
        if isinstance(raw.dtype, pl.String):
            self._reject_types(name, "not a time")
            return _trimmed(raw)
        if not (raw.dtype.is_numeric() or isinstance(raw.dtype, pl.Null | pl.Date | pl.Datetime)):
            return self._misfit(name, raw, "not a time")
        return raw

    def _in_utc(self, name: str, raw: pl.Series, rule: TimestampRule, zones: pl.Series | None = None) -> pl.Series:
        if zones is None:
            value, clock_change = rule.to_utc(raw)
        else:
            value, clock_change, unknown = rule.to_utc_by_zone(raw, zones)
            for zone in unknown.drop_nulls().unique().sort():
                self.reject(unknown == zone, f"{name} is in an unknown zone: {zone}")
        self.reject(clock_change, f"{name} never was or occurred twice in {rule.zone} (clock change)")
        as_number = raw.dtype.is_numeric()
        hint = ": a number, which needs timestamp.format epoch_seconds or epoch_milliseconds" if as_number else ""
        self.reject(raw.is_not_null() & value.is_null(), f"{name} is unreadable as {rule.format}{hint}")
        return value.alias(name)

    def flag(self, name: str, *, true: Collection[str], false: Collection[str], required: bool = False) -> pl.Series:
        """A boolean from the texts that mean it, in any case; null where there is none."""
        raw = self._raw(name)
        text = raw.cast(pl.String) if isinstance(raw.dtype, pl.Boolean) else self._as_text(name, apart_from="boolean")
        text = _trimmed(text).str.to_lowercase()
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

    def _raw(self, name: str) -> pl.Series:
        if name in self._constants:
            return pl.repeat(self._constants[name], self._chunk.fields.height, dtype=pl.String, eager=True).alias(name)
        if name not in self._columns:
            return pl.repeat(None, self._chunk.fields.height, dtype=pl.Null, eager=True).alias(name)
        return self._chunk.fields[self._columns[name]].alias(name)

    def _numeric(self, name: str, problem: str) -> pl.Series:
        """Numbers, or text trimmed; anything else is rejected for ``problem``."""
        raw = self._raw(name)
        if isinstance(raw.dtype, pl.String):
            self._reject_types(name, problem)
            return _trimmed(raw)
        if raw.dtype.is_numeric() or isinstance(raw.dtype, pl.Null):
            return raw
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
            whole = (raw == raw.floor()) & (raw.abs() < _EXACT_INTEGERS)
            self.reject(~whole, f"{name} is not text: number with decimals")
            return raw.set(~whole, None).cast(pl.Int64).cast(pl.String)
        if dtype.is_decimal():
            text = raw.cast(pl.String).str.replace(r"\.0+$", "")
            self.reject(text.str.contains(".", literal=True), f"{name} is not text: number with decimals")
            return text
        return self._misfit(name, raw, "not text").cast(pl.String)

    def _misfit(self, name: str, raw: pl.Series, what: str) -> pl.Series:
        """No value of this type can be used."""
        self.reject(raw.is_not_null(), f"{name} is {what}: {str(raw.dtype.base_type()).lower()}")
        return pl.repeat(None, raw.len(), dtype=pl.Null, eager=True).alias(name)

    def _reject_types(self, name: str, what: str, *, apart_from: str = "") -> None:
        theirs = self._columns.get(name)
        if theirs not in self._chunk.wrong_types.columns:
            return
        kinds = self._chunk.wrong_types[theirs]
        for kind in kinds.drop_nulls().unique().sort():
            if kind != apart_from:
                self.reject(kinds == kind, f"{name} is {what}: {kind}")


def _trimmed(text: pl.Series) -> pl.Series:
    stripped = text.str.strip_chars()
    return stripped.set(stripped.str.len_bytes() == 0, None)
