"""Tables for the terminal: the days of a demo, and the figures of each model."""

from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import model_heading, narrow_table, terminal
from fraud_pipelines.errors import MissingData
from fraud_pipelines.settings import Settings

if TYPE_CHECKING:
    from fraud_pipelines.evaluation.truth import Truth
    from fraud_pipelines.storage.warehouse import Warehouse

console = terminal()


def show_days(settings: Settings, first: date, last: date, *, truth: pl.DataFrame) -> None:
    """Day by day: alerts, precision, the estimate of recall and the truth, and the threshold that was in force.

    Args:
        truth: what the simulation knows.
    """
    from fraud_pipelines.evaluation.report import daily_report
    from fraud_pipelines.evaluation.truth import truth_of_decisions

    warehouse = warehouse_of(settings)
    days = daily_report(
        warehouse,
        first,
        last,
        label_delay_days=settings.label_delay_days,
        unreported_share=settings.unreported_share,
    )
    known = truth_of_decisions(warehouse, truth)
    columns = ("alerts", "block", "caught", "prec.", "recall", "95 %", "least", "true", "review")
    table = narrow_table(
        f"Decisions by the policy {settings.policy}, {first} to {last}, by the labels known now",
        "day",
        *columns,
        numbers=columns,
    )
    for row in days.iter_rows(named=True):
        table.add_row(
            row["event_date"].strftime("%m-%d"),
            _count(row["alerts"]),
            _count(row["blocked"]),
            "" if row["alerts"] is None else f"{row['caught']:,} of {row['frauds']:,}",
            _share(row["precision"], "" if row["matured"] else "~"),
            *_recall(row),
            _share(known.recall(row["event_date"], row["event_date"]), ""),
            "" if row["review_threshold"] is None else f"{row['review_threshold']:.3f}",
        )
    table.caption = (
        f"caught: of the frauds known by now. ~: labels are given {settings.label_delay_days} days to arrive, and the "
        "day is younger. recall: an estimate for all frauds that are ever reported, with its 95 % interval; … until "
        "half of the day's chargebacks are expected to be in. least: the recall if "
        f"{settings.unreported_share:.0%} of the missed frauds are never reported, which no label can tell "
        "(FRAUD_UNREPORTED_SHARE). true: of the frauds that are ever reported; only the simulation knows. review: the "
        "threshold above which a payment was reviewed."
    )
    console.print(table)
    _show_window(warehouse, settings, known)
    kinds = (f"{row['scenario']} {row['caught']} of {row['frauds']}" for row in known.by_kind().iter_rows(named=True))
    console.print(f"Caught, by kind of fraud, never reported ones included: {', '.join(kinds)}.")


def _show_window(warehouse: "Warehouse", settings: Settings, known: "Truth") -> None:
    """The latest window of ``monitoring.model_performance``, which is what thresholds are tuned by."""
    rows = warehouse.read(
        """
        SELECT * FROM monitoring.model_performance
        WHERE model_name = $name AND channel = 'batch' ORDER BY as_of DESC LIMIT 1
        """,
        {"name": f"policy:{settings.policy}"},
    )
    for row in rows.iter_rows(named=True):
        window = row["window_start"], row["window_end"]
        recall, interval, least = _recall(row)
        told = f"{recall} ({interval}), at least {least}" if recall != "…" else "… (too few chargebacks are in)"
        true, of_all = (_share(known.recall(*window, reported_only=each), "") for each in (True, False))
        console.print(
            f"Over {window[0]} to {window[1]}: recall {told}; true: {true} of the frauds that are ever reported, "
            f"{of_all} of all."
        )
        _show_audited(row, known)


def _show_audited(row: dict[str, Any], known: "Truth") -> None:
    """What the audit sample tells of the same window, beside the truth."""
    if row["frauds_let_through"] is None:
        return
    window = row["window_start"], row["window_end"]
    recall = ""
    if row["recall_audited"] is not None:
        value, low, high = (row[f"recall_audited{bound}"] for bound in ("", "_low", "_high"))
        recall = f"; recall of all {value:.0%} ({low:.0%}–{high:.0%})"
    console.print(
        f"By the audit sample, {row['audited']:,} payments judged, {row['audited_frauds']:,} of them frauds: "
        f"{row['frauds_let_through']:,.0f} frauds let through ({row['frauds_let_through_low']:,.0f}–"
        f"{row['frauds_let_through_high']:,.0f}); true: {known.let_through(*window):,}{recall}; "
        f"{row['value_lost_audited']:,.0f} lost ({row['value_lost_audited_low']:,.0f}–"
        f"{row['value_lost_audited_high']:,.0f})."
    )


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
        unreported_share=settings.unreported_share,
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
    table.caption = (
        "frauds: those known by now. What depends on missed ones is an estimate for all that are ever reported; – "
        f"until half of their chargebacks are in. recall_lower_bound: if {settings.unreported_share:.0%} of the missed "
        "frauds are never reported (FRAUD_UNREPORTED_SHARE)."
    )
    console.print(table)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _share(value: float | None, mark: str) -> str:
    return "–" if value is None else f"{mark}{value:.0%}"


def _recall(row: dict[str, Any]) -> tuple[str, str, str]:
    """The estimate, its interval and its lower bound; … until enough chargebacks are in."""
    if row["recall"] is None:
        return "…", "", ""
    interval = f"{row['recall_low']:.0%}–{row['recall_high']:.0%}".replace("%–", "–")
    return _share(row["recall"], ""), interval, _share(row["recall_lower_bound"], "")


def _figure(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"
