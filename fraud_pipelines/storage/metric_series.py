"""Metric series: in MLflow, a run for each thing that is measured day by day, with the day as step."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fraud_pipelines.storage.metric_points import metric_points, new_points
from fraud_pipelines.storage.mlflow_connection import SERIES_EXPERIMENT, connect, errors_named, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_EPOCH: Final = date(1970, 1, 1)
_SERIES: Final = "series"
_LAST_DAY: Final = "last_day"


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

    def log(self, name: str, metrics: Mapping[str, float], *, day: date) -> None:
        """Add finite metrics of ``day`` to the run ``name``, which is made if there is none.

        A point's time is the end of its day, so that MLflow's chart by time shows dates. To log a day again adds
        only what changed, a millisecond after what it corrects: of equal steps MLflow shows the latest.
        """
        from mlflow.entities import RunTag

        with errors_named(self.tracking_uri):
            run = self._run(name)
            last = run.data.tags.get(_LAST_DAY, "")
            end = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000 + 86_400_000
            points = metric_points(metrics, timestamp=int(end), step=day_step(day))
            if last and day.isoformat() <= last:
                points = new_points(self._client, run, points)
            if points:
                self._client.log_batch(
                    run.info.run_id, metrics=points, tags=[RunTag(_LAST_DAY, max(last, day.isoformat()))]
                )

    def points(self, name: str, metric: str) -> list[tuple[date, float]]:
        """The latest value of each day, in order."""
        with errors_named(self.tracking_uri):
            history = self._client.get_metric_history(self._run(name).info.run_id, metric)
        latest = {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}
        return [(date.fromordinal(_EPOCH.toordinal() + step), latest[step]) for step in sorted(latest)]

    def _run(self, name: str) -> "Run":
        found = self._client.search_runs([self._experiment_id], f"tags.{_SERIES} = '{name}'", max_results=1)
        if found:
            return found[0]
        run = self._client.create_run(self._experiment_id, run_name=name, tags={_SERIES: name})
        self._client.set_terminated(run.info.run_id)
        return run

    @cached_property
    def _client(self) -> "MlflowClient":
        return connect(self.tracking_uri, self.artifact_root)

    @cached_property
    def _experiment_id(self) -> str:
        folder = self.artifact_root / self.experiment if self.artifact_root else None
        return experiment_id(self._client, self.experiment, folder)
