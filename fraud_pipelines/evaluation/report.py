"""Reports over a range of days with what is known now: day by day, and model by model."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.evaluation.metrics import CARDS_A_DAY, performance
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
    "average_precision": pl.Float64(),
    "average_precision_low": pl.Float64(),
    "average_precision_high": pl.Float64(),
    "roc_auc": pl.Float64(),
    "card_precision_at_k": pl.Float64(),
    "card_precision_ceiling": pl.Float64(),
}


def daily_report(
    warehouse: Warehouse,
    first: date,
    last: date,
    *,
    label_delay_days: int,
    as_of: date | None = None,
    channel: str = "batch",
) -> pl.DataFrame:
    """One row for each day from ``first`` to ``last`` that has transactions.

    Args:
        label_delay_days: days after which a transaction without a label counts as legitimate.
        as_of: the day at whose end to look; by default the last day of which a label or transaction is stored.

    Returns:
        ``event_date``, ``transactions``, ``alerts``, ``blocked``, ``reviewed`` (alerts with a label), ``frauds``
        (known), ``caught`` (of them, alerts), ``precision``, ``recall``, ``matured`` (the labels have had their
        time; before, both figures are early readings) and the ``review_threshold`` that was in force. Null where
        undefined, or where the day has no decisions.
    """
    known_until = as_of or _last_known_day(warehouse) or last
    return warehouse.read(
        _query("daily_report"),
        {
            "first": first,
            "last": last,
            "channel": channel,
            "known_before": _end(known_until),
            "matured_until": known_until - timedelta(days=label_delay_days),
        },
    )


def model_report(
    warehouse: Warehouse,
    first: date,
    last: date,
    *,
    k: int = CARDS_A_DAY,
    known_cards_training_days: int | None = None,
    label_delay_days: int = 7,
    as_of: date | None = None,
    channel: str = "batch",
) -> pl.DataFrame:
    """One row for each model that scored in the range, over all its scores there, by name.

    Args:
        k: cards a day for the card precision.
        known_cards_training_days: set it to follow the protocol of the Fraud Detection Handbook, where a card known
            to be compromised is no longer tested: those of so many training days that end ``label_delay_days``
            before the range, and for each later day d also those up to d − delay − 1.
        as_of: use labels known by the end of that day; by default all.

    Returns:
        ``model_name``, ``days``, ``transactions``, ``frauds``, ``alerts``, ``precision``, ``recall``,
        ``average_precision`` with its 95 % interval (``_low``, ``_high``), ``roc_auc``, ``card_precision_at_k`` and
        ``card_precision_ceiling``.
    """
    scores = warehouse.read(
        _query("report_scores"),
        {
            "first": first,
            "last": last,
            "channel": channel,
            "known_before": _end(as_of) if as_of else datetime.max,
            "known_cards": known_cards_training_days is not None,
            "training_days": known_cards_training_days or 0,
            "delay": label_delay_days,
        },
    )
    rows = [
        {"model_name": name, "days": of_model["event_date"].n_unique()}
        | vars(performance(of_model, review_cost=0.0, k=k))
        for (name,), of_model in scores.group_by("model_name", maintain_order=True)
    ]
    return pl.DataFrame(
        [{column: row[column] for column in _MODEL_REPORT} for row in rows], schema=_MODEL_REPORT, orient="row"
    )


def _last_known_day(warehouse: Warehouse) -> date | None:
    """The last day of which the warehouse knows anything."""
    found = warehouse.read(
        """
        SELECT greatest((SELECT max(known_at)::DATE FROM feedback.labels),
                        (SELECT max(event_date) FROM raw.transactions)) AS day
        """
    ).item()
    return found if isinstance(found, date) else None


def _end(day: date) -> datetime:
    return datetime(day.year, day.month, day.day) + timedelta(days=1)


def _query(name: str) -> str:
    return (_HERE / f"{name}.sql").read_text()
