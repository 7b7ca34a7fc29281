"""The report as it is kept: its figures in the warehouse, and its page in a file."""

from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.evaluation.weekly.rendering import as_html, file_name
from fraud_pipelines.evaluation.weekly.table import Report
from fraud_pipelines.storage.warehouse import Warehouse

TABLE: Final = "monitoring.weekly_figures"


def store_figures(warehouse: Warehouse, report: Report) -> int:
    """Replace the figures of the report's week; returns how many there are."""
    schema = warehouse.read(f"SELECT * FROM {TABLE} LIMIT 0").schema
    rows = pl.DataFrame(list(report.figures()), schema=schema)
    warehouse.overwrite(TABLE, rows, week=report.monday)
    return rows.height


def write_page(report: Report, folder: Path) -> Path:
    """Write the page into ``folder``, whole or not at all, in the place of an earlier one of the week."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(report)
    aside = path.with_suffix(".tmp")
    aside.write_text(as_html(report), encoding="utf-8")
    aside.replace(path)
    return path
