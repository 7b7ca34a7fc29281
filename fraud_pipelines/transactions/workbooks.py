"""Excel workbooks: the values of one sheet, row by row; no formula or macro is run."""

import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.delimited import named_once
from fraud_pipelines.transactions.file_rule import FileRule
from fraud_pipelines.transactions.records import RecordChunk

_ROWS: Final = 50_000
_MIDNIGHT: Final = time(0)


class WorkbookFile:
    """The rows of a sheet below its header, numbered as in the sheet. Blank rows are passed over.

    Raises:
        InvalidInput: it is no workbook, is damaged, or lacks the sheet or the header.
    """

    sparse = False
    absent: tuple[str, ...] = ()

    def __init__(self, path: Path, rule: FileRule, wanted: Collection[str]) -> None:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException

        self._path = path
        self._failures = (
            *(InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, IndexError),
            *(EOFError, OSError, SyntaxError, NotImplementedError, zlib.error, struct.error, OverflowError),
        )
        try:
            self._book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
            sheets = {sheet.title: sheet for sheet in self._book.worksheets}
        except self._failures as error:
            raise self._damaged(error) from error
        named = rule.sheet if rule.sheet is not None else 1
        titles = list(sheets)
        title = titles[named - 1] if isinstance(named, int) and 0 < named <= len(titles) else named
        if title not in sheets:
            raise InvalidInput(f"{path} has no sheet {named!r}; it has {', '.join(map(repr, titles)) or 'none'}.")
        self._sheet = sheets[str(title)]
        if hasattr(self._sheet, "reset_dimensions"):
            self._sheet.reset_dimensions()  # some writers state them wrongly
        self._rows = self._numbered()
        self._header_row = 0
        self.columns: tuple[str, ...]
        if rule.header is not None:
            self.columns = tuple(rule.header)
        else:
            self.columns = named_once(str(path), self._header(rule.header_line), wanted)
        others = [each for each in titles if each != title]
        self.told = (f"Read from the sheet {title!r}; not read: {', '.join(map(repr, others))}",) if others else ()

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows in the order of the sheet: numbers, texts, truth values and times as the cells hold them.

        A column whose cells are of several kinds is text.
        """
        while part := list(islice(self._rows, _ROWS)):
            width = len(self.columns)
            cells = [(*row[:width], *[None] * (width - len(row))) for _, row in part]
            fields = [_column(name, [row[place] for row in cells]) for place, name in enumerate(self.columns)]
            numbers = pl.Series("row_number", [number for number, _ in part], dtype=pl.Int64)
            yield RecordChunk(fields=pl.DataFrame(fields), row_number=numbers)

    def _header(self, line: int) -> list[str]:
        for number, row in self._rows:
            if number >= line:
                names = ["" if cell is None else _as_text(cell) for cell in row]
                while names and not names[-1].strip():
                    names.pop()
                return names
        raise InvalidInput(
            f"{self._path} ends before row {line}, which is to name the columns. Correct file.header_line."
        )

    def _numbered(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        try:
            for number, row in enumerate(self._sheet.iter_rows(values_only=True), start=1):
                if any(cell is not None and cell != "" for cell in row):
                    yield number, row
        except self._failures as error:
            raise self._damaged(error) from error

    def _damaged(self, error: BaseException) -> InvalidInput:
        return InvalidInput(
            f"{self._path} can't be read as an Excel workbook: {str(error).rstrip('.')}. "
            "Save it anew as .xlsx, or as CSV."
        )


def _column(name: str, cells: Sequence[Any]) -> pl.Series:
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds == {bool}:
        return pl.Series(name, cells, dtype=pl.Boolean)
    if kinds == {int} and all(cell is None or abs(cell) < 2**63 for cell in cells):
        return pl.Series(name, cells, dtype=pl.Int64)
    if kinds and kinds <= {int, float}:
        return pl.Series(name, [None if cell is None else float(cell) for cell in cells], dtype=pl.Float64)
    if kinds == {datetime}:
        return pl.Series(name, cells, dtype=pl.Datetime("us"))
    return pl.Series(name, [None if cell is None else _as_text(cell) for cell in cells], dtype=pl.String)


def _as_text(cell: Any) -> str:
    """A cell as text: a day without a time as the day alone, a whole number as its digits."""
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == _MIDNIGHT else cell.isoformat(sep=" ")
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell)
