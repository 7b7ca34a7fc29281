"""``fraud-pipelines compare``: all models side by side over some days, and day by day."""

from datetime import date

import polars as pl
from rich.table import Table

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import model_heading, narrow_table, terminal
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.settings import Settings

console = terminal()


def show_comparison(settings: Settings, first: date | None, last: date | None, *, cards: int) -> None:
    """Figures of every model and of amount alone; by default over the days matured by the last day that was scored.

    Raises:
        MissingData: no scores are stored for these days.
        InvalidInput: only one end of the range is given.
    """
    from fraud_pipelines.decisions.configuration import policy_in_force
    from fraud_pipelines.evaluation.comparison import compare_models
    from fraud_pipelines.evaluation.outcomes import matured_window

    warehouse = warehouse_of(settings)
    if (first is None) != (last is None):
        raise InvalidInput("Give both --from and --to, or neither.")
    if first is None or last is None:
        scored = warehouse.read("SELECT max(event_date) FROM scoring.transaction_scores").item()
        if scored is None:
            raise MissingData("No scores are stored yet. Start with fraud-pipelines demo, or fraud-pipelines run.")
        first, last = matured_window(
            scored, label_delay_days=settings.label_delay_days, evaluation_days=settings.evaluation_days
        )
    found = compare_models(
        warehouse,
        first,
        last,
        alert_share=policy_in_force(settings).contamination,
        unreported_share=settings.unreported_share,
        k=cards,
    )
    if found.models.is_empty():
        raise MissingData(
            f"No scores are stored for {first} to {last}. Run the days first, or name others with --from and --to."
        )
    console.print(_by_average_precision(found.models, f"Models, {first} to {last}, by the labels known now"))
    console.print()
    console.print(_by_cards_and_value(found.models, cards))
    console.print()
    console.print(_by_day(found.days, found.models["model_name"].to_list()))


def _by_average_precision(models: pl.DataFrame, title: str) -> Table:
    table = _table(title, "model", "AP", "95 %", "gain", "95 %", "precision", "recall")
    for row in models.iter_rows(named=True):
        gain = row["gain_over_amount"]
        table.add_row(
            row["model_name"],
            _figure(row["average_precision"]),
            _interval(row, "average_precision"),
            "" if gain is None else f"{gain:+.3f}",
            _interval(row, "gain_over_amount"),
            _figure(row["precision"]),
            _figure(row["recall"]),
        )
    table.caption = (
        "AP: average precision. gain: by how much that of a day is above what ranking by the amount alone gives, on "
        "average. A model that began later is judged by fewer days. Both, and recall, are estimates for all frauds "
        "that are ever reported; – until half of their chargebacks are in."
    )
    return table


def _by_cards_and_value(models: pl.DataFrame, cards: int) -> Table:
    table = _table(None, "model", "frauds", "alerts", f"CP@{cards}", "ceiling", "ROC AUC", "value detected")
    for row in models.iter_rows(named=True):
        names = ("card_precision_at_k", "card_precision_ceiling", "roc_auc", "value_detection_rate")
        table.add_row(
            row["model_name"], f"{row['frauds']:,}", f"{row['alerts']:,}", *(_figure(row[name]) for name in names)
        )
    table.caption = (
        f"CP@{cards}: share of compromised cards among the {cards} riskiest a day; ceiling: the most it can be. "
        "value detected: share of the amount of all frauds that was alerted."
    )
    return table


def _by_day(days: pl.DataFrame, names: list[str]) -> Table:
    table = _table("Average precision of each day (alerts)", "day", "frauds", *map(model_heading, names))
    for rows in days.partition_by("event_date", maintain_order=True):
        cells = {
            row["model_name"]: f"{_figure(row['average_precision'])} ({row['alerts']:,})"
            for row in rows.iter_rows(named=True)
        }
        table.add_row(str(rows["event_date"][0]), str(rows["frauds"].max()), *(cells.get(name, "") for name in names))
    return table


def _table(title: str | None, first: str, *figures: str) -> Table:
    return narrow_table(title, first, *figures, numbers=figures)


def _interval(row: dict[str, float | None], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if low is None or high is None else f"{low:.2f}–{high:.2f}" if low >= 0 else f"{low:.2f} to {high:.2f}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
