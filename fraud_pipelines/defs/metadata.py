"""Metadata builders: what an asset's page in the Dagster UI shows of a table's day."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

import dagster as dg
import duckdb
import polars as pl

from fraud_pipelines.storage.warehouse import select

PREVIEW_ROWS = 8
CELL_LENGTH = 80


def table_metadata(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    *,
    day: date,
    date_column: str = "event_date",
    order_by: str = "ALL",
) -> dict[str, dg.MetadataValue]:
    """Name, row count, column schema and a preview of the rows of ``table`` that belong to ``day``."""
    condition, values = f"{date_column}::DATE = ?", [day]
    count = int(select(connection, f"SELECT count(*) FROM {table} WHERE {condition}", values).item())
    preview = select(
        connection,
        f"SELECT * FROM {table} WHERE {condition} ORDER BY {order_by} LIMIT {PREVIEW_ROWS}",
        values,
    )
    columns = select(
        connection,
        """
        SELECT column_name, data_type, comment FROM duckdb_columns()
        WHERE schema_name || '.' || table_name = ? ORDER BY column_index
        """,
        [table],
    ).rows()
    return {
        "dagster/table_name": dg.MetadataValue.text(f"fraud.{table}"),
        "dagster/row_count": dg.MetadataValue.int(count),
        "dagster/column_schema": dg.MetadataValue.table_schema(
            dg.TableSchema(
                columns=[dg.TableColumn(name=name, type=kind, description=text) for name, kind, text in columns]
            )
        ),
        "preview": markdown_table(preview),
    }


def markdown_table(rows: pl.DataFrame) -> dg.MetadataValue:
    """``rows`` as a Markdown table: dates and numbers short, lists joined."""
    header = "| " + " | ".join(rows.columns) + " |"
    rule = "|" + " --- |" * rows.width
    body = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows.iter_rows()]
    return dg.MetadataValue.md("\n".join([header, rule, *body]) if rows.width else "no rows")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, list):
        return "; ".join(_cell(item) for item in value)
    text = value.isoformat(" ", "seconds") if isinstance(value, datetime) else str(value)
    if len(text) > CELL_LENGTH:
        text = text[:CELL_LENGTH] + "…"
    return text.replace("|", "\\|").replace("\n", " ")


def numbers(values: Mapping[str, float | int | None]) -> dict[str, dg.MetadataValue]:
    """Numeric metadata, which the UI's Plots tab draws over partitions; what is undefined is left out."""
    return {
        name: dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value)
        for name, value in values.items()
        if value is not None
    }


def partition_day(context: dg.AssetExecutionContext) -> date:
    """The event date that the run's partition stands for."""
    return date.fromisoformat(context.partition_key)


def utc_now() -> datetime:
    """The time of processing: naive UTC, like every timestamp in the project."""
    return datetime.now(UTC).replace(tzinfo=None)


def image(svg: str, title: str = "figure") -> dg.MetadataValue:
    """A figure, embedded in Markdown; it opens behind "Show Markdown"."""
    from fraud_pipelines.evaluation.figures import markdown_image

    return dg.MetadataValue.md(markdown_image(svg, title))
