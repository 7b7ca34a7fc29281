"""What label features are looked up in: earlier transactions of entities, and when what became known of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

import polars as pl

from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.types import JUDGED_ONLY, Aggregate, EntityPlan
from fraud_pipelines.transactions.schema import LABEL_COLUMNS

_DAY: Final = 86_400_000_000


@dataclass(frozen=True)
class LabelEvents:
    """Earlier transactions of entities, and what became known of them: what label features are looked up in.

    A transaction without one of an entity's key columns is none of that entity's. Names of columns that begin with
    ``_`` can't be columns of a transaction.

    Attributes:
        activity: by the name of each entity with a rate, a frame of its key columns, ``_instant``, when transactions
            happened, and ``_weight``: how many the row stands for. None of which only a verdict tells the outcome.
        early: by the same names, when transactions count as labelled before they are old enough: the key columns,
            ``_delay`` in µs, ``_enters``, ``_leaves`` (null: for ever) and ``_weight``.
        judged: by the same names, the labelled ones of those of which only a verdict tells the outcome: the key
            columns, ``_happened``, ``_enters``, from when on they count, and ``_weight``.
        outcomes: by the name of each entity that looks at single outcomes, its transactions, for when they are old
            enough: the key columns, ``_delay`` in µs and ``_happened``. None of which only a verdict tells the outcome.
        labelled: by the same names, the key columns, ``_delay``, ``_happened``, ``_known``, when the first label became
            known, and ``_lasting``: whether only the verdict tells the outcome.
        frauds: a row for each time during which a transaction was a known fraud: the key columns of all entities,
            ``_happened``, ``_known_from`` and ``_known_until`` (null: for ever). It was for t in (from, until].

    All instants are in µs.
    """

    activity: Mapping[str, pl.DataFrame]
    early: Mapping[str, pl.DataFrame]
    judged: Mapping[str, pl.DataFrame]
    outcomes: Mapping[str, pl.DataFrame]
    labelled: Mapping[str, pl.DataFrame]
    frauds: pl.DataFrame

    @classmethod
    def of(cls, entities: Iterable[EntityPlan], transactions: pl.DataFrame, labels: pl.DataFrame | None = None) -> Self:
        """What may be looked up at any time. At t nothing of it is seen that was not known before t.

        Args:
            entities: of the plan.
            transactions: ``transaction_id``, ``timestamp``, the entities' key columns and, where there is one,
                ``judged_only``.
            labels: the columns of ``feedback.label_history``, corrected labels included; none without labels.
        """
        entities = with_label_features(entities)
        labels = (pl.DataFrame(schema=LABEL_COLUMNS) if labels is None else labels).select(list(LABEL_COLUMNS))
        own = transactions.select(
            *dict.fromkeys(["transaction_id", *key_columns(entities)]),
            _happened=pl.col("timestamp").to_physical(),
            _lasting=pl.col(JUDGED_ONLY).fill_null(value=False)
            if JUDGED_ONLY in transactions.columns
            else pl.lit(value=False),
        )
        waited_for = own.filter(~pl.col("_lasting"))
        labels = labels.with_columns(pl.col("known_at").to_physical())
        first_known = labels.group_by("transaction_id").agg(_first_known=pl.col("known_at").min())
        labelled = own.join(first_known, on="transaction_id")
        rated = [entity for entity in entities if delays(entity)]
        return cls(
            activity={
                entity.name: waited_for.select(
                    *entity.key, _instant="_happened", _weight=pl.lit(1, pl.Int64)
                ).drop_nulls()
                for entity in rated
            },
            early={entity.name: _early(entity, labelled.filter(~pl.col("_lasting"))) for entity in rated},
            judged={entity.name: _judged(entity, labelled.filter("_lasting")) for entity in rated},
            outcomes={
                entity.name: _by_delay(entity, waited_for.select(*entity.key, "_happened"))
                for entity in entities
                if last_counts(entity)
            },
            labelled={
                entity.name: _by_delay(
                    entity, labelled.select(*entity.key, "_happened", "_lasting", _known="_first_known")
                )
                for entity in entities
                if last_counts(entity)
            },
            frauds=known_frauds(labels.join(own, on="transaction_id")).select(fraud_columns(entities)),
        )

    @classmethod
    def nothing(cls, entities: Iterable[EntityPlan]) -> Self:
        """No earlier transactions."""
        entities = with_label_features(entities)
        texts = dict.fromkeys(["transaction_id", *key_columns(entities)], pl.String())
        return cls.of(entities, pl.DataFrame(schema={**texts, "timestamp": pl.Datetime("us")}))


def known_frauds(labels: pl.DataFrame) -> pl.DataFrame:
    """The times during which transactions were known as frauds.

    Args:
        labels: rows of ``feedback.label_history`` with the columns of their transaction beside them.

    Returns:
        The rows in which that began, with ``_known_from`` and ``_known_until`` (null: for ever).
    """
    final = pl.col("source") == "chargeback"
    by_transaction = labels.with_columns(
        _overruled_at=pl.col("known_at").filter(final).min().over("transaction_id")
    ).sort("transaction_id", "known_at", "actual_fraud")
    in_force = by_transaction.filter(
        final | pl.col("_overruled_at").is_null() | (pl.col("known_at") < pl.col("_overruled_at"))
    )
    before = pl.col("actual_fraud").shift(1, fill_value=False).over("transaction_id")
    changes = in_force.filter(pl.col("actual_fraud") != before)
    return (
        changes.with_columns(_known_from="known_at", _known_until=pl.col("known_at").shift(-1).over("transaction_id"))
        .filter("actual_fraud")
        .drop("_overruled_at")
    )


def label_aggregates(entity: EntityPlan) -> list[Aggregate]:
    """The entity's features that are computed from labels, in the order in which they are declared."""
    return [aggregate for aggregate in entity.aggregates if FUNCTIONS[aggregate.how].labels]


