"""The plan: everything that is declared, checked and spelled out, as one value."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from fraud_pipelines.plan.expressions import SQL_TYPES
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.tokens import Tokens
from fraud_pipelines.plan.types import (
    DATE_ONLY,
    JUDGED_ONLY,
    KIND,
    LOCAL_TIME,
    Attribute,
    ColumnType,
    EntityPlan,
    ExpressionPlan,
    Modelled,
)
from fraud_pipelines.plan.written import written

POLARS_TYPES: Final[Mapping[str, pl.DataType]] = {
    "VARCHAR": pl.String(),
    "DOUBLE": pl.Float64(),
    "BIGINT": pl.Int64(),
    "INTEGER": pl.Int32(),
    "SMALLINT": pl.Int16(),
    "TINYINT": pl.Int8(),
    "BOOLEAN": pl.Boolean(),
    "TIMESTAMP": pl.Datetime("us"),
}
"""DuckDB's type → that of Polars. Timestamps have no zone and are UTC."""

_KEY_COLUMNS: Final[Mapping[str, pl.DataType]] = {
    "transaction_id": pl.String(),
    "user_id": pl.String(),
    "timestamp": pl.Datetime("us"),
    "event_date": pl.Date(),
}

_LATER_COLUMNS: Final = frozenset({KIND, LOCAL_TIME, DATE_ONLY, JUDGED_ONLY})
"""Columns that ship since a release, and that change nothing of what earlier ones computed."""


@dataclass(frozen=True)
class PlannedFeature:
    """One column of the feature table.

    Attributes:
        name: of the column.
        type, sql_type: what kind of value it holds, and DuckDB's type for it.
        entity: whose history it is computed from; None for an expression.
        model: how a model gets it; None where no model is given it.
        reads: columns and features it is computed from, at first hand.
        definition: a hash of how it is computed, of what it reads included; never of words.
        description, formula, null_rule, phrase: words for people; ``phrase`` is what a reviewer reads of an alert.
    """

    name: str
    type: ColumnType
    sql_type: str
    entity: str | None
    model: Modelled | None
    reads: tuple[str, ...]
    definition: str
    description: str
    formula: str
    null_rule: str
    phrase: str

    @property
    def dtype(self) -> pl.DataType:
        """The type in Polars."""
        return POLARS_TYPES[self.sql_type]


