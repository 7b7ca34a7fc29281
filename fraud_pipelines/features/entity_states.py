"""What is kept in memory of each entity of one kind: packed, ready for its next rows."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.arrays import Columns, stacked
from fraud_pipelines.features.history import History
from fraud_pipelines.features.program import EntityProgram

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_ALONE: Final = np.array([0, 1])
_NEW: Final = -1


class Arrivals(NamedTuple):
    """Transactions as columns; ``rank`` is each one's position in the order (timestamp, transaction_id)."""

    keys: Mapping[str, Sequence[str | None]]  # by the name of the entity
    timestamp: Ints
    columns: Columns
    rank: Ints


class Arrival(NamedTuple):
    """One transaction: ``timestamp`` has shape (1,), the other columns are single values."""

    keys: Mapping[str, str | None]  # by the name of the entity
    timestamp: Ints
    values: Mapping[str, float]
    codes: Mapping[str, int]
    masks: Mapping[str, bool]


class Change(NamedTuple):
    """The new state of some entities; entity k is kept in slot ``slots[k]`` (-1: nothing was), and owns
    ``packed[at[k] : at[k + 1]]``.
    """

    keys: list[str]
    slots: Ints
    at: Ints
    packed: Ints


class EntityStates:
    """The state of every entity of one kind, by id.

    Args:
        limit: how many to keep; of more, those idle for longest are forgotten.
        keep_changes: whether to keep what changes until `changed` is asked for it, even of the forgotten.
    """

    def __init__(self, program: EntityProgram, limit: int | None, *, keep_changes: bool) -> None:
        self.program = program
        self._limit = limit
        self._slots: dict[str, int] = {} if limit is None else OrderedDict()  # idle for longest first
        self._runs = _PackedStates()
        self._changed: dict[str, int] | None = {} if keep_changes else None
        self._features = len(program.names)

    def touch(self, key: str) -> bool:
        """Whether the entity is held; if so, it is the one that was active last."""
        held = key in self._slots
        if held and isinstance(self._slots, OrderedDict):
            self._slots.move_to_end(key)
        return held

    def load(self, history: History) -> None:
        """Take over stored states, instead of what is held of the same entities."""
        key = self.program.entity.key
        loaded = History(self.program, history.frame.sort("last_timestamp", *key))
        keys = loaded.keys.to_list()
        starts, lengths, numbers = loaded.runs()
        self._put(Change(keys, self._find(keys), np.append(starts, starts[-1:] + lengths[-1:]), numbers))
        self._forget()

    def fold(self, rows: Arrivals) -> tuple[Floats, Change]:
        """Features, shape (features, rows), and what `change` is to take over."""
        positions: dict[str, int] = {}
        ids = rows.keys[self.program.entity.name]
        entity = np.array([-1 if key is None else positions.setdefault(key, len(positions)) for key in ids], np.int64)
        order = np.argsort(entity * len(ids) + rows.rank)[np.count_nonzero(entity < 0) :]
        keys = list(positions)
        at = np.searchsorted(entity[order], np.arange(len(keys) + 1))
        program, columns = self.program, rows.columns
        out, change = self._folded(
            keys,
            self._find(keys),
            at,
            rows.timestamp[order],
            stacked(columns.values, program.values, order, np.float64),
            stacked(columns.codes, program.codes, order, np.int64),
            stacked(columns.masks, program.conditions, order, np.bool_),
        )
        values = np.full((self._features, len(ids)), np.nan)
        values[:, order] = out
        return values, change

    def fold_one(self, row: Arrival) -> tuple[Floats, Change | None]:
        """`fold` for one row: its features, and its change, if it has an entity."""
        key = row.keys[self.program.entity.name]
        if key is None:
            return np.full((self._features, 1), np.nan), None
        program = self.program
        return self._folded(
            [key],
            np.array([self._slots.get(key, _NEW)]),
            _ALONE,
            row.timestamp,
            np.array([row.values[name] for name in program.values], np.float64).reshape(-1, 1),
            np.array([row.codes[name] for name in program.codes], np.int64).reshape(-1, 1),
            np.array([row.masks[sql] for sql in program.conditions], np.bool_).reshape(-1, 1),
        )

    def _folded(
        self,
        keys: list[str],
        slots: Ints,
        at: Ints,
        timestamp: Ints,
        values: Floats,
        codes: Ints,
        masks: NDArray[np.bool_],
    ) -> tuple[Floats, Change]:
        """Entity k of ``keys`` owns the rows ``at[k] : at[k + 1]``; the columns have shape (columns, rows)."""
        from fraud_pipelines.features import kernel
        from fraud_pipelines.plan.folding.loop import Rows

        out = np.full((self._features, timestamp.size), np.nan)
        rows = Rows(at, timestamp, values, codes, masks)
        after_at, packed = kernel.fold(self.program.arrays, rows, kernel.Packed(*self._runs.of(slots)), out)
        return out, Change(keys, slots, after_at, packed)

    def change(self, change: Change) -> None:
        """Take over what `fold` has returned."""
        slots = self._put(change)
        if self._changed is not None:
            for key, slot in zip(change.keys, slots.tolist(), strict=True):
                old = self._changed.get(key, slot)
                if old != slot:  # forgotten, and new again
                    self._runs.free(old)
                self._changed[key] = slot
        self._forget()

    def history(self) -> History:
        """All states, as a history."""
        return self._history(self._slots)

    def changed(self) -> History:
        """The states that have changed since this was last asked."""
        if self._changed is None:
            raise RuntimeError("changes are kept with LiveHistories(…, keep_changes=True) only")
        history = self._history(self._changed)
        for key, slot in self._changed.items():
            if self._slots.get(key) != slot:
                self._runs.free(slot)
        self._changed = {}
        return history

    def _find(self, keys: list[str]) -> Ints:
        return np.array([self._slots.get(key, _NEW) for key in keys], dtype=np.int64)

    def _put(self, change: Change) -> Ints:
        """Store the states, those of new entities in new slots; returns all their slots."""
        new = np.flatnonzero(change.slots == _NEW)
        slots = change.slots
        if new.size:
            slots = slots.copy()
            slots[new] = self._runs.take(new.size)
            for k in new.tolist():
                self._slots[change.keys[k]] = int(slots[k])
        self._runs.put(slots, change.at, change.packed)
        if isinstance(self._slots, OrderedDict):
            for key in change.keys:
                self._slots.move_to_end(key)
        return slots

    def _forget(self) -> None:
        while self._limit is not None and len(self._slots) > self._limit:
            key = next(iter(self._slots))
            slot = self._slots.pop(key)
            if self._changed is None or self._changed.get(key) != slot:
                self._runs.free(slot)

    def _history(self, slots: Mapping[str, int]) -> History:
        starts, lengths, numbers = self._runs.of(np.array(list(slots.values()), dtype=np.int64))
        at = np.append(0, np.cumsum(lengths))
        found = numbers[np.repeat(starts - at[:-1], lengths) + np.arange(at[-1])]
        return History.of(self.program, pl.Series("key", list(slots), dtype=pl.String()), at, found).ordered()


