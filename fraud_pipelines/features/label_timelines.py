"""Events of entities in order of time, and what they add up to at any instant.

An event is a row with the position of its entity, ``_entity``, an ``_instant`` in µs, and what it adds, ``_weight``.
All of it is whole numbers, so that no order of the rows makes a difference.
"""

import heapq
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fraud_pipelines.features.label_kernel import Frauds, Outcomes

Ints = NDArray[np.int64]

NEVER: Final = int(np.iinfo(np.int64).min)
"""The instant of what has not happened."""


class Timeline(NamedTuple):
    """Entity e owns the ascending ``instants[starts[e] : starts[e + 1]]``; ``running[k]`` is the weight of k events."""

    starts: Ints
    instants: Ints
    running: Ints

    @classmethod
    def of(cls, events: pl.DataFrame, entities: int) -> Self:
        """The timeline of so many ``entities``."""
        ordered = events.sort("_entity", "_instant")
        return cls(
            starts=np.searchsorted(ordered["_entity"].to_numpy(), np.arange(entities + 1)),
            instants=ordered["_instant"].to_numpy().copy(),
            running=np.append(0, ordered["_weight"].cum_sum().to_numpy()),
        )

    @classmethod
    def of_periods(cls, periods: pl.DataFrame, entities: int) -> Self:
        """The timeline of what counts from ``_enters`` on and until before ``_leaves``; null: for ever."""
        counted = periods.filter(pl.col("_leaves").is_null() | (pl.col("_enters") < pl.col("_leaves")))
        enter = counted.select("_entity", "_weight", _instant="_enters")
        leave = counted.select("_entity", -pl.col("_weight"), _instant="_leaves").drop_nulls()
        return cls.of(pl.concat([enter, leave]), entities)

    def up_to(self, code: Ints, instants: Ints) -> Ints:
        """For each row, the weight of its entity's events up to and including the row's instant; 0 for the code -1."""
        from fraud_pipelines.features.kernel import sum_up_to

        if not self.instants.size:
            return np.zeros(instants.size, np.int64)
        return sum_up_to(self.starts, self.instants, self.running, code, instants)


class LatestTimeline(NamedTuple):
    """The latest of the periods that an instant lies in.

    Most periods never end: of those the latest so far is a running maximum. Of the few that end, ``ending`` holds
    the latest after each change.
    """

    lasting: "_Steps"
    ending: "_Steps"

    @classmethod
    def of(cls, periods: pl.DataFrame, entities: int) -> Self:
        """Periods from ``_enters`` until before ``_leaves``; sought is the latest ``_happened``."""
        lasting = (
            periods.filter(pl.col("_leaves").is_null())
            .sort("_entity", "_enters", "_happened")
            .select("_entity", _instant="_enters", _latest=pl.col("_happened").cum_max().over("_entity"))
        )
        ends = periods.filter(pl.col("_enters") < pl.col("_leaves"))
        return cls(_Steps.of(lasting, entities), _Steps.of(_latest_of_ending(ends), entities))

    def at(self, code: Ints, instants: Ints) -> Ints:
        """For each row, `NEVER` where there is no period."""
        return np.maximum(self.lasting.at(code, instants), self.ending.at(code, instants))


def frauds_by_instant(periods: pl.DataFrame, entities: int) -> "Frauds":
    """Known frauds of so many ``entities``: ``_happened``, ``_known_from``, ``_known_until`` (null: for ever)."""
    from fraud_pipelines.features.label_kernel import Frauds

    ordered = periods.sort("_entity", "_happened", "_known_from")
    return Frauds(
        starts=_starts(ordered, entities),
        happened=_column(ordered["_happened"]),
        since=_column(ordered["_known_from"]),
        until=_column(ordered["_known_until"].fill_null(int(np.iinfo(np.int64).max))),
    )


def outcomes_by_instant(transactions: pl.DataFrame, judged: pl.DataFrame, entities: int) -> "Outcomes":
    """Transactions by when they ``_happened``, and labelled ones with when that was first ``_known``, and whether
    they count for good (``_lasting``)."""
    from fraud_pipelines.features.label_kernel import Outcomes

    ordered, labelled = transactions.sort("_entity", "_happened"), judged.sort("_entity", "_happened", "_known")
    return Outcomes(
        starts=_starts(ordered, entities),
        happened=_column(ordered["_happened"]),
        labelled_starts=_starts(labelled, entities),
        labelled=_column(labelled["_happened"]),
        known=_column(labelled["_known"]),
        lasting=labelled["_lasting"].to_numpy().copy(),
    )


def _starts(ordered: pl.DataFrame, entities: int) -> Ints:
    return np.searchsorted(ordered["_entity"].to_numpy(), np.arange(entities + 1))


def _column(values: pl.Series) -> Ints:
    return values.cast(pl.Int64).to_numpy().copy()


class _Steps(NamedTuple):
    """A value of each entity that changes at instants: after k of its changes it is ``latest[starts[e] + k - 1]``."""

    changes: Timeline
    latest: Ints

    @classmethod
    def of(cls, steps: pl.DataFrame, entities: int) -> Self:
        """Steps in the order of ``_entity`` and ``_instant``: the value is ``_latest`` from then on."""
        counted = steps.select("_entity", "_instant", _weight=pl.lit(1, pl.Int64))
        return cls(Timeline.of(counted, entities), steps["_latest"].to_numpy().copy())

    def at(self, code: Ints, instants: Ints) -> Ints:
        found = np.full_like(instants, NEVER)
        changes = self.changes.up_to(code, instants)
        changed = changes > 0
        found[changed] = self.latest[self.changes.starts[code[changed]] + changes[changed] - 1]
        return found


def _latest_of_ending(periods: pl.DataFrame) -> pl.DataFrame:
    """The latest of the open periods of each entity, after each time at which one begins or ends."""
    columns = ["_entity", "_enters", "_leaves", "_happened"]
    steps: list[tuple[int, int, int]] = []
    for (entity,), own in periods.select(columns).sort("_entity").group_by("_entity", maintain_order=True):
        assert isinstance(entity, int)
        begins = own.sort("_enters").select("_enters", "_happened", "_leaves").rows()
        instants = sorted({*own["_enters"], *own["_leaves"]})
        open_periods: list[tuple[int, int]] = []  # latest first: (-happened, leaves)
        position = 0
        for instant in instants:
            while position < len(begins) and begins[position][0] <= instant:
                _, happened, leaves = begins[position]
                heapq.heappush(open_periods, (-happened, leaves))
                position += 1
            while open_periods and open_periods[0][1] <= instant:
                heapq.heappop(open_periods)
            steps.append((entity, instant, -open_periods[0][0] if open_periods else NEVER))
    schema = {"_entity": pl.get_index_type(), "_instant": pl.Int64, "_latest": pl.Int64}
    return pl.DataFrame(steps, schema=schema, orient="row")
