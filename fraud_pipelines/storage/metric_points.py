"""Points of MLflow's metrics: finite ones, added to a step only where they say something new."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run


def metric_points(values: Mapping[str, float], *, timestamp: int, step: int) -> "list[Metric]":
    """A point for each value that is finite; ``timestamp`` in ms since 1970."""
    from mlflow.entities import Metric

    return [Metric(name, float(value), timestamp, step) for name, value in values.items() if math.isfinite(value)]


def new_points(client: "MlflowClient", run: "Run", points: "Iterable[Metric]") -> "list[Metric]":
    """Those of ``points`` that say something else than the newest of their step, moved after it.

    Of the points of a step MLflow shows the latest, and of equally late ones the largest value.
    """
    found = []
    for point in points:
        known = run.data.metrics
        history = client.get_metric_history(run.info.run_id, point.key) if point.key in known else []
        of_step = [each for each in history if each.step == point.step]
        newest = max(of_step, key=lambda each: (each.timestamp, each.value), default=None)
        if newest is None:
            found.append(point)
        elif newest.value != point.value:
            after = max(point.timestamp, newest.timestamp + 1)
            found += metric_points({point.key: point.value}, timestamp=after, step=point.step)
    return found
