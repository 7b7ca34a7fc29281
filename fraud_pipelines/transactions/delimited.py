"""CSV and TSV: one physical line is one row, quoted or not."""

import csv
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.records import RecordChunk, unreadable_rows
from fraud_pipelines.transactions.text_lines import LineChunk, decode_lines, printable, read_lines

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class DelimitedFile:
    """The rows below a header line. ``blocks`` is the decompressed content, read once.

    Raises:
        InvalidInput: the header line can't be read, or names a column twice.
    """

    sparse = False

    def __init__(self, name: str, blocks: Iterable[bytes], *, delimiter: str) -> None:
        self._name = name
        self._delimiter = delimiter
        self._lines = read_lines(blocks)
        first = next(self._lines, [])
        self._first_lines = first[1:]
        self.columns = self._header(first[0] if first else b"")

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows, in the order of the file; every field is text as it stands there."""
        number = 2
        for lines in chain([self._first_lines], self._lines):
            if lines:
                yield self._parse(decode_lines(lines, first_number=number))
                number += len(lines)

    def _header(self, line: bytes) -> tuple[str, ...]:
        decoded = decode_lines([line.removeprefix(_BYTE_ORDER_MARK)], first_number=1)
        parsed = self._split_quoted(decoded.text[0]) if decoded.text.len() else decoded.unreadable["reason"][0]
        if isinstance(parsed, str):
            raise InvalidInput(
                f"{self._name}: the first line can't be read as a CSV header ({parsed}). "
                "Write the column names there, as UTF-8 text."
            )
        columns = tuple(name.strip() for name in parsed)
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise InvalidInput(
                f"{self._name}: the header names {', '.join(map(repr, twice))} twice. Rename one of them."
            )
        return columns

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

        rows: list[list[str]] = []
        numbers: list[int] = []
        faults: list[tuple[int, str, str]] = []
        for number, line in lines.filter(quoted | (separators != len(self.columns) - 1)).iter_rows():
            parsed = self._split_quoted(line) if '"' in line else line.split(self._delimiter)
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

    def _split_quoted(self, line: str) -> list[str] | str:
        """The fields of one line, or what is wrong with it."""
        try:
            return next(csv.reader((line,), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            unclosed = "unexpected end of data" in str(error)
            return "a quote is opened and not closed in the line" if unclosed else str(error)
