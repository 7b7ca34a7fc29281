"""The share of all payments that is alerted."""

from typing import TYPE_CHECKING

from fraud_pipelines.evaluation.metric import Metric

if TYPE_CHECKING:
    from fraud_pipelines.evaluation.metrics import Performance
    from fraud_pipelines.evaluation.windows import Window


def _value(_: "Window", performance: "Performance") -> float | None:
    return performance.alerts / performance.transactions if performance.transactions else None


METRIC = Metric(
    name="alert_rate",
    description="Share of all payments that is alerted, alerts / transactions.",
    better="lower",
    value=_value,
)