class _PackedStates:
    """Runs of numbers in one array, each in a slot of its own, where it has room to grow."""

    def __init__(self) -> None:
        self._numbers = np.empty(1024, dtype=np.int64)
        self._used = 0
        self._starts, self._lengths, self._room = (np.zeros(64, dtype=np.int64) for _ in range(3))
        self._slots = 0
        self._free: list[int] = []

    def of(self, slots: Ints) -> tuple[Ints, Ints, Ints]:
        """Where each slot's run starts, how long it is (0 for slot -1), and the array it is in."""
        return self._starts[slots], np.where(slots < 0, 0, self._lengths[slots]), self._numbers

    def take(self, n: int) -> list[int]:
        """``n`` free slots."""
        reused = [self._free.pop() for _ in range(min(n, len(self._free)))]
        first, self._slots = self._slots, self._slots + n - len(reused)
        if self._slots > self._starts.size:
            more = np.zeros(max(self._slots, 2 * self._starts.size) - self._starts.size, dtype=np.int64)
            self._starts, self._lengths, self._room = (
                np.append(each, more) for each in (self._starts, self._lengths, self._room)
            )
        return [*reused, *range(first, self._slots)]

    def free(self, slot: int) -> None:
        """Let the slot be taken again."""
        self._free.append(slot)

    def put(self, slots: Ints, at: Ints, packed: Ints) -> None:
        """Set the run of each of ``slots``: ``packed[at[k] : at[k + 1]]`` is that of ``slots[k]``."""
        from fraud_pipelines.features.kernel import place

        where = (self._starts, self._lengths, self._room, slots, at, packed)
        end = place(self._numbers, self._used, *where)
        if end > self._numbers.size:
            larger = np.empty(2 * end, dtype=np.int64)
            larger[: self._used] = self._numbers[: self._used]
            self._numbers = larger
            end = place(self._numbers, self._used, *where)
        self._used = end
