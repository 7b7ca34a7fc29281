"""The plan as the feature engine runs it: each entity's fold, and the SQL of conditions and expressions, compiled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import polars as pl

from fraud_pipelines.features.arrays import Columns, codes, numbers
from fraud_pipelines.features.expressions import Conditions, Expression, Expressions
from fraud_pipelines.features.keys import keys_of
from fraud_pipelines.features.program import EntityProgram, Measured, programs
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.transactions.kinds import refunds_in


@dataclass(frozen=True)
class FeaturePlan:
    """What is declared, ready to run.

    Attributes:
        plan: the declarations.
        programs: each pass of the fold (`program.passes`), in order.
        expressions: the features that need no history.
        conditions: which rows the aggregates count that don't count all.
        raw: the columns of a transaction that expressions read.
    """

    plan: Plan
    programs: tuple[EntityProgram, ...]
    expressions: Expressions
    conditions: Conditions
    raw: tuple[str, ...]

    @property
    def sees_refunds(self) -> bool:
        """Whether any aggregate looks at refunds."""
        return any(each.sees_refunds for each in self.programs)

    @property
    def users(self) -> EntityProgram:
        """The entity by which rows are handed out to cores: its rows are next to each other in the output."""
        return next(each for each in self.programs if each.entity.key == ("user_id",))

    def columns(self, transactions: pl.DataFrame) -> Columns:
        """What the folds read of the rows, but for what is usual among all payments."""
        values = {name for each in self.programs for name in each.columns}
        coded = {name for each in self.programs for name in each.codes}
        return Columns(
            {name: numbers(transactions[name]) for name in sorted(values)},
            {name: codes(transactions[name]) for name in sorted(coded)},
            self.conditions.on_frame(transactions),
        )

    @cached_property
    def measured(self) -> tuple[Measured, ...]:
        """The columns whose values are counted among all payments."""
        return tuple(dict.fromkeys(measured for each in self.programs for measured in each.measured))

    def keys(self, transactions: pl.DataFrame) -> dict[str, pl.Series]:
        """The key of each row, by the name of the entity; a refund has none where the entity's fold sees none."""
        refunds = refunds_in(transactions)
        keys = {each.entity.name: keys_of(transactions, each.entity.key).alias("key") for each in self.programs}
        if refunds is not None:
            for each in self.programs:
                if not each.sees_refunds:
                    keys[each.entity.name] = keys[each.entity.name].set(refunds, None)
        return keys

    def only(self, programs: Sequence[EntityProgram]) -> "FeaturePlan":
        """The same, with some of the programs."""
        return replace(self, programs=tuple(programs))

    def of_entities(self, names: Sequence[str]) -> tuple[EntityProgram, ...]:
        """The programs of these entities."""
        return tuple(each for each in self.programs if each.entity.name in names)


@lru_cache(maxsize=8)
def feature_plan(plan: Plan) -> FeaturePlan:
    """The plan, compiled once for a content."""
    attributes = plan.attribute_sql_types
    types = {**attributes, **{name: feature.sql_type for name, feature in plan.features.items()}}
    read = {name for expression in plan.expressions for name in expression.reads}
    return FeaturePlan(
        plan=plan,
        programs=programs(plan),
        expressions=Expressions(
            [Expression(each.name, each.sql, each.sql_type, each.reads) for each in plan.expressions], types
        ),
        conditions=Conditions(_conditions(plan), attributes),
        raw=tuple(name for name in attributes if name in read),
    )


def _conditions(plan: Plan) -> list[tuple[str, tuple[str, ...]]]:
    """The conditions of aggregates, each once, and the columns they read."""
    found: dict[str, tuple[str, ...]] = {}
    for entity in plan.entities:
        for each in entity.aggregates:
            if each.where:
                found[each.where] = each.where_reads
    return sorted(found.items())
