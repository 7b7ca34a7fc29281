"""``fraud-pipelines sql``: a query of the live warehouse, which is open no longer than the query takes."""

import csv
import io
import json
from typing import Final, Literal

import click
import duckdb
import polars as pl
from rich.markup import escape

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.faults import in_words, is_fault

Format = Literal["table", "json", "csv"]
FORMATS: Final[tuple[Format, ...]] = ("table", "json", "csv")


def show_sql(settings: Settings, query: str, *, as_format: Format, limit: int) -> None:
    """Print the rows of ``query``: all of them as JSON or CSV, the first ``limit`` as a table.

    Raises:
        InvalidInput: it is no query, or DuckDB refuses it.
        MissingData: there is no warehouse yet.
    """
    try:
        _require_query(query)
        rows = live_warehouse(settings).read(query)
    except duckdb.Error as error:
        message = in_words(error) if is_fault(error) else str(error)
    else:
        if as_format == "table":
            _show_table(rows, limit)
        else:
            click.echo(_json(rows) if as_format == "json" else _csv(rows), nl=False)
        return
    # Not from the error: its traceback would hold the connection until Python ends.
    raise InvalidInput(message)


def _require_query(query: str) -> None:
    statements = duckdb.extract_statements(query)
    if len(statements) != 1 or duckdb.ExpectedResultType.QUERY_RESULT not in statements[0].expected_result_type:
        raise InvalidInput("Give one statement that has rows, such as: FROM scoring.review_queue LIMIT 10")


def _show_table(rows: pl.DataFrame, limit: int) -> None:
    numeric = tuple(name for name, kind in rows.schema.items() if kind.is_numeric())
    table = narrow_table(None, *(escape(name) for name in rows.columns), numbers=tuple(map(escape, numeric)))
    for row in rows.head(limit).iter_rows():
        table.add_row(*("" if value is None else escape(str(value)) for value in row))
    console = terminal(highlight=False)
    console.print(table)
    count = f"{rows.height:,} row" + ("" if rows.height == 1 else "s")
    console.print(count + (f", {limit:,} shown (--limit)" if rows.height > limit else ""))


def _json(rows: pl.DataFrame) -> str:
    return json.dumps(rows.to_dicts(), default=str, ensure_ascii=False, indent=2) + "\n"


def _csv(rows: pl.DataFrame) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.columns)
    for row in rows.iter_rows():
        writer.writerow(json.dumps(each, default=str) if isinstance(each, list | dict) else each for each in row)
    return text.getvalue()
