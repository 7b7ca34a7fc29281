"""Resources, named by their role: the settings, the warehouse and the model registry."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import dagster as dg
from pydantic import Field

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.defs.keys import COMMAND_TAG
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.opening import engine_of
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.opening import publication_at, warehouse_at
from fraud_pipelines.storage.publication import Publication
from fraud_pipelines.storage.warehouse import Warehouse


class SettingsResource(dg.ConfigurableResource[Settings]):
    """The settings of this installation, from ``FRAUD_*`` in the environment of the run."""

    def create_resource(self, context: dg.InitResourceContext) -> Settings:  # noqa: ARG002
        return Settings.from_environment()


_UP_TO_DATE: Final[set[Path]] = set()
"""What this process has opened already: to look through all tables takes half a second, once a run is enough."""


_OF_SENSOR: Final = "dagster/sensor_name"
"""Dagster's tag of a run that a sensor started."""


class WarehouseResource(dg.ConfigurableResource[Warehouse]):
    """The DuckDB file that runs write to; created where it is missing, and brought up to date where an earlier release
    made it. At the end of a run, what it wrote is published."""

    path: str = Field(description="the live file")
    published: str = Field(default="", description="what people open, a copy of the live file; none where empty")
    wait_seconds: float

    def create_resource(self, context: dg.InitResourceContext) -> Warehouse:  # noqa: ARG002
        # Not here: where the file is held, it is a step that has to wait, which can be tried again and cancelled.
        return warehouse_at(Path(self.path), wait_seconds=self.wait_seconds, prepare=self._bring_up_to_date)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Publish, before Dagster says that the run has ended, also one that failed.

        A command in the shell publishes when all of its runs have ended, and what a sensor starts every few seconds
        would publish too often: theirs wait until a publication is due.
        """
        publication = self._publication()
        if publication is None:
            return
        tags = context.run.tags if context.run else {}
        if COMMAND_TAG in tags or _OF_SENSOR in tags:
            publication.publish_if_due(light=_OF_SENSOR in tags)
        else:
            publication.publish_or_tell()

    def _publication(self) -> Publication | None:
        if not self.published:
            return None
        return publication_at(Path(self.path), Path(self.published), wait_seconds=self.wait_seconds)

    def _bring_up_to_date(self) -> None:
        publication = self._publication()
        if publication:
            publication.settle()
        path = Path(self.path)
        if path not in _UP_TO_DATE or not path.exists():
            plan = plan_in_force(Settings.from_environment())
            open_warehouse(path, plan=plan, wait_seconds=self.wait_seconds)
            _UP_TO_DATE.add(path)


class ModelRegistryResource(dg.ConfigurableResource[ModelRegistry]):
    """The MLflow tracking server and its model registry, by the address in the environment of the run.

    The address is no configuration of Dagster's, whose UI would show a password in it.
    """

    def create_resource(self, context: dg.InitResourceContext) -> ModelRegistry:  # noqa: ARG002
        settings = Settings.from_environment()
        return ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root, remembers=True)


class EngineResource(dg.ConfigurableResource[Engine]):
    """What computes a day: this process, or several that each take a shard of it. They end with the run."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Engine]:  # noqa: ARG002
        with closing(engine_of(Settings.from_environment())) as engine:
            yield engine


@dg.definitions
def resources() -> dg.Definitions:
    settings = Settings.from_environment()
    return dg.Definitions(
        # A step in a process of its own would load MLflow and PyOD again, which takes longer than the step.
        executor=dg.in_process_executor,
        resources={
            "settings": SettingsResource(),
            "engine": EngineResource(),
            "warehouse": WarehouseResource(
                path=str(settings.warehouse_path),
                published=str(settings.published_path),
                wait_seconds=settings.warehouse_wait_seconds,
            ),
            "model_registry": ModelRegistryResource(),
        },
    )
