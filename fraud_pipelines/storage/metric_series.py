"""Metric series: in MLflow, a run for each thing that is measured day by day, with the day as step."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fraud_pipelines.storage.metric_points import day_time, log_step
from fraud_pipelines.storage.mlflow_connection import SERIES_EXPERIMENT, connect, errors_named, experiment_id
from fraud_pipelines.storage.training_record import DESCRIPTION_TAG, source_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_EPOCH: Final = date(1970, 1, 1)
_SERIES: Final = "series"


def day_step(day: date) -> int:
    """The step of a day: days since 1970, so that equal distances are equal times."""
    return (day - _EPOCH).days


@dataclass(frozen=True)
class MetricSeries:
    """The runs of one experiment on an MLflow server, one a name. ``artifact_root`` as for `ModelRegistry`.

    Every method raises `RegistryUnavailable` if MLflow can't be reached or refuses.
    """

    tracking_uri: str
    experiment: str = SERIES_EXPERIMENT
    artifact_root: Path | None = None

    def log(self, metrics: Mapping[str, Mapping[str, float]], *, day: date, description: str = "") -> None:
        """Add finite metrics of ``day``, by the name of their series; a series that is new gets a run, described so.

        A point's time is its day, so that MLflow's chart by time shows dates. To log a day again adds only what
        changed, a millisecond after what it corrects: of equal steps MLflow shows the latest.
        """
        with errors_named(self.tracking_uri):
            runs = self._runs()
            for name, values in metrics.items():
                run = runs.get(name) or self._new_run(name, description)
                log_step(self._client, run, values, timestamp=day_time(day), step=day_step(day))

    def points(self, name: str, metric: str) -> list[tuple[date, float]]:
        """The latest value of each day, in order; empty where there is no such series."""
        with errors_named(self.tracking_uri):
            run = self._runs().get(name)
            history = self._client.get_metric_history(run.info.run_id, metric) if run else []
        latest = {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}
        return [(date.fromordinal(_EPOCH.toordinal() + step), latest[step]) for step in sorted(latest)]

    def _runs(self) -> "dict[str, Run]":
        found: dict[str, Run] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment_id], max_results=1000, page_token=token)
            found |= {run.data.tags[_SERIES]: run for run in page if _SERIES in run.data.tags}
            token = page.token
            if not token:
                return found

    def _new_run(self, name: str, description: str) -> "Run":
        tags = {_SERIES: name, DESCRIPTION_TAG: description, **source_tags()}
        run = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
        self._client.set_terminated(run.info.run_id)
        return run

    @cached_property
    def _client(self) -> "MlflowClient":
        return connect(self.tracking_uri, self.artifact_root)

    @cached_property
    def _experiment_id(self) -> str:
        folder = self.artifact_root / self.experiment if self.artifact_root else None
        return experiment_id(self._client, self.experiment, folder)
