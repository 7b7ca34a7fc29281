"""The model registry: model folders as versions in MLflow, logged once, found by day and by what they learned from."""

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.storage.artifact_location import local_path
from fraud_pipelines.storage.metric_points import metric_points, new_points
from fraud_pipelines.storage.mlflow_connection import (
    EXPERIMENT,
    connect,
    create_database,
    errors_named,
    experiment_id,
    find_artifacts,
)
from fraud_pipelines.storage.model_artifact import MODEL_FOLDER, ServingCode
from fraud_pipelines.storage.training_runs import FINGERPRINT_TAG, PARTITION_TAG, TrainingRuns, milliseconds_now

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CHAMPION: Final = "champion"
"""Alias of the version in use."""
CHALLENGER: Final = "challenger"
"""Alias of the newest candidate."""
PINNED: Final = "pinned"
"""Alias of the version that a person wants in use, whatever the promotion rule says."""
_KIND: Final = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's UI open on the training runs, not on traces of a chat."""


@dataclass(frozen=True)
class ModelVersionInfo:
    """A registered version. ``artifact_uri`` is where MLflow keeps its files."""

    name: str
    version: int
    run_id: str
    artifact_uri: str
    tags: Mapping[str, str]

    @property
    def partition(self) -> date:
        """The day it was trained for."""
        return date.fromisoformat(self.tags[PARTITION_TAG])


