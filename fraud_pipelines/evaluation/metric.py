"""Further metrics: what each is computed from, and where those that there are come from."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from fraud_pipelines.evaluation import further_metrics
from fraud_pipelines.storage.connection import Connection, add_columns, describe

if TYPE_CHECKING:
    from fraud_pipelines.evaluation.metrics import Performance
    from fraud_pipelines.evaluation.windows import Window

TABLE: Final = "monitoring.model_performance"


@dataclass(frozen=True)
class Metric:
    """A figure of a window of judged days.

    Attributes:
        name: of its column, and of its line in MLflow; in lower case, with underscores.
        description: what it is, with its formula; one sentence. It is the description of the column.
        better: whether more of it is good.
        value: the figure from what the window holds and what is known of it already; null (None) where it is not
            defined. Estimates there are corrected for labels that are still to come, so that it is, too.
    """

    name: str
    description: str
    better: Literal["higher", "lower"]
    value: Callable[["Window", "Performance"], float | None]


@cache
def metrics() -> Mapping[str, Metric]:
    """All further metrics by name, in the order of their modules."""
    found: dict[str, Metric] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(further_metrics.__path__)):
        metric: Metric = importlib.import_module(f"{further_metrics.__name__}.{module}").METRIC
        if metric.name in found:
            raise RuntimeError(f"further_metrics.{module} names its metric {metric.name}, as another module does")
        found[metric.name] = metric
    return found


def add_metric_columns(connection: Connection) -> None:
    """Give the table of performance a described column for each further metric that it lacks."""
    add_columns(connection, TABLE, {name: pl.Float64() for name in metrics()})
    describe(connection, TABLE, {name: metric.description for name, metric in metrics().items()})


def metric_columns() -> str:
    """What `add_metric_columns` makes, as text: equal texts make equal columns."""
    return repr([(name, metric.description) for name, metric in metrics().items()])
