"""Histories held in memory: the features of a stream, one transaction or a micro-batch at a time."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.arrays import code_of
from fraud_pipelines.features.engine import KEY_COLUMNS, checked, counts_of, with_usual
from fraud_pipelines.features.entity_states import Arrival, Arrivals, EntityStates
from fraud_pipelines.features.feature_plan import FeaturePlan, feature_plan
from fraud_pipelines.features.fold import to_series
from fraud_pipelines.features.history import Histories, History
from fraud_pipelines.features.keys import key_of
from fraud_pipelines.features.known_labels import LabelLookup
from fraud_pipelines.features.label_events import LabelEvents, label_aggregates, with_label_features
from fraud_pipelines.features.ordering import in_time
from fraud_pipelines.features.population import POPULATION, MovingPopulation, usual
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import CATEGORY, KIND, REFUND, Attribute
from fraud_pipelines.transactions.kinds import refunds_in

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1) // _MICROSECOND
_PYTHON: Final[Mapping[str, tuple[type, ...]]] = {
    "text": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "timestamp": (datetime,),
}


class LiveHistories:
    """What is kept of each entity, by id, ready for its next transaction.

    The same kernel and the same expressions as in `compute_features` give, to the bit, the same features; only the
    rows that come are looked at, however many entities are known. Not for several threads at once.

    Args:
        histories: of earlier transactions, by the entity's name.
        past: earlier transactions and their labels, for the features from labels.
        plan: what is declared; what ships by default.
        limit: how many entities of each kind to keep; of more, those idle for longest are forgotten. A forgotten
            one comes back as new unless its history is loaded again: see `unknown` and `warm`.
        keep_changes: whether to keep each history that a fold changes until `changed` is asked for it, even one
            that is forgotten meanwhile.
    """

    def __init__(
        self,
        histories: Histories | None = None,
        past: LabelEvents | None = None,
        *,
        plan: Plan | None = None,
        limit: int | None = None,
        keep_changes: bool = False,
    ) -> None:
        self.compiled: FeaturePlan = feature_plan(plan or shipped_plan())
        self._kept = [EntityStates(each, limit, keep_changes=keep_changes) for each in self.compiled.programs]
        features = self.compiled.plan.features
        labelled = with_label_features(self.compiled.plan.entities)
        names = [name for each in self.compiled.programs for name in each.names]
        names += [each.name for entity in labelled for each in label_aggregates(entity)]
        self._kinds = [(name, features[name].dtype, features[name].dtype.is_integer()) for name in names]
        self._keys = list(dict.fromkeys(name for each in self.compiled.programs for name in each.entity.key))
        self._out = list(self.compiled.plan.feature_types)
        self.incomplete: Mapping[str, date | None] = {}
        """Features that are null until a day, or throughout: see `cold_start.incomplete`."""
        self._values = sorted({name for each in self.compiled.programs for name in each.columns})
        self._population = MovingPopulation()
        self._codes = sorted({name for each in self.compiled.programs for name in each.codes})
        self.learn(past or LabelEvents.nothing(self.compiled.plan.entities))
        self.warm(histories or {})

    def warm(self, histories: Histories) -> None:
        """Take over stored histories; an entity that is held already gets the stored one instead."""
        for kept in self._kept:
            if kept.program.entity.name in histories:
                kept.load(histories[kept.program.entity.name])
        if POPULATION in histories:
            self._population = MovingPopulation(histories[POPULATION])

    def observe(self, transactions: pl.DataFrame) -> None:
        """Count ``transactions`` among all payments, whose entities' histories are stored already."""
        rows = checked(transactions, self.compiled.plan)
        self._population.add(counts_of(rows, self.compiled, self.compiled.columns(rows)))

    def learn(self, past: LabelEvents) -> None:
        """Look label features up in ``past`` from now on."""
        self._lookups = [LabelLookup.of(entity, past) for entity in with_label_features(self.compiled.plan.entities)]

    def unknown(self, transactions: pl.DataFrame) -> dict[str, list[str]]:
        """The keys in ``transactions`` of which nothing is held, by the entity's name, sorted.

        Those that are held count as active now: to `warm` the others won't make them forgotten, as long as all of
        them together are within the limit.
        """
        missing: dict[str, list[str]] = {}
        keys = self.compiled.keys(transactions)
        for kept in self._kept:
            name = kept.program.entity.name
            missing[name] = [key for key in keys[name].drop_nulls().unique().sort().to_list() if not kept.touch(key)]
        return missing

    def histories(self) -> dict[str, History]:
        """The histories as `compute_features` would return them."""
        kept: dict[str, History] = {each.program.entity.name: each.history() for each in self._kept}
        return kept | {POPULATION: self._population.history()}

    def changed(self) -> dict[str, History]:
        """The histories that folds have changed since this was last asked, as they stand: what there is to store.

        Raises:
            RuntimeError: these histories were made without ``keep_changes``.
        """
        return {kept.program.entity.name: kept.changed() for kept in self._kept}

    def fold(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """Features of ``transactions``, which are folded into the histories.

        Args:
            transactions: as for `compute_features`.

        Returns:
            A frame with the columns of ``features.transaction_features``, sorted by (user_id, timestamp,
            transaction_id). A refund has no row in it.

        Raises:
            InvalidInput: as `compute_features`; the histories are then as before.
        """
        compiled = self.compiled
        rows = checked(transactions, compiled.plan).sort("user_id", "timestamp", "transaction_id")
        order = in_time(rows)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        columns = compiled.columns(rows)
        counts = counts_of(rows, compiled, columns)
        arrivals = Arrivals(
            keys={name: keys.to_list() for name, keys in compiled.keys(rows).items()},
            timestamp=rows["timestamp"].to_physical().to_numpy().copy(),
            columns=with_usual(rows, compiled, columns, counts, self._population),
            rank=rank,
        )
        folded = [kept.fold(arrivals) for kept in self._kept]
        values = [value for found, _ in folded for value in found]
        values += self._from_labels({name: rows[name].to_list() for name in self._keys}, arrivals.timestamp)
        series = [to_series(name, dtype, value) for (name, dtype, _), value in zip(self._kinds, values, strict=True)]
        days = pl.Series("event_date", arrivals.timestamp // _DAY, dtype=pl.Int32).cast(pl.Date)
        needed = rows[list(dict.fromkeys([*KEY_COLUMNS, *compiled.raw]))]
        features = compiled.expressions.on_frame(needed.hstack([days, *series]))[self._out].with_columns(
            pl.when(pl.lit(value=False) if ready is None else pl.col("event_date") >= ready).then(pl.col(name))
            for name, ready in self.incomplete.items()
        )
        for kept, (_, change) in zip(self._kept, folded, strict=True):
            kept.change(change)
        refunds = refunds_in(rows)
        return features if refunds is None else features.filter(~refunds)

    def fold_one(self, transaction: Mapping[str, object]) -> dict[str, object]:
        """`fold` for one transaction: its columns by name in, keys and features by name out, null as None.

        Of a refund nothing comes out.

        Raises:
            InvalidInput: as `folded_one`; the histories are then as before.
        """
        features, keep = self.folded_one(transaction)
        keep()
        return features

    def folded_one(self, transaction: Mapping[str, object]) -> tuple[dict[str, object], Callable[[], None]]:
        """The features that `fold_one` gives, and what folds the transaction into the histories, once it is called.

        Raises:
            InvalidInput: a required value is missing, a value is of another type, or a number is not finite or below
                its least value; the histories are then as before.
        """
        compiled = self.compiled
        row = _checked(transaction, compiled.plan.attributes)
        timestamp: Any = row["timestamp"]
        is_refund = row[KIND] == REFUND
        numbers = {name: _number(row[name]) for name in self._values}
        masks = compiled.conditions.on_row(row)
        day, category = timestamp.date(), _text(row[CATEGORY])
        if compiled.measured:
            of_day = self._population.figures(day)
            for each in compiled.measured:
                numbers[each.center], numbers[each.upper] = usual(of_day, each.name, category)
        arrival = Arrival(
            keys={
                each.entity.name: None
                if is_refund and not each.sees_refunds
                else key_of([_text(row[name]) for name in each.entity.key])
                for each in compiled.programs
            },
            timestamp=np.array([(timestamp - _EPOCH) // _MICROSECOND]),
            values=numbers,
            codes={name: code_of(row[name]) for name in self._codes},
            masks=masks,
        )
        folded = [kept.fold_one(arrival) for kept in self._kept]

        def keep() -> None:
            for kept, (_, change) in zip(self._kept, folded, strict=True):
                if change is not None:
                    kept.change(change)
            for each in compiled.measured if not is_refund else ():
                value = numbers[each.column]
                if not math.isnan(value) and (each.where is None or masks[each.where]):
                    self._population.count(day, each.name, category, value)

        if is_refund:
            return {}, keep
        values = [value for found, _ in folded for value in found[:, 0].tolist()]
        keys = {name: _text(row[name]) for name in self._keys}
        for lookup in self._lookups:
            values += lookup.features_of_one(keys, arrival.timestamp)
        row["event_date"] = timestamp.date()
        for (name, _, is_whole), value in zip(self._kinds, values, strict=True):
            row[name] = None if value != value else int(value) if is_whole else value  # noqa: PLR0124
        row |= compiled.expressions.on_row(row)
        for name, ready in self.incomplete.items():
            if ready is None or timestamp.date() < ready:
                row[name] = None
        return {name: row[name] for name in self._out}, keep

    def _from_labels(self, keys: Mapping[str, Sequence[str | None]], timestamp: Ints) -> list[Floats]:
        """The features from labels, in the order of the plan."""
        return [value for each in self._lookups for value in each.features_of(keys, timestamp).values()]


def _text(value: object) -> str | None:
    assert value is None or isinstance(value, str)
    return value


def _number(value: object) -> float:
    if isinstance(value, datetime):
        return float((value - _EPOCH) // _MICROSECOND)
    return math.nan if value is None else float(value)  # type: ignore[arg-type]


def _checked(transaction: Mapping[str, object], attributes: Sequence[Attribute]) -> dict[str, object]:
    """All columns of the transaction, None where it has none, numbers as floats."""
    missing = [each.name for each in attributes if each.required and transaction.get(each.name) is None]
    if missing:
        raise InvalidInput(f"the transaction has no {missing}; validate transactions first")
    row: dict[str, object] = {}
    for each in attributes:
        value = transaction.get(each.name)
        name = f"the transaction's {each.name}"
        if value is not None:
            flag = isinstance(value, bool) and each.type != "boolean"
            if flag or not isinstance(value, _PYTHON[each.type]):
                raise InvalidInput(f"{name} is {value!r}, expected {_EXPECTED[each.type]}")
            if isinstance(value, datetime) and value.tzinfo is not None:
                raise InvalidInput(f"{name} is {value!r}, expected a datetime in UTC without a zone")
            if each.type == "number":
                number: Any = value
                low = -math.inf if each.minimum is None else each.minimum
                if not math.isfinite(number) or number < low:
                    bound = "" if each.minimum is None else f" of at least {each.minimum:g}"
                    raise InvalidInput(f"{name} is {value!r}, expected a finite number{bound}")
                value = float(number)
        row[each.name] = value
    return row


_EXPECTED: Final = {
    "text": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "timestamp": "a datetime in UTC without a zone",
}
