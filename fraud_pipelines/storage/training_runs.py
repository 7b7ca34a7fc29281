"""Training runs: what a model was made with, as a run in MLflow: its parameters, metrics, plots and files."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fraud_pipelines.storage.artifact_location import local_path
from fraud_pipelines.storage.metric_points import day_time, logged_steps, metric_points
from fraud_pipelines.storage.model_artifact import SHARED_CODE, ServingCode, write_artifact
from fraud_pipelines.storage.registered_models import PARTITION_TAG
from fraud_pipelines.storage.training_record import (
    DESCRIPTION_TAG,
    TrainingRecord,
    dataset_input,
    source_tags,
    table_tags,
    write_record,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

BACKEND_TAG: Final = "backend"
FINGERPRINT_TAG: Final = "training_fingerprint"
_MODEL_TAG: Final = "registered_model"
_MAX_RUNS: Final = 1000


@dataclass(frozen=True)
class TrainingRuns:
    """The runs of one experiment; they say which day, backend and input they are for. Raises MLflow's own errors.

    Where it ``remembers``, it looks up once what processes that died have left of a day.
    """

    client: "MlflowClient"
    experiment_id: str
    remembers: bool = False
    _left_behind: "dict[date, list[Run]]" = field(default_factory=dict)

    def of_day(self, partition: date) -> "list[Run]":
        """All runs for a day, the newest first."""
        condition = f"tags.{PARTITION_TAG} = '{partition}'"
        return list(self.client.search_runs([self.experiment_id], condition, max_results=_MAX_RUNS))

    def log(
        self, model_name: str, partition: date, folder: Path, record: TrainingRecord, serving: ServingCode | None
    ) -> "LoggedModel":
        """A finished run with its model, ``folder``, which is copied. Its metrics are those of step 0, at its day."""
        from mlflow.entities import LoggedModelOutput, Param

        client, tags = self.client, record.tags
        params = {name: str(value) for name, value in record.params.items()}
        points = metric_points(record.metrics, timestamp=day_time(partition), step=0)
        run = client.create_run(
            self.experiment_id,
            run_name=f"{tags.get(BACKEND_TAG, model_name)} {partition}",
            tags={
                **tags,
                _MODEL_TAG: model_name,
                DESCRIPTION_TAG: record.description,
                **source_tags(),
                **table_tags(record.tables),
                **logged_steps(points),
            },
        )
        run_id = run.info.run_id
        client.log_batch(run_id, metrics=points, params=[Param(name, value) for name, value in params.items()])
        if record.data:
            client.log_inputs(run_id, datasets=[dataset_input(record.data)])
        model = client.create_logged_model(
            self.experiment_id,
            name=model_name,
            source_run_id=run_id,
            tags={PARTITION_TAG: partition.isoformat()},
            params=params,
            model_type=tags.get(BACKEND_TAG),
        )
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        _fill(
            run.info.artifact_uri,
            lambda target: write_record(target, record),
            lambda source: client.log_artifacts(run_id, source),
        )
        stored = local_path(model.artifact_location)
        # MLflow lays it out as models/ID/artifacts below the root.
        shared = stored.parents[2] / SHARED_CODE if stored else None
        _fill(
            model.artifact_location,
            lambda target: write_artifact(target, folder, model=model, serving=serving, shared=shared),
            lambda source: client.log_model_artifacts(model.model_id, source),
        )
        client.finalize_logged_model(model.model_id, "READY")
        client.set_terminated(run_id)
        return model

    def unregistered_model(
        self, partition: date, model_name: str, fingerprint: str, registered: set[str]
    ) -> "LoggedModel | None":
        """The model of a run that ended but was never registered, because its process died in between.

        It counts as taken care of, whatever happens to it now: who comes again looks again.
        """
        waiting = [
            run
            for run in self._earlier(partition)
            if run.info.status == "FINISHED"
            and run.data.tags.get(_MODEL_TAG) == model_name
            and run.data.tags.get(FINGERPRINT_TAG) == fingerprint
            and run.info.run_id not in registered
        ]
        self._left_behind.pop(partition, None)
        return next((model for run in waiting for model in self._models_of(run)), None)

    def close_abandoned(self, partition: date, *, backend: str) -> int:
        """Close as killed the runs of that day and backend that still run, and delete their models; how many."""
        abandoned = [
            run
            for run in self._earlier(partition)
            if run.info.status == "RUNNING" and run.data.tags.get(BACKEND_TAG) == backend
        ]
        for run in abandoned:
            for model in self._models_of(run):
                self.client.delete_logged_model(model.model_id)
            self.client.set_terminated(run.info.run_id, status="KILLED")
        if abandoned:
            self._left_behind.pop(partition, None)
        return len(abandoned)

    def _earlier(self, partition: date) -> "list[Run]":
        if partition in self._left_behind:
            return self._left_behind[partition]
        runs = self.of_day(partition)
        if self.remembers:
            self._left_behind[partition] = runs
        return runs

    def _models_of(self, run: "Run") -> "list[LoggedModel]":
        return list(
            self.client.search_logged_models([self.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'")
        )


def _fill(address: str, write: Callable[[Path], None], upload: Callable[[str], None]) -> None:
    """Let ``write`` lay files into the folder at an artifact address: there, or aside, to be uploaded by MLflow."""
    target = local_path(address)
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target)
        return
    with tempfile.TemporaryDirectory() as scratch:
        aside = Path(scratch) / "files"
        write(aside)
        if aside.exists():
            upload(str(aside))
