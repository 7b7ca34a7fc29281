"""``fraud-pipelines compare``: all models side by side over some days, and day by day."""

from datetime import date

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

console = Console()

_SHARES = ("precision", "recall", "roc_auc", "value_detection_rate")


def show_comparison(settings: Settings, first: date | None, last: date | None, *, cards: int) -> None:
    """Figures of every model and of amount alone; by default over the days matured by the last day that was scored.

    Raises:
        MissingData: no scores are stored for these days.
        InvalidInput: only one end of the range is given.
    """
    from fraud_pipelines.decisions.configuration import policy_in_force
    from fraud_pipelines.evaluation.comparison import compare_models
    from fraud_pipelines.evaluation.outcomes import matured_window

    warehouse = Warehouse(settings.warehouse_path, wait_seconds=settings.warehouse_wait_seconds)
    if (first is None) != (last is None):
        raise InvalidInput("Give both --from and --to, or neither.")
    if first is None or last is None:
        scored = warehouse.read("SELECT max(event_date) FROM scoring.transaction_scores").item()
        if scored is None:
            raise MissingData("No scores are stored yet. Start with fraud-pipelines demo, or fraud-pipelines run.")
        first, last = matured_window(
            scored, label_delay_days=settings.label_delay_days, evaluation_days=settings.evaluation_days
        )
    found = compare_models(warehouse, first, last, alert_share=policy_in_force(settings).contamination, k=cards)
    if found.models.is_empty():
        raise MissingData(
            f"No scores are stored for {first} to {last}. Run the days first, or name others with --from and --to."
        )
    console.print(_by_model(found.models, f"Models, {first} to {last}, by the labels known now", cards))
    console.print(_by_day(found.days, found.models["model_name"].to_list()))


def _by_model(models: pl.DataFrame, title: str, cards: int) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("model", "AP", "interval", "gain over amount", f"CP@{cards}", "ceiling", "alerts", "frauds"):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    for name in _SHARES:
        table.add_column(name.replace("_", " "), justify="right")
    for row in models.iter_rows(named=True):
        table.add_row(
            row["model_name"],
            _figure(row["average_precision"]),
            _interval(row, "average_precision"),
            ""
            if row["gain_over_amount"] is None
            else f"{row['gain_over_amount']:+.3f} {_interval(row, 'gain_over_amount')}",
            _figure(row["card_precision_at_k"]),
            _figure(row["card_precision_ceiling"]),
            f"{row['alerts']:,}",
            f"{row['frauds']:,}",
            *(_figure(row[name]) for name in _SHARES),
        )
    table.caption = (
        "AP: average precision, with its 95 % interval. gain: mean daily difference. amount: no model at all."
    )
    return table


def _by_day(days: pl.DataFrame, names: list[str]) -> Table:
    table = Table(title="Average precision of each day (alerts)", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("day", "frauds", *names):
        table.add_column(name, justify="left" if name == "day" else "right", no_wrap=True)
    for rows in days.partition_by("event_date", maintain_order=True):
        cells = {
            row["model_name"]: f"{_figure(row['average_precision'])} ({row['alerts']:,})"
            for row in rows.iter_rows(named=True)
        }
        table.add_row(str(rows["event_date"][0]), str(rows["frauds"].max()), *(cells.get(name, "") for name in names))
    return table


def _interval(row: dict[str, float | None], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
