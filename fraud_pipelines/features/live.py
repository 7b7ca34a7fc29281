"""Histories held in memory: the features of a stream, one transaction or a micro-batch at a time."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.catalog import KEY_COLUMNS, table_schema
from fraud_pipelines.features.declarations import ENTITIES
from fraud_pipelines.features.engine import FOLDED, READ, add_derived, checked
from fraud_pipelines.features.feedback import Happened, Past, with_feedback
from fraud_pipelines.features.fold import to_series
from fraud_pipelines.features.history import Histories, History
from fraud_pipelines.features.kept import Arrivals, Kept
from fraud_pipelines.features.ordering import in_time
from fraud_pipelines.transactions.schema import REQUIRED_COLUMNS, TRANSACTION_COLUMNS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1) // _MICROSECOND
_TEXTS: Final = [name for name, dtype in TRANSACTION_COLUMNS.items() if dtype == pl.String()]
_NEEDED: Final = [name for name in TRANSACTION_COLUMNS if name in KEY_COLUMNS or name in READ]
_KINDS: Final = [(feature.name, feature.dtype.is_integer()) for feature in FOLDED]
_OUT: Final = list(table_schema())
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
        self._kept = [Kept(entity, limit, keep_changes=keep_changes) for entity in ENTITIES]
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
        rows = checked(transactions).sort("user_id", "timestamp", "transaction_id")
        order = in_time(rows)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        arrivals = Arrivals(
            columns={name: rows[name].to_list() for name in _COLUMNS},
            timestamp=rows["timestamp"].to_physical().to_numpy().copy(),
            amount=rows["amount"].to_numpy().copy(),
            rank=rank,
        )
        folded = [kept.fold(arrivals) for kept in self._kept]
        values = [value for found, _ in folded for value in found]
        values += self._feedback(arrivals.columns, arrivals.timestamp)
        series = [to_series(feature, value) for feature, value in zip(FOLDED, values, strict=True)]
        days = pl.Series("event_date", arrivals.timestamp // _DAY, dtype=pl.Int32).cast(pl.Date)
        features = add_derived(rows[_NEEDED].hstack([days, *series]))[_OUT]
        for kept, (_, change) in zip(self._kept, folded, strict=True):
            kept.change(change)
        return features

    def fold_one(self, transaction: Mapping[str, object]) -> dict[str, object]:
        """`fold` for one transaction: its columns by name in, keys and features by name out, null as None.

        Raises:
            InvalidInput: a required value is missing, a value is of another type, or the amount is negative or not
                finite; the histories are then as before.
        """
        texts, timestamp, amount = _checked(transaction)
        columns = {name: [texts[name]] for name in _COLUMNS}
        instants = np.array([(timestamp - _EPOCH) // _MICROSECOND])
        amounts = np.array([amount])
        folded = [kept.fold_one(columns, instants, amounts) for kept in self._kept]
        values = [value for found, _ in folded for value in found[:, 0].tolist()]
        values += [float(value[0]) for value in self._feedback(columns, instants)]
        row: dict[str, object] = {**texts, "timestamp": timestamp, "amount": amount, "event_date": timestamp.date()}
        for (name, is_integer), value in zip(_KINDS, values, strict=True):
            row[name] = None if value != value else int(value) if is_integer else value  # noqa: PLR0124
        read = tuple(row[name] for name in READ)
        row |= add_derived(pl.DataFrame([read, read], schema=READ, orient="row")).row(0, named=True)
        for kept, (_, change) in zip(self._kept, folded, strict=True):
            if change is not None:
                kept.change(change)
        return {name: row[name] for name in _OUT}

    def _feedback(self, columns: Mapping[str, Sequence[str | None]], timestamp: Ints) -> list[Floats]:
        """The features that need labels, in the order of `FEATURES`."""
        values: list[Floats] = []
        for happened, codes in self._happened:
            keys = columns[happened.entity.column]
            code = np.array([-1 if key is None else codes.get(key, -1) for key in keys], dtype=np.int64)
            values += happened.features(code, np.array([key is not None for key in keys]), timestamp)
        return values


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
    texts = {name: transaction.get(name) for name in _TEXTS}
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"the transaction's {name} is {value!r}, expected a text")
    return cast(dict[str, str | None], texts), timestamp, float(amount)
