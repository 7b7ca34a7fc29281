"""Training runs: what a model was made with, as a run in MLflow: its parameters, metrics, plots and files."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fraud_pipelines.storage.metric_points import metric_points
from fraud_pipelines.storage.model_artifact import ServingCode, write_artifact, write_figures

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

PARTITION_TAG: Final = "partition"
BACKEND_TAG: Final = "backend"
FINGERPRINT_TAG: Final = "training_fingerprint"
_MODEL_TAG: Final = "registered_model"


@dataclass(frozen=True)
class TrainingRuns:
    """The runs of one experiment; they say which day, backend and input they are for. Raises MLflow's own errors."""

    client: "MlflowClient"
    experiment_id: str

    def log(
        self,
        model_name: str,
        folder: Path,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        figures: Mapping[str, str],
        tags: Mapping[str, str],
        serving: ServingCode | None,
    ) -> "LoggedModel":
        from mlflow.entities import LoggedModelOutput, Param

        client = self.client
        partition = tags[PARTITION_TAG]
        run = client.create_run(
            self.experiment_id,
            run_name=f"{tags.get(BACKEND_TAG, model_name)} {partition}",
            tags={**tags, _MODEL_TAG: model_name},
        )
        run_id = run.info.run_id
        values = {name: str(value) for name, value in params.items()}
        client.log_batch(
            run_id,
            metrics=metric_points(metrics, timestamp=milliseconds_now(), step=0),
            params=[Param(name, value) for name, value in values.items()],
        )
        model = client.create_logged_model(
            self.experiment_id,
            name=model_name,
            source_run_id=run_id,
            tags={PARTITION_TAG: partition},
            params=values,
            model_type=tags.get(BACKEND_TAG),
        )
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        with tempfile.TemporaryDirectory() as scratch:
            plots, files = Path(scratch) / "plots", Path(scratch) / "model"
            if figures:
                write_figures(plots, figures)
                client.log_artifacts(run_id, str(plots), "plots")
            write_artifact(files, folder, model=model, serving=serving)
            client.log_model_artifacts(model.model_id, str(files))
        client.finalize_logged_model(model.model_id, "READY")
        client.set_terminated(run_id)
        return model

    def unregistered_model(
        self, model_name: str, partition: date, fingerprint: str, registered: set[str]
    ) -> "LoggedModel | None":
        """The model of a run that ended but was never registered, because its process died in between."""
        runs = self._runs(
            f"tags.{_MODEL_TAG} = '{model_name}' and tags.{PARTITION_TAG} = '{partition}' "
            f"and tags.{FINGERPRINT_TAG} = '{fingerprint}' and attributes.status = 'FINISHED'"
        )
        waiting = (run for run in runs if run.info.run_id not in registered)
        return next((model for run in waiting for model in self._models_of(run)), None)

    def close_abandoned(self, *, partition: date, backend: str) -> int:
        """Close as killed the runs of that day and backend that still run, and delete their models; how many."""
        runs = self._runs(
            f"tags.{PARTITION_TAG} = '{partition}' and tags.{BACKEND_TAG} = '{backend}' "
            "and attributes.status = 'RUNNING'"
        )
        for run in runs:
            for model in self._models_of(run):
                self.client.delete_logged_model(model.model_id)
            self.client.set_terminated(run.info.run_id, status="KILLED")
        return len(runs)

    def _runs(self, condition: str) -> "list[Run]":
        return list(self.client.search_runs([self.experiment_id], filter_string=condition))

    def _models_of(self, run: "Run") -> "list[LoggedModel]":
        return list(
            self.client.search_logged_models([self.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'")
        )


def milliseconds_now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000
