"""Features from labels: how much fraud a merchant or a user has had, as far as it was known at the time.

A transaction at t looks at the entity's transactions that happened in (t − delay − span, t − delay], so that most of
their labels have had time to arrive, and at those of their labels that were known before t. A transaction without
a label counts as legitimate; a chargeback outranks a review.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.features.aggregates import feedback_features
from fraud_pipelines.features.declarations import ENTITIES, LABEL_DELAY, Entity, span_length
from fraud_pipelines.features.fold import microseconds
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
            labels: the columns of ``feedback.labels``, at most one row for each transaction and source.
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
    """When each labelled transaction counted as fraud.

    Args:
        labels: rows of ``feedback.labels`` with the columns of their transaction beside them.

    Returns:
        The rows in which a label says fraud, with ``known_from`` and ``known_until`` (null: for ever).
    """
    final = pl.col("source") == "chargeback"
    overruled = labels.filter(final).select("transaction_id", overruled_at="known_at")
    return (
        labels.filter("actual_fraud")
        .join(overruled, on="transaction_id", how="left")
        .select(
            *fraud_columns(),
            known_from="known_at",
            known_until=pl.when(~final).then("overruled_at").cast(TIMESTAMP),
        )
        .filter(pl.col("known_until").is_null() | (pl.col("known_until") > pl.col("known_from")))
    )


def feedback_of(rows: pl.DataFrame, past: Past, *, entities: Iterable[Entity] = ENTITIES) -> list[pl.Series]:
    """The feedback features of ``rows``, aligned with them, in the order in which they are declared."""
    series: list[pl.Series] = []
    for entity in entities:
        if not entity.risks and not entity.fraud_counts:
            continue
        asked = _Asked(entity.column, rows, past)
        values = [asked.fraud_rate(span) for span in entity.risks]
        values += [asked.frauds(span) for span in entity.fraud_counts]
        series += [
            pl.Series(feature.name, found, nan_to_null=True).cast(feature.dtype)
            for feature, found in zip(feedback_features(entity), values, strict=True)
        ]
    return series


class _Asked:
    """Rows that ask for what happened at their entity before them."""

    def __init__(self, column: str, rows: pl.DataFrame, past: Past) -> None:
        self.column = column
        self.past = past
        self.keys = rows[column]
        self.timestamp: Ints = rows["timestamp"].to_physical().to_numpy().copy()

    @cached_property
    def ids(self) -> pl.Series:
        return self.keys.drop_nulls().unique()

    @cached_property
    def entity(self) -> Ints:
        """Which of the ids each row has, -1 for none."""
        return self.keys.cast(pl.Enum(self.ids)).to_physical().cast(pl.Int64).fill_null(-1).to_numpy().copy()

    @cached_property
    def activity(self) -> "_Timeline":
        return self._timeline(
            self.past.activity[self.column].with_columns(pl.col("timestamp").to_physical().alias("instant"))
        )

    def fraud_rate(self, span: str) -> Floats:
        """Share of frauds among the transactions of the span; NaN if there are none."""
        delay, length = _microseconds(LABEL_DELAY), _microseconds(span)
        newest = self.timestamp - max(delay, 1)  # without a delay, still nothing of the same instant
        happened = self._until(newest, self.activity) - self._until(self.timestamp - delay - length, self.activity)
        rates: Floats = np.divide(self.frauds(span), happened, out=np.full(happened.size, np.nan), where=happened > 0)
        return rates

    def frauds(self, span: str) -> Floats:
        """Transactions of the span that are known as fraud; NaN without an entity.

        A fraud at s counts for t if s + delay ≤ t < s + delay + span and if it is known then: it enters the
        count at one instant and leaves it at another.
        """
        delay, length = _microseconds(LABEL_DELAY), _microseconds(span)
        happened, known_from, known_until = (
            pl.col(name).to_physical() for name in ("timestamp", "known_from", "known_until")
        )
        counted = self.past.frauds.select(
            self.column,
            enters=pl.max_horizontal(happened + max(delay, 1), known_from + 1),
            leaves=pl.min_horizontal(happened + delay + length, known_until + 1),
            transactions=pl.lit(1, pl.Int64),
        ).filter(pl.col("enters") < pl.col("leaves"))
        entered = self._until(self.timestamp, self._timeline(counted.rename({"enters": "instant"})))
        left = self._until(self.timestamp, self._timeline(counted.rename({"leaves": "instant"})))
        return np.where(self.keys.is_not_null().to_numpy(), entered - left, np.nan)

    def _timeline(self, events: pl.DataFrame) -> "_Timeline":
        """Events with the columns of the entity, ``instant``, and ``transactions``, in order."""
        if events.is_empty():
            return _Timeline.empty()
        own = events.join(self.ids.to_frame().with_row_index("entity"), on=self.column).sort("entity", "instant")
        return _Timeline(
            starts=np.searchsorted(own["entity"].to_numpy(), np.arange(len(self.ids) + 1)),
            instants=own["instant"].to_numpy().copy(),
            running=np.append(0, own["transactions"].cum_sum().to_numpy()),
        )

    def _until(self, instants: Ints, timeline: "_Timeline") -> Ints:
        """For each row, how many of its entity's transactions the timeline holds up to the row's instant."""
        from fraud_pipelines.features.kernel import sum_up_to

        if not timeline.instants.size:
            return np.zeros_like(instants)
        return sum_up_to(timeline.starts, timeline.instants, timeline.running, self.entity, instants)


class _Timeline(NamedTuple):
    starts: Ints
    instants: Ints
    running: Ints

    @classmethod
    def empty(cls) -> "_Timeline":
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, nothing)


def _microseconds(span: str) -> int:
    return microseconds(span_length(span))
