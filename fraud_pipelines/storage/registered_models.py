"""The registered models on an MLflow server: their versions, found by day, and the aliases that point at them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final

from fraud_pipelines.storage.training_record import TrainingRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

PARTITION_TAG: Final = "partition"


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
class RegisteredModels:
    """The registered models that ``client`` sees. Raises MLflow's own errors.

    Where it ``remembers``, it looks up each day, version and alias once, and takes note of what it changes itself.
    """

    client: "MlflowClient"
    remembers: bool
    _of_day: dict[date, list[ModelVersionInfo]] = field(default_factory=dict)
    _versions: dict[tuple[str, int], ModelVersionInfo] = field(default_factory=dict)
    _aliases: dict[str, dict[str, int]] = field(default_factory=dict)

    def of_day(self, partition: date) -> list[ModelVersionInfo]:
        """The versions of all models for a day, oldest first."""
        if partition in self._of_day:
            return self._of_day[partition]
        found = self._search(f"tags.{PARTITION_TAG} = '{partition}'")
        if self.remembers:
            self._of_day[partition] = found
        return found

    def all_of(self, name: str) -> list[ModelVersionInfo]:
        """All versions of a model, oldest first."""
        return self._search(f"name = '{name}'")

    def get(self, name: str, version: int) -> ModelVersionInfo | None:
        """A version, if there is one."""
        from mlflow.exceptions import MlflowException

        if remembered := self._versions.get((name, version)):
            return remembered
        try:
            return self._remember(_info(self.client.get_model_version(name, str(version))))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def with_alias(self, name: str, alias: str) -> ModelVersionInfo | None:
        """The version that the alias points at, if there is one."""
        from mlflow.exceptions import MlflowException

        if self.remembers:
            version = self.aliases(name).get(alias)
            return None if version is None else self.get(name, version)
        try:
            return _info(self.client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            return None

    def aliases(self, name: str) -> dict[str, int]:
        """Alias → version of a model; empty where there is no such model."""
        from mlflow.exceptions import MlflowException

        if name in self._aliases:
            return self._aliases[name]
        try:
            found = self.client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            found = {}
        aliases = {alias: int(version) for alias, version in found.items()}
        if self.remembers:
            self._aliases[name] = aliases
        return aliases

    def set_alias(self, name: str, alias: str, version: int | None) -> None:
        """Point the alias at a version, or take it away, unless it is so already."""
        if self.aliases(name).get(alias) == version:
            return
        self._aliases.pop(name, None)
        if version is not None:
            self.client.set_registered_model_alias(name, alias, str(version))
        else:
            self.client.delete_registered_model_alias(name, alias)

    def tag(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        self._versions.pop((name, version), None)
        self._of_day.clear()
        for key, value in tags.items():
            self.client.set_model_version_tag(name, str(version), key, value)

    def register(self, name: str, model: "LoggedModel", record: TrainingRecord, *, partition: date) -> ModelVersionInfo:
        """A new version of the model, last of its day; the registered model is made where there is none."""
        of_day = self._of_day.pop(partition, None)
        self._require(name, record.model_description)
        created = self.client.create_model_version(
            name,
            # A source models:/<id> would be looked up at MLflow's global tracking address, which may be another.
            source=model.artifact_location,
            run_id=model.source_run_id,
            tags=dict(record.tags),
            description=record.description or None,
            model_id=model.model_id,
        )
        # What the MLflow UI links the run's model to its version by; a server sets it itself, SQLite doesn't.
        link = json.dumps([{"name": name, "version": int(created.version)}])
        self.client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": link})
        version = self._remember(_info(created))
        if of_day is not None:
            self._of_day[partition] = [*of_day, version]
        return version

    def _require(self, name: str, description: str) -> None:
        """Make the registered model where there is none, and describe it where nobody has."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        else:
            if description and not found.description:
                self.client.update_registered_model(name, description)
            return
        try:
            self.client.create_registered_model(name, description=description or None)
        except MlflowException as error:
            # Another process was faster.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _search(self, condition: str) -> list[ModelVersionInfo]:
        versions: list[ModelVersionInfo] = []
        token: str | None = None
        while True:
            page = self.client.search_model_versions(condition, max_results=1000, page_token=token)
            versions += [self._remember(_info(found)) for found in page]
            token = page.token
            if not token:
                return sorted(versions, key=lambda version: (version.name, version.version))

    def _remember(self, version: ModelVersionInfo) -> ModelVersionInfo:
        if self.remembers:
            self._versions[version.name, version.version] = version
        return version


def _info(version: "ModelVersion") -> ModelVersionInfo:
    return ModelVersionInfo(
        name=version.name,
        version=int(version.version),
        run_id=version.run_id or "",
        artifact_uri=version.source or "",
        tags=dict(version.tags),
    )
