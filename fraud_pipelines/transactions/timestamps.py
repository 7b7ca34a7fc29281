"""Timestamps: from what a source writes to naive UTC microseconds."""

from datetime import datetime
from typing import Final, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, field_validator

from fraud_pipelines.transactions.records import CALENDAR_MICROSECONDS, calendar_bounds
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.zones import offset_of, zone_of

ISO_8601: Final = "iso8601"
EPOCH_UNITS: Final = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000}

_ISO_PATTERN: Final = (
    r"^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2}(?:[.,]\d{1,9})?)?)?"
    r" ?(Z|z|[+-](?:0\d|1[0-8])(?::?[0-5]\d)?)?$"
)
_SAMPLE: Final = datetime(2026, 2, 3, 4, 5, 6)


class TimestampRule(BaseModel):
    """How a source writes its timestamps.

    Attributes:
        format: ``iso8601`` (default), ``epoch_seconds``, ``epoch_milliseconds``, or a strptime pattern.
        zone: the zone that times without an offset are in: an IANA name, an offset, or an abbreviation (`zone_of`).
        ambiguous: what a local time means that occurs twice when summer time ends: ``reject`` (default) turns
            the row away, ``earliest`` and ``latest`` choose. A local time that never was is always turned away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = ISO_8601
    zone: str = "UTC"
    ambiguous: Literal["reject", "earliest", "latest"] = "reject"

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        known = zone_of(zone)
        if known is None:
            raise ValueError(f"{zone!r} is no time zone such as 'Europe/Paris' or '+02:00'")
        return known

    @field_validator("format")
    @classmethod
    def _tells_the_day(cls, pattern: str) -> str:
        if pattern == ISO_8601 or pattern in EPOCH_UNITS:
            return pattern
        known = f"{ISO_8601}, {', '.join(EPOCH_UNITS)}, or a strptime pattern such as '%d/%m/%Y %H:%M:%S'"
        try:
            text = pl.Series([_SAMPLE]).dt.replace_time_zone("UTC").dt.strftime(pattern)
            parsed = text.str.to_datetime(pattern, strict=False, time_unit="us")
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"{pattern!r} is no format: {known}") from error
        if parsed[0] is None or parsed[0].date() != _SAMPLE.date():
            raise ValueError(f"{pattern!r} doesn't tell year, month and day: {known}")
        return pattern

    def to_utc(self, column: pl.Series) -> tuple[pl.Series, pl.Series]:
        """The column as UTC, null where it can't be; and where only a change of the zone's clock is to blame.

        Text must have been stripped. Numbers are read with an epoch format only.
        """
        dtype = column.dtype
        if isinstance(dtype, pl.Datetime | pl.Date):
            column = column.set(~column.to_physical().is_between(*calendar_bounds(dtype)), None)
            zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
            instant = column.cast(pl.Datetime("us", zone))
            return self._from_local(instant) if zone is None else _from_zoned(instant)
        if self.format in EPOCH_UNITS:
            return _from_epoch(column, EPOCH_UNITS[self.format])
        if not isinstance(dtype, pl.String):
            return _sure(pl.repeat(None, column.len(), dtype=TIMESTAMP, eager=True))
        return self._from_iso(column) if self.format == ISO_8601 else self._from_pattern(column)

    def to_utc_by_zone(self, column: pl.Series, zones: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series]:
        """`to_utc` where each row says the zone that its own time is in; where it says none, it is this rule's.

        Args:
            zones: text as `zone_of` reads it, of the same length.

        Returns:
            What `to_utc` returns, and the zones that can't be told, null in all other rows.
        """
        utc, clock_change = self.to_utc(column)
        unknown = pl.repeat(None, column.len(), dtype=pl.String, eager=True)
        for text in zones.drop_nulls().unique().sort():
            rows = (zones == text).fill_null(value=False)
            zone = zone_of(text)
            if zone is None:
                unknown = unknown.zip_with(~rows, zones)
            elif zone != self.zone:
                instants, changed = self.model_copy(update={"zone": zone}).to_utc(column.filter(rows))
                utc = utc.scatter(rows.arg_true(), instants)
                clock_change = clock_change.scatter(rows.arg_true(), changed)
        return utc, clock_change, unknown

    def _from_pattern(self, text: pl.Series) -> tuple[pl.Series, pl.Series]:
        parsed = text.str.to_datetime(self.format, strict=False, time_unit="us")
        zoned = isinstance(parsed.dtype, pl.Datetime) and parsed.dtype.time_zone is not None
        return _from_zoned(parsed) if zoned else self._from_local(parsed)

    def _from_iso(self, text: pl.Series) -> tuple[pl.Series, pl.Series]:
        parts = text.str.extract_groups(_ISO_PATTERN).struct.unnest()
        day, clock, seconds, offset = (parts[name] for name in parts.columns)
        seconds = seconds.fill_null(":00").str.replace(",", ".", literal=True)
        local = (day + "T" + clock.fill_null("00:00") + seconds).str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us"
        )
        if offset.null_count() == offset.len():
            return self._from_local(local)
        naive, clock_change = self._from_local(local.set(offset.is_not_null(), None))
        digits = offset.str.replace_all("[^0-9]", "").str.pad_end(4, "0").cast(pl.Int64)
        minutes = (digits // 100 * 60 + digits % 100) * pl.Series([1, -1]).gather(
            offset.str.starts_with("-").cast(pl.UInt32)
        )
        shifted = local - (minutes * 60_000_000).cast(pl.Duration("us"))
        return naive.zip_with(offset.is_null(), shifted), clock_change

    def _from_local(self, local: pl.Series) -> tuple[pl.Series, pl.Series]:
        sound = local.set(~local.to_physical().is_between(*CALENDAR_MICROSECONDS), None)
        if self.zone == "UTC":
            return _sure(sound)
        offset = offset_of(self.zone)
        if offset is not None:
            instants = sound - offset
            return _sure(instants.set(~instants.to_physical().is_between(*CALENDAR_MICROSECONDS), None))
        twice: Literal["null", "earliest", "latest"] = "null" if self.ambiguous == "reject" else self.ambiguous
        zoned = sound.dt.replace_time_zone(self.zone, ambiguous=twice, non_existent="null")
        utc, _ = _from_zoned(zoned)
        return utc, sound.is_not_null() & utc.is_null()


def as_utc(instant: datetime) -> datetime:
    """``instant`` as naive UTC; without a zone it is UTC already."""
    if instant.tzinfo is None:
        return instant
    offset = instant.utcoffset()
    assert offset is not None
    return (instant - offset).replace(tzinfo=None)


def _from_zoned(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    return _sure(column.dt.convert_time_zone("UTC").dt.replace_time_zone(None))


def _from_epoch(column: pl.Series, microseconds: int) -> tuple[pl.Series, pl.Series]:
    number = column.cast(pl.Float64, strict=False) * microseconds
    sound = number.is_finite() & (number.is_between(*CALENDAR_MICROSECONDS))
    return _sure(number.set(~sound, None).round().cast(pl.Int64).cast(TIMESTAMP))


def _sure(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """No clock change made any of it null."""
    return column, pl.repeat(False, column.len(), dtype=pl.Boolean, eager=True)
