"""Timestamps: from what a source writes to naive UTC microseconds."""

from datetime import UTC, date, datetime, time
from functools import cache
from typing import Annotated, Final, Literal, Self

import polars as pl
from pydantic import BeforeValidator, Field, field_validator, model_validator

from fraud_pipelines.transactions.later_keys import LaterKeys
from fraud_pipelines.transactions.records import CALENDAR_MICROSECONDS, calendar_bounds
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.zones import offset_of, zone_of

ISO_8601: Final = "iso8601"
EPOCH_UNITS: Final = {
    "epoch_seconds": 1_000_000_000,
    "epoch_milliseconds": 1_000_000,
    "epoch_microseconds": 1_000,
    "epoch_nanoseconds": 1,
}
"""Format → nanoseconds of its unit."""
_STEPS: Final = {"second": 10**9, "minute": 60 * 10**9, "hour": 3_600 * 10**9, "day": 86_400 * 10**9}

_ISO_PATTERN: Final = (
    r"^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2}(?:[.,]\d{1,9})?)?)?"
    r" ?(Z|z|[+-](?:0\d|1[0-8])(?::?[0-5]\d)?)?$"
)
_WHOLE_SECONDS: Final = r"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{}[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}$"
_UNPADDED_PATTERN: Final = (
    r"^(\d{4})([-/])(\d{1,2})[-/](\d{1,2})(?:[Tt ]+(\d{1,2})(:\d{2})(:\d{2}(?:[.,]\d{1,9})?)?)?"
    r" ?(Z|z|[+-](?:0\d|1[0-8])(?::?[0-5]\d)?)?$"
)
_DATE_PATTERN: Final = r"^(\d{4}[-/]\d{1,2}[-/]\d{1,2})(?: ?(?:Z|z|[+-]\d{2}(?::?\d{2})?))?$"
_LONGEST_DATE: Final = 17
_SAMPLE: Final = datetime(2026, 2, 3, 4, 5, 6)


def _as_moment(origin: object) -> object:
    """A date, a time or an ISO text, as YAML gives them, as a time."""
    if isinstance(origin, str):
        try:
            origin = datetime.fromisoformat(origin.strip())
        except ValueError as error:
            raise ValueError(f"{origin!r} is no date or time such as 2026-01-31 or '2026-01-31 08:00'") from error
    if isinstance(origin, date) and not isinstance(origin, datetime):
        return datetime(origin.year, origin.month, origin.day)
    if not isinstance(origin, datetime | None):
        raise ValueError(f"{origin!r} is no date or time such as 2026-01-31 or '2026-01-31 08:00'")
    return origin


