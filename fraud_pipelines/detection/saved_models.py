"""Models in files, for the processes that score shards of a day: each is told by its digest."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fraud_pipelines.detection.daily_models import LoadedModel
from fraud_pipelines.detection.model import FraudModel


@dataclass(frozen=True)
class SavedModel:
    """A registered version as plain arrays in a folder, and the digest of what was written there."""

    name: str
    version: int
    folder: Path
    digest: str

    def load(self) -> LoadedModel:
        """The model; kept by the process, since the next shard asks for it again.

        Raises:
            ArtifactRejected: the folder holds something else than was saved.
        """
        return _loaded(self)


@lru_cache(maxsize=16)
def _loaded(saved: SavedModel) -> LoadedModel:
    return LoadedModel(saved.name, saved.version, FraudModel.load(saved.folder, digest=saved.digest))


def save_models(models: Iterable[LoadedModel], folder: Path) -> tuple[SavedModel, ...]:
    """Write models into folders below ``folder``, in their order."""
    saved = []
    for number, loaded in enumerate(models):
        place = folder / f"model-{number}"
        saved.append(SavedModel(loaded.name, loaded.version, place, loaded.model.save(place)))
    return tuple(saved)
