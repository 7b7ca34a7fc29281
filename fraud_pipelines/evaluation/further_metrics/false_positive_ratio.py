"""How many false alerts there are for each fraud that is caught."""

from typing import TYPE_CHECKING

from fraud_pipelines.evaluation.metric import Metric

if TYPE_CHECKING:
    from fraud_pipelines.evaluation.metrics import Performance
    from fraud_pipelines.evaluation.windows import Window


def _value(_: "Window", performance: "Performance") -> float | None:
    precision = performance.precision
    return (1 - precision) / precision if precision else None


METRIC = Metric(
    name="false_positive_ratio",
    description="False alerts for each fraud that is caught, (1 - precision) / precision.",
    better="lower",
    value=_value,
)
