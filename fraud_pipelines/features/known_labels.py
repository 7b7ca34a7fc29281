"""Features from labels: how much fraud an entity has had, as far as it was known at the time (point-in-time).

A payment at t looks at the transactions of its entity that happened before t, and at the labels with ``known_at`` < t.
One that happened at the very instant t is not looked at, whatever is known of it.

- *Known fraud.* The label in force is the latest of its source. From the moment a chargeback is known, no review
  counts any more. A transaction is a known fraud at t if the label in force before t says fraud.
- ``fraud_count`` over w: known frauds that happened in (t − w, t).
- ``days_since_fraud``: from the latest known fraud, however long ago it happened, until t. Null without one.
- ``labelled_count`` over w: the number n of transactions that the rate is about. With the label delay d, those that
  happened in (t − d − w, t − d], since these are old enough to be labelled: without a label they count as legitimate.
  And of the younger ones, in (t − d, t), those of which some label is known, whatever it says.
- ``fraud_rate`` over w: (k + a) / (n + a / p), where k of the n are known frauds: those that happened in
  (t − d − w, t). a is the weight and p the prior rate, both options of the function. Without any transactions the rate
  is p. As every known fraud is one of the n, the rate is never above 1.
- ``last_labels`` over N: the share of known frauds among the last N transactions whose outcome is known: those that
  happened in (t − d − r, t − d], and later ones of which some label is known. r is the option ``days``. They are
  ordered by when they happened; of those of one instant the frauds are the later. Null where no outcome is known.
- ``days_since_first_fraud`` and ``days_since_last_fraud`` over w: from the first and the last of the known frauds in
  (t − w, t) until t. Null without one.

Where only a verdict tells the outcome of a payment (``judged_only``), it counts as one of the n and among the last from
when on a label of it is known, however old it is, and without a label never.

The delay d is the option ``delay_days``: ``FRAUD_LABEL_DELAY_DAYS``, unless a declaration sets it. Of an entity that
never occurred the counts are 0 and the rate is p. Only where a part of the key is null are all of them null.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.label_events import (
    LabelEvents,
    delay_of,
    delays,
    label_aggregates,
    last_counts,
    looks_back_for_ever,
    window_of,
)
from fraud_pipelines.features.label_timelines import (
    NEVER,
    LatestTimeline,
    Timeline,
    frauds_by_instant,
    outcomes_by_instant,
)
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.types import Aggregate, EntityPlan

if TYPE_CHECKING:
    from fraud_pipelines.features.label_kernel import Frauds, Outcomes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_DAY: Final = 86_400_000_000
_KNOWN: Final = np.array([True])


@dataclass(frozen=True)
class LabelLookup:
    """The label features of one entity, at any instant: the same bits for one row, a micro-batch or a shard of a day.

    Attributes:
        entity: whose features they are.
        keys: the key columns of the entities that something may be known of; row positions are their codes.
    """

    entity: EntityPlan
    keys: pl.DataFrame
    _activity: Sequence[Timeline]
    _early: Mapping[int, Timeline]
    _judged: Mapping[int, Timeline]
    _frauds: Mapping[int, Timeline]
    _latest: LatestTimeline
    _single_frauds: "Frauds"
    _outcomes: Mapping[int, "Outcomes"]

    @cached_property
    def _spans(self) -> list[tuple[Aggregate, int, int]]:
        """The aggregates with their windows and delays in µs; 0 for none."""
        return [
            (
                each,
                0 if each.over is None else window_of(each),
                delay_of(each) if "delay_days" in each.options else 0,
            )
            for each in label_aggregates(self.entity)
        ]

    @cached_property
    def _last_sizes(self) -> dict[tuple[int, int], list[int]]:
        """Delay and reach → how many of the last outcomes are looked at, ascending."""
        sizes: dict[tuple[int, int], set[int]] = {}
        for each, window, delay in self._spans:
            if isinstance(each.over, int):
                sizes.setdefault((delay, window), set()).add(each.over)
        return {of: sorted(counts) for of, counts in sizes.items()}

    @classmethod
    def of(cls, entity: EntityPlan, events: LabelEvents, keys: pl.DataFrame | None = None) -> Self:
        """Look up in ``events``.

        Args:
            entity: one with label features.
            events: read, or made, for entities of which this is one.
            keys: key columns of the entities to look up, distinct and without null; by default all that occur.
        """
        names = list(entity.key)
        frauds = events.frauds.drop_nulls(names)
        # Both only where the entity has a rate.
        activity = [events.activity[entity.name]] if entity.name in events.activity else []
        early = [events.early[entity.name]] if entity.name in events.early else []
        others = (events.judged, events.outcomes, events.labelled)
        single = [of[entity.name] for of in others if entity.name in of]
        if keys is None:
            keys = pl.concat(frame.select(names) for frame in (*activity, *early, *single, frauds)).unique()
        codes = keys.select(names).with_row_index("_entity")

        def coded(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.join(codes, on=names)

        count = keys.height
        known = coded(frauds).with_columns(_weight=pl.lit(1, pl.Int64))
        periods = [coded(frame) for frame in early]
        windows = {window_of(each) for each in label_aggregates(entity) if isinstance(each.over, timedelta)}
        return cls(
            entity=entity,
            keys=keys,
            _activity=[Timeline.of(coded(frame), count) for frame in activity],
            _early={
                delay: Timeline.of_periods(frame.filter(pl.col("_delay") == delay), count)
                for frame in periods
                for delay in delays(entity)
            },
            _judged={
                window: Timeline.of_periods(_within(coded(events.judged[entity.name]), window), count)
                for window in windows
                if entity.name in events.judged
            },
            _frauds={window: Timeline.of_periods(_counted(known, window), count) for window in windows},
            _latest=LatestTimeline.of(_counted(known if looks_back_for_ever(entity) else known.clear()), count),
            _single_frauds=frauds_by_instant(known, count),
            _outcomes={
                delay: outcomes_by_instant(
                    coded(events.outcomes[entity.name].filter(pl.col("_delay") == delay)),
                    coded(events.labelled[entity.name].filter(pl.col("_delay") == delay)),
                    count,
                )
                for delay in last_counts(entity)
            },
        )

    def features(self, code: Ints, known: NDArray[np.bool_], instant: Ints) -> dict[str, Floats]:
        """The features of some rows by name, in the order in which they are declared; NaN for null.

        Args:
            code: position of each row's entity in ``keys``; -1 without one, or for one that isn't in them.
            known: whether the row has an entity: no column of its key is null.
            instant: the row's timestamp in µs.
        """
        rows = _Rows(self, code, instant)
        values = {}
        for each, window, delay in self._spans:
            from_labels = FUNCTIONS[each.how].from_labels
            assert from_labels is not None
            values[each.name] = from_labels(rows, each, window, delay)
        if known.all():
            return {name: value.astype(np.float64, copy=False) for name, value in values.items()}
        return {name: np.where(known, value, np.nan) for name, value in values.items()}

    def features_of(self, columns: Mapping[str, Sequence[str | None]], instant: Ints) -> dict[str, Floats]:
        """`features` of rows whose entity is told by the values of the key's ``columns``."""
        keys = list(zip(*(columns[name] for name in self.entity.key), strict=True))
        known = np.array([None not in key for key in keys], dtype=np.bool_)
        code = np.array([self._codes.get(key, -1) for key in keys], dtype=np.int64)
        return self.features(code, known, instant)

    def features_of_one(self, columns: Mapping[str, str | None], instant: Ints) -> list[float]:
        """The values of `features_of` for one row, in their order; ``instant`` has the shape (1,)."""
        key = tuple(columns[name] for name in self.entity.key)
        if None in key:
            return [math.nan] * len(self._spans)
        code = self._codes.get(key, -1)
        if code < 0:
            return self._of_unknown
        found = self.features(np.array([code]), _KNOWN, instant)
        return [float(value[0]) for value in found.values()]

    @cached_property
    def _of_unknown(self) -> list[float]:
        """The features of an entity that nothing is known of, which don't depend on the time."""
        found = self.features(np.array([-1]), _KNOWN, np.array([0]))
        return [float(value[0]) for value in found.values()]

    @cached_property
    def _codes(self) -> dict[tuple[str | None, ...], int]:
        return {key: code for code, key in enumerate(self.keys.select(self.entity.key).iter_rows())}


