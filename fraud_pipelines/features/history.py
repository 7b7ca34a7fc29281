"""What the fold has kept of each entity, as a table: typed columns and lists, one row an entity."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.declarations import ENTITIES, Entity
from fraud_pipelines.transactions.schema import TIMESTAMP


def history_schema(entity: Entity) -> dict[str, pl.DataType]:
    """Columns of the entity's history: the id, then no more than its declared features can still reach."""
    schema: dict[str, pl.DataType] = {entity.column: pl.String(), "last_timestamp": TIMESTAMP}
    schema |= {f"last_{column}": pl.String() for column in entity.changes}
    if entity.average:
        schema |= {"transactions": pl.Int64(), "amount_total": pl.Float64()}
    if entity.kept_amounts:
        schema["recent_amounts"] = pl.List(pl.Float64())
    if entity.kept_span:
        schema["recent_timestamps"] = pl.List(TIMESTAMP)
    if entity.kept_counts:
        schema["recent_counts"] = pl.List(pl.Int64())
    if entity.profile:
        schema["outsized_timestamps"] = pl.List(TIMESTAMP)
    schema["declaration"] = pl.String()
    return schema


@dataclass(frozen=True)
class History:
    """The state of every entity of one kind: ``frame`` has the columns of `history_schema`, sorted by the id.

    ``transactions`` and ``amount_total`` count from the first transaction on; the lists hold, oldest first, what
    the windows can still reach of amounts and of timestamps.
    """

    entity: Entity
    frame: pl.DataFrame

    @classmethod
    def empty(cls, entity: Entity) -> Self:
        """The state before the first transaction."""
        return cls(entity, pl.DataFrame(schema=history_schema(entity)))

    @classmethod
    def from_frame(cls, entity: Entity, frame: pl.DataFrame) -> Self:
        """Take over stored rows, in any order and with any further columns; no rows are the empty history.

        Raises:
            InvalidInput: a column is missing, an id is there twice, or the rows were kept under other declarations.
        """
        if frame.is_empty():
            return cls.empty(entity)
        if "declaration" in frame.columns and not (frame["declaration"] == entity.fingerprint).all():
            raise InvalidInput(
                f"the stored {entity.name} history was kept for other windows than features/declarations.py now "
                "names, and can't be continued. Derive the features again from the first day on."
            )
        schema = history_schema(entity)
        missing = [name for name in schema if name not in frame.columns]
        if missing:
            raise InvalidInput(f"the {entity.name} history lacks the columns {missing}; derive its days again")
        frame = frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).sort(entity.column)
        if frame[entity.column].n_unique() < frame.height:
            raise InvalidInput(f"the {entity.name} history holds a {entity.column} more than once")
        return cls(entity, frame)

    def __len__(self) -> int:
        return self.frame.height

    def updated(self, newer: "History") -> "History":
        """This history with the entities of ``newer`` replaced or added."""
        untouched = self.frame.join(newer.frame, on=self.entity.column, how="anti")
        return History(self.entity, pl.concat([untouched, newer.frame]).sort(self.entity.column))


Histories = Mapping[str, History]
"""A history for each kind of entity, by `Entity.name`."""


def empty_histories(entities: Iterable[Entity] = ENTITIES) -> dict[str, History]:
    """Histories before the first transaction."""
    return {entity.name: History.empty(entity) for entity in entities}
