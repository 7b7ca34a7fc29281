"""What label features look up, in files by the shard of an entity's key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.plan.types import EntityPlan
from fraud_pipelines.storage.connection import Connection, registered
from fraud_pipelines.storage.row_files import RowFiles
from fraud_pipelines.storage.shard_files import export

EventFiles = Mapping[str, RowFiles]
"""By the name of each frame of `LabelEvents`, where the entity has it."""

_BY_ENTITY: Final = ("activity", "early", "judged", "outcomes", "labelled")
_FRAUDS: Final = "frauds"


def export_events(
    connection: Connection, entity: EntityPlan, events: LabelEvents, *, key: Sequence[str], shards: int, folder: Path
) -> list[EventFiles]:
    """Write the events of one entity into files, by the shard of ``key``, which are columns of its key.

    Args:
        events: read, or made, for entities of which this is one.
    """
    frames = {name: of[entity.name] for name in _BY_ENTITY if entity.name in (of := getattr(events, name))}
    frames[_FRAUDS] = events.frauds.drop_nulls(list(entity.key))
    found: list[dict[str, RowFiles]] = [{} for _ in range(shards)]
    for name, frame in frames.items():
        with registered(connection, _events=frame):
            files = export(connection, "FROM _events", (), key=key, shards=shards, folder=folder / name)
        for of_shard, each in zip(found, files, strict=True):
            of_shard[name] = each
    return list(found)


def read_events(entity: EntityPlan, files: EventFiles) -> LabelEvents:
    """The events of a shard."""
    nothing = LabelEvents.nothing([entity])

    def frame(name: str, like: pl.DataFrame) -> pl.DataFrame:
        return files.get(name, RowFiles()).read(like.schema)

    by_entity = {
        name: {each: frame(name, like) for each, like in getattr(nothing, name).items()} for name in _BY_ENTITY
    }
    return LabelEvents(**by_entity, frauds=frame(_FRAUDS, nothing.frauds))
