"""Which features a detector judges together: the groups of a schema, and the known frauds that tell them apart."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_pipelines.detection.detectors.grouped import Layout
from fraud_pipelines.detection.schema import Schema


@dataclass(frozen=True)
class Grouping:
    """How a model is fitted group by group, see `detectors.grouped`.

    Attributes:
        primary: the groups whose detector is of the model's own kind; the others' are sums of surprises.
        frauds: rows of known frauds, with the schema's columns; none are needed.
    """

    primary: frozenset[str]
    frauds: pl.DataFrame

    def layouts(self, schema: Schema) -> list[Layout]:
        """The groups of a schema, in the order in which they begin. What names no group is in one of its own."""
        columns: dict[str, list[int]] = {}
        roles = list(schema.values())
        for place, (name, role) in enumerate(schema.items()):
            columns.setdefault(role.group or name, []).append(place)
        return [
            Layout(
                name=name,
                columns=np.array(places, dtype=np.int64),
                primary=name in self.primary,
                either_side=tuple(
                    roles[place].role == "numeric" and roles[place].direction == "both" for place in places
                ),
            )
            for name, places in columns.items()
        ]
