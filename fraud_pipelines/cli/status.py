"""``fraud-pipelines status``: what is stored, what is stale, what was rejected and why."""

from rich.console import Console
from rich.table import Table

from fraud_pipelines.errors import MissingData
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

console = Console()

_TABLES = (
    ("raw.transactions", "event_date"),
    ("features.transaction_features", "event_date"),
    ("scoring.transaction_scores", "event_date"),
    ("scoring.decisions", "event_date"),
    ("feedback.labels", "known_at::DATE"),
    ("monitoring.model_performance", "as_of"),
    ("monitoring.decision_thresholds", "effective_date"),
)


def show_status(settings: Settings) -> None:
    """Print the state of the warehouse.

    Raises:
        MissingData: there is no warehouse yet.
    """
    if not settings.warehouse_path.exists():
        raise MissingData(
            f"There is no warehouse at {settings.warehouse_path}. Start with: fraud-pipelines demo, or "
            "fraud-pipelines import PATH"
        )
    warehouse = Warehouse(settings.warehouse_path, wait_seconds=settings.warehouse_wait_seconds)
    _show_tables(warehouse)
    _show(warehouse, "Days that wait for a rerun", "SELECT event_date, reason FROM raw.stale_days ORDER BY ALL")
    for kind in ("raw.rejected_transactions", "feedback.rejected_labels"):
        _show(
            warehouse,
            f"Quarantine: {kind}",
            f"SELECT source, reason, count(*) AS rows FROM {kind} GROUP BY ALL ORDER BY ALL LIMIT 20",
        )


def _show_tables(warehouse: Warehouse) -> None:
    existing = set(
        warehouse.read("SELECT table_schema || '.' || table_name FROM information_schema.tables").to_series().to_list()
    )
    table = Table(title=f"Warehouse {warehouse.path}")
    for name in ("table", "rows", "first day", "last day"):
        table.add_column(name, justify="right" if name == "rows" else "left")
    for name, day in _TABLES:
        if name in existing:
            rows, first, last = warehouse.read(f"SELECT count(*), min({day}), max({day}) FROM {name}").row(0)
            table.add_row(name, f"{rows:,}", str(first or ""), str(last or ""))
    console.print(table)


def _show(warehouse: Warehouse, title: str, query: str) -> None:
    rows = warehouse.read(query)
    if rows.is_empty():
        console.print(f"{title}: none")
        return
    table = Table(*rows.columns, title=title)
    for row in rows.iter_rows():
        table.add_row(*(str(value) for value in row))
    console.print(table)
