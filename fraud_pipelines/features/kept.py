"""What is kept in memory of each entity of one kind: packed, ready for its next rows."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.aggregates import entity_features
from fraud_pipelines.features.declarations import Entity
from fraud_pipelines.features.fold import from_state, plan, to_state
from fraud_pipelines.features.history import History

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_ALONE: Final = np.array([0, 1])
_NEW: Final = -1


class Arrivals(NamedTuple):
    """Transactions as columns; ``rank`` is each one's position in the order (timestamp, transaction_id)."""

    columns: Mapping[str, Sequence[str | None]]
    timestamp: Ints
    amount: Floats
    rank: Ints


class Change(NamedTuple):
    """The new state of some entities; entity k is kept in slot ``slots[k]`` (-1: nothing was), and owns
    ``packed[at[k] : at[k + 1]]``.
    """

    keys: list[str]
    slots: Ints
    at: Ints
    packed: Ints


class Kept:
    """The state of every entity of one kind, by id.

    Args:
        limit: how many to keep; of more, those idle for longest are forgotten.
        keep_changes: whether to keep what changes until `changed` is asked for it, even of the forgotten.
    """

    def __init__(self, entity: Entity, limit: int | None, *, keep_changes: bool) -> None:
        self.entity = entity
        self._limit = limit
        self._slots: dict[str, int] = {} if limit is None else OrderedDict()  # idle for longest first
        self._runs = _Runs()
        self._changed: dict[str, int] | None = {} if keep_changes else None
        self._features = len(entity_features(entity))
        self._codes: dict[str, dict[str | None, int]] = {column: {None: -1} for column in entity.changes}

    def touch(self, key: str) -> bool:
        """Whether the entity is held; if so, it is the one that was active last."""
        held = key in self._slots
        if held and isinstance(self._slots, OrderedDict):
            self._slots.move_to_end(key)
        return held

    def load(self, history: History) -> None:
        """Take over stored states, instead of what is held of the same entities."""
        from fraud_pipelines.features import kernel

        frame = history.frame.sort("last_timestamp", self.entity.column)
        last = {column: frame[f"last_{column}"].to_list() for column in self.entity.changes}
        at, packed = kernel.pack(to_state(frame), self._coded(last, frame.height))
        keys = frame[self.entity.column].to_list()
        self._put(Change(keys, self._find(keys), at, packed))
        self._forget()

    def fold(self, rows: Arrivals) -> tuple[Floats, Change]:
        """Features, shape (features, rows), and what `change` is to take over."""
        from fraud_pipelines.features import kernel

        positions: dict[str, int] = {}
        ids = rows.columns[self.entity.column]
        entity = np.array([-1 if key is None else positions.setdefault(key, len(positions)) for key in ids], np.int64)
        order = np.argsort(entity * len(ids) + rows.rank)[np.count_nonzero(entity < 0) :]
        out = np.full((self._features, order.size), np.nan)
        keys = list(positions)
        slots = self._find(keys)
        at, packed = kernel.fold_packed(
            plan(self.entity),
            np.searchsorted(entity[order], np.arange(len(keys) + 1)),
            rows.timestamp[order],
            rows.amount[order],
            self._coded(rows.columns, len(ids))[:, order],
            *self._runs.of(slots),
            out,
        )
        values = np.full((self._features, len(ids)), np.nan)
        values[:, order] = out
        return values, Change(keys, slots, at, packed)

    def fold_one(
        self, columns: Mapping[str, Sequence[str | None]], timestamp: Ints, amount: Floats
    ) -> tuple[Floats, Change | None]:
        """`fold` for one row: its features, and its change, if it has an entity."""
        from fraud_pipelines.features import kernel

        key = columns[self.entity.column][0]
        out = np.full((self._features, 1), np.nan)
        if key is None:
            return out, None
        slots = np.array([self._slots.get(key, _NEW)])
        codes, runs = self._coded(columns, 1), self._runs.of(slots)
        at, packed = kernel.fold_packed(plan(self.entity), _ALONE, timestamp, amount, codes, *runs, out)
        return out, Change([key], slots, at, packed)

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
        from fraud_pipelines.features import kernel

        last_codes = np.empty((len(self.entity.changes), len(slots)), dtype=np.int64)
        state = kernel.unpack(*self._runs.of(np.array(list(slots.values()), dtype=np.int64)), last_codes)
        latest = {}
        for codes, (column, known) in zip(last_codes, self._codes.items(), strict=True):
            values = list(known)
            latest[f"last_{column}"] = pl.Series([values[code + 1] for code in codes], dtype=pl.String())
        return History(self.entity, from_state(self.entity, pl.Series(list(slots), dtype=pl.String()), state, latest))

    def _coded(self, columns: Mapping[str, Sequence[str | None]], rows: int) -> Ints:
        """The watched columns as numbers, shape (columns, rows): one for each value met so far, -1 for none."""
        codes = np.empty((len(self.entity.changes), rows), dtype=np.int64)
        for k, (column, known) in enumerate(self._codes.items()):
            codes[k] = [known.setdefault(value, len(known) - 1) for value in columns[column]]
        return codes


class _Runs:
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
