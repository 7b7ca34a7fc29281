"""The champion in use: a registered model that is followed as newer versions take its place."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from fraud_pipelines.detection.daily import DIGEST_TAG, LoadedModel
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.errors import ArtifactRejected, FraudPipelinesError, MissingData, RegistryUnavailable
from fraud_pipelines.storage.model_registry import ModelRegistry


class Champion:
    """The version of ``name`` that is champion, loaded once, and again when another version becomes it.

    A registry that can't be reached, or a version that can't be read, leaves in use what was loaded before, and
    `problem` says why; a stream goes on without the registry.

    Args:
        registry: where the versions are.
        name: of the registered model.
        every_seconds: how often to ask for a newer one.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        name: str,
        *,
        every_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.problem: FraudPipelinesError | None = None
        self._registry = registry
        self._every = every_seconds
        self._clock = clock
        self._loaded: LoadedModel | None = None
        self._asked = float("-inf")
        self._asking: Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"champion-{name}")

    def current(self) -> LoadedModel | None:
        """The version in use, None if there is none. Nobody waits for a newer one: it is looked for meanwhile."""
        due = self._clock() - self._asked >= self._every
        if due and (self._asking is None or self._asking.done()):
            self._asked = self._clock()
            self._asking = self._thread.submit(self._look)
        return self._loaded

    def refresh(self) -> LoadedModel | None:
        """As `current`, but wait for the answer if it is time to ask."""
        self.current()
        if self._asking is not None:
            self._asking.result()
        return self._loaded

    def _look(self) -> None:
        try:
            version = self._registry.champion(self.name)
            if version and (self._loaded is None or version.version != self._loaded.version):
                folder = self._registry.download(self.name, version.version)
                model = FraudModel.load(folder, digest=version.tags.get(DIGEST_TAG))
                self._loaded = LoadedModel(self.name, version.version, model)
            self.problem = None
        except (RegistryUnavailable, MissingData, ArtifactRejected) as error:
            self.problem = error
