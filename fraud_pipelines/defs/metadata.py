"""Metadata builders: what an asset's page in the Dagster UI shows of a table's day."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from statistics import median

import dagster as dg
import polars as pl

from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import Connection, select

PREVIEW_ROWS = 8
CELL_LENGTH = 80
MASK = "•••"
MANY_DIGITS = 1e4
"""From there on what stands behind the decimal point tells nothing."""


def table_metadata(
    connection: Connection,
    table: str,
    *,
    day: date,
    date_column: str = "event_date",
    order_by: str = "ALL",
    reads: Mapping[str, Sequence[dg.TableColumnDep]] | None = None,
    plan: Plan | None = None,
) -> dict[str, dg.MetadataValue]:
    """Name, row count, columns and a preview of the rows of ``table`` that belong to ``day``, by one query.

    Args:
        reads: by column, the columns of other tables that it is made from.
        plan: says which columns name a person; they are masked, since Dagster's log is kept for long and read by many.
    """
    of_day = f"FROM {table} WHERE {date_column}::DATE = $day"
    preview = select(
        connection,
        f"SELECT *, (SELECT count(*) {of_day}) AS _rows {of_day} ORDER BY {order_by} LIMIT {PREVIEW_ROWS}",
        {"day": day},
    )
    columns = preview.drop("_rows").columns
    lineage = {"dagster/column_lineage": dg.TableColumnLineage(reads)} if reads else {}
    return {
        "dagster/table_name": dg.MetadataValue.text(f"fraud.{table}"),
        "dagster/row_count": dg.MetadataValue.int(preview["_rows"][0] if preview.height else 0),
        "dagster/column_schema": dg.MetadataValue.table_schema(_columns(connection, table, tuple(columns))),
        **{name: dg.MetadataValue.column_lineage(value) for name, value in lineage.items()},
        "preview": markdown_table(_masked(preview.drop("_rows"), plan or shipped_plan())),
    }


def _masked(rows: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    personal = [name for name in rows.columns if name in plan.personal]
    return rows.with_columns(pl.when(pl.col(name).is_not_null()).then(pl.lit(MASK)).alias(name) for name in personal)


_SCHEMAS: dict[tuple[str, tuple[str, ...]], dg.TableSchema] = {}
"""By table and its columns: what a column means changes with the release, and to ask costs as much as the preview."""


def _columns(connection: Connection, table: str, names: tuple[str, ...]) -> dg.TableSchema:
    if (table, names) not in _SCHEMAS:
        _SCHEMAS[table, names] = dg.TableSchema(
            columns=[
                dg.TableColumn(
                    name=column.name,
                    type=column.kind,
                    description=column.comment,
                    constraints=dg.TableColumnConstraints(nullable=not column.required),
                )
                for column in connection.columns(table)
            ]
        )
    return _SCHEMAS[table, names]


def markdown_table(rows: pl.DataFrame) -> dg.MetadataValue:
    """``rows`` as a Markdown table: dates and numbers short, lists joined, long texts cut."""
    if rows.is_empty():
        return dg.MetadataValue.md("none")
    header = "| " + " | ".join(rows.columns) + " |"
    rule = "|" + " --- |" * rows.width
    body = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows.iter_rows()]
    return dg.MetadataValue.md("\n".join([header, rule, *body]))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < MANY_DIGITS else f"{value:,.0f}"
    if isinstance(value, list):
        return "; ".join(_cell(item) for item in value)
    text = value.isoformat(" ", "seconds") if isinstance(value, datetime) else str(value)
    if len(text) > CELL_LENGTH:
        text = text[:CELL_LENGTH] + "…"
    return text.replace("|", "\\|").replace("\n", " ")


def numbers(values: Mapping[str, float | int | None]) -> dict[str, dg.MetadataValue]:
    """Numeric metadata, which the UI's Plots tab draws over partitions; what is undefined is left out.

    Of the digits it keeps those that tell something.
    """
    return {
        name: dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(rounded(value))
        for name, value in values.items()
        if value is not None
    }


def rounded(value: float) -> float:
    """Four significant digits, and all of those before the decimal point."""
    return float(f"{value:.4g}") if abs(value) < MANY_DIGITS else float(f"{value:.0f}")


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A share with its interval, as 0.31 (0.25–0.39), on one line; … where it can't be told yet."""
    if value is None:
        return "…"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f}\u00a0({low:.2f}\u2060–\u2060{high:.2f})"


def shard_costs(engine: Engine) -> dict[str, dg.MetadataValue]:
    """What the engine's shards took since this was last asked, by step; nothing of a day computed in memory."""
    costs = engine.taken_costs()
    if not costs:
        return {}
    steps = []
    for step in dict.fromkeys(each.step for each in costs):
        seconds = sorted(each.seconds for each in costs if each.step == step)
        steps.append({"step": step, "shards": len(seconds), "median s": median(seconds), "slowest s": seconds[-1]})
    return {
        "shards": markdown_table(pl.DataFrame(steps)),
        "shards_run_by": dg.MetadataValue.text(engine.described()),
        **numbers({"shard_peak_gigabytes": max(each.peak_bytes for each in costs) / 1e9}),
    }


def link(url: str, text: str) -> str:
    """A link, in the Markdown of a table's cell."""
    return f"[{text}]({url})"


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
