"""The handbook's label features as they might be computed, and its labels as they might become known."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.detection.schema import FeatureRole, Schema
from fraud_pipelines.features.known_labels import LabelLookup
from fraud_pipelines.features.label_events import LabelEvents, label_aggregates, with_label_features
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.types import Aggregate, EntityPlan
from fraud_pipelines.settings import LABEL_DELAY_DAYS
from fraud_pipelines.transactions.simulator.simulation import chargeback_delays

DELAY: Final = timedelta(days=LABEL_DELAY_DAYS)
REVIEWED_SHARE: Final = 0.5
"""Of the frauds: found by a review on the next day, where labels come by their own delay."""
REVIEW_DELAY: Final = timedelta(days=1)

RECENCY: Final[Schema] = dict.fromkeys(
    ("merchant_days_since_fraud", "user_days_since_fraud"), FeatureRole(role="numeric", direction="low")
)
"""Features that no installation has unless it declares them."""

Arm = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
"""(transactions, labels) → ``transaction_id`` and label features."""


def book(_transactions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Labels as the mapping gives them: each fraud is known seven days after it."""
    return labels


def own(transactions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Each label by its own delay: half of the frauds are found by a review on the next day, and chargebacks come as
    late, and as seldom, as the simulator's."""
    rng = np.random.default_rng(0)
    frauds = labels.filter("actual_fraud").join(transactions.select("transaction_id", "timestamp"), on="transaction_id")
    frauds = frauds.sort("timestamp", "transaction_id")
    reviewed = rng.random(frauds.height) < REVIEWED_SHARE
    delays = {"review": pl.Series(reviewed), "chargeback": chargeback_delays(rng, np.full(frauds.height, True))}
    delays["review"] = pl.select(pl.when(delays["review"]).then(pl.lit(REVIEW_DELAY, pl.Duration("us")))).to_series()
    return pl.concat(
        frauds.select(
            "transaction_id", "actual_fraud", source=pl.lit(source), known_at=pl.col("timestamp") + delay
        ).drop_nulls("known_at")
        for source, delay in delays.items()
    )


LABELS: Final[Mapping[str, Arm]] = {"book": book, "own": own}
"""When labels become known, by name."""


def delayed(transactions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """As before labels counted when they are known: all of the last seven days is left out, and a rate is k / n.

    A label counts as known once its transaction is old enough. From then on the window of a count reaches back by the
    delay further, and no younger transaction counts as labelled.
    """
    due = transactions.select("transaction_id", due=pl.col("timestamp") + DELAY - timedelta(microseconds=1))
    waited = labels.join(due, on="transaction_id").with_columns(known_at=pl.max_horizontal("known_at", "due"))
    features = looked_up(_shipped(lambda each: replace(_unshrunk(each), over=_moved(each))), transactions, waited)
    rates = [each.name for entity in _shipped() for each in label_aggregates(entity) if each.how == "fraud_rate"]
    return features.with_columns(pl.when(pl.col(f"{name}_payments") > 0).then(name).alias(name) for name in rates)


def known(transactions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """As declared."""
    return looked_up(_shipped(), transactions, labels)


def unshrunk(transactions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """As declared, but a rate is k / n, and the prior where n is 0."""
    return looked_up(_shipped(_unshrunk), transactions, labels)


def recency(transactions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """As declared, and besides how long ago the latest known fraud was."""
    since = [
        EntityPlan(entity.name, entity.key, (Aggregate(f"{entity.name}_days_since_fraud", "days_since_fraud"),))
        for entity in _shipped()
    ]
    further = looked_up(since, transactions, labels)
    return known(transactions, labels).join(further, on="transaction_id", maintain_order="left")


ARMS: Final[Mapping[str, Arm]] = {"delayed": delayed, "known": known, "unshrunk": unshrunk, "recency": recency}
"""Ways to compute label features, by name."""


def with_arm(
    features: pl.DataFrame, transactions: pl.DataFrame, labels: pl.DataFrame, arm: str, known_when: str
) -> pl.DataFrame:
    """``features``, with those from labels computed by ``arm``, of labels that are known by ``known_when``."""
    found = ARMS[arm](transactions, LABELS[known_when](transactions, labels))
    others = features.drop(set(found.columns) - {"transaction_id"}, strict=False)
    return others.join(found, on="transaction_id", how="left", maintain_order="left")


def looked_up(entities: Iterable[EntityPlan], transactions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The label features of all ``transactions`` at once."""
    entities = with_label_features(entities)
    events = LabelEvents.of(entities, transactions, labels)
    instants = transactions["timestamp"].to_physical().to_numpy().copy()
    found = transactions.select("transaction_id")
    for entity in entities:
        columns = {name: transactions[name].to_list() for name in entity.key}
        values = LabelLookup.of(entity, events).features_of(columns, instants)
        found = found.with_columns(pl.Series(name, value, nan_to_null=True) for name, value in values.items())
    return found


def _shipped(changed: Callable[[Aggregate], Aggregate] = lambda each: each) -> list[EntityPlan]:
    """The shipped entities with their label features, and nothing else of them."""
    return [
        EntityPlan(entity.name, entity.key, tuple(changed(each) for each in label_aggregates(entity)))
        for entity in with_label_features(shipped_plan().entities)
    ]


def _unshrunk(aggregate: Aggregate) -> Aggregate:
    options = {**aggregate.options, **({"weight": 0.0} if "weight" in aggregate.options else {})}
    return replace(aggregate, options=options)


def _moved(aggregate: Aggregate) -> timedelta:
    """The window of a count that ends a delay before the payment; a rate's reaches back so far by itself."""
    assert isinstance(aggregate.over, timedelta)
    return aggregate.over + (DELAY if aggregate.how == "fraud_count" else timedelta(0))