def with_label_features(entities: Iterable[EntityPlan]) -> list[EntityPlan]:
    """The entities that have such features."""
    return [entity for entity in entities if label_aggregates(entity)]


def key_columns(entities: Iterable[EntityPlan]) -> list[str]:
    """The key columns of all ``entities``, each once."""
    return list(dict.fromkeys(column for entity in entities for column in entity.key))


def fraud_columns(entities: Iterable[EntityPlan]) -> list[str]:
    """The columns of `LabelEvents.frauds`."""
    return [*key_columns(entities), "_happened", "_known_from", "_known_until"]


def delays(entity: EntityPlan) -> list[int]:
    """The label delays of the entity's rates, in µs, ascending; none without a rate."""
    return sorted({delay_of(each) for each in _rates(entity)})


def last_counts(entity: EntityPlan) -> dict[int, tuple[int, int]]:
    """Label delay in µs → how many of the last outcomes the entity looks at, and how far back in µs, at most."""
    found: dict[int, tuple[int, int]] = {}
    for each in label_aggregates(entity):
        if isinstance(each.over, int):
            count, reached = found.get(delay_of(each), (0, 0))
            found[delay_of(each)] = max(count, each.over), max(reached, window_of(each))
    return found


def _rates(entity: EntityPlan) -> list[Aggregate]:
    """The aggregates that count all transactions of a span."""
    return [
        each for each in label_aggregates(entity) if "delay_days" in each.options and isinstance(each.over, timedelta)
    ]


def reach(entity: EntityPlan) -> timedelta:
    """How long after a transaction its entity's windows of time still hold it; ``days_since_fraud`` has no window."""
    longest = max((window_of(each) for each in label_aggregates(entity)), default=0)
    return timedelta(microseconds=longest)


def looks_back_for_ever(entity: EntityPlan) -> bool:
    """Whether a known fraud counts however long ago it happened."""
    return any(FUNCTIONS[each.how].for_ever for each in label_aggregates(entity))


def edges(entity: EntityPlan) -> list[int]:
    """How long before a payment, in µs, the windows of the entity's rates begin and end; ascending."""
    rates = _rates(entity)
    return sorted({*map(delay_of, rates), *map(window_of, rates)})


def delay_of(aggregate: Aggregate) -> int:
    """The label delay of a rate, in µs."""
    return int(aggregate.options["delay_days"]) * _DAY


def window_of(aggregate: Aggregate) -> int:
    """How far back the aggregate looks, in µs; one that awaits labels begins where they may be expected."""
    if isinstance(aggregate.over, int):
        return int(aggregate.options["days"]) * _DAY + delay_of(aggregate)
    span = (aggregate.over or timedelta(0)) // timedelta(microseconds=1)
    return span + (delay_of(aggregate) if "delay_days" in aggregate.options else 0)


def _by_delay(entity: EntityPlan, transactions: pl.DataFrame) -> pl.DataFrame:
    """The transactions that have the entity's key, once for each delay of its last outcomes."""
    return pl.concat(
        transactions.drop_nulls(list(entity.key)).with_columns(_delay=pl.lit(delay, pl.Int64))
        for delay in last_counts(entity)
    )


def _judged(entity: EntityPlan, labelled: pl.DataFrame) -> pl.DataFrame:
    """From when on each of these transactions counts as labelled."""
    return labelled.select(
        *entity.key,
        "_happened",
        _enters=pl.max_horizontal("_happened", "_first_known") + 1,
        _weight=pl.lit(1, pl.Int64),
    ).drop_nulls()


def _early(entity: EntityPlan, labelled: pl.DataFrame) -> pl.DataFrame:
    """When each of these transactions counts as labelled although it is too young."""
    happened, first_known = pl.col("_happened"), pl.col("_first_known")
    return pl.concat(
        labelled.select(
            *entity.key,
            _delay=pl.lit(delay, pl.Int64),
            _enters=pl.max_horizontal(happened, first_known) + 1,
            _leaves=happened + max(delay, 1),
            _weight=pl.lit(1, pl.Int64),
        )
        .drop_nulls()
        .filter(pl.col("_enters") < pl.col("_leaves"))
        for delay in delays(entity)
    )
