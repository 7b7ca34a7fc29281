"""The SQL of declarations, run by DuckDB: conditions of aggregates, and features that need no history.

Every column of a whole number is a BIGINT to an expression. Where it fails on a row, or gives a number that is not
finite, its value is null: one row must not stop a day.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.expression_rows import Failed, Unclear, compiled, finite
from fraud_pipelines.plan.expressions import WHOLE
from fraud_pipelines.plan.plan import POLARS_TYPES

_ROWS: Final = "rows_of_the_frame"

FEW_ROWS: Final = 10_000
"""Rows for which DuckDB's way to Arrow costs more than it saves."""


@dataclass(frozen=True)
class Expression:
    """A feature by SQL: its name, the SQL as declared, the DuckDB type of its value, and the columns it names."""

    name: str
    sql: str
    sql_type: str
    reads: tuple[str, ...]


class Expressions:
    """Features by SQL over a row's columns and other features.

    Args:
        expressions: each after those it reads.
        types: the DuckDB types of the columns and features that they may read.
    """

    def __init__(self, expressions: Iterable[Expression], types: Mapping[str, str]) -> None:
        self._all = list(expressions)
        names = {each.name for each in self._all}
        # One that bears a column's name is that column.
        computed = [each for each in self._all if each.reads != (each.name,)]
        self._computed = [each.name for each in computed]
        self._types = {each.name: POLARS_TYPES[each.sql_type] for each in computed}
        own = {each.name for each in computed}
        self.reads = tuple(dict.fromkeys(name for each in computed for name in each.reads if name not in own))
        self._query = _Query(self.reads, types, computed)
        assert names >= own

    def on_frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """``frame`` with a column for each expression, rows in their order; one that is there already is replaced."""
        if not self._computed:
            return frame
        found = self._query.run(frame)
        return frame.with_columns(found[name].cast(dtype) for name, dtype in self._types.items())

    def on_row(self, row: Mapping[str, object]) -> dict[str, object]:
        """`on_frame` of one row: the value of each expression, None for null."""
        values = self._query.run_one(row) if self._computed else {}
        return {each.name: values[each.name] if each.name in values else row[each.name] for each in self._all}


class Conditions:
    """Which rows SQL conditions hold for; where one is null, it doesn't.

    Args:
        conditions: SQL, each once.
        types: the DuckDB types of the columns.
    """

    def __init__(self, conditions: Sequence[tuple[str, tuple[str, ...]]], types: Mapping[str, str]) -> None:
        self._names = {sql: f"condition_{k}" for k, (sql, _) in enumerate(conditions)}
        expressions = [Expression(self._names[sql], sql, "BOOLEAN", reads) for sql, reads in conditions]
        self.reads = tuple(dict.fromkeys(name for each in expressions for name in each.reads))
        self._query = _Query(self.reads, types, expressions)

    def on_frame(self, frame: pl.DataFrame) -> dict[str, NDArray[np.bool_]]:
        """By its SQL, whether each condition holds, row by row."""
        if not self._names:
            return {}
        found = self._query.run(frame)
        return {
            sql: np.array(found[name].fill_null(value=False).to_numpy(), dtype=np.bool_)
            for sql, name in self._names.items()
        }

    def on_row(self, row: Mapping[str, object]) -> dict[str, bool]:
        """`on_frame` of one row."""
        if not self._names:
            return {}
        values = self._query.run_one(row)
        return {sql: values[name] is True for sql, name in self._names.items()}


