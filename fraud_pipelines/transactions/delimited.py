"""CSV and TSV: rows as RFC 4180 has them, or one physical line a row."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.file_rule import FileRule
from fraud_pipelines.transactions.records import RecordChunk, unreadable_rows
from fraud_pipelines.transactions.text_encodings import Text
from fraud_pipelines.transactions.text_lines import MAX_LINE_BYTES, LineChunk, decode_lines, printable, read_lines

DELIMITERS: Final = (",", ";", "\t", "|")
MAX_RECORD_LINES: Final = 1_000
"""A field that holds more line breaks is taken for a quote that was never closed."""

_SEPARATOR_LINE: Final = re.compile(r'^"?sep=(.)"?$', re.IGNORECASE)
_SAMPLE_LINES: Final = 20
_UNCLOSED: Final = "a quote is opened and not closed in the line"


class DelimitedFile:
    """The rows below the header of a text file. Its content is read once.

    Args:
        wanted: the columns that are needed of it.
        usual: the delimiter where neither the rule nor the file tells another.

    Attributes:
        columns: their names; one that stands several times is followed by its number (``Account``, ``Account.2``), and
            one without a name is called after its place (``column 3``).
        told: what was recognised, in sentences.

    Raises:
        InvalidInput: the header can't be read, or names a wanted column twice.
    """

    sparse = False
    absent: tuple[str, ...] = ()

    def __init__(
        self, name: str, text: Text, rule: FileRule, wanted: Collection[str] = (), *, usual: str = ","
    ) -> None:
        self._name = name
        self._rule = rule
        head = text.head.split(b"\n")
        first = rule.header_line - 1
        separator = _SEPARATOR_LINE.match(head[0].decode(errors="replace").strip("\ufeff \r")) if head else None
        if separator and rule.header_line == 1:
            first = 1
        told = list(text.told)
        self._delimiter = rule.delimiter or (separator.group(1) if separator else None) or usual
        if not rule.delimiter and not separator:
            # The last line of the sample may be cut.
            sample = [line.rstrip(b"\r").decode(errors="replace") for line in head[first : first + _SAMPLE_LINES][:-1]]
            self._delimiter = _recognised(sample or [line.decode(errors="replace") for line in head[first:]], usual)
            if self._delimiter != usual:
                told.append(f"Delimiter recognised: {self._delimiter!r}")
        self._quotes_seen = False
        self._lines = read_lines(self._noting_quotes(text.blocks()))
        lines = next(self._lines, [])
        if rule.header is not None:
            self._first_number = 2 if separator else 1
            self.columns = tuple(rule.header)
        else:
            if len(lines) <= first:
                raise InvalidInput(
                    f"{name} ends before line {first + 1}, which is to name the columns. Correct file.header_line."
                )
            parsed, used = self._header(lines[first : first + MAX_RECORD_LINES])
            self.columns = named_once(name, parsed, wanted)
            first += used
            self._first_number = first + 1
        self._first_lines = lines[self._first_number - 1 :]
        self.told = tuple(told)

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows, in the order of the file; every field is text as it stands there.

        A row's number is that of its first line. A row whose quote swallows whole rows is set aside by its first line
        alone, and what follows is read.
        """
        number = self._first_number
        held: list[bytes] = []
        for lines in chain([self._first_lines], self._lines):
            together = held + lines
            chunk, left = self._read(together, number, last=False)
            number += len(together) - left
            held = together[len(together) - left :]
            if chunk.rows_read:
                yield chunk
        if held:
            yield self._read(held, number, last=True)[0]

    def _noting_quotes(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._quotes_seen |= b'"' in block
            yield block

    def _header(self, lines: Sequence[bytes]) -> tuple[list[str], int]:
        """The names of the columns, and how many lines they take."""
        decoded = decode_lines(list(lines[:1]), first_number=1)
        problem = str(decoded.unreadable["reason"][0]) if decoded.unreadable.height else ""
        if not problem:
            record = _RecordReader(self._delimiter).record([line.decode(errors="replace") for line in lines])
            if isinstance(record, _Record):
                return record.fields, record.lines
            problem = record
        raise InvalidInput(
            f"{self._name}: the line that is to name the columns can't be read as a CSV header ({problem}). "
            "Write the names there, or say with file.header_line or file.header where or what they are."
        )

    def _read(self, lines: list[bytes], number: int, *, last: bool) -> tuple[RecordChunk, int]:
        """The rows in ``lines``, of which the first has this number, and how many lines at the end are left over."""
        if self._rule.one_line_one_row or not self._quotes_seen:
            return self._parse(decode_lines(lines, first_number=number)), 0
        spans = _Spans(_RecordReader(self._delimiter), len(self.columns)).of(lines, last=last)
        kept = lines[: len(lines) - spans.left]
        if not spans.inner:
            return self._parse(decode_lines(kept, first_number=number)), spans.left
        single = [line for place, line in enumerate(kept) if place not in spans.inner]
        numbers = pl.Series(
            "row_number", [number + p for p in range(len(kept)) if p not in spans.inner], dtype=pl.Int64
        )
        chunk = self._parse(decode_lines(single, first_number=number, numbers=numbers))
        return self._with_records(chunk, spans, number), spans.left

    def _with_records(self, chunk: RecordChunk, spans: "_Found", number: int) -> RecordChunk:
        """The chunk of single lines with the rows of several lines, and the quotes that swallow, in their places."""
        if not spans.records and not spans.swallowing:
            return chunk
        rows = pl.DataFrame(
            [record.fields for record in spans.records.values()],
            schema=dict.fromkeys(self.columns, pl.String()),
            orient="row",
        )
        numbers = pl.Series("row_number", [number + place for place in spans.records], dtype=pl.Int64)
        all_numbers = pl.concat([chunk.row_number, numbers])
        order = all_numbers.arg_sort()
        faults = [
            (
                number + place,
                f"malformed line: a quote is opened here that would swallow the rows up to line {number + end}",
                text,
            )
            for place, (end, text) in spans.swallowing.items()
        ]
        swallowing = unreadable_rows(*map(list, zip(*faults, strict=True))) if faults else chunk.unreadable.clear()
        return RecordChunk(
            fields=pl.concat([chunk.fields, rows])[order],
            row_number=all_numbers[order],
            unreadable=pl.concat([chunk.unreadable, swallowing]).sort("row_number"),
        )

    def _parse(self, chunk: LineChunk) -> RecordChunk:
        """Split plain lines all at once; only those with a quote one by one."""
        lines = pl.DataFrame([chunk.row_number, chunk.text])
        quoted = chunk.text.str.contains('"', literal=True)
        separators = chunk.text.str.count_matches(self._delimiter, literal=True)
        plain = lines.filter(~quoted & (separators == len(self.columns) - 1))
        fields = plain["line"].str.split_exact(self._delimiter, len(self.columns) - 1).struct.unnest()
        fields.columns = list(self.columns)
        if plain.height == lines.height:
            return RecordChunk(fields=fields, row_number=chunk.row_number, unreadable=chunk.unreadable)

        reader = _RecordReader(self._delimiter)
        rows: list[list[str]] = []
        numbers: list[int] = []
        faults: list[tuple[int, str, str]] = []
        for number, line in lines.filter(quoted | (separators != len(self.columns) - 1)).iter_rows():
            parsed = reader.fields(line) if '"' in line else line.split(self._delimiter)
            if isinstance(parsed, str):
                faults.append((number, f"malformed line: {parsed}", printable(line)))
            elif len(parsed) != len(self.columns):
                reason = f"wrong number of fields: {len(parsed)} instead of {len(self.columns)}"
                faults.append((number, reason, printable(line)))
            else:
                rows.append(parsed)
                numbers.append(number)
        strict = pl.DataFrame(rows, schema=dict.fromkeys(self.columns, pl.String()), orient="row")
        all_numbers = pl.concat([plain["row_number"], pl.Series("row_number", numbers, dtype=pl.Int64)])
        order = all_numbers.arg_sort()
        malformed = unreadable_rows(*map(list, zip(*faults, strict=True))) if faults else chunk.unreadable.clear()
        return RecordChunk(
            fields=pl.concat([fields, strict])[order],
            row_number=all_numbers[order],
            unreadable=pl.concat([chunk.unreadable, malformed]).sort("row_number"),
        )


@dataclass(frozen=True)
class _Record:
    """The fields of a row that takes so many ``lines``."""

    fields: list[str]
    lines: int


class _RecordReader:
    """Splits text into fields."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter

    def fields(self, text: str) -> list[str] | str:
        """The fields of one row, or what is wrong with it."""
        try:
            return next(csv.reader((text,), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            return _UNCLOSED if "unexpected end of data" in str(error) else str(error)
        except StopIteration:
            return []

    def is_open(self, text: str) -> bool:
        """Whether a quoted field goes on after the line."""
        return self.fields(text) == _UNCLOSED

    def record(self, lines: Sequence[str]) -> _Record | str:
        """The row that begins with the first line, or what is wrong with it."""
        reader = csv.reader((line + "\n" for line in lines), delimiter=self._delimiter, strict=True)
        try:
            return _Record(next(reader), reader.line_num)
        except csv.Error as error:
            return str(error)
        except StopIteration:
            return "nothing there"


@dataclass(frozen=True)
class _Found:
    """Rows of several lines in some lines, by the place of their first.

    Attributes:
        records: those that can be read.
        swallowing: first lines whose quote would swallow whole rows: the place of the last swallowed one, and the line.
        inner: the places of all lines that belong to either.
        left: lines at the end that may belong to a row that isn't complete yet.
    """

    records: dict[int, _Record]
    swallowing: dict[int, tuple[int, str]]
    inner: set[int]
    left: int


class _Spans:
    """Finds the rows that take several lines."""

    def __init__(self, reader: _RecordReader, columns: int) -> None:
        self._reader = reader
        self._columns = columns

    def of(self, lines: Sequence[bytes], *, last: bool) -> _Found:
        found = _Found({}, {}, set(), 0)
        place = 0
        while place < len(lines):
            line = lines[place]
            # An even number of quotes closes what it opens.
            if line.count(b'"') % 2 == 0 or not self._reader.is_open(_text(line)):
                place += 1
                continue
            following = lines[place : place + MAX_RECORD_LINES]
            if not last and len(following) < MAX_RECORD_LINES and not self._closes(following):
                return _Found(found.records, found.swallowing, found.inner, len(lines) - place)
            place += self._take(found, place, following)
        return found

    def _closes(self, lines: Sequence[bytes]) -> bool:
        return isinstance(self._reader.record([_text(line) for line in lines]), _Record)

    def _take(self, found: _Found, place: int, lines: Sequence[bytes]) -> int:
        """Note the row that begins at ``place``; returns how many lines it takes, 1 if it is none of several."""
        record = self._reader.record([_text(line) for line in lines])
        if not isinstance(record, _Record) or record.lines == 1:
            return 1
        size = sum(len(line) for line in lines[: record.lines])
        if len(record.fields) != self._columns or size > MAX_LINE_BYTES:
            return 1  # its first line is malformed by itself
        # The line that closes the quote is whole only if it opens and closes another.
        inner = range(1, record.lines - lines[record.lines - 1].count(b'"') % 2)
        swallowed = [k for k in inner if self._is_row(lines[k])]
        if swallowed:
            found.swallowing[place] = (place + swallowed[-1], printable(lines[0]))
            found.inner.add(place)
            return 1
        if any(_is_broken(line) for line in lines[: record.lines]):
            return 1
        found.records[place] = record
        found.inner.update(range(place, place + record.lines))
        return record.lines

    def _is_row(self, line: bytes) -> bool:
        """Whether the line would be a whole row by itself: it has as many fields as there are columns, and several."""
        fields = self._reader.fields(_text(line))
        return self._columns > 1 and isinstance(fields, list) and len(fields) == self._columns


def _text(line: bytes) -> str:
    return line.decode(errors="replace")


def _is_broken(line: bytes) -> bool:
    try:
        return "\x00" in line.decode()
    except UnicodeDecodeError:
        return True


def _recognised(lines: Iterable[str], usual: str) -> str:
    """The delimiter that gives the lines the same number of fields, the most; the usual one where none does."""
    sample = [line for line in lines if line.strip()]

    def fields(delimiter: str) -> int:
        """Fields of each line, 1 where the lines differ."""
        reader = _RecordReader(delimiter)
        counts = Counter(len(row) if isinstance(row := reader.fields(line), list) else 0 for line in sample)
        (count, often), *_ = counts.most_common(1) or [(1, 0)]
        return count if often >= 0.8 * len(sample) and sample and len(reader.fields(sample[0])) == count else 1

    best = max(DELIMITERS, key=lambda delimiter: (fields(delimiter), delimiter == usual))
    return best if fields(best) > 1 else usual


def named_once(file: str, parsed: Sequence[str], wanted: Collection[str]) -> tuple[str, ...]:
    """The names of a header, each once."""
    names = [name.strip() or f"column {place}" for place, name in enumerate(parsed, start=1)]
    counts = Counter(names)
    seen: Counter[str] = Counter()
    columns = []
    for name in names:
        seen[name] += 1
        if counts[name] == 1:
            columns.append(name)
            continue
        numbered = [f"{name}.{k}" for k in range(1, counts[name] + 1)]
        if name in wanted and not any(each in wanted for each in numbered):
            raise InvalidInput(
                f"{file}: the header names {name!r} {_times(counts[name])}. "
                f"Say which is meant, by {' or '.join(map(repr, numbered))}, or rename one of them."
            )
        first = numbered[0] if numbered[0] in wanted else name
        columns.append(first if seen[name] == 1 else numbered[seen[name] - 1])
    return _apart(columns)


def _apart(columns: Sequence[str]) -> tuple[str, ...]:
    """The names, where a numbered one would be another's name, with a further number."""
    taken: dict[str, None] = {}
    for name in columns:
        taken[next(each for each in chain([name], (f"{name}.{k}" for k in count(2))) if each not in taken)] = None
    return tuple(taken)


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"
