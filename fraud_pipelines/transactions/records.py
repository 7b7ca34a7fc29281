"""Records as a source delivers them: its own columns, before anything is judged."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

CHUNK_ROWS: Final = 200_000
"""Rows that are held in memory at once."""

UNREADABLE_COLUMNS: Final[dict[str, pl.DataType]] = {
    "row_number": pl.Int64(),
    "reason": pl.String(),
    "payload": pl.String(),
}

CALENDAR_MICROSECONDS: Final = (-62_135_510_400_000_000, 253_402_128_000_000_000)
"""The years 1 to 9999, but for a day at either end that a zone may shift out; libraries fail on what lies beyond."""

_MICROSECONDS_IN: Final = {"ms": 1_000, "us": 1}
_MICROSECONDS_IN_DAY: Final = 86_400_000_000


@dataclass(frozen=True)
class RecordChunk:
    """Some consecutive rows of one file.

    Attributes:
        fields: the rows that could be read, under the source's own column names and types.
        row_number: for each of them its number in the file: the line number in text files (so the first row
            after a CSV header is 2), counted from 1 in Parquet.
        unreadable: the rows that could not be read, as ``row_number``, ``reason`` and ``payload``.
        wrong_types: for JSON, a column for each column of ``fields`` in which some values are neither text
            nor number; it says what they are (``boolean``, ``object``, …), null for the others.
        lines: the text of the rows, where it is valid JSON itself.
        row_ids: of each row, where they were asked for (`fraud_pipelines.transactions.row_ids`).
    """

    fields: pl.DataFrame
    row_number: pl.Series
    unreadable: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=UNREADABLE_COLUMNS))
    wrong_types: pl.DataFrame = field(default_factory=pl.DataFrame)
    lines: pl.Series | None = None
    row_ids: pl.Series | None = None

    @classmethod
    def of(cls, fields: pl.DataFrame, *, first_row: int = 1) -> "RecordChunk":
        """Take a frame that is in memory already as a chunk; its rows count from ``first_row``."""
        numbers = pl.int_range(first_row, first_row + fields.height, dtype=pl.Int64, eager=True)
        return cls(fields=fields, row_number=numbers.alias("row_number"))

    @property
    def rows_read(self) -> int:
        return self.fields.height + self.unreadable.height

    def only(self, positions: pl.Series) -> "RecordChunk":
        """The rows at ``positions`` in ``fields``, and no others."""
        return RecordChunk(
            fields=self.fields[positions],
            row_number=self.row_number.gather(positions),
            wrong_types=self.wrong_types[positions] if self.wrong_types.width else self.wrong_types,
            lines=None if self.lines is None else self.lines.gather(positions),
            row_ids=None if self.row_ids is None else self.row_ids.gather(positions),
        )

    def beside(self, unreadable: pl.DataFrame) -> "RecordChunk":
        """The same rows, and those that could not be read."""
        return replace(self, unreadable=unreadable)

    def payloads(self, positions: pl.Series) -> pl.Series:
        """The rows at ``positions`` in ``fields``, each as the text of one JSON object."""
        if self.lines is not None:
            return self.lines.gather(positions).alias("payload")
        rows = self.fields[positions].with_columns(_instants_as_text(self.fields.schema))
        texts = [
            json.dumps({name: _json_value(value) for name, value in row.items()}, ensure_ascii=False)
            for row in rows.iter_rows(named=True)
        ]
        return pl.Series("payload", texts, dtype=pl.String)


def unreadable_rows(row_numbers: Sequence[int], reasons: Sequence[str], payloads: Sequence[str]) -> pl.DataFrame:
    """The frame that ``RecordChunk.unreadable`` holds."""
    columns = {"row_number": row_numbers, "reason": reasons, "payload": payloads}
    return pl.DataFrame(columns, schema=UNREADABLE_COLUMNS)


def calendar_bounds(dtype: pl.Datetime | pl.Date) -> tuple[int, int]:
    """The first and the last number that stand for a sound time in a column of ``dtype``.

    Polars panics on others as soon as it looks at their calendar, so they have to go before. Nanoseconds always
    fit the calendar.
    """
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return -(2**63), 2**63 - 1
    unit = _MICROSECONDS_IN[dtype.time_unit] if isinstance(dtype, pl.Datetime) else _MICROSECONDS_IN_DAY
    first, last = CALENDAR_MICROSECONDS
    return first // unit, last // unit


def _instants_as_text(schema: pl.Schema) -> list[pl.Expr]:
    """Times as ISO text, and those beyond the calendar as the number that is stored."""
    texts = []
    for name, dtype in schema.items():
        if not isinstance(dtype, pl.Datetime | pl.Date | pl.Time | pl.Duration):
            continue
        column = pl.col(name)
        number = column.to_physical().cast(pl.String)
        if isinstance(dtype, pl.Duration):
            texts.append(number)
        elif isinstance(dtype, pl.Time):
            texts.append(column.dt.to_string("iso"))
        else:
            sound = column.to_physical().is_between(*calendar_bounds(dtype))
            texts.append(pl.coalesce(pl.when(sound).then(column).dt.to_string("iso"), number))
    return texts


def _json_value(value: object) -> object:
    """``value`` as JSON has it; what JSON lacks becomes text."""
    if isinstance(value, dict):
        return {str(key): _json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(inner) for inner in value]
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
