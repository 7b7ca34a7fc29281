"""What the fold has kept of each entity, as a table: one row an entity."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.keys import key_columns, keys_of
from fraud_pipelines.features.program import EntityProgram
from fraud_pipelines.transactions.schema import TIMESTAMP

Ints = NDArray[np.int64]

KEPT_COLUMNS: Final[Mapping[str, pl.DataType]] = {
    "transactions": pl.Int64(),
    "last_timestamp": TIMESTAMP,
    "state": pl.List(pl.Int64()),
    "declaration": pl.String(),
}
"""The columns of every history besides the key. ``state`` is a run of the kernel (`kernel.Packed`)."""


def history_schema(program: EntityProgram) -> dict[str, pl.DataType]:
    """Columns of the entity's history: its key, then what is kept."""
    return {**dict.fromkeys(program.entity.key, pl.String()), **KEPT_COLUMNS}


@dataclass(frozen=True)
class History:
    """The state of every entity of one kind: ``frame`` has the columns of `history_schema`.

    ``transactions`` counts from the first transaction on; ``state`` holds no more than the declared features can
    still reach.
    """

    program: EntityProgram
    frame: pl.DataFrame

    @classmethod
    def empty(cls, program: EntityProgram) -> Self:
        """The state before the first transaction."""
        return cls(program, pl.DataFrame(schema=history_schema(program)))

    @classmethod
    def of(cls, program: EntityProgram, keys: pl.Series, at: Ints, numbers: Ints) -> Self:
        """What the kernel returned of the entities with these keys."""
        import pyarrow as pa

        states = pl.from_arrow(pa.LargeListArray.from_arrays(at, numbers))
        assert isinstance(states, pl.Series)
        heads = at[:-1]
        frame = pl.DataFrame(
            [
                *key_columns(keys.alias("key"), program.entity.key),
                pl.Series("transactions", numbers[heads]),
                pl.Series("last_timestamp", numbers[heads + 1]).cast(TIMESTAMP),
                states.alias("state"),
                pl.repeat(program.fingerprint, len(keys), dtype=pl.String, eager=True).alias("declaration"),
            ]
        )
        return cls(program, frame)

    @classmethod
    def from_frame(cls, program: EntityProgram, frame: pl.DataFrame) -> Self:
        """Take over stored rows, in any order and with any further columns; no rows are the empty history.

        Raises:
            InvalidInput: a column is missing, a key is there twice, or the rows were kept under other declarations.
        """
        if frame.is_empty():
            return cls.empty(program)
        name = program.entity.name
        if "declaration" in frame.columns and not (frame["declaration"] == program.fingerprint).all():
            raise InvalidInput(
                f"the stored {name} history was kept for other declarations than those in force, and can't be "
                "continued. Derive the features again from the first day on: fraud-pipelines features rebuild."
            )
        schema = history_schema(program)
        missing = [column for column in schema if column not in frame.columns]
        if missing:
            raise InvalidInput(f"the {name} history lacks the columns {missing}; derive its days again")
        key = program.entity.key
        frame = frame.select(pl.col(column).cast(dtype) for column, dtype in schema.items()).sort(key)
        if frame.select(key).is_duplicated().any():
            raise InvalidInput(f"the {name} history holds a {', '.join(key)} more than once")
        return cls(program, frame)

    def __len__(self) -> int:
        return self.frame.height

    @property
    def keys(self) -> pl.Series:
        """The key of each entity, as by `keys_of`."""
        return keys_of(self.frame, self.program.entity.key).alias("key")

    def runs(self) -> tuple[Ints, Ints, Ints]:
        """Where each state starts, how long it is, and all of them one after the other."""
        return packed(self.frame["state"])

    def ordered(self) -> "History":
        """The same, by the key."""
        return History(self.program, self.frame.sort(self.program.entity.key))

    def updated(self, newer: "History") -> "History":
        """This history with the entities of ``newer`` replaced or added."""
        key = list(self.program.entity.key)
        untouched = self.frame.join(newer.frame, on=key, how="anti")
        return History(self.program, pl.concat([untouched, newer.frame]).sort(key))


def packed(states: pl.Series) -> tuple[Ints, Ints, Ints]:
    """Runs of the kernel from a column of states: starts, lengths and numbers; a null is an empty run."""
    lengths = np.array(states.list.len().fill_null(0).to_numpy(), dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    # A writable copy: numba compiles anew for arrays that are read-only.
    numbers = np.array(states.explode(empty_as_null=False, keep_nulls=False).to_numpy(), dtype=np.int64)
    return starts, lengths, numbers if numbers.size else np.zeros(1, dtype=np.int64)


Histories = Mapping[str, History]
"""A history for each kind of entity, by its name."""


def empty_histories(programs: Iterable[EntityProgram]) -> dict[str, History]:
    """Histories before the first transaction."""
    return {program.entity.name: History.empty(program) for program in programs}
