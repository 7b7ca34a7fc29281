"""Histories held in memory: the features of a stream, one transaction or a micro-batch at a time."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.aggregates import entity_features
from fraud_pipelines.features.catalog import FEATURES, KEY_COLUMNS, table_schema
from fraud_pipelines.features.declarations import ENTITIES, Entity
from fraud_pipelines.features.engine import FOLDED, READ, add_derived, checked, taken
from fraud_pipelines.features.feedback import Happened, Past, with_feedback
from fraud_pipelines.features.fold import from_state, plan, to_series, to_state
from fraud_pipelines.features.history import Histories, History
from fraud_pipelines.features.ordering import Runs, in_time
from fraud_pipelines.transactions.schema import REQUIRED_COLUMNS, TRANSACTION_COLUMNS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)
_COLUMNS: Final = sorted({column for entity in ENTITIES for column in (entity.column, *entity.changes)})


class LiveHistories:
    """What is kept of each entity, by id, ready for its next transaction.

    The same kernel and the same expressions as in `compute_features` give, to the bit, the same features; only the
    rows that come are looked at, however many entities are known. Not for several threads at once.

    Args:
        histories: of earlier transactions, by `Entity.name`.
        past: earlier transactions and their labels, for the feedback features.
        limit: how many entities of each kind to keep; of more, those idle for longest are forgotten. A forgotten
            one comes back as new unless its history is loaded again: see `unknown` and `warm`.
        keep_changes: whether to keep each history that a fold changes until `changed` is asked for it, even one
            that is forgotten meanwhile.
    """

    def __init__(
        self,
        histories: Histories | None = None,
        past: Past | None = None,
        *,
        limit: int | None = None,
        keep_changes: bool = False,
    ) -> None:
        self._kept = [_Kept(entity, limit, keep_changes=keep_changes) for entity in ENTITIES]
        self.learn(past or Past.nothing())
        self.warm(histories or {})

    def warm(self, histories: Histories) -> None:
        """Take over stored histories; an entity that is held already gets the stored one instead."""
        for kept in self._kept:
            if kept.entity.name in histories:
                kept.load(histories[kept.entity.name])

    def learn(self, past: Past) -> None:
        """Look feedback features up in ``past`` from now on."""
        found = [Happened.of(entity, past) for entity in with_feedback()]
        self._happened = [(each, {key: code for code, key in enumerate(each.ids)}) for each in found]

    def unknown(self, transactions: pl.DataFrame) -> dict[str, list[str]]:
        """The entities in ``transactions`` of which nothing is held, by `Entity.name`, sorted.

        Those that are held count as active now: to `warm` the others won't make them forgotten, as long as all of
        them together are within the limit.
        """
        missing: dict[str, list[str]] = {}
        for kept in self._kept:
            keys = transactions[kept.entity.column].drop_nulls().unique().sort().to_list()
            missing[kept.entity.name] = [key for key in keys if not kept.touch(key)]
        return missing

    def histories(self) -> dict[str, History]:
        """The histories as `compute_features` would return them."""
        return {kept.entity.name: kept.history() for kept in self._kept}

    def changed(self) -> dict[str, History]:
        """The histories that folds have changed since this was last asked, as they stand: what there is to store.

        Raises:
            RuntimeError: these histories were made without ``keep_changes``.
        """
        return {kept.entity.name: kept.changed() for kept in self._kept}

    def fold(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """Features of ``transactions``, which are folded into the histories.

        Args:
            transactions: as for `compute_features`.

        Returns:
            A frame with the columns of ``features.transaction_features``, sorted by (user_id, timestamp,
            transaction_id).

        Raises:
            InvalidInput: as `compute_features`; the histories are then as before.
        """
        found = checked(transactions)
        order = in_time(found)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        by_user = Runs.of(found["user_id"], order).order
        rows = found[by_user]
        values, changed = self._values(
            _Rows(
                columns={name: rows[name].to_list() for name in _COLUMNS},
                timestamp=rows["timestamp"].to_physical().to_numpy().copy(),
                amount=rows["amount"].to_numpy().copy(),
                rank=rank[by_user],
            )
        )
        series = [to_series(feature, value) for feature, value in zip(FOLDED, values, strict=True)]
        features = add_derived(taken(found, by_user).with_columns(series)).select(*table_schema())
        self._keep(changed)
        return features

    def fold_one(self, transaction: Mapping[str, object]) -> dict[str, object]:
        """`fold` for one transaction: its columns by name in, keys and features by name out, null as None.

        Raises:
            InvalidInput: a required value is missing, a value is of another type, or the amount is negative or not
                finite; the histories are then as before.
        """
        ids, timestamp, amount = _checked(transaction)
        values, changed = self._values(
            _Rows(
                columns={name: [ids[name]] for name in _COLUMNS},
                timestamp=np.array([(timestamp - _EPOCH) // _MICROSECOND]),
                amount=np.array([amount]),
                rank=np.zeros(1, dtype=np.int64),
            )
        )
        row: dict[str, object] = {**ids, "timestamp": timestamp, "amount": amount, "event_date": timestamp.date()}
        for feature, found in zip(FOLDED, values, strict=True):
            value = float(found[0])
            row[feature.name] = None if math.isnan(value) else int(value) if feature.dtype.is_integer() else value
        read = tuple(row[name] for name in READ)
        row |= add_derived(pl.DataFrame([read, read], schema=READ, orient="row")).row(0, named=True)
        self._keep(changed)
        return {name: row[name] for name in (*KEY_COLUMNS, *FEATURES)}

    def _values(self, rows: "_Rows") -> tuple[list[Floats], list[dict[str, bytes]]]:
        """The features that need histories, in the order of `FEATURES`, and each kind's changed entities."""
        values: list[Floats] = []
        changed: list[dict[str, bytes]] = []
        for kept in self._kept:
            found, states = kept.fold(rows)
            values += list(found)
            changed.append(states)
        for happened, codes in self._happened:
            keys = rows.columns[happened.entity.column]
            code = np.array([-1 if key is None else codes.get(key, -1) for key in keys], dtype=np.int64)
            values += happened.features(code, np.array([key is not None for key in keys], dtype=bool), rows.timestamp)
        return values, changed

    def _keep(self, changed: list[dict[str, bytes]]) -> None:
        for kept, states in zip(self._kept, changed, strict=True):
            kept.change(states)


