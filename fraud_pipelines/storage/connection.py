"""A connection to the tables: SQL reads them by their names, and a few operations write them, wherever they lie."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.row_files import RowFiles

Parameters = Sequence[object] | Mapping[str, object]
"""What a query is given: ``?`` takes a sequence, ``$name`` a mapping."""


@dataclass(frozen=True)
class Column:
    """A column of a table: ``kind`` is its SQL type, ``default`` an SQL expression; ``required``: it takes no null."""

    name: str
    kind: str
    required: bool = False
    default: str | None = None
    comment: str | None = None


class Connection(Protocol):
    """Tables under their names ``schema.table``, with the views and macros of ``schema.sql``.

    Queries are DuckDB's SQL. Only the operations named here write. Conditions and assignments are SQL over the columns
    of the table, and may look at other tables and at registered frames. A row is told by its columns: it has no number
    of its own. Rows come in the order in which they were stored, unless the query says another.
    """

    def execute(self, query: str, parameters: Parameters = ()) -> duckdb.DuckDBPyConnection:
        """Run a query, whose rows ``fetchall`` of the answer gives."""

    def sql(self, query: str, *, params: Any = None) -> duckdb.DuckDBPyRelation:
        """The relation of a query."""

    def register(self, name: str, rows: pl.DataFrame | RowFiles) -> object:
        """Let queries name ``rows`` as a table."""

    def unregister(self, name: str) -> object:
        """Forget a registered name."""

    def tables(self) -> list[str]:
        """The names of all tables, without views, sorted."""

    def columns(self, table: str) -> list[Column]:
        """The columns of a table, in order; none where there is no such table."""

    def append(self, table: str, query: str, parameters: Parameters = ()) -> None:
        """Add the rows of ``query``, by column name; columns that it lacks have their default, or null.

        Raises:
            duckdb.Error: a column is unknown, or a row breaks what the table demands of it.
        """

    def delete(self, table: str, condition: str, parameters: Parameters = ()) -> None:
        """Remove the rows for which ``condition`` holds."""

    def update(
        self, table: str, assignments: str, condition: str, parameters: Parameters = (), *, using: str = ""
    ) -> None:
        """Change columns of the rows for which ``condition`` holds.

        Args:
            table: of which rows are changed; in the condition it is called ``stored``.
            assignments: as ``column = expression, …``.
            using: a registered frame whose columns the assignments and the condition look at. At most one row of it
                may belong to a row of the table.
        """

    def create_table(self, table: str, columns: Mapping[str, str], *, required: Iterable[str] = ()) -> None:
        """Create a table; ``columns`` are their names and SQL types, those ``required`` take no null."""

    def drop_table(self, table: str) -> None:
        """Remove a table with all its rows."""

    def add_column(self, table: str, column: str, kind: str) -> None:
        """Add a column of an SQL type, null in the rows that are there."""

    def comment(self, table: str, column: str, text: str) -> None:
        """Describe a column."""


class FileConnection:
    """A `Connection` to the tables of a DuckDB file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.sql = connection.sql
        self._views: set[str] = set()

    def register(self, name: str, rows: pl.DataFrame | RowFiles) -> object:
        if isinstance(rows, RowFiles):
            self._views.add(name)
            return self.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM {rows.sql}")
        return self._connection.register(name, rows)

    def unregister(self, name: str) -> object:
        if name in self._views:
            self._views.discard(name)
            return self.execute(f"DROP VIEW temp.{name}")
        return self._connection.unregister(name)

    def execute(self, query: str, parameters: Parameters = ()) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(query, bound(parameters))

    def tables(self) -> list[str]:
        query = (
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() "
            "WHERE NOT internal AND NOT temporary AND database_name = current_database() ORDER BY 1"
        )
        return [name for (name,) in self.execute(query).fetchall()]

    def columns(self, table: str) -> list[Column]:
        query = (
            "SELECT column_name, data_type, NOT is_nullable, column_default, comment FROM duckdb_columns() "
            "WHERE schema_name || '.' || table_name = ? AND database_name = current_database() ORDER BY column_index"
        )
        return [Column(*row) for row in self.execute(query, [table]).fetchall()]

    def append(self, table: str, query: str, parameters: Parameters = ()) -> None:
        self.execute(f"INSERT INTO {table} BY NAME {query}", parameters)

    def delete(self, table: str, condition: str, parameters: Parameters = ()) -> None:
        self.execute(f"DELETE FROM {table} WHERE {condition}", parameters)

    def update(
        self, table: str, assignments: str, condition: str, parameters: Parameters = (), *, using: str = ""
    ) -> None:
        source = f"FROM {using}" if using else ""
        self.execute(f"UPDATE {table} AS stored SET {assignments} {source} WHERE {condition}", parameters)

    def create_table(self, table: str, columns: Mapping[str, str], *, required: Iterable[str] = ()) -> None:
        demanded = set(required)
        declared = (f'"{name}" {kind}{" NOT NULL" if name in demanded else ""}' for name, kind in columns.items())
        self.execute(f"CREATE TABLE {table} ({', '.join(declared)})")

    def drop_table(self, table: str) -> None:
        self.execute(f"DROP TABLE {table}")

    def add_column(self, table: str, column: str, kind: str) -> None:
        self.execute(f'ALTER TABLE {table} ADD COLUMN "{column}" {kind}')

    def comment(self, table: str, column: str, text: str) -> None:
        quoted = text.replace("'", "''")
        self.execute(f"COMMENT ON COLUMN {table}.\"{column}\" IS '{quoted}'")


