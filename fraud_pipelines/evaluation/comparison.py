"""Comparison: every model that scored the same days, side by side and day by day, and no model at all beside them."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.evaluation.cards import CARDS_A_DAY
from fraud_pipelines.evaluation.metrics import performance
from fraud_pipelines.evaluation.outcomes import last_known_day, matured_window, reporting_delay
from fraud_pipelines.evaluation.paired import daily_average_precision, paired_difference
from fraud_pipelines.evaluation.training_report import score_bands
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

BASELINE: Final = "amount"
"""No model: the largest amounts of a day first. A model worse than that is worth nothing."""

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
_SCORES_SQL: Final = Path(__file__).with_name("report_scores.sql")


@dataclass(frozen=True)
class Comparison:
    """The models of a range of days.

    ``models``: a row for each model, the best first: ``model_name``, ``rank``, ``days``, the figures of
    `Performance`, and ``gain_over_amount`` with its 95 % interval. ``days``: a row for each day and model:
    ``event_date``, ``model_name``, ``transactions``, ``frauds``, ``alerts``, ``caught``, ``average_precision``
    (null on a day without a known fraud, and where too few chargebacks are in). ``bands``: by model, what
    `score_bands` gives.
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
    latter stand for those that are still to come, as in `metrics.performance`, for all models alike.

    Args:
        alert_share: share of a day's transactions that the amount alone would alert: what the models are meant to.
        as_of: use labels known by the end of that day; by default the last of which anything is stored.
        unreported_share: share of the missed frauds that nobody ever reports.
        k: cards a day for the card precision.
    """
    known_until = as_of or last_known_day(warehouse) or last
    scores = warehouse.read(
        _SCORES_SQL.read_text(),
        {
            "first": first,
            "last": last,
            "channel": channel,
            "known_before": known_until + timedelta(days=1),
            "known_cards": False,
            "training_days": 0,
            "delay": 0,
        },
    )
    by_name = {str(name): rows for (name,), rows in scores.group_by("model_name", maintain_order=True)}
    if by_name:
        by_name[BASELINE] = _by_amount(scores, alert_share)
    chargebacks = reporting_delay(warehouse, known_until)
    reported = {name: chargebacks.reported_of(rows) for name, rows in by_name.items()}
    daily = {
        name: daily_average_precision(rows, reported[name]) if reported[name].half_in else {}
        for name, rows in by_name.items()
    }
    rows = []
    for name, outcomes in by_name.items():
        gain = paired_difference(daily[name], daily[BASELINE]) if name != BASELINE else None
        measured = vars(
            performance(outcomes, review_cost=0.0, reported=reported[name], unreported_share=unreported_share, k=k)
        )
        rows.append(
            {
                "model_name": name,
                "days": outcomes["event_date"].n_unique(),
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
        days=_days(by_name, daily),
        bands={name: score_bands(outcomes, reported[name]) for name, outcomes in by_name.items() if name != BASELINE},
    )


_MODELS_SCHEMA: Final[dict[str, pl.DataType]] = {
    "model_name": pl.String(),
    "days": pl.Int64(),
    **{name: pl.Int64() if name in {"transactions", "frauds", "alerts"} else pl.Float64() for name in _FIGURES},
    "gain_over_amount": pl.Float64(),
    "gain_over_amount_low": pl.Float64(),
    "gain_over_amount_high": pl.Float64(),
}


def _by_amount(scores: pl.DataFrame, alert_share: float) -> pl.DataFrame:
    """Every transaction once, scored by its amount; the largest of a day are alerts."""
    once = scores.unique("transaction_id", keep="first", maintain_order=True)
    rank = pl.col("amount").rank("max", descending=True).over("event_date")
    return once.with_columns(
        model_name=pl.lit(BASELINE),
        score=pl.col("amount"),
        raw_score=pl.col("amount"),
        alert=rank <= alert_share * pl.len().over("event_date"),
    )


def _days(by_name: dict[str, pl.DataFrame], daily: dict[str, dict[date, float]]) -> pl.DataFrame:
    counted = [
        outcomes.group_by("event_date").agg(
            pl.lit(name).alias("model_name"),
            pl.len().cast(pl.Int64).alias("transactions"),
            pl.col("is_fraud").sum().cast(pl.Int64).alias("frauds"),
            pl.col("alert").sum().cast(pl.Int64).alias("alerts"),
            (pl.col("alert") & pl.col("is_fraud")).sum().cast(pl.Int64).alias("caught"),
        )
        for name, outcomes in by_name.items()
    ]
    precisions = pl.DataFrame(
        [(day, name, value) for name, of_model in daily.items() for day, value in of_model.items()],
        schema={"event_date": pl.Date, "model_name": pl.String, "average_precision": pl.Float64},
        orient="row",
    )
    nothing = precisions.select("event_date", "model_name").with_columns(
        *(pl.lit(0, dtype=pl.Int64).alias(name) for name in ("transactions", "frauds", "alerts", "caught"))
    )
    return (
        pl.concat([nothing.clear(), *counted])
        .join(precisions, on=["event_date", "model_name"], how="left")
        .sort("event_date", "model_name")
    )
