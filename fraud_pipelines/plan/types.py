"""What a declaration says, as values: columns of a transaction, entities, their aggregates, features by expression.

These hold what was declared, checked and spelled out: a list of windows is one aggregate for each, every name is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

from fraud_pipelines.plan.tokens import Tokens

ColumnType = Literal["text", "number", "integer", "boolean", "timestamp"]
Role = Literal["numeric", "hash", "label", "binary"]
Direction = Literal["high", "low", "both"]

CURRENCY: Final = "currency"
"""The column whose declaration says that amounts come in several currencies."""
SOURCE_AMOUNT: Final = "source_amount"
"""The column of the amount as its source said it; it is there wherever `CURRENCY` is."""
KIND: Final = "kind"
"""The column that tells a payment from a refund."""
REFUND: Final = "refund"
PAYMENT: Final = "payment"
"""What `KIND` says. What does not say refund is a payment."""
LOCAL_TIME: Final = "local_time"
"""The column of the time on the clock where a transaction happened, where a zone is declared."""
DATE_ONLY: Final = "date_only"
"""The column that says where a source gave a date without a time."""
JUDGED_ONLY: Final = "judged_only"
"""The column that says where only a verdict tells what became of a payment: without a label it never is legitimate."""
COMPUTED: Final = frozenset({LOCAL_TIME, DATE_ONLY, JUDGED_ONLY})
"""Columns of a transaction that no column of the source gives: they follow from its timestamp, zone and mapping."""
CATEGORY: Final = "merchant_category"
"""The column by which payments are compared with those of their kind, where there are enough."""
WITH_REFUNDS: Final = "__with_refunds"
"""At the end of an entity's name: the pass of the fold that sees its refunds, too."""


@dataclass(frozen=True)
class Modelled:
    """How a column or feature enters a model.

    ``daily`` puts it into the schema of the daily models. ``group`` names what it is evidence of, such as ``velocity``;
    a detector of groups judges each by itself. Without one it is in no group.
    """

    role: Role
    direction: Direction = "both"
    daily: bool = False
    group: str = ""


@dataclass(frozen=True)
class Attribute:
    """A column of a transaction.

    ``minimum`` and ``maximum`` are inclusive; ``model`` is None for a mere column. ``zone`` is of the local time alone:
    that of a source which declares none. ``tokens`` makes of its values what is stored, where they name a person and a
    key is set; whether they do is no part of what the column is.
    """

    name: str
    type: ColumnType
    description: str = ""
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    pii: bool = False
    model: Modelled | None = None
    zone: str | None = None
    tokens: Tokens | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Aggregate:
    """One number about an entity's rows, at each of them: one column of the features.

    Attributes:
        name: of the column.
        how: the function, by its name in the registry.
        of: what it is computed from: columns of the transaction, or aggregates of this entity declared before it.
        over: the last so many rows, this one included; or the span (t − over, t]; None for a function without a window.
        where: an SQL condition on the row's own columns, to say which rows count; None for all.
        where_reads: the columns that it names.
        options: further parameters of the function, such as those of a profile.
        model: how a model gets it; None where no model is given it.
        description, phrase: words for people, and what a reviewer reads of an alert.
    """

    name: str
    how: str
    of: tuple[str, ...] = ()
    over: int | timedelta | None = None
    where: str | None = None
    where_reads: tuple[str, ...] = ()
    options: Mapping[str, float] = field(default_factory=dict)
    model: Modelled | None = field(default_factory=lambda: Modelled("numeric", "high"))
    description: str = ""
    phrase: str = ""

    @property
    def sees_refunds(self) -> bool:
        """Whether refunds are among the rows that it looks at: its condition says which kind it counts."""
        return KIND in self.where_reads


@dataclass(frozen=True)
class EntityPlan:
    """All rows that share the values of ``key``, in order (timestamp, transaction_id), and what is told of them."""

    name: str
    key: tuple[str, ...]
    aggregates: tuple[Aggregate, ...]


@dataclass(frozen=True)
class ExpressionPlan:
    """A feature by one SQL expression over a row's columns and other features.

    Attributes:
        sql: as it was declared. To it every column of a whole number is a BIGINT, so that `hour_of_day * 60` fits.
        model: how a model gets it; None where no model is given it.
        type: what kind of value it gives.
        sql_type: the DuckDB type it is stored as; the value of ``sql`` is cast to it.
        reads: the columns and features that ``sql`` names.
        null_rule: when it is null, in words.
    """

    name: str
    sql: str
    model: Modelled | None
    type: ColumnType = "number"
    description: str = ""
    phrase: str = ""
    sql_type: str = "DOUBLE"
    reads: tuple[str, ...] = ()
    null_rule: str = ""
