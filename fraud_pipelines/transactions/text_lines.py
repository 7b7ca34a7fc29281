"""Text files as physical lines: the end of a line always ends the row, so a broken row can't swallow its neighbours."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from fraud_pipelines.transactions.records import CHUNK_ROWS, unreadable_rows

MAX_LINE_BYTES: Final = 1 << 20
"""A longer line is no transaction; it is cut off there, so that a file without line ends can't fill the memory."""

_PAYLOAD_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class LineChunk:
    """Consecutive lines: the ``text`` of those that can be parsed further, their ``row_number``, and the others."""

    text: pl.Series
    row_number: pl.Series
    unreadable: pl.DataFrame


def read_lines(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut ``blocks`` at the line feeds, at most ``CHUNK_ROWS`` lines at once, without their ends.

    A line of more than ``MAX_LINE_BYTES`` comes out cut, but still longer than that.
    """
    lines: list[bytes] = []
    rest = b""
    returns = False
    for block in blocks:
        returns = returns or b"\r" in block
        parts = (rest + block).split(b"\n")
        rest = parts.pop()[: MAX_LINE_BYTES + 1]
        lines.extend(parts)
        while len(lines) >= CHUNK_ROWS:
            yield _without_returns(lines[:CHUNK_ROWS]) if returns else lines[:CHUNK_ROWS]
            del lines[:CHUNK_ROWS]
    if rest:
        lines.append(rest)
    if lines:
        yield _without_returns(lines) if returns else lines


def decode_lines(lines: list[bytes], *, first_number: int, numbers: pl.Series | None = None) -> LineChunk:
    """Sort out what is no text: empty and overlong lines, NUL bytes, and what isn't UTF-8.

    Args:
        numbers: of the lines, where they don't follow each other.
    """
    if numbers is None:
        numbers = pl.int_range(first_number, first_number + len(lines), dtype=pl.Int64, eager=True).alias("row_number")
    text = _all_sound(lines) if lines else None
    if text is not None:
        return LineChunk(text=text, row_number=numbers, unreadable=unreadable_rows([], [], []))
    faults = {index: reason for index, line in enumerate(lines) if (reason := _fault(line))}
    order = sorted(faults)
    return LineChunk(
        text=pl.Series(
            "line", [line.decode() for index, line in enumerate(lines) if index not in faults], dtype=pl.String
        ),
        row_number=numbers.filter(pl.Series([index not in faults for index in range(len(lines))], dtype=pl.Boolean)),
        unreadable=unreadable_rows(
            numbers.gather(order).to_list(),
            [faults[index] for index in order],
            [printable(lines[index]) for index in order],
        ),
    )


def printable(line: bytes | str) -> str:
    """The raw line for the quarantine: control characters and broken bytes escaped, cut at 64 KiB."""
    raw = line.encode() if isinstance(line, str) else line
    text = raw[:_PAYLOAD_BYTES].decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _without_returns(lines: list[bytes]) -> list[bytes]:
    return [line[:-1] if line.endswith(b"\r") else line for line in lines]


def _all_sound(lines: list[bytes]) -> pl.Series | None:
    """The lines as text, if there is nothing wrong with any of them: the common case, at full speed."""
    try:
        text = pl.Series("line", b"\n".join(lines).decode().split("\n"), dtype=pl.String)
    except UnicodeDecodeError:
        return None
    faulty = (
        (text.str.strip_chars().str.len_bytes() == 0)
        | text.str.contains("\x00", literal=True)
        | (text.str.len_bytes() > MAX_LINE_BYTES)
    )
    return None if faulty.any() else text


def _fault(line: bytes) -> str:
    if len(line) > MAX_LINE_BYTES:
        return "line longer than 1 MiB"
    if b"\x00" in line:
        return "NUL byte in the line"
    try:
        return "" if line.decode().strip() else "empty line"
    except UnicodeDecodeError:
        return "not UTF-8 text"
