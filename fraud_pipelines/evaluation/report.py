"""Reports over a range of days with what is known now: day by day, and model by model."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from fraud_pipelines.evaluation.cards import CARDS_A_DAY
from fraud_pipelines.evaluation.estimates import estimate
from fraud_pipelines.evaluation.intervals import known_frauds
from fraud_pipelines.evaluation.judged import JudgedDays
from fraud_pipelines.evaluation.lateness import ReportingDelay
from fraud_pipelines.evaluation.metrics import measure
from fraud_pipelines.evaluation.outcomes import last_known_day, reporting_delay
from fraud_pipelines.evaluation.windows import Window, window_of
from fraud_pipelines.storage.warehouse import Warehouse

_HERE: Final = Path(__file__).parent

_MODEL_REPORT: Final[dict[str, pl.DataType]] = {
    "model_name": pl.String(),
    "days": pl.Int64(),
    "transactions": pl.Int64(),
    "frauds": pl.Int64(),
    "alerts": pl.Int64(),
    "precision": pl.Float64(),
    "recall": pl.Float64(),
    "recall_low": pl.Float64(),
    "recall_high": pl.Float64(),
    "recall_lower_bound": pl.Float64(),
    "average_precision": pl.Float64(),
    "average_precision_low": pl.Float64(),
    "average_precision_high": pl.Float64(),
    "roc_auc": pl.Float64(),
    "card_precision_at_k": pl.Float64(),
    "card_precision_ceiling": pl.Float64(),
}
_ESTIMATES: Final = (
    "precision",
    "recall",
    "recall_low",
    "recall_high",
    "recall_lower_bound",
    "chargebacks_reported",
)


def daily_report(
    warehouse: Warehouse,
    first: date,
    last: date,
    *,
    label_delay_days: int,
    unreported_share: float = 0.0,
    as_of: date | None = None,
    channel: str = "batch",
) -> pl.DataFrame:
    """One row for each day from ``first`` to ``last`` that has transactions.

    Args:
        label_delay_days: days after which a transaction without a label counts as legitimate.
        unreported_share: share of the missed frauds that nobody ever reports.
        as_of: the day at whose end to look; by default the last day of which a label or transaction is stored.

    Returns:
        ``event_date``, ``transactions``, ``alerts``, ``blocked``, ``reviewed`` (alerts with a label), ``frauds``
        (known), ``caught`` (of them, alerts), ``matured`` (the labels have had their time), the ``review_threshold``
        that was in force, and, each by `estimate` of the one day, ``precision`` (of a day that hasn't matured an
        early reading), ``recall``, ``recall_low``, ``recall_high``, ``recall_lower_bound`` and
        ``chargebacks_reported``. Null where undefined, or where the day has no decisions.
    """
    known_until = as_of or last_known_day(warehouse) or last
    of_days = {"first": first, "last": last, "channel": channel, "known_before": _end(known_until)}
    with warehouse.connect(read_only=True):
        days = warehouse.read(
            _query("daily_report"), of_days | {"matured_until": known_until - timedelta(days=label_delay_days)}
        )
        frauds = warehouse.read(_query("known_frauds"), of_days)
        chargebacks = reporting_delay(warehouse, known_until)
    return days.drop("labelled").hstack(
        pl.DataFrame(
            [
                _day_estimates(row, frauds.filter(event_date=row["event_date"]), chargebacks, unreported_share)
                for row in days.iter_rows(named=True)
            ],
            schema=dict.fromkeys(_ESTIMATES, pl.Float64()),
        )
    )


def _day_estimates(
    day: dict[str, Any], frauds: pl.DataFrame, chargebacks: ReportingDelay, unreported_share: float
) -> dict[str, float | None]:
    if day["alerts"] is None:
        return dict.fromkeys(_ESTIMATES)
    reported = chargebacks.reported(
        {day["event_date"]: day["transactions"]}, complete=day["labelled"] == day["transactions"]
    )
    found = estimate(
        known_frauds(frauds),
        alerts=day["alerts"],
        labelled=day["labelled"],
        reported=reported,
        review_cost=0.0,
        loss_share=1.0,
        unreported_share=unreported_share,
    )
    return {
        "precision": found.precision.value,
        "recall": found.recall.value,
        "recall_low": found.recall.low,
        "recall_high": found.recall.high,
        "recall_lower_bound": found.recall_lower_bound,
        "chargebacks_reported": reported.expected,
    }


def model_report(
    warehouse: Warehouse,
    first: date,
    last: date,
    *,
    k: int = CARDS_A_DAY,
    known_cards_training_days: int | None = None,
    label_delay_days: int = 7,
    unreported_share: float = 0.0,
    as_of: date | None = None,
    channel: str = "batch",
) -> pl.DataFrame:
    """One row for each model that scored in the range, over all its scores there, by name.

    Args:
        k: cards a day for the card precision.
        known_cards_training_days: set it to follow the protocol of the Fraud Detection Handbook, where a card known
            to be compromised is no longer tested: those of so many training days that end ``label_delay_days``
            before the range, and for each later day d also those up to d − delay − 1.
        unreported_share: share of the missed frauds that nobody ever reports.
        as_of: use labels known by the end of that day; by default the last day of which anything is stored.

    Returns:
        ``model_name``, ``days``, ``transactions``, ``frauds`` (known), ``alerts``, ``precision``, ``recall`` and
        ``average_precision`` with their 95 % intervals (``_low``, ``_high``), ``recall_lower_bound``, ``roc_auc``,
        ``card_precision_at_k`` and ``card_precision_ceiling``.
    """
    known_until = as_of or last_known_day(warehouse) or last
    judged = JudgedDays(warehouse, known_until, first, last)
    with warehouse.connect(read_only=True):
        if known_cards_training_days is None:
            windows = {
                name: judged.window(name, of_channel, first, last)
                for name, of_channel in judged.summaries.names(first, last)
                if of_channel == channel
            }
        else:
            windows = _without_known_cards(
                warehouse,
                {
                    "first": first,
                    "last": last,
                    "channel": channel,
                    "known_before": _end(known_until),
                    "training_days": known_cards_training_days,
                    "delay": label_delay_days,
                },
            )
        reported = {name: judged.reported(window) for name, window in windows.items()}
    rows = [
        {"model_name": name, "days": len(window.days)}
        | vars(measure(window, review_cost=0.0, reported=reported[name], unreported_share=unreported_share, k=k))
        for name, window in windows.items()
    ]
    return pl.DataFrame(
        [{column: row[column] for column in _MODEL_REPORT} for row in rows], schema=_MODEL_REPORT, orient="row"
    )


def _without_known_cards(warehouse: Warehouse, parameters: dict[str, object]) -> dict[str, Window]:
    """By model, the scores of cards that aren't known to be compromised."""
    scores = warehouse.read(_query("report_scores"), parameters)
    return {str(name): window_of(rows) for (name,), rows in scores.group_by("model_name", maintain_order=True)}


def _end(day: date) -> datetime:
    return datetime(day.year, day.month, day.day) + timedelta(days=1)


def _query(name: str) -> str:
    return (_HERE / f"{name}.sql").read_text()
