"""Features from labels: how much fraud a merchant or a user has had, as far as it was known at the time.

A transaction at t looks at the entity's transactions that happened in (t − delay − span, t − delay], so that most of
their labels have had time to arrive, and at those of their labels that were known before t. A transaction without
a label counts as legitimate; a chargeback outranks a review.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.declarations import ENTITIES, LABEL_DELAY, Entity, span_length
from fraud_pipelines.features.program import microseconds
from fraud_pipelines.transactions.schema import LABEL_COLUMNS, TIMESTAMP

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Past:
    """Earlier transactions and what is known of them.

    Attributes:
        activity: for each entity column with risks, a frame of that column, ``timestamp``, and ``transactions``: how
            many the row stands for. Only the days in which some window begins or ends need a row each.
        frauds: a row for each time during which a transaction was known as fraud: the entity columns and
            ``timestamp`` of the transaction, and ``known_from`` and ``known_until``: it was for t in (from, until].
    """

    activity: Mapping[str, pl.DataFrame]
    frauds: pl.DataFrame

    @classmethod
    def of(cls, transactions: pl.DataFrame, labels: pl.DataFrame | None = None) -> Self:
        """The past of any later or earlier transaction: nothing of it is seen before its time.

        Args:
            transactions: transaction_id, timestamp, and the entities' columns.
            labels: the columns of ``feedback.labels``, corrected verdicts included.
        """
        labels = pl.DataFrame(schema=LABEL_COLUMNS) if labels is None else labels
        columns = ["transaction_id", *fraud_columns()]
        return cls(
            {
                column: transactions.select(column, "timestamp", transactions=pl.lit(1, pl.Int64))
                for column in risk_columns()
            },
            known_frauds(labels.join(transactions.select(columns), on="transaction_id")),
        )

    @classmethod
    def nothing(cls) -> Self:
        """No earlier transactions."""
        schema = {"transaction_id": pl.String(), **dict.fromkeys(fraud_columns(), pl.String()), "timestamp": TIMESTAMP}
        return cls.of(pl.DataFrame(schema=schema))


def risk_columns(entities: Iterable[Entity] = ENTITIES) -> list[str]:
    """Columns of the entities whose fraud rate is a feature."""
    return [entity.column for entity in entities if entity.risks]


def fraud_columns(entities: Iterable[Entity] = ENTITIES) -> list[str]:
    """Columns of a fraud that some feedback feature needs."""
    return [entity.column for entity in entities if entity.risks or entity.fraud_counts] + ["timestamp"]


def known_frauds(labels: pl.DataFrame) -> pl.DataFrame:
    """When each labelled transaction counted as fraud: from a verdict of its kind until the next of the same source,
    or until the bank speaks, which overrules a review.

    Args:
        labels: rows of ``feedback.label_history`` with the columns of their transaction beside them.

    Returns:
        The rows in which a label says fraud, with ``known_from`` and ``known_until`` (null: for ever).
    """
    final = pl.col("source") == "chargeback"
    overruled = labels.filter(final).group_by("transaction_id").agg(overruled_at=pl.col("known_at").min())
    next_verdict = pl.col("known_at").shift(-1).over("transaction_id", "source", order_by="known_at")
    return (
        labels.with_columns(corrected_at=next_verdict)
        .filter("actual_fraud")
        .join(overruled, on="transaction_id", how="left")
        .select(
            *fraud_columns(),
            known_from="known_at",
            known_until=pl.min_horizontal("corrected_at", pl.when(~final).then("overruled_at").cast(TIMESTAMP)),
        )
        .filter(pl.col("known_until").is_null() | (pl.col("known_until") > pl.col("known_from")))
    )


@dataclass(frozen=True)
class Happened:
    """What the past holds of the entities of one kind, in order of time: a place to look their features up.

    Attributes:
        ids: the entities there may be something of; row positions of the timelines.
        activity: their transactions.
        frauds: by span, when each fraud enters the count of that span, and when it leaves it.
    """

    entity: Entity
    ids: pl.Series
    activity: "_Timeline"
    frauds: Mapping[str, tuple["_Timeline", "_Timeline"]]

    @classmethod
    def of(cls, entity: Entity, past: Past, ids: pl.Series | None = None) -> Self:
        """The past of those ``ids`` (distinct, without null), or of all that occur in it."""
        column = entity.column
        activity = past.activity[column] if entity.risks else None
        if ids is None:
            occur = [frame[column] for frame in (activity, past.frauds) if frame is not None]
            ids = pl.concat(occur).drop_nulls().unique()
        done = _Timeline.of(activity.with_columns(instant="timestamp"), ids) if activity is not None else _NOTHING
        spans = sorted({*entity.risks, *entity.fraud_counts})
        return cls(entity, ids, done, {span: _counted(column, past.frauds, span, ids) for span in spans})

    def features(self, code: Ints, known: NDArray[np.bool_], instant: Ints) -> list[Floats]:
        """The entity's feedback features of some rows, in the order in which they are declared.

        Args:
            code: position of each row's entity in ``ids``; -1 without one, or for one that isn't in them.
            known: whether the row has an entity.
            instant: the row's timestamp in µs.
        """
        frauds = {
            span: np.where(known, enter.until(code, instant) - leave.until(code, instant), np.nan)
            for span, (enter, leave) in self.frauds.items()
        }
        happened = {span: self._happened(span, code, instant) for span in self.entity.risks}
        # The share of frauds; NaN without transactions.
        rates = [
            np.divide(frauds[span], rows, out=np.full(rows.size, np.nan), where=rows > 0)
            for span, rows in happened.items()
        ]
        payments = [np.where(known, rows, np.nan) for rows in happened.values()]
        return [*rates, *(frauds[span] for span in self.entity.fraud_counts), *payments]

    def _happened(self, span: str, code: Ints, instant: Ints) -> Ints:
        """Transactions of the span."""
        delay, length = _microseconds(LABEL_DELAY), _microseconds(span)
        newest = instant - max(delay, 1)  # without a delay, still nothing of the same instant
        return self.activity.until(code, newest) - self.activity.until(code, instant - delay - length)


def with_feedback(entities: Iterable[Entity] = ENTITIES) -> list[Entity]:
    """The entities that have feedback features."""
    return [entity for entity in entities if entity.risks or entity.fraud_counts]


def _counted(column: str, frauds: pl.DataFrame, span: str, ids: pl.Series) -> tuple["_Timeline", "_Timeline"]:
    """When frauds enter the count of ``span``, and when they leave it.

    A fraud at s counts for t if s + delay ≤ t < s + delay + span and if it is known then: it enters the
    count at one instant and leaves it at another.
    """
    delay, length = _microseconds(LABEL_DELAY), _microseconds(span)
    happened, known_from, known_until = (
        pl.col(name).to_physical() for name in ("timestamp", "known_from", "known_until")
    )
    counted = frauds.select(
        column,
        enters=pl.max_horizontal(happened + max(delay, 1), known_from + 1),
        leaves=pl.min_horizontal(happened + delay + length, known_until + 1),
        transactions=pl.lit(1, pl.Int64),
    ).filter(pl.col("enters") < pl.col("leaves"))
    enter, leave = (
        _Timeline.of(counted.select(column, "transactions", instant=name), ids) for name in ("enters", "leaves")
    )
    return enter, leave


class _Timeline(NamedTuple):
    """Entity e owns the ascending ``instants[starts[e] : starts[e + 1]]``; ``running[k]`` is the weight of k events."""

    starts: Ints
    instants: Ints
    running: Ints

    @classmethod
    def of(cls, events: pl.DataFrame, ids: pl.Series) -> "_Timeline":
        """Events with an id in the first column, ``instant``, and ``transactions``: those of ``ids``, in order."""
        if events.is_empty():
            return _NOTHING
        column = events.columns[0]
        entities = pl.DataFrame({column: ids}).with_row_index("entity")
        own = events.join(entities, on=column).sort("entity", "instant")
        return cls(
            starts=np.searchsorted(own["entity"].to_numpy(), np.arange(len(ids) + 1)),
            instants=own["instant"].to_physical().to_numpy().copy(),
            running=np.append(0, own["transactions"].cum_sum().to_numpy()),
        )

    def until(self, code: Ints, instants: Ints) -> Ints:
        """For each row, how many of its entity's transactions there were up to the row's instant."""
        from fraud_pipelines.features.kernel import sum_up_to

        if not self.instants.size:
            return np.zeros_like(instants)
        return sum_up_to(self.starts, self.instants, self.running, code, instants)


_NOTHING: Final = _Timeline(*(np.zeros(0, dtype=np.int64),) * 3)


@cache
def _microseconds(span: str) -> int:
    return microseconds(span_length(span))
