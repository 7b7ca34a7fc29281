"""What is in shadow beside what is in force: the same figures, on the same payments, by the same estimates."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.evaluation.estimates import Figure, estimate
from fraud_pipelines.evaluation.intervals import known_frauds
from fraud_pipelines.evaluation.lateness import ReportingDelay
from fraud_pipelines.storage.warehouse import Warehouse

TABLE: Final = "monitoring.shadow_performance"
SHADOW: Final = "shadow"
IN_FORCE: Final = "in force"
_HERE: Final = Path(__file__).parent
_OF: Final = ("kind", "name", "channel", "version")
_FIGURES: Final = ("precision", "recall", "f1", "value_detection_rate", "cost")


def measure_shadow(
    warehouse: Warehouse,
    as_of: date,
    chargebacks: ReportingDelay,
    *,
    policy: Policy,
    days: int,
    unreported_share: float,
) -> list[dict[str, object]]:
    """The rows of ``monitoring.shadow_performance``: two of each rule and policy that was in shadow of late.

    Of the ``days`` up to ``as_of`` those count on which it was asked of every payment, in the version it had last, by
    the labels known at the end of ``as_of``. Chargebacks that are still to come are corrected for, see `estimate`; what
    that needs is null until half of them are expected to be in.

    Args:
        policy: whose costs count.
    """
    parameters = {
        "first": as_of - timedelta(days=days - 1),
        "last": as_of,
        "known_before": as_of + timedelta(days=1),
    }
    by_day = warehouse.read((_HERE / "shadow_days.sql").read_text(), parameters)
    if by_day.is_empty():
        return []
    frauds = warehouse.read((_HERE / "shadow_frauds.sql").read_text(), parameters)
    rows: list[dict[str, object]] = []
    for of, its_days in by_day.group_by(_OF, maintain_order=True):
        key = dict(zip(_OF, of, strict=True))
        known = frauds.join(its_days.select(*_OF, "event_date"), on=(*_OF, "event_date"), how="semi")
        shared = {"as_of": as_of, **key, "window_start": its_days["event_date"].min()}
        shared |= {"window_end": its_days["event_date"].max(), "frauds": known.height}
        for arm, prefix in ((SHADOW, "shadow_"), (IN_FORCE, "")):
            figures = _figures(its_days, known, prefix, chargebacks, policy, unreported_share)
            rows.append(shared | {"arm": arm} | figures)
    return rows


def read_latest(warehouse: Warehouse) -> pl.DataFrame:
    """The rows of the last day that compared, the two of each rule and policy together, that in shadow first."""
    return warehouse.read(
        f"""
        SELECT * FROM {TABLE} WHERE as_of = (SELECT max(as_of) FROM {TABLE}) ORDER BY kind, name, channel, arm DESC
        """
    )


def _figures(
    days: pl.DataFrame,
    known: pl.DataFrame,
    prefix: str,
    chargebacks: ReportingDelay,
    policy: Policy,
    unreported_share: float,
) -> dict[str, Any]:
    payments, labelled, alerts = (int(days[name].sum()) for name in ("payments", "labelled", f"{prefix}alerts"))
    reported = chargebacks.reported(
        dict(days.select("event_date", "payments").iter_rows()), complete=labelled == payments
    )
    found = estimate(
        known_frauds(known.with_columns(alert=pl.col(f"{prefix}alert"))),
        alerts=alerts,
        labelled=labelled,
        reported=reported,
        review_cost=policy.review_cost,
        loss_share=policy.loss_share,
        unreported_share=unreported_share,
    )
    figures: dict[str, Any] = {}
    for name in _FIGURES:
        figure: Figure = getattr(found, name)
        figures |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return figures | {
        "days": days.height,
        "transactions": payments,
        "labelled": labelled,
        "hits": int(days["hits"].sum()) if prefix else alerts,
        "alerts": alerts,
        "blocks": int(days[f"{prefix}blocks"].sum()),
        "alerts_per_day": alerts / days.height,
        "recall_lower_bound": found.recall_lower_bound,
        "chargebacks_reported": reported.expected,
    }