@dataclass(frozen=True)
class ModelRegistry:
    """MLflow's tracking server and model registry at ``tracking_uri``.

    It stores folders and knows nothing of what is in them. ``artifact_root`` is where the experiment's files go;
    None leaves it to the server.

    Every method raises `RegistryUnavailable` if MLflow can't be reached or refuses.
    """

    tracking_uri: str
    experiment: str = EXPERIMENT
    artifact_root: Path | None = None

    def initialise(self) -> None:
        """Create MLflow's database (for SQLite) and the experiment where they are missing. Safe to repeat."""
        create_database(self.tracking_uri)
        _ = self._experiment_id
        # Once more: the experiment that MLflow itself makes lies where this process was started.
        with errors_named(self.tracking_uri):
            find_artifacts(self.tracking_uri, self.artifact_root)

    def latest_for_partition(self, model_name: str, partition: date) -> ModelVersionInfo | None:
        """The newest version of that day, if there is one."""
        found = self._search(model_name, f"tags.{PARTITION_TAG} = '{partition}'")
        return found[-1] if found else None

    def list_versions(self, model_name: str) -> list[ModelVersionInfo]:
        """All versions, oldest first."""
        return self._search(model_name)

    def log_version(
        self,
        model_name: str,
        *,
        partition: date,
        fingerprint: str,
        artifact_folder: Path,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        figures: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
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
            params, metrics: of the run; a metric that isn't finite is left out.
            figures: name → text of an SVG, shown among the run's artifacts under ``plots``.
            tags: of the run and the version; ``backend`` names the run together with the day.
            serving: what ``mlflow.pyfunc`` needs to load it; without it only this project can.
        """
        existing = self._search(model_name, f"tags.{PARTITION_TAG} = '{partition}'")
        if existing and existing[-1].tags.get(FINGERPRINT_TAG) == fingerprint:
            return existing[-1]
        if not artifact_folder.is_dir():
            raise InvalidInput(f"{artifact_folder} is no folder; save the model there before logging it.")
        all_tags = {**(tags or {}), PARTITION_TAG: partition.isoformat(), FINGERPRINT_TAG: fingerprint}
        with errors_named(self.tracking_uri):
            registered = {version.run_id for version in existing}
            runs = self._training_runs
            model = runs.unregistered_model(model_name, partition, fingerprint, registered) or runs.log(
                model_name, artifact_folder, params or {}, metrics or {}, figures or {}, all_tags, serving
            )
            return self._register(model_name, model, all_tags)

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
                    f"backup, or train another: fraud-pipelines models pin {model_name} VERSION puts one in use."
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
        from mlflow.exceptions import MlflowException

        with errors_named(self.tracking_uri):
            try:
                return _info(self._client.get_model_version(model_name, str(version)))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise MissingData(f"MLflow has no version {version} of {model_name}.") from error

    def champion(self, model_name: str) -> ModelVersionInfo | None:
        """The version in use, if there is one."""
        return self.version_with_alias(model_name, CHAMPION)

    def version_with_alias(self, model_name: str, alias: str) -> ModelVersionInfo | None:
        """The version that the alias points at, if there is one."""
        from mlflow.exceptions import MlflowException

        with errors_named(self.tracking_uri):
            try:
                return _info(self._client.get_model_version_by_alias(model_name, alias))
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                return None

    def aliases(self, model_name: str) -> dict[str, int]:
        """Alias → version of a model; empty where there is no such model."""
        from mlflow.exceptions import MlflowException

        with errors_named(self.tracking_uri):
            try:
                found = self._client.get_registered_model(model_name).aliases
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return {}
        return {alias: int(version) for alias, version in found.items()}

    def set_alias(self, model_name: str, alias: str, version: int | None) -> None:
        """Point the alias at a version, or take it away. Safe to repeat."""
        with errors_named(self.tracking_uri):
            if version is not None:
                self._client.set_registered_model_alias(model_name, alias, str(version))
            elif alias in self.aliases(model_name):
                self._client.delete_registered_model_alias(model_name, alias)

    def tag_version(self, model_name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with errors_named(self.tracking_uri):
            for key, value in tags.items():
                self._client.set_model_version_tag(model_name, str(version), key, value)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Add finite metrics to a run at a step.

        What the step's newest point says already is left out, and what changed since becomes its newest point.
        """
        with errors_named(self.tracking_uri):
            points = metric_points(metrics, timestamp=milliseconds_now(), step=step)
            if changed := new_points(self._client, self._client.get_run(run_id), points):
                self._client.log_batch(run_id, metrics=changed)

    def mark_abandoned_runs(self, *, partition: date, backend: str) -> int:
        """Close as killed the runs of that day and backend that a dead process left running. Returns how many.

        Call it only where no other process can be training the same day with the same backend.
        """
        with errors_named(self.tracking_uri):
            return self._training_runs.close_abandoned(partition=partition, backend=backend)

    @cached_property
    def _client(self) -> "MlflowClient":
        return connect(self.tracking_uri, self.artifact_root)

    @cached_property
    def _downloads(self) -> Path:
        folder = tempfile.mkdtemp(prefix="fraud-models-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @cached_property
    def _experiment_id(self) -> str:
        with errors_named(self.tracking_uri):
            return experiment_id(self._client, self.experiment, self.artifact_root, tags=_KIND)

    @cached_property
    def _training_runs(self) -> TrainingRuns:
        return TrainingRuns(self._client, self._experiment_id)

    def _search(self, model_name: str, condition: str = "") -> list[ModelVersionInfo]:
        query = f"name = '{model_name}'" + (f" and {condition}" if condition else "")
        versions: list[ModelVersionInfo] = []
        token: str | None = None
        with errors_named(self.tracking_uri):
            while True:
                page = self._client.search_model_versions(query, max_results=1000, page_token=token)
                versions += [_info(found) for found in page]
                token = page.token
                if not token:
                    return sorted(versions, key=lambda version: version.version)

    def _register(self, model_name: str, model: "LoggedModel", tags: Mapping[str, str]) -> ModelVersionInfo:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model_name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = self._client.create_model_version(
            model_name,
            # A source models:/<id> would be looked up at MLflow's global tracking address, which may be another.
            source=model.artifact_location,
            run_id=model.source_run_id,
            tags=dict(tags),
            model_id=model.model_id,
        )
        # What the MLflow UI links the run's model to its version by; a server sets it itself, SQLite doesn't.
        link = json.dumps([{"name": model_name, "version": int(version.version)}])
        self._client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": link})
        return _info(version)


def _info(version: "ModelVersion") -> ModelVersionInfo:
    return ModelVersionInfo(
        name=version.name,
        version=int(version.version),
        run_id=version.run_id or "",
        artifact_uri=version.source or "",
        tags=dict(version.tags),
    )
