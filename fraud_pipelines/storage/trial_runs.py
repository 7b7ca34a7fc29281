"""Trial runs: in MLflow, an experiment of its own, a run for each trial and below it one for each set of models."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fraud_pipelines.storage.metric_points import metric_points
from fraud_pipelines.storage.metric_series import day_step
from fraud_pipelines.storage.mlflow_connection import TRIAL_EXPERIMENT, connect, errors_named, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_KIND: Final = {"mlflow.experimentKind": "custom_model_development"}

_POINTS_AT_ONCE: Final = 1_000
"""MLflow takes no more in one request."""


@dataclass(frozen=True)
class SetRun:
    """The run of one set of models: its figures over all days, and day by day."""

    name: str
    params: Mapping[str, object]
    metrics: Mapping[str, float | None]
    days: Sequence[tuple[date, Mapping[str, float | None]]] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LoggedTrial:
    """Where a trial is: the experiment, its run, and those of the sets in their order."""

    experiment_id: str
    run_id: str
    set_runs: tuple[str, ...]


@dataclass(frozen=True)
class TrialRuns:
    """The experiment of the trials. ``artifact_root`` as for `ModelRegistry`.

    It registers no model and moves no alias. Every method raises `RegistryUnavailable` if MLflow can't be reached or
    refuses.
    """

    tracking_uri: str
    artifact_root: Path | None = None

    def log(
        self,
        name: str,
        *,
        started: datetime,
        description: str,
        params: Mapping[str, object],
        metrics: Mapping[str, float | None],
        sets: Sequence[SetRun],
    ) -> LoggedTrial:
        """Log a trial that is over.

        Args:
            name: of the run.
            started: when it began, UTC.
            description: in Markdown, shown on the run's page.
            sets: logged as runs below it.
        """
        with errors_named(self.tracking_uri):
            client = connect(self.tracking_uri, self.artifact_root)
            folder = self.artifact_root / TRIAL_EXPERIMENT if self.artifact_root else None
            experiment = experiment_id(client, TRIAL_EXPERIMENT, folder, tags=_KIND)
            start = int(started.replace(tzinfo=UTC).timestamp() * 1000)
            whole = SetRun(name, params, metrics, tags={"mlflow.note.content": description})
            run_id = _log(client, experiment, whole, start)
            below = tuple(_log(client, experiment, each, start, parent=run_id) for each in sets)
        return LoggedTrial(experiment, run_id, below)


def _log(client: "MlflowClient", experiment: str, run: SetRun, start: int, parent: str | None = None) -> str:
    from mlflow.entities import Param

    tags = {**run.tags} | ({"mlflow.parentRunId": parent} if parent else {})
    created = client.create_run(experiment, start_time=start, tags=tags, run_name=run.name)
    run_id = str(created.info.run_id)
    points = _points(run.metrics, int(time.time() * 1000), 0)
    for day, metrics in run.days:
        # As in the series of the models in force: a point's time is the end of its day.
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        points += _points(metrics, int(end.timestamp() * 1000), day_step(day))
    status = "FAILED"
    try:
        params = [Param(key, str(value)) for key, value in run.params.items()]
        for start_at in range(0, max(len(points), 1), _POINTS_AT_ONCE):
            client.log_batch(run_id, metrics=points[start_at : start_at + _POINTS_AT_ONCE], params=params)
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status=status)
    return run_id


def _points(metrics: Mapping[str, float | None], timestamp: int, step: int) -> "list[Metric]":
    known = {name: value for name, value in metrics.items() if value is not None}
    return metric_points(known, timestamp=timestamp, step=step)