def bound(parameters: Parameters) -> Any:
    """``parameters`` as DuckDB takes them; none as None."""
    return (dict(parameters) if isinstance(parameters, Mapping) else list(parameters)) or None


def select(connection: Connection, query: str, parameters: Parameters = ()) -> pl.DataFrame:
    """Rows of ``query`` on an open connection; ``?`` takes a sequence, ``$name`` a mapping."""
    frame: pl.DataFrame = connection.sql(query, params=bound(parameters)).pl()
    return frame


@contextmanager
def registered(connection: Connection, **frames: pl.DataFrame | RowFiles) -> Iterator[None]:
    """Let queries on an open connection name each of ``frames`` as a table, as long as the block lasts.

    After an error in a transaction DuckDB takes nothing but its end, not even that a name is given back. That
    complaint is dropped, since it would hide what went wrong; the name goes with the connection.
    """
    for name, frame in frames.items():
        connection.register(name, frame)
    try:
        yield
    except BaseException:
        with suppress(duckdb.TransactionException):
            _unregister(connection, frames)
        raise
    _unregister(connection, frames)


def _unregister(connection: Connection, names: Iterable[str]) -> None:
    for name in names:
        connection.unregister(name)


def insert(connection: Connection, table: str, rows: pl.DataFrame | RowFiles) -> None:
    """Append ``rows`` by column name; a column that the table lacks is an error."""
    if not (rows.paths if isinstance(rows, RowFiles) else rows.width):
        return
    with registered(connection, _rows=rows):
        connection.append(table, "SELECT * FROM _rows")


def overwrite(connection: Connection, table: str, rows: pl.DataFrame | RowFiles, **where: object) -> None:
    """Replace what equals ``where`` in an open transaction. ``where`` must name at least one column."""
    if not where:
        raise InvalidInput(f"overwrite of {table} without a condition would delete every row")
    connection.delete(table, " AND ".join(f'"{name}" = ?' for name in where), list(where.values()))
    insert(connection, table, rows)


def table_exists(connection: Connection, table: str) -> bool:
    """Whether there is a table ``schema.name``."""
    return table in connection.tables()


def columns_of(connection: Connection, table: str) -> dict[str, str]:
    """The columns of a table ``schema.name`` with their SQL types, in order; none where there is no such table."""
    return {column.name: column.kind for column in connection.columns(table)}


def create_table(
    connection: Connection, table: str, schema: Mapping[str, pl.DataType], *, required: Iterable[str]
) -> None:
    """Create a table with the columns of ``schema``, of which those ``required`` take no null."""
    connection.create_table(table, sql_types(connection, schema), required=required)


def add_columns(connection: Connection, table: str, schema: Mapping[str, pl.DataType]) -> None:
    """Add those columns of ``schema`` that the table lacks; they are null in its rows."""
    known = columns_of(connection, table)
    missing = {name: kind for name, kind in schema.items() if name not in known}
    for name, kind in sql_types(connection, missing).items() if missing else ():
        connection.add_column(table, name, kind)


def sql_types(connection: Connection, schema: Mapping[str, pl.DataType]) -> dict[str, str]:
    """The SQL type of each column of ``schema``."""
    with registered(connection, _columns=pl.DataFrame(schema=dict(schema))):
        described = connection.execute("DESCRIBE SELECT * FROM _columns").fetchall()
    return {name: kind for name, kind, *_ in described}


def describe(connection: Connection, table: str, descriptions: Mapping[str, str]) -> None:
    """Comment the columns whose comment is another one, or missing."""
    comments = {column.name: column.comment for column in connection.columns(table)}
    for name, description in descriptions.items():
        if comments.get(name) != description:
            connection.comment(table, name, description)