class _Rows:
    """Rows to look up, and the counts that several of their features share."""

    def __init__(self, lookup: LabelLookup, code: Ints, instant: Ints) -> None:
        self.instant = instant
        self._lookup = lookup
        self._code = code
        self._labelled: dict[tuple[int, int], Ints] = {}
        self._ever: dict[int, Ints] = {}
        self._frauds: dict[int, Ints] = {}
        self._last: dict[tuple[int, int], tuple[list[int], Ints, Ints]] = {}
        self._instants: dict[int, tuple[Ints, Ints, NDArray[np.bool_]]] = {}

    def frauds(self, window: int) -> Ints:
        """Known frauds in (t − window, t)."""
        if window not in self._frauds:
            self._frauds[window] = self._lookup._frauds[window].up_to(self._code, self.instant)
        return self._frauds[window]

    def labelled(self, delay: int, window: int) -> Ints:
        """Transactions in (t − window, t − delay], and the labelled ones in (t − delay, t)."""
        if (delay, window) not in self._labelled:
            [happened] = self._lookup._activity
            self._labelled[delay, window] = (
                self._ever_labelled(delay)
                - happened.up_to(self._code, self.instant - window)
                + self._lookup._judged[window].up_to(self._code, self.instant)
            )
        return self._labelled[delay, window]

    def _ever_labelled(self, delay: int) -> Ints:
        """Transactions up to t − delay, and the labelled ones since."""
        if delay not in self._ever:
            [happened] = self._lookup._activity
            # Without a delay, still none of the same instant.
            old_enough = happened.up_to(self._code, self.instant - max(delay, 1))
            self._ever[delay] = old_enough + self._lookup._early[delay].up_to(self._code, self.instant)
        return self._ever[delay]

    def latest_fraud(self) -> tuple[Ints, NDArray[np.bool_]]:
        """When the latest known fraud happened, 0 without one, and whether there is one."""
        latest = self._lookup._latest.at(self._code, self.instant)
        found = latest != NEVER
        return np.where(found, latest, 0), found

    def last_outcomes(self, delay: int, reach: int, count: int) -> tuple[Ints, Ints]:
        """Frauds among the last ``count`` known outcomes, and how many of these there are; all counts at one go."""
        if (delay, reach) not in self._last:
            from fraud_pipelines.features.label_kernel import last_outcomes

            sizes = self._lookup._last_sizes[delay, reach]
            found, counted = np.empty((2, len(sizes), self.instant.size), np.int64)
            last_outcomes(
                self._lookup._outcomes[delay],
                self._lookup._single_frauds,
                self._code,
                self.instant,
                max(delay, 1),  # without a delay, still none of the same instant
                reach,
                np.array(sizes, np.int64),
                found,
                counted,
            )
            self._last[delay, reach] = sizes, found, counted
        sizes, found, counted = self._last[delay, reach]
        return found[sizes.index(count)], counted[sizes.index(count)]

    def fraud_instants(self, window: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """When the first and the last of the known frauds in (t − window, t) happened, and whether there is one."""
        if window not in self._instants:
            from fraud_pipelines.features.label_kernel import fraud_instants

            first, last = np.empty((2, self.instant.size), np.int64)
            found = np.empty(self.instant.size, np.bool_)
            fraud_instants(self._lookup._single_frauds, self._code, self.instant, window, first, last, found)
            self._instants[window] = first, last, found
        return self._instants[window]


def _within(judged: pl.DataFrame, window: int) -> pl.DataFrame:
    """When each judged transaction leaves the window."""
    return judged.with_columns(_leaves=pl.col("_happened") + window)


def _counted(frauds: pl.DataFrame, window: int | None = None) -> pl.DataFrame:
    """When each fraud enters the count of those in (t − window, t), and when it leaves it; None: those before t."""
    happened = pl.col("_happened")
    leaves = [pl.col("_known_until") + 1, *([] if window is None else [happened + window])]
    return frauds.with_columns(
        _enters=pl.max_horizontal(happened, "_known_from") + 1, _leaves=pl.min_horizontal(*leaves)
    )
