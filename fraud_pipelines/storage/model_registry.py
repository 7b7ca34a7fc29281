"""The model registry: model folders as versions in MLflow, logged once, found by day and by what they learned from."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.storage.artifact_location import local_path
from fraud_pipelines.storage.metric_points import day_time, log_step
from fraud_pipelines.storage.mlflow_connection import (
    EXPERIMENT,
    connect,
    create_database,
    errors_named,
    experiment_id,
    find_artifacts,
)
from fraud_pipelines.storage.model_artifact import MODEL_FOLDER, ServingCode
from fraud_pipelines.storage.registered_models import PARTITION_TAG, ModelVersionInfo, RegisteredModels
from fraud_pipelines.storage.training_record import TrainingRecord
from fraud_pipelines.storage.training_runs import FINGERPRINT_TAG, TrainingRuns

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["CHALLENGER", "CHAMPION", "PINNED", "ModelRegistry", "ModelVersionInfo"]

CHAMPION: Final = "champion"
"""Alias of the version in use."""
CHALLENGER: Final = "challenger"
"""Alias of the newest candidate."""
PINNED: Final = "pinned"
"""Alias of the version that a person wants in use, whatever the promotion rule says."""
_KIND: Final = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's UI open on the training runs, not on traces of a chat."""


@dataclass(frozen=True)
class ModelRegistry:
    """MLflow's tracking server and model registry at ``tracking_uri``.

    It stores folders and knows nothing of what is in them. ``artifact_root`` is where the experiment's files go;
    None leaves it to the server. One that ``remembers`` looks up each version, run and alias once: it is for a single
    run of the pipeline, in which nobody else adds versions of its day.

    Every method raises `RegistryUnavailable` if MLflow can't be reached or refuses.
    """

    tracking_uri: str
    experiment: str = EXPERIMENT
    artifact_root: Path | None = None
    remembers: bool = False

    def initialise(self) -> None:
        """Create MLflow's database (for SQLite) and the experiment where they are missing. Safe to repeat."""
        create_database(self.tracking_uri)
        _ = self.experiment_id
        # Once more: the experiment that MLflow itself makes lies where this process was started.
        with errors_named(self.tracking_uri):
            find_artifacts(self.tracking_uri, self.artifact_root)

    def latest_for_partition(self, model_name: str, partition: date) -> ModelVersionInfo | None:
        """The newest version of that day, if there is one."""
        of_day = self._versions_for(model_name, partition)
        return of_day[-1] if of_day else None

    def list_versions(self, model_name: str) -> list[ModelVersionInfo]:
        """All versions, oldest first."""
        with errors_named(self.tracking_uri):
            return self._models.all_of(model_name)

    def log_version(
        self,
        model_name: str,
        *,
        partition: date,
        fingerprint: str,
        artifact_folder: Path,
        record: TrainingRecord | None = None,
        serving: ServingCode | None = None,
    ) -> ModelVersionInfo:
        """Log a run and register its model as a new version; if the day's newest has the fingerprint, return that.

        The version appears last and whole, with all its tags. A process that dies before leaves a run that
        `mark_abandoned_runs` closes, or a finished one that is registered when this is called again.

        Args:
            model_name: registered model; made if there is none.
            partition: the day the model is for.
            fingerprint: of all that it learned from.
            artifact_folder: the model's files; copied.
            record: what MLflow shows of the training.
            serving: what ``mlflow.pyfunc`` needs to load it; without it only this project can.
        """
        existing = self._versions_for(model_name, partition)
        if existing and existing[-1].tags.get(FINGERPRINT_TAG) == fingerprint:
            return existing[-1]
        if not artifact_folder.is_dir():
            raise InvalidInput(f"{artifact_folder} is no folder; save the model there before logging it.")
        record = record or TrainingRecord()
        tags = {**record.tags, PARTITION_TAG: partition.isoformat(), FINGERPRINT_TAG: fingerprint}
        record = replace(record, tags=tags)
        with errors_named(self.tracking_uri):
            registered = {version.run_id for version in existing}
            model = self._runs.unregistered_model(partition, model_name, fingerprint, registered)
            model = model or self._runs.log(model_name, partition, artifact_folder, record, serving)
            return self._models.register(model_name, model, record, partition=partition)

    def download(self, model_name: str, version: int) -> Path:
        """The model folder of a version on this machine; where MLflow's files are local, the very folder it keeps.

        What comes from a server is fetched once, and removed with this object or at the end of the process.

        Raises:
            MissingData: there is no such version, or its files are gone.
        """
        found = self.get_version(model_name, version)
        source = f"{found.artifact_uri}/{MODEL_FOLDER}"
        if kept := local_path(source):
            if not kept.is_dir():
                raise MissingData(
                    f"The files of version {version} of {model_name} are gone: {kept} is no folder. Restore it from a "
                    f"backup, or put another version in use: fraud-pipelines models pin {model_name} VERSION."
                )
            return kept
        from mlflow.artifacts import download_artifacts

        with errors_named(self.tracking_uri):
            fetched = self._downloads / model_name / str(version)
            if not fetched.exists():
                # A download that fails half-way must not pass for a whole one.
                with tempfile.TemporaryDirectory(dir=self._downloads) as aside:
                    folder = download_artifacts(artifact_uri=source, dst_path=aside, tracking_uri=self.tracking_uri)
                    fetched.parent.mkdir(exist_ok=True)
                    Path(folder).rename(fetched)
            return fetched

    def get_version(self, model_name: str, version: int) -> ModelVersionInfo:
        """One version.

        Raises:
            MissingData: there is no such version.
        """
        with errors_named(self.tracking_uri):
            found = self._models.get(model_name, version)
        if found is None:
            raise MissingData(f"MLflow has no version {version} of {model_name}.")
        return found

    def champion(self, model_name: str) -> ModelVersionInfo | None:
        """The version in use, if there is one."""
        return self.version_with_alias(model_name, CHAMPION)

    def version_with_alias(self, model_name: str, alias: str) -> ModelVersionInfo | None:
        """The version that the alias points at, if there is one."""
        with errors_named(self.tracking_uri):
            return self._models.with_alias(model_name, alias)

    def aliases(self, model_name: str) -> dict[str, int]:
        """Alias → version of a model; empty where there is no such model."""
        with errors_named(self.tracking_uri):
            return self._models.aliases(model_name)

    def set_alias(self, model_name: str, alias: str, version: int | None) -> None:
        """Point the alias at a version, or take it away. Safe to repeat."""
        with errors_named(self.tracking_uri):
            self._models.set_alias(model_name, alias, version)

    def tag_version(self, model_name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with errors_named(self.tracking_uri):
            self._models.tag(model_name, version, tags)

    def log_outcomes(self, partition: date, outcomes: Mapping[str, Mapping[str, float]], *, age: int) -> None:
        """Add finite metrics to runs that trained models for a day, as they stood ``age`` days after it.

        The step of a point is the age, its time that many days after the partition. A run that says the same at that
        step already is left alone; what changed since becomes the newest point of its step.

        Args:
            partition: the day.
            outcomes: by the id of a run.
            age: in days.
        """
        if not outcomes:
            return
        timestamp = day_time(partition + timedelta(days=age))
        with errors_named(self.tracking_uri):
            for run in self._runs.of_day(partition):
                if metrics := outcomes.get(run.info.run_id):
                    log_step(self._client, run, metrics, timestamp=timestamp, step=age)

    def mark_abandoned_runs(self, *, partition: date, backend: str) -> int:
        """Close as killed the runs of that day and backend that a dead process left running. Returns how many.

        Call it only where no other process can be training the same day with the same backend.
        """
        with errors_named(self.tracking_uri):
            return self._runs.close_abandoned(partition, backend=backend)

    def _versions_for(self, model_name: str, partition: date) -> list[ModelVersionInfo]:
        with errors_named(self.tracking_uri):
            return [version for version in self._models.of_day(partition) if version.name == model_name]

    @cached_property
    def _client(self) -> "MlflowClient":
        return connect(self.tracking_uri, self.artifact_root)

    @cached_property
    def _downloads(self) -> Path:
        folder = tempfile.mkdtemp(prefix="fraud-models-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @cached_property
    def experiment_id(self) -> str:
        """Of the training runs, in MLflow."""
        with errors_named(self.tracking_uri):
            return experiment_id(self._client, self.experiment, self.artifact_root, tags=_KIND)

    @cached_property
    def _models(self) -> RegisteredModels:
        return RegisteredModels(self._client, self.remembers)

    @cached_property
    def _runs(self) -> TrainingRuns:
        return TrainingRuns(self._client, self.experiment_id, self.remembers)
