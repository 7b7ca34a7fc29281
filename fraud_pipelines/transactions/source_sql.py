"""SQL over a source's own columns: one scalar expression, run row by row, before anything is judged.

A text of the source is a text to the expression, or a number (or a time) where it computes with it: which, follows
from the expression alone, so that no two pieces of a file are read in two ways.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from typing import Final

import duckdb
import polars as pl

from fraud_pipelines.plan.expressions import ExpressionChecker, InvalidExpression, Parsed
from fraud_pipelines.transactions.null_words import EVERYWHERE
from fraud_pipelines.transactions.source_text import as_text
from fraud_pipelines.transactions.timestamps import TimestampRule

_ROWS: Final = "rows_of_the_source"
_TYPES: Final = ("DOUBLE", "TIMESTAMP")
_MOST_TRIALS: Final = 400
_KINDS: Final = {"DOUBLE": "number", "TIMESTAMP": "time"}
_LOCK: Final = threading.Lock()


@dataclass(frozen=True)
class SqlValues:
    """What an expression gives, row by row.

    Attributes:
        values: null also where it failed.
        problems: why it failed, null where it didn't.
    """

    values: pl.Series
    problems: pl.Series


@dataclass(frozen=True)
class SourceSql:
    """A checked expression.

    Attributes:
        sql: as written.
        reads: the columns that it names, as written.
        types: of each, the DuckDB type it is read as: VARCHAR, DOUBLE or TIMESTAMP.
    """

    sql: str
    reads: tuple[str, ...]
    types: tuple[str, ...]

    def run(self, fields: pl.DataFrame) -> SqlValues:
        """The expression's value for each row of ``fields``; a column that is not there is null."""
        problems = pl.repeat(None, fields.height, dtype=pl.String, eager=True)
        if not fields.height:
            return SqlValues(pl.Series([], dtype=pl.String), problems)
        read = {}
        for name, sql_type in zip(self.reads, self.types, strict=True):
            read[name], unfit = _read(fields, name, sql_type)
            if unfit is not None:
                shown = f'{_KINDS[sql_type]} is needed of "{name}"'
                problems = problems.zip_with(~unfit | problems.is_not_null(), pl.repeat(shown, len(unfit), eager=True))
        connection = _database().cursor()
        try:
            # It would take what two expressions share out of TRY, and fail on all rows.
            connection.execute("PRAGMA disable_optimizer")
            connection.register(_ROWS, pl.DataFrame(read).to_arrow())
            columns = ", ".join(
                f"CAST({_quoted(name)} AS {sql_type}) AS {_quoted(name)}"
                for name, sql_type in zip(self.reads, self.types, strict=True)
            )
            query = (
                f"SELECT TRY(({self.sql}\n)) AS found, TRY((({self.sql}\n)) IS NULL) AS ran "
                f"FROM (SELECT {columns} FROM {_ROWS})"
            )
            found = connection.sql(query).pl()
        finally:
            connection.close()
        failed = found["ran"].is_null() & problems.is_null()
        problems = problems.zip_with(~failed, pl.repeat("it fails on the row", fields.height, eager=True))
        values = found["found"]
        if problems.null_count() < problems.len():
            values = values.zip_with(problems.is_null(), values.clear(n=values.len()))
        return SqlValues(values, problems)


@cache
def source_sql(sql: str) -> SourceSql:
    """Check an expression; nothing of it is run on data.

    Raises:
        InvalidExpression: it is no scalar expression over the columns of one row, or its types fit in no way.
    """
    with _LOCK:
        parsed = _checker().parse(sql)
        twice = {name for name in parsed.reads if sum(name == each.lower() for each in parsed.names) > 1}
        if twice:
            raise InvalidExpression(f"names {twice.pop()!r} in two spellings; write the source's column as it is")
        types = _types(parsed)
    _check_comparisons(parsed, types)
    return SourceSql(sql, parsed.names, types)


def _types(parsed: Parsed) -> tuple[str, ...]:
    """The types that the expression's columns are read as: as few as possible other than text."""
    first: duckdb.Error | None = None
    for trial in _trials(len(parsed.names)):
        columns = ", ".join(f"NULL::{kind} AS {_quoted(name)}" for name, kind in zip(parsed.names, trial, strict=True))
        try:
            _database().execute(f"SELECT ({parsed.sql}\n) FROM (SELECT {columns})").fetchall()
        except duckdb.Error as error:
            first = first or error
            continue
        return trial
    raise InvalidExpression(str(first).split("\n", maxsplit=1)[0].partition(" Error: ")[2] or str(first))


def _trials(columns: int) -> Iterator[tuple[str, ...]]:
    """Types for the columns, those with the most texts first, and all numbers at last."""
    shown = 0
    for others in range(columns + 1):
        for places in combinations(range(columns), others):
            for kinds in product(_TYPES, repeat=others):
                trial = ["VARCHAR"] * columns
                for place, kind in zip(places, kinds, strict=True):
                    trial[place] = kind
                yield tuple(trial)
                shown += 1
                if shown == _MOST_TRIALS:
                    yield ("DOUBLE",) * columns
                    return


def _check_comparisons(parsed: Parsed, types: tuple[str, ...]) -> None:
    """Refuse `a < b` of two texts: as text 9 is greater than 10."""
    texts = {name for name, kind in zip(parsed.names, types, strict=True) if kind == "VARCHAR"}
    for left, right in parsed.ordered:
        if left in texts and right in texts:
            raise InvalidExpression(
                f"compares {left!r} and {right!r} as text; say what they are, such as "
                f'CAST("{left}" AS DOUBLE) < CAST("{right}" AS DOUBLE)'
            )


def _read(fields: pl.DataFrame, name: str, sql_type: str) -> tuple[pl.Series, pl.Series | None]:
    """A column as the expression reads it, and the rows whose value is none of that type, if there are any."""
    if name not in fields.columns:
        return pl.repeat(None, fields.height, dtype=pl.String, eager=True).alias(name), None
    column = fields[name]
    if sql_type == "DOUBLE" and column.dtype.is_numeric():
        return column.cast(pl.Float64), None
    if sql_type == "TIMESTAMP" and isinstance(column.dtype, pl.Date | pl.Datetime):
        return column.cast(pl.Datetime("us")), None
    text, _ = as_text(column)
    text = text.str.strip_chars()
    text = text.set(text.str.len_bytes() == 0, None)
    if sql_type == "VARCHAR":
        return text.alias(name), None
    text = text.set(text.is_in(EVERYWHERE), None)
    if sql_type == "DOUBLE":
        value = text.cast(pl.Float64, strict=False)
    else:
        value, _ = TimestampRule().to_utc(text)
    unfit = text.is_not_null() & value.is_null()
    return value.alias(name), unfit if unfit.any() else None


@cache
def _checker() -> ExpressionChecker:
    return ExpressionChecker(moments=())


@cache
def _database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