@dataclass(frozen=True)
class Plan:
    """What is declared, compiled: a value that is passed on and never changed.

    Attributes:
        attributes: the columns of a transaction, in the order of the table.
        entities: in the order of their passes.
        expressions: each after those it reads.
        features: the columns of the feature table after the key columns, by name and in order: aggregates by entity,
            then those from labels by entity, then expressions as they were declared.
    """

    attributes: tuple[Attribute, ...]
    entities: tuple[EntityPlan, ...]
    expressions: tuple[ExpressionPlan, ...]
    features: Mapping[str, PlannedFeature]

    def __hash__(self) -> int:
        return hash(self.version)

    @property
    def personal(self) -> frozenset[str]:
        """The columns that say who a person is."""
        return frozenset(each.name for each in self.attributes if each.pii or each.tokens)

    @property
    def tokens(self) -> dict[str, Tokens]:
        """Columns of which tokens are stored → what makes them; none without a key."""
        return {each.name: each.tokens for each in self.attributes if each.tokens}

    def stored(self, column: str, value: str) -> str:
        """What is stored of a column's value: its token, where that column is tokenised."""
        tokens = self.tokens.get(column)
        return tokens.of(value) if tokens and value else value

    @property
    def attribute_types(self) -> dict[str, pl.DataType]:
        """Columns of a transaction → their types in Polars."""
        return column_types(self.attributes)

    @property
    def attribute_sql_types(self) -> dict[str, str]:
        """Columns of a transaction → their types in DuckDB."""
        return {attribute.name: SQL_TYPES[attribute.type] for attribute in self.attributes}

    @property
    def feature_types(self) -> dict[str, pl.DataType]:
        """Columns of the feature table, key columns first → their types in Polars."""
        return {**_KEY_COLUMNS, **{name: feature.dtype for name, feature in self.features.items()}}

    @property
    def model_schema(self) -> dict[str, Modelled]:
        """Every column and feature that a model may be given: features in order, then columns."""
        features = {name: feature.model for name, feature in self.features.items()}
        columns = {attribute.name: attribute.model for attribute in self.attributes if attribute.model}
        return {name: model for name, model in {**features, **columns}.items() if model}

    @property
    def daily_schema(self) -> dict[str, Modelled]:
        """The part of `model_schema` that the daily models use."""
        return {name: model for name, model in self.model_schema.items() if model.daily}

    @property
    def grouped_schema(self) -> dict[str, Modelled]:
        """The part of `model_schema` that is in a group, in the daily models or not."""
        return {name: model for name, model in self.model_schema.items() if model.group}

    @property
    def supervised_schema(self) -> dict[str, Modelled]:
        """The part of `model_schema` that the supervised model uses: numbers and flags."""
        return {name: model for name, model in self.model_schema.items() if model.role in ("numeric", "binary")}

    @cached_property
    def version(self) -> str:
        """A hash of what is computed and which rows are accepted.

        Descriptions, phrases, roles, order, and the layout of the file and of expressions don't count, nor do columns
        that every installation has got with a release, as long as nothing reads them.
        """
        columns = sorted(
            (each.name, each.type, each.required, each.minimum, each.maximum)
            for each in self.attributes
            if each.required or each.name not in _LATER_COLUMNS
        )
        entities = sorted((entity.name, entity.key) for entity in self.entities)
        return hashed(columns, entities, sorted(feature.definition for feature in self.features.values()))

    @cached_property
    def text(self) -> str:
        """What is in force as a declarations file that stands by itself; `compile_text` makes the same plan of it."""
        by_name = {each.name: each for each in self.expressions}
        declared = {name: by_name[name] for name in self.features if name in by_name}
        return written(self.attributes, self.entities, declared)

    def version_of(self, names: Iterable[str]) -> str:
        """A hash of how these features and columns are computed, and of nothing else.

        What they read counts, and what that reads. Their order, and names that are neither, don't.
        """
        chosen = sorted(set(names))
        types = {attribute.name: attribute.type for attribute in self.attributes}
        features = [(name, self.features[name].definition) for name in chosen if name in self.features]
        columns = [(name, types[name]) for name in chosen if name in types and name not in self.features]
        return hashed(features, columns)

    def lineage(self) -> dict[str, "Lineage"]:
        """What each feature is computed from, however many steps away.

        An aggregate looks at the entity's rows in order of time, so that the time is among its columns.
        """
        labelled = {each.name for entity in self.entities for each in entity.aggregates if FUNCTIONS[each.how].labels}
        lineages = {}
        for name in self.features:
            read = self._reached(name)
            history = any(each in self.features and self.features[each].entity for each in read)
            columns = {*self.columns_read([name]), *(("timestamp",) if history else ())}
            labels = ("actual_fraud", "known_at", "transaction_id") if read & labelled else ()
            lineages[name] = Lineage(tuple(sorted(columns)), labels)
        return lineages

    def _reached(self, name: str) -> set[str]:
        """The feature and all that it reads, transitively."""
        reached: set[str] = set()
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each not in reached:
                reached.add(each)
                waiting += self.features[each].reads if each in self.features else ()
        return reached

    def columns_read(self, names: Iterable[str]) -> tuple[str, ...]:
        """The columns of a transaction that these features follow from, transitively, in the order of the table."""
        read: set[str] = set()
        waiting = list(names)
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            feature = self.features.get(name)
            # A feature of a column's name is that column, unchanged.
            waiting += [each for each in feature.reads if each != name] if feature else []
            read |= {name} | ({*feature.reads} if feature else set())
        return tuple(attribute.name for attribute in self.attributes if attribute.name in read)


@dataclass(frozen=True)
class Lineage:
    """Columns of ``raw.transactions`` and of ``feedback.labels`` that a feature is computed from."""

    transactions: tuple[str, ...]
    labels: tuple[str, ...] = ()


def column_types(attributes: Iterable[Attribute]) -> dict[str, pl.DataType]:
    """Columns of a transaction → their types in Polars."""
    return {attribute.name: POLARS_TYPES[SQL_TYPES[attribute.type]] for attribute in attributes}


def hashed(*content: object) -> str:
    """Twelve hexadecimal digits that stand for plain values."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]
