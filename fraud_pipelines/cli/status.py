"""``fraud-pipelines status``: what is stored, what waits for somebody, what is stale, what was rejected and why."""

from rich.console import Console
from rich.markup import escape
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

_ALERTS = 10
"""So many alerts are listed."""


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
    _show(
        warehouse,
        "Threshold proposals that wait for fraud-pipelines thresholds accept",
        """
        SELECT policy, as_of, round(current_review_threshold, 4) AS today, round(review_threshold, 4) AS proposed,
               objective
        FROM monitoring.threshold_proposals WHERE status = 'open' ORDER BY policy, as_of
        """,
    )
    _show(
        warehouse,
        f"Alerts that were not delivered, the latest {_ALERTS}",
        f"""
        SELECT strftime(created_at, '%Y-%m-%d %H:%M') AS "raised (UTC)", kind, split_part(message, chr(10), 1) AS alert,
               attempts AS tries, coalesce(error, '') AS error
        FROM monitoring.alerts WHERE delivered_at IS NULL ORDER BY created_at DESC, kind, subject LIMIT {_ALERTS}
        """,
    )
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
        table.add_row(*(escape(str(value)) for value in row))
    console.print(table)