class _Rows(NamedTuple):
    """Transactions as columns; ``rank`` is each one's position in the order (timestamp, transaction_id)."""

    columns: Mapping[str, list[str | None]]
    timestamp: Ints
    amount: Floats
    rank: Ints


class _Kept:
    """The state of every entity of one kind, each packed into bytes of its own."""

    def __init__(self, entity: Entity, limit: int | None, *, keep_changes: bool) -> None:
        self.entity = entity
        self._limit = limit
        self._states: dict[str, bytes] = {} if limit is None else OrderedDict()  # idle for longest first
        self._changed: dict[str, bytes] | None = {} if keep_changes else None
        self._features = len(entity_features(entity))
        self._codes: dict[str, dict[str | None, int]] = {column: {None: -1} for column in entity.changes}

    def touch(self, key: str) -> bool:
        """Whether the entity is held; if so, it is the one that was active last."""
        held = key in self._states
        if held and isinstance(self._states, OrderedDict):
            self._states.move_to_end(key)
        return held

    def load(self, history: History) -> None:
        from fraud_pipelines.features import kernel

        frame = history.frame.sort("last_timestamp", self.entity.column)
        last = {column: frame[f"last_{column}"].to_list() for column in self.entity.changes}
        at, packed = kernel.pack(to_state(frame), self._coded(last, frame.height))
        self._update(_split(frame[self.entity.column].to_list(), at, packed))

    def fold(self, rows: _Rows) -> tuple[Floats, dict[str, bytes]]:
        """Features, shape (features, rows), and the new state of the entities that occur."""
        from fraud_pipelines.features import kernel

        positions: dict[str, int] = {}
        keys = rows.columns[self.entity.column]
        entity = np.array([-1 if key is None else positions.setdefault(key, len(positions)) for key in keys], np.int64)
        order = np.argsort(entity * len(keys) + rows.rank)[np.count_nonzero(entity < 0) :]
        out = np.full((self._features, len(order)), np.nan)
        before = _joined([self._states.get(key, b"") for key in positions])
        at, packed = kernel.fold_packed(
            plan(self.entity),
            kernel.Rows(
                at=np.searchsorted(entity[order], np.arange(len(positions) + 1)),
                timestamp=rows.timestamp[order],
                amount=rows.amount[order],
                codes=self._coded(rows.columns, len(keys))[:, order],
                last_codes=np.empty((len(self.entity.changes), len(positions)), dtype=np.int64),
            ),
            *before,
            out,
        )
        values = np.full((self._features, len(keys)), np.nan)
        values[:, order] = out
        return values, _split(positions, at, packed)

    def change(self, states: dict[str, bytes]) -> None:
        """Take over what `fold` has returned."""
        self._update(states)
        if self._changed is not None:
            self._changed.update(states)

    def _update(self, states: dict[str, bytes]) -> None:
        self._states.update(states)
        if isinstance(self._states, OrderedDict) and self._limit is not None:
            for key in states:
                self._states.move_to_end(key)
            while len(self._states) > self._limit:
                self._states.popitem(last=False)

    def history(self) -> History:
        return self._history(self._states)

    def changed(self) -> History:
        if self._changed is None:
            raise RuntimeError("changes are kept with LiveHistories(…, keep_changes=True) only")
        history = self._history(self._changed)
        self._changed = {}
        return history

    def _history(self, states: Mapping[str, bytes]) -> History:
        from fraud_pipelines.features import kernel

        last_codes = np.empty((len(self.entity.changes), len(states)), dtype=np.int64)
        state = kernel.unpack(*_joined(list(states.values())), last_codes)
        latest = {}
        for codes, (column, known) in zip(last_codes, self._codes.items(), strict=True):
            values = list(known)
            latest[f"last_{column}"] = pl.Series([values[code + 1] for code in codes], dtype=pl.String())
        keys = pl.Series(list(states), dtype=pl.String())
        return History(self.entity, from_state(self.entity, keys, state, latest))

    def _coded(self, columns: Mapping[str, list[str | None]], rows: int) -> Ints:
        """The watched columns as numbers, shape (columns, rows): one for each value met so far, -1 for none."""
        codes = np.empty((len(self.entity.changes), rows), dtype=np.int64)
        for k, (column, known) in enumerate(self._codes.items()):
            codes[k] = [known.setdefault(value, len(known) - 1) for value in columns[column]]
        return codes


