"""Points of MLflow's metrics: finite ones, and to a run that says them already none are added."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_LOGGED: Final = "logged_steps"
"""Tag of a run: step → short hash of what was logged there, as JSON. It spares a query for each metric and step."""

_STEPS_REMEMBERED: Final = 250
"""MLflow's tags hold 8,000 characters."""


def day_time(day: date) -> int:
    """The noon of a day (UTC) in ms since 1970, as the time of a point.

    MLflow's charts by time then show the day's date, in nearly every time zone.
    """
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000)


def metric_points(values: Mapping[str, float], *, timestamp: int, step: int) -> "list[Metric]":
    """A point for each value that is finite; ``timestamp`` in ms since 1970."""
    from mlflow.entities import Metric

    return [Metric(name, float(value), timestamp, step) for name, value in values.items() if math.isfinite(value)]


def logged_steps(points: "Iterable[Metric]", known: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tag of a run that has ``points``, beside the steps it is ``known`` to have."""
    by_step: dict[int, list[tuple[str, float]]] = {}
    for point in points:
        by_step.setdefault(point.step, []).append((point.key, point.value))
    hashes = {
        str(step): hashlib.sha256(repr(sorted(values)).encode()).hexdigest()[:8] for step, values in by_step.items()
    }
    steps = sorted((_steps_of(known or {}) | hashes).items(), key=lambda each: int(each[0]))
    return {_LOGGED: json.dumps(dict(steps[-_STEPS_REMEMBERED:]), separators=(",", ":"))}


def log_step(
    client: "MlflowClient",
    run: "Run",
    values: Mapping[str, float],
    *,
    timestamp: int,
    step: int,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Add what is finite of ``values`` to a run at a step, in one batch, unless the run has them already.

    A value that changed becomes the newest point of its step: of the points of a step MLflow shows the latest.
    """
    from mlflow.entities import RunTag

    points = metric_points(values, timestamp=timestamp, step=step)
    known = _steps_of(run.data.tags)
    logged = logged_steps(points, run.data.tags)
    if not points or _steps_of(logged).get(str(step)) == known.get(str(step)):
        return
    if run.data.metrics and (not known or step <= max(map(int, known))):
        points = _new_points(client, run, points)
    texts = {**logged, **(tags or {})}
    client.log_batch(run.info.run_id, metrics=points, tags=[RunTag(name, text) for name, text in texts.items()])


def _steps_of(tags: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = json.loads(tags.get(_LOGGED, "{}"))
    return found


def _new_points(client: "MlflowClient", run: "Run", points: "Iterable[Metric]") -> "list[Metric]":
    """Those of ``points`` that say something else than the newest of their step, moved after it.

    Of equally late ones MLflow shows the largest value.
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
