"""Time zones as exports write them: IANA names, offsets, and the abbreviations that mean one zone only."""

import re
from datetime import timedelta
from functools import cache
from typing import Final
from zoneinfo import available_timezones

_HOURS: Final = {
    "GMT": 0,
    "Z": 0,
    "WEST": 1,
    "BST": 1,
    "CEST": 2,
    "EEST": 3,
    "MSK": 3,
    "EST": -5,
    "EDT": -4,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
    "JST": 9,
    "SGT": 8,
    "HKT": 8,
    "AEST": 10,
    "AEDT": 11,
    "NZST": 12,
    "NZDT": 13,
}
"""Abbreviations that say standard or summer time: an offset in hours. CET, EET and WET are names of IANA, in which
summer time is taken into account: exports write them throughout the year. CST and IST mean several zones."""

_OFFSET: Final = re.compile(r"(?:UTC|GMT)?\s*([+-])(\d{1,2})(?::?([0-5]\d))?")


@cache
def zone_of(text: str) -> str | None:
    """The zone that ``text`` names: an IANA name or an offset such as ``+05:30``; None if it names none, or several."""
    name = text.strip().upper()
    if name in _HOURS:
        return f"{_HOURS[name]:+03d}:00" if _HOURS[name] else "UTC"
    if matched := _OFFSET.fullmatch(name):
        sign, hours, minutes = matched.groups()
        return f"{sign}{int(hours):02d}:{minutes or '00'}" if int(hours) <= 18 else None
    return _iana().get(name)


def offset_of(zone: str) -> timedelta | None:
    """How far a zone that `zone_of` gave is ahead of UTC, None for one with a name."""
    if zone[0] not in "+-":
        return None
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return offset if zone[0] == "+" else -offset


@cache
def _iana() -> dict[str, str]:
    return {name.upper(): name for name in available_timezones()}