class _Query:
    """Expressions as one query, for frames and, prepared, for single rows. Each thread has a connection of its own."""

    def __init__(self, reads: Sequence[str], types: Mapping[str, str], expressions: Sequence[Expression]) -> None:
        self._reads = list(reads)
        self._read_types = {name: POLARS_TYPES[types[name]] for name in reads}
        self._names = [each.name for each in expressions]
        self._types = {each.name: POLARS_TYPES[each.sql_type] for each in expressions}
        columns = ", ".join(_widened(_quoted(name), types[name]) + f" AS {_quoted(name)}" for name in reads)
        self._frame_sql = _levels(f"SELECT {columns} FROM {_ROWS}", expressions)
        values = ", ".join(
            _widened(f"CAST(${k + 1} AS {types[name]})", types[name]) + f" AS {_quoted(name)}"
            for k, name in enumerate(reads)
        )
        self._row_sql = _levels(f"SELECT {values}", expressions)
        self._local = threading.local()
        types = {**types, **{each.name: each.sql_type for each in expressions}}
        self._functions = [(each.name, compiled(each.sql, each.sql_type, types)) for each in _in_order(expressions)]
        self._all_compiled = all(function for _, function in self._functions)

    def run(self, frame: pl.DataFrame) -> pl.DataFrame:
        if frame.is_empty():
            return pl.DataFrame(schema=dict.fromkeys(self._names, pl.Null))
        connection = self._connection()
        read = (
            (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
            for name, kind in self._read_types.items()
        )
        connection.register(_ROWS, frame.select(read).to_arrow())
        try:
            if frame.height <= FEW_ROWS:
                return _frame(connection.execute(self._frame_sql).fetchnumpy(), self._types)
            found: pl.DataFrame = connection.sql(self._frame_sql).pl()
            return found
        finally:
            connection.unregister(_ROWS)

    def run_one(self, row: Mapping[str, object]) -> dict[str, Any]:
        if self._all_compiled:
            try:
                return self._run_functions(row)
            except Unclear:
                pass
        values = self._connection().execute(self._row_sql, [row[name] for name in self._reads]).fetchall()
        return dict(zip(self._names, values[0], strict=True))

    def _run_functions(self, row: Mapping[str, object]) -> dict[str, Any]:
        known: dict[str, Any] = dict(row)
        found: dict[str, Any] = {}
        for name, function in self._functions:
            assert function is not None
            try:
                found[name] = known[name] = finite(function(known))
            except Failed:
                found[name] = known[name] = None
        return found

    def _connection(self) -> duckdb.DuckDBPyConnection:
        connection: duckdb.DuckDBPyConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _database().cursor()
            connection.execute("SET TimeZone = 'UTC'")
            # To look for a better plan takes longer than to run this one.
            connection.execute("PRAGMA disable_optimizer")
            self._local.connection = connection
        return connection


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """A database without data, of which each thread has a cursor."""
    # The threads that fold are as many as there are cores.
    return duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": "false"})


def _frame(columns: Mapping[str, Any], types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """DuckDB's result in arrays, of which those with nulls are masked."""
    found, nulls = [], {}
    for name, dtype in types.items():
        values = np.ma.getdata(columns[name])
        found.append(pl.Series(name, values.tolist() if dtype == pl.String else values).cast(dtype))
        masked = np.ma.getmaskarray(columns[name])
        if masked.any():
            nulls[name] = pl.Series(~masked)
    return pl.DataFrame(found).with_columns(pl.when(known).then(pl.col(name)) for name, known in nulls.items())


def _levels(source: str, expressions: Sequence[Expression]) -> str:
    """A query that gives the expressions' values from those of ``source``: one query around another where one
    expression reads another."""
    query = source
    for ready in _by_level(expressions):
        values = ", ".join(f"{_value(each)} AS {_quoted(each.name)}" for each in ready)
        query = f"SELECT *, {values} FROM ({query})"
    last = ", ".join(f"CAST({_quoted(each.name)} AS {each.sql_type}) AS {_quoted(each.name)}" for each in expressions)
    return f"SELECT {last} FROM ({query})"


def _by_level(expressions: Sequence[Expression]) -> Iterator[list[Expression]]:
    """The expressions, in groups of which none reads another of its own group or of a later one."""
    waiting = list(expressions)
    while waiting:
        names = {each.name for each in waiting}
        ready = [each for each in waiting if not names & set(each.reads)]
        yield ready
        waiting = [each for each in waiting if each not in ready]


def _in_order(expressions: Sequence[Expression]) -> list[Expression]:
    return [each for level in _by_level(expressions) for each in level]


def _value(each: Expression) -> str:
    value = f"TRY(CAST(({each.sql}\n) AS {each.sql_type}))"
    if each.sql_type in ("DOUBLE", "FLOAT"):
        value = f"CASE WHEN isfinite({value}) THEN {value} END"
    return _widened(value, each.sql_type)


def _widened(value: str, sql_type: str) -> str:
    return f"CAST({value} AS BIGINT)" if sql_type in WHOLE else value


def _quoted(name: str) -> str:
    return f'"{name}"'
