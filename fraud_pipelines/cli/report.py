"""Tables for the terminal: the days of a demo, and the figures of each model."""

from datetime import date

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import model_heading, narrow_table, terminal
from fraud_pipelines.errors import MissingData
from fraud_pipelines.settings import Settings

console = terminal()


def show_days(settings: Settings, first: date, last: date) -> None:
    """Day by day: alerts, precision and recall as known now, and the threshold that was in force."""
    from fraud_pipelines.evaluation.report import daily_report

    days = daily_report(warehouse_of(settings), first, last, label_delay_days=settings.label_delay_days)
    table = Table(
        title=f"Decisions by the policy {settings.policy}, by the labels known now",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("day", "alerts", "blocked", "frauds", "caught", "precision", "recall", "threshold"):
        table.add_column(name, justify="left" if name == "day" else "right", no_wrap=True)
    for row in days.iter_rows(named=True):
        matured = row["matured"]
        table.add_row(
            str(row["event_date"]),
            _count(row["alerts"]),
            _count(row["blocked"]),
            _count(row["frauds"]),
            _count(row["caught"]),
            _share(row["precision"], "" if matured else "~"),
            _share(row["recall"], "") if matured else "…",
            "" if row["review_threshold"] is None else f"{row['review_threshold']:.3f}",
        )
    table.caption = (
        f"frauds: those known by now. ~ and …: labels are given {settings.label_delay_days} days to arrive, "
        "and the day is younger."
    )
    console.print(table)


def show_models(settings: Settings, first: date, last: date, *, cards: int, known_cards_removed: bool) -> None:
    """Figures of each model over ``first`` to ``last``, with the labels known now.

    Raises:
        MissingData: no scores are stored for these days.
    """
    from fraud_pipelines.evaluation.report import model_report

    models = model_report(
        warehouse_of(settings),
        first,
        last,
        k=cards,
        known_cards_training_days=settings.training_days if known_cards_removed else None,
        label_delay_days=settings.label_delay_days,
    )
    if models.is_empty():
        raise MissingData(
            f"No scores are stored for {first} to {last}. Run the days first: "
            f"fraud-pipelines run --from {first} --to {last}"
        )
    names = [model_heading(name) for name in models["model_name"]]
    table = narrow_table(f"Models, {first} to {last}, by the labels known now", "", *names, numbers=tuple(names))
    for column in models.columns[1:]:
        table.add_row(column.replace("_at_k", f"@{cards}"), *(_figure(value) for value in models[column]))
    console.print(table)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _share(value: float | None, mark: str) -> str:
    return "–" if value is None else f"{mark}{value:.0%}"


def _figure(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"