def _joined(states: list[bytes]) -> tuple[Ints, Ints]:
    """The runs of `kernel.pack`, and where each starts (and the last ends)."""
    at = np.zeros(len(states) + 1, dtype=np.int64)
    np.cumsum([len(state) // 8 for state in states], out=at[1:])
    return at, np.frombuffer(bytearray().join(states), dtype=np.int64)  # writable: numba compiles anew for what isn't


def _split(keys: Iterable[str], at: Ints, packed: Ints) -> dict[str, bytes]:
    """Each entity's run."""
    runs = packed.tobytes()
    return {key: runs[start:end] for key, (start, end) in zip(keys, pairwise((at * 8).tolist()), strict=True)}


def _checked(transaction: Mapping[str, object]) -> tuple[dict[str, str | None], datetime, float]:
    """The texts of the transaction, complete, its timestamp and its amount."""
    missing = [name for name in REQUIRED_COLUMNS if transaction.get(name) is None]
    if missing:
        raise InvalidInput(f"the transaction has no {missing}; validate transactions first")
    timestamp, amount = transaction["timestamp"], transaction["amount"]
    if not isinstance(timestamp, datetime) or timestamp.tzinfo is not None:
        raise InvalidInput(f"the transaction's timestamp is {timestamp!r}, expected a datetime in UTC without a zone")
    if not isinstance(amount, int | float) or not math.isfinite(amount) or amount < 0:
        raise InvalidInput(f"the transaction's amount is {amount!r}, expected a finite number of at least 0")
    texts: dict[str, str | None] = {}
    for name, dtype in TRANSACTION_COLUMNS.items():
        if dtype == pl.String():
            value = transaction.get(name)
            if value is not None and not isinstance(value, str):
                raise InvalidInput(f"the transaction's {name} is {value!r}, expected a text")
            texts[name] = value
    return texts, timestamp, float(amount)
