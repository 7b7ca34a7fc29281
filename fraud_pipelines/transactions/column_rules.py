"""Column rules: how a mapping makes a column of ours where the name of one of the source's doesn't suffice."""

from typing import Annotated, Final, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from fraud_pipelines.transactions.later_keys import LaterKeys
from fraud_pipelines.transactions.numbers import NumberFormat
from fraud_pipelines.transactions.source_sql import SourceSql, source_sql

Negative = Literal["reject", "refund", "absolute"]

_ORIGINS: Final = ("column", "join", "row", "first_of", "sql")
_NUMBER_KEYS: Final = ("decimal", "thousands", "divide_by", "negative")


class ColumnRule(LaterKeys):
    """Where the values of a column come from, and how its numbers are written. Of the first five, one is given.

    Attributes:
        column: a column of the source.
        join: columns of the source, whose texts are joined by ``-``; null where one of them is.
        row: a hash of the row's content, and its count among equal rows of the file.
        first_of: columns of the source; the first that isn't null counts.
        sql: an expression over the source's columns; see `source_sql`.
        decimal: the sign before the decimals.
        thousands: the sign between groups of digits.
        divide_by: the number is divided by this: 100 where it counts cents.
        negative: what becomes of a negative number: its row is rejected, is a refund of that amount, or holds the
            amount without its sign. By default the column's bounds decide.
    """

    column: str | None = Field(default=None, min_length=1)
    join: tuple[str, ...] | None = Field(default=None, min_length=1)
    row: Literal[True] | None = None
    first_of: tuple[str, ...] | None = Field(default=None, min_length=1)
    sql: str | None = None
    decimal: Literal[".", ","] | None = None
    thousands: Literal[".", ",", "'", " ", "_"] | None = None
    divide_by: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    negative: Negative | None = None

    @field_validator("sql")
    @classmethod
    def _can_be_run(cls, sql: str | None) -> str | None:
        if sql is not None:
            source_sql(sql)
        return sql

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        given = [key for key in _ORIGINS if getattr(self, key) is not None]
        if len(given) != 1:
            shown = f"{' and '.join(given)} exclude each other" if given else "says not where its values come from"
            raise ValueError(f"{shown}; give one of {', '.join(_ORIGINS)}")
        if self.is_id and self.numeric_keys:
            raise ValueError(f"{self.numeric_keys[0]} is for numbers, and {given[0]} gives a text")
        if self.decimal and self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands can't both be {self.decimal!r}")
        return self

    @property
    def is_id(self) -> bool:
        """Whether it gives a text that no number can be made of."""
        return self.join is not None or self.row is not None

    @property
    def numeric_keys(self) -> list[str]:
        """The keys about numbers that are given."""
        return [key for key in _NUMBER_KEYS if getattr(self, key) is not None]

    @property
    def reads(self) -> dict[str, str]:
        """The key below the rule → the column of the source that it names."""
        if self.column is not None:
            return {"column": self.column}
        if self.sql is not None:
            return {f"sql, {name}": name for name in source_sql(self.sql).reads}
        key, names = ("join", self.join) if self.join else ("first_of", self.first_of)
        return {f"{key}.{place}": name for place, name in enumerate(names or (), start=1)}

    @property
    def expression(self) -> SourceSql | None:
        """What ``sql`` computes."""
        return None if self.sql is None else source_sql(self.sql)

    @property
    def number_format(self) -> NumberFormat:
        """How its numbers are written."""
        decimal = self.decimal or ("," if self.thousands == "." else ".")
        return NumberFormat(decimal, self.thousands, declared=bool(self.decimal or self.thousands))


PLAIN: Final = NumberFormat()


def _shape(value: object) -> str:
    return "rule" if isinstance(value, dict | ColumnRule) else "name"


SourceColumn = Annotated[Annotated[ColumnRule, Tag("rule")] | Annotated[str | None, Tag("name")], Discriminator(_shape)]
"""What a mapping says of one of our columns: a column of the source, none, or a rule."""