class TimestampRule(LaterKeys):
    """How a source writes its timestamps.

    Attributes:
        format: ``iso8601`` (default), ``epoch_seconds``, ``epoch_milliseconds``, ``epoch_microseconds``,
            ``epoch_nanoseconds``, or a strptime pattern.
        zone: the zone that times without an offset are in: an IANA name, an offset, or an abbreviation (`zone_of`).
        ambiguous: what a local time means that occurs twice when summer time ends: ``reject`` (default) turns
            the row away, ``earliest`` and ``latest`` choose. A local time that never was is always turned away.
        columns: those of the source whose texts, joined by a blank, are the timestamp.
        zone_column: that of the source which says the zone of each row's time, as `zone_of` reads it.
        origin: the timestamp is a number of ``unit`` since then; a local time of ``zone`` unless it has an offset.
        unit: what is counted since ``origin``.
    """

    format: str = ISO_8601
    zone: str = "UTC"
    ambiguous: Literal["reject", "earliest", "latest"] = "reject"
    columns: tuple[str, ...] | None = Field(default=None, min_length=1)
    zone_column: str | None = Field(default=None, min_length=1)
    origin: Annotated[datetime | None, BeforeValidator(_as_moment)] = None
    unit: Literal["second", "minute", "hour", "day"] | None = None

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

    @model_validator(mode="after")
    def _counts_from_an_origin(self) -> Self:
        if (self.origin is None) != (self.unit is None):
            raise ValueError("origin and unit (second, minute, hour, day) belong together; give both")
        if self.origin is None:
            return self
        if self.format != ISO_8601:
            raise ValueError("origin counts in units, and has no format; leave format out")
        if self.columns or self.zone_column:
            raise ValueError("origin needs the one column that counts, in columns.timestamp, and no zone_column")
        if self._origin_in_utc() is None:
            raise ValueError(f"origin {self.origin} never was or occurred twice in {self.zone} (clock change)")
        return self

    @classmethod
    def dumped_always(cls) -> frozenset[str]:
        return frozenset({"format", "zone", "ambiguous"})

    @property
    def reads(self) -> dict[str, str]:
        """The key → the column of the source that it names."""
        names = {f"columns.{place}": name for place, name in enumerate(self.columns or (), start=1)}
        return names | ({"zone_column": self.zone_column} if self.zone_column else {})

    @property
    def name(self) -> str:
        """What a timestamp is read as, in words."""
        return self.format if self.origin is None else f"{self.unit}s since {self.origin}"

    def _origin_in_utc(self) -> datetime | None:
        assert self.origin is not None
        if self.origin.tzinfo is not None:
            return self.origin.astimezone(UTC).replace(tzinfo=None)
        utc, _ = self._from_local(pl.Series([self.origin], dtype=TIMESTAMP))
        found: datetime | None = utc[0]
        return found

    def date_only(self, column: pl.Series) -> pl.Series:
        """Which values are dates without a time: they are days, and no instants of a zone."""
        no = pl.repeat(False, column.len(), dtype=pl.Boolean, eager=True)
        if self.origin is not None:
            if self.unit != "day" or self.origin.tzinfo is not None or self.origin.time() != time():
                return no
            days = column.cast(pl.Float64, strict=False)
            return (days == days.floor()).fill_null(value=False)
        is_text = isinstance(column.dtype, pl.String)
        by_pattern = is_text and self.format not in (ISO_8601, *EPOCH_UNITS) and not _tells_the_hour(self.format)
        if by_pattern or isinstance(column.dtype, pl.Date):
            return column.is_not_null()
        if is_text and self.format == ISO_8601 and (column.str.len_bytes() <= _LONGEST_DATE).any():
            return column.str.contains(_DATE_PATTERN).fill_null(value=False)
        return no

    def to_utc(self, column: pl.Series) -> tuple[pl.Series, pl.Series]:
        """The column as UTC, null where it can't be; and where only a change of the zone's clock is to blame.

        A date without a time is the midnight with which that date begins in UTC, whatever the zone: it keeps the day
        that it says. Text must have been stripped. Numbers are read with an epoch format or an origin only.
        """
        utc, clock_change = self._instants(column)
        dates = self.date_only(column)
        if not dates.any():
            return utc, clock_change
        of_days = column.filter(dates)
        if isinstance(column.dtype, pl.String) and self.format == ISO_8601 and self.origin is None:
            of_days = of_days.str.extract(_DATE_PATTERN)
        days, _ = self.model_copy(update={"zone": "UTC"})._instants(of_days)
        return utc.clone().scatter(dates.arg_true(), days), clock_change & ~dates

    def _instants(self, column: pl.Series) -> tuple[pl.Series, pl.Series]:
        if self.origin is not None:
            origin = self._origin_in_utc()
            assert origin is not None
            assert self.unit is not None
            return _since(origin, column, _STEPS[self.unit])
        dtype = column.dtype
        if isinstance(dtype, pl.Datetime | pl.Date):
            column = column.set(~column.to_physical().is_between(*calendar_bounds(dtype)), None)
            zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
            instant = column.cast(pl.Datetime("us", zone))
            return self._from_local(instant) if zone is None else _from_zoned(instant)
        if self.format in EPOCH_UNITS:
            return _since(datetime(1970, 1, 1), column, EPOCH_UNITS[self.format])
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
        for between in ("T", " "):
            # Most files write all of their times like this, which needs no taking apart.
            if text.str.contains(_WHOLE_SECONDS.format(between)).all():
                local = text.str.to_datetime(f"%Y-%m-%d{between}%H:%M:%S", strict=False, time_unit="us")
                return self._from_local(local)
        parts = text.str.extract_groups(_ISO_PATTERN).struct.unnest()
        unread = parts.to_series(0).is_null() & text.is_not_null()
        if unread.any():
            padded = text.clone().scatter(unread.arg_true(), _padded(text.filter(unread)))
            parts = padded.str.extract_groups(_ISO_PATTERN).struct.unnest()
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


