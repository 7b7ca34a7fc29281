"""Windows as they are written: a number of rows, or a span of time such as 24h."""

import re
from datetime import timedelta
from typing import Final

SPAN_PATTERN: Final = r"^[1-9][0-9]{0,5}[smhd]$"
MAX_ROWS: Final = 1_000
MAX_SPAN: Final = timedelta(days=366)
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def rows_or_span(written: object) -> int | timedelta:
    """The window that ``written`` stands for.

    Raises:
        ValueError: it is neither, or out of bounds; the message says what to write.
    """
    if isinstance(written, int) and not isinstance(written, bool):
        if not 1 <= written <= MAX_ROWS:
            raise ValueError(f"{written} is no number of rows; they are at least 1 and at most {MAX_ROWS:,}")
        return written
    if not isinstance(written, str):
        raise ValueError(f"{written!r} is no window; write a number of rows, such as 5, or a span, such as 24h")
    text = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", written.strip(), re.ASCII)
    if text and text[2] and text[2] not in _UNITS:
        raise ValueError(f"{text[2]!r} in {written!r} is no unit of time; write s, m, h or d, such as 24h")
    if text and text[2] and not int(text[1]):
        raise ValueError(f"{written!r} is a span of zero; it would hold nothing")
    if text and text[2] and len(text[1].lstrip("0")) > 6:
        raise ValueError(f"{written!r} is longer than {MAX_SPAN.days} days")
    if not re.fullmatch(SPAN_PATTERN, written):
        raise ValueError(f"{written!r} is no span; write whole seconds, minutes, hours or days, such as 24h")
    span = int(written[:-1]) * _UNITS[written[-1]]
    if span > MAX_SPAN:
        raise ValueError(f"{written!r} is longer than {MAX_SPAN.days} days")
    return span


def written_span(span: timedelta) -> str:
    """A span in its largest whole unit: ``24 h`` for a day, ``7 d`` for a week."""
    for unit in ("d", "h", "m"):
        length = _UNITS[unit]
        if not span % length and (unit != "d" or span > length):
            return f"{span // length} {unit}"
    return f"{int(span.total_seconds())} s"


def microseconds(span: timedelta) -> int:
    """Whole microseconds, the unit of every timestamp in the fold."""
    return span // timedelta(microseconds=1)
