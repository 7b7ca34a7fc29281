"""What a day's features cost in the warehouse after a week of history, and after sixty days."""

import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse

FIRST: Final = date(2026, 3, 1)
AFTER: Final = (7, 60)
DAY_ROWS: Final = 20_000
USERS: Final = 10_000
IN_A_ROW: Final = 5
DAYS: Final = max(AFTER) + IN_A_ROW


def days(transactions: pl.DataFrame) -> dict[int, dict[str, float]]:
    """Seconds of `derive_day` after so many days of history, of `IN_A_ROW` days: median wall and CPU, worst wall.

    The worst are days on which DuckDB writes its log into the file, which happens every few days.

    Args:
        transactions: `DAYS` × `DAY_ROWS` of them; their timestamps are spread anew, evenly over the days from `FIRST`.
    """
    with tempfile.TemporaryDirectory() as directory:
        warehouse = Warehouse(Path(directory) / "fraud.duckdb")
        warehouse.initialise()
        _store(warehouse, transactions)
        costs = [_cost(warehouse, FIRST + timedelta(days=number)) for number in range(DAYS)]
    found = {}
    for after in AFTER:
        wall, cpu = (sorted(cost[kind] for cost in costs[after : after + IN_A_ROW]) for kind in ("wall", "cpu"))
        found[after] = {"wall": wall[IN_A_ROW // 2], "cpu": cpu[IN_A_ROW // 2], "worst": wall[-1]}
    return found


def _cost(warehouse: Warehouse, day: date) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    report = derive_day(warehouse, day, plan=shipped_plan())
    if report.rows != DAY_ROWS:
        raise RuntimeError(f"{day} has {report.rows} rows, expected {DAY_ROWS}")
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def _store(warehouse: Warehouse, transactions: pl.DataFrame) -> None:
    start = pl.datetime(FIRST.year, FIRST.month, FIRST.day, time_unit="us")
    apart = timedelta(days=1) // timedelta(microseconds=1) // DAY_ROWS
    spread = start + pl.duration(microseconds=pl.int_range(pl.len()) * apart)
    rows = transactions.with_columns(timestamp=spread).with_columns(
        event_date=pl.col("timestamp").dt.date(), source=pl.lit("benchmark"), ingested_at=pl.col("timestamp")
    )
    with warehouse.transaction() as connection:
        insert(connection, "raw.transactions", rows)