@cache
def _tells_the_hour(pattern: str) -> bool:
    text = pl.Series([_SAMPLE]).dt.replace_time_zone("UTC").dt.strftime(pattern)
    parsed = text.str.to_datetime(pattern, strict=False, time_unit="us")
    return parsed[0] is not None and parsed[0].hour == _SAMPLE.hour


def local_times(utc: pl.Series, zones: pl.Series) -> pl.Series:
    """The time on the clock of each row's zone; null where that is UTC, or there is none.

    Args:
        zones: as `zone_of` gave them.
    """
    found = pl.repeat(None, utc.len(), dtype=TIMESTAMP, eager=True)
    for zone in zones.drop_nulls().unique().sort():
        if zone == "UTC":
            continue
        rows = (zones == zone).fill_null(value=False)
        of_zone = utc.filter(rows)
        offset = offset_of(zone)
        if offset is None:
            of_zone = of_zone.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.replace_time_zone(None)
        else:
            of_zone = of_zone + offset
        found = found.scatter(rows.arg_true(), of_zone)
    return found


def _padded(text: pl.Series) -> pl.Series:
    """Dates and times that begin with the year, with the zeros and signs of ISO 8601; null where it is none."""
    parts = text.str.extract_groups(_UNPADDED_PATTERN).struct.unnest()
    year, _, month, day, hour, minutes, seconds, offset = (parts[name] for name in parts.columns)
    clock = ("T" + hour.str.zfill(2) + minutes + seconds.fill_null("")).fill_null("")
    return year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + clock + offset.fill_null("")


def as_utc(instant: datetime) -> datetime:
    """``instant`` as naive UTC; without a zone it is UTC already."""
    if instant.tzinfo is None:
        return instant
    offset = instant.utcoffset()
    assert offset is not None
    return (instant - offset).replace(tzinfo=None)


def _from_zoned(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    return _sure(column.dt.convert_time_zone("UTC").dt.replace_time_zone(None))


def _since(origin: datetime, column: pl.Series, nanoseconds: int) -> tuple[pl.Series, pl.Series]:
    """So many units since ``origin``, to the microsecond; whole numbers exactly."""
    if not (column.dtype.is_numeric() or isinstance(column.dtype, pl.String)):
        return _sure(pl.repeat(None, column.len(), dtype=TIMESTAMP, eager=True))
    first = pl.Series([origin], dtype=TIMESTAMP).to_physical().item()
    number = column.cast(pl.Float64, strict=False) * (nanoseconds / 1_000) + first
    sound = number.is_finite() & number.is_between(*CALENDAR_MICROSECONDS)
    instants = number.set(~sound.fill_null(value=False), None).round().cast(pl.Int64)
    if nanoseconds < 1_000_000:
        whole = column.cast(pl.Int64, strict=False)
        exact = (whole if nanoseconds == 1_000 else whole // (1_000 // nanoseconds)) + first
        instants = exact.zip_with(whole.is_not_null() & instants.is_not_null(), instants)
    return _sure(instants.cast(TIMESTAMP))


def _sure(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """No clock change made any of it null."""
    return column, pl.repeat(False, column.len(), dtype=pl.Boolean, eager=True)
