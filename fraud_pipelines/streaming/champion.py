"""The champion in use: a registered model that is followed as newer versions take its place."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from fraud_pipelines.detection.daily_models import (
    ENSEMBLE_MODEL,
    LoadedModel,
    load_version,
    require_current_features,
)
from fraud_pipelines.detection.supervised import SCORE_FEATURES
from fraud_pipelines.errors import ArtifactRejected, FraudPipelinesError, MissingData, RegistryUnavailable
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.streaming.rows import REALTIME_MODEL


class Champion:
    """The version of ``name`` that is champion, loaded once, and again when another version becomes it.

    With it come the champions whose scores it takes as features, but for that of the stream's own detector. Where
    ``name`` or one of these has no champion, as the supervised model before its promotion, the ensemble stands in
    for it, as it does at the end of the day.

    A registry that can't be reached, or a version that can't be read or fits other features, leaves in use what was
    loaded before, and `problem` says why; a stream goes on without the registry.

    Args:
        registry: where the versions are.
        name: of the registered model.
        plan: what is declared: a version that learned from features computed otherwise is not used.
        every_seconds: how often to ask for a newer one.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        name: str,
        *,
        plan: Plan,
        every_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.problem: FraudPipelinesError | None = None
        self._registry = registry
        self._plan = plan
        self._every = every_seconds
        self._clock = clock
        self._loaded: LoadedModel | None = None
        self._versions: dict[str, LoadedModel] = {}
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
            self._loaded = self._with_inputs(self.name) or self._version(ENSEMBLE_MODEL)
            self.problem = None
        except (RegistryUnavailable, MissingData, ArtifactRejected) as error:
            self.problem = error

    def _with_inputs(self, name: str) -> LoadedModel | None:
        """The champion with the models whose scores it takes; None if one of them has no champion."""
        champion = self._version(name)
        if champion is None:
            return None
        wanted = [each for each, feature in SCORE_FEATURES.items() if feature in champion.model.schema]
        inputs = [self._version(each) for each in wanted if each != REALTIME_MODEL]
        known = tuple(each for each in inputs if each)
        if len(known) < len(inputs):
            return None
        return replace(champion, inputs=known) if known else champion

    def _version(self, name: str) -> LoadedModel | None:
        """The champion of a model by itself, loaded if it is another than before."""
        champion = self._registry.champion(name)
        if champion is None:
            return None
        known = self._versions.get(name)
        if known is None or known.version != champion.version:
            known = load_version(self._registry, name, champion.version)
            require_current_features(known.model, self._plan)
            self._versions[name] = known
        return known
