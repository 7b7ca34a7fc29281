"""Comparison: every model that scored the same days, side by side and day by day, and no model at all beside them."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from fraud_pipelines.evaluation.bands import bands_of
from fraud_pipelines.evaluation.cards import CARDS_A_DAY
from fraud_pipelines.evaluation.judged import JudgedDays
from fraud_pipelines.evaluation.metrics import average_precision_of_days, measure
from fraud_pipelines.evaluation.outcomes import last_known_day, matured_window
from fraud_pipelines.evaluation.paired import paired_difference
from fraud_pipelines.evaluation.summaries import AMOUNT, BATCH
from fraud_pipelines.evaluation.windows import Window
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

_FIGURES: Final = (
    "transactions",
    "frauds",
    "alerts",
    "precision",
    "recall",
    "recall_low",
    "recall_high",
    "recall_lower_bound",
    "average_precision",
    "average_precision_low",
    "average_precision_high",
    "roc_auc",
    "card_precision_at_k",
    "card_precision_ceiling",
    "value_detection_rate",
)


@dataclass(frozen=True)
class Comparison:
    """The models of a range of days.

    ``models``: a row for each model, the best first: ``model_name``, ``rank``, ``days``, the figures of
    `Performance`, and ``gain_over_amount`` with its 95 % interval. ``days``: a row for each day and model:
    ``event_date``, ``model_name``, ``transactions``, ``frauds``, ``alerts``, ``caught``, ``average_precision``
    (null on a day without a known fraud, and where too few chargebacks are in). ``bands``: by model, what
    `bands_of` gives.
    """

    models: pl.DataFrame
    days: pl.DataFrame
    bands: dict[str, pl.DataFrame]

    def average_precision(self) -> dict[str, float | None]:
        """By model, over the whole range."""
        return dict(self.models.select("model_name", "average_precision").iter_rows())


def compare_as_of(warehouse: Warehouse, settings: Settings, day: date, *, alert_share: float) -> Comparison:
    """All models over the matured window, by what was known at the end of ``day``; empty while no day has matured."""
    first, last = matured_window(
        day, label_delay_days=settings.label_delay_days, evaluation_days=settings.evaluation_days
    )
    return compare_models(
        warehouse, first, last, alert_share=alert_share, as_of=day, unreported_share=settings.unreported_share
    )


def comparison_rows(warehouse: Warehouse, settings: Settings, day: date, comparison: Comparison) -> pl.DataFrame:
    """The rows of ``monitoring.model_comparison`` as of ``day``."""
    first, last = matured_window(
        day, label_delay_days=settings.label_delay_days, evaluation_days=settings.evaluation_days
    )
    schema = warehouse.read("SELECT * FROM monitoring.model_comparison LIMIT 0").schema
    return comparison.models.with_columns(
        as_of=pl.lit(day), window_start=pl.lit(first), window_end=pl.lit(last)
    ).select(pl.col(name).cast(kind) for name, kind in schema.items())


def compare_models(
    warehouse: Warehouse,
    first: date,
    last: date,
    *,
    alert_share: float,
    as_of: date | None = None,
    unreported_share: float = 0.0,
    k: int = CARDS_A_DAY,
    channel: str = "batch",
) -> Comparison:
    """All models that scored in ``first`` to ``last``, and the amount alone.

    What the deciding model caught is known at once, what others would have caught only by its chargeback: so the
    latter stand for those that are still to come, as in `metrics.measure`, for all models alike.

    Args:
        alert_share: share of a day's transactions that the amount alone would alert: what the models are meant to.
        as_of: use labels known by the end of that day; by default the last of which anything is stored.
        unreported_share: share of the missed frauds that nobody ever reports.
        k: cards a day for the card precision.
    """
    judged = JudgedDays(warehouse, as_of or last_known_day(warehouse) or last, first, last)
    with warehouse.connect(read_only=True):
        names = [name for name, of_channel in judged.summaries.names(first, last) if of_channel == channel]
        windows = {name: judged.window(name, channel, first, last) for name in names}
        if windows:
            windows[AMOUNT] = judged.window(AMOUNT, BATCH, first, last, alert_share=alert_share)
        reported = {name: judged.reported(window) for name, window in windows.items()}
    daily = {
        name: average_precision_of_days(window, reported[name]) if reported[name].half_in else {}
        for name, window in windows.items()
    }
    rows = []
    for name, window in windows.items():
        gain = paired_difference(daily[name], daily[AMOUNT]) if name != AMOUNT else None
        measured = vars(
            measure(window, review_cost=0.0, reported=reported[name], unreported_share=unreported_share, k=k)
        )
        rows.append(
            {
                "model_name": name,
                "days": len(window.days),
                **{figure: measured[figure] for figure in _FIGURES},
                "gain_over_amount": gain and gain.mean,
                "gain_over_amount_low": gain and gain.low,
                "gain_over_amount_high": gain and gain.high,
            }
        )
    models = pl.DataFrame(rows, schema=_MODELS_SCHEMA, orient="row").with_columns(
        rank=pl.col("average_precision").rank("min", descending=True).cast(pl.Int32)
    )
    return Comparison(
        models=models.sort("rank", "model_name", nulls_last=True),
        days=_days(windows, daily),
        bands={name: bands_of(window, reported[name]) for name, window in windows.items() if name != AMOUNT},
    )


_MODELS_SCHEMA: Final[dict[str, pl.DataType]] = {
    "model_name": pl.String(),
    "days": pl.Int64(),
    **{name: pl.Int64() if name in {"transactions", "frauds", "alerts"} else pl.Float64() for name in _FIGURES},
    "gain_over_amount": pl.Float64(),
    "gain_over_amount_low": pl.Float64(),
    "gain_over_amount_high": pl.Float64(),
}
_DAYS_SCHEMA: Final[dict[str, pl.DataType]] = {
    "event_date": pl.Date(),
    "model_name": pl.String(),
    **{name: pl.Int64() for name in ("transactions", "frauds", "alerts", "caught")},
    "average_precision": pl.Float64(),
}


def _days(windows: dict[str, Window], daily: dict[str, dict[date, float]]) -> pl.DataFrame:
    rows = []
    for name, window in windows.items():
        caught = dict(window.frauds.group_by("event_date").agg(pl.col("alert").sum()).iter_rows())
        frauds = dict(window.frauds.group_by("event_date").len().iter_rows())
        rows += [
            (
                day.event_date,
                name,
                day.transactions,
                frauds.get(day.event_date, 0),
                day.alerts,
                caught.get(day.event_date, 0),
                daily[name].get(day.event_date),
            )
            for day in window.days
        ]
    return pl.DataFrame(rows, schema=_DAYS_SCHEMA, orient="row").sort("event_date", "model_name")
