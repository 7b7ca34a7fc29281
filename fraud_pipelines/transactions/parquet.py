"""Parquet: read in batches, each row that holds broken text set aside."""

import io
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.nested import paths_within
from fraud_pipelines.transactions.records import CHUNK_ROWS, RecordChunk, unreadable_rows


class ParquetFile:
    """The rows of a Parquet file, given as a path or, decompressed already, as its content.

    Raises:
        InvalidInput: it is no Parquet file, is damaged, or names a column twice.
    """

    sparse = False
    absent: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    def __init__(self, name: str, content: Path | bytes, wanted: Collection[str] = ()) -> None:
        import pyarrow
        from pyarrow import parquet

        self._name = name
        self._failures = (
            *(pyarrow.ArrowException, OSError, UnicodeDecodeError),  # the last of names that aren't text
            *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
        )
        try:
            self._file = parquet.ParquetFile(_as_arrow_opens_it(content))
            self.columns: tuple[str, ...] = tuple(self._file.schema_arrow.names)
        except self._failures as error:
            raise self._damaged(error) from error
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise InvalidInput(f"{name} has two columns {', '.join(map(repr, twice))}. Rename one of them.")
        self._wanted = wanted
        try:
            self._paths = paths_within(_frame(self._file.schema_arrow.empty_table()).schema, wanted)
        except self._failures as error:
            raise self._damaged(error) from error
        self.columns = (*self.columns, *self._paths)

    def chunks(self) -> Iterator[RecordChunk]:
        """All rows, in the order of the file, with the types they are stored in.

        Raises:
            InvalidInput: a batch is damaged, or has a type that Polars can't hold.
        """
        batches = self._file.iter_batches(batch_size=CHUNK_ROWS)
        first_row = 1
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                chunk = self._chunk(batch, first_row)
            except self._failures as error:
                raise self._damaged(error) from error
            yield chunk
            first_row += chunk.rows_read

    def _chunk(self, batch: Any, first_row: int) -> RecordChunk:
        import pyarrow

        table = pyarrow.Table.from_batches([batch])
        try:
            table.validate(full=True)
        except pyarrow.ArrowInvalid:
            chunk = _without_broken_text(table, first_row)
        else:
            chunk = RecordChunk.of(_frame(table), first_row=first_row)
        if not self._paths:
            return chunk
        return replace(
            chunk, fields=chunk.fields.with_columns(*paths_within(chunk.fields.schema, self._wanted).values())
        )

    def _damaged(self, error: BaseException) -> InvalidInput:
        return InvalidInput(
            f"{self._name} can't be read as Parquet: {str(error).rstrip('.')}. "
            "Write the file anew, or name it after its format."
        )


def _as_arrow_opens_it(content: Path | bytes) -> Path | BinaryIO:
    if isinstance(content, bytes):
        return io.BytesIO(content)
    try:
        str(content).encode()
    except UnicodeEncodeError:  # Arrow takes no name that isn't UTF-8; it closes what it is given instead
        return content.open("rb")
    return content


def _frame(table: Any) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _without_broken_text(table: Any, first_row: int) -> RecordChunk:
    """Set aside the rows with text that isn't UTF-8, which nobody checks when Parquet is written."""
    import pyarrow

    broken = pl.repeat(False, table.num_rows, dtype=pl.Boolean, eager=True)
    for position, (name, dtype) in enumerate(zip(table.column_names, table.schema.types, strict=True)):
        if not (pyarrow.types.is_string(dtype) or pyarrow.types.is_large_string(dtype)):
            continue
        values = table.column(position).cast(pyarrow.large_binary())
        broken |= pl.Series([not _is_utf8(value) for value in values.to_pylist()], dtype=pl.Boolean)
        table = table.set_column(position, name, values)
    chunk = RecordChunk.of(_frame(table), first_row=first_row)
    payloads = chunk.payloads(broken.arg_true())
    numbers = chunk.row_number.filter(broken).to_list()
    sound = chunk.fields.filter(~broken)
    return RecordChunk(
        fields=sound.with_columns(pl.col(pl.Binary).cast(pl.String)),
        row_number=chunk.row_number.filter(~broken),
        unreadable=unreadable_rows(numbers, ["not UTF-8 text"] * len(numbers), payloads.to_list()),
    )


def _is_utf8(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False
