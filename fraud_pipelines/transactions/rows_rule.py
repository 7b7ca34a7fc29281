"""Which rows of a source are transactions: an SQL condition over its own columns, told of each row by itself."""

from dataclasses import dataclass
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict, field_validator

from fraud_pipelines.plan.expressions import InvalidExpression
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.source_sql import source_sql

_FAILED: Final = "rows.keep fails on this row"


class RowsRule(BaseModel):
    """Which rows of a source are taken for transactions.

    Attributes:
        keep: an SQL condition over the source's columns (`source_sql`). Rows for which it is false or null are left
            out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: str

    @field_validator("keep")
    @classmethod
    def _is_a_condition(cls, keep: str) -> str:
        try:
            checked = source_sql(keep)
        except InvalidExpression as error:
            raise ValueError(str(error)) from error
        of_nothing = checked.run(pl.DataFrame({name: [None] for name in checked.reads}))
        if of_nothing.values.dtype != pl.Boolean():
            raise ValueError(f"must be true or false of a row, and gives {of_nothing.values.dtype}")
        return keep

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the source that it names."""
        return source_sql(self.keep).reads

    @property
    def reason(self) -> str:
        """Why a row is left out."""
        return f"rows.keep does not hold: {' '.join(self.keep.split())}"


@dataclass(frozen=True)
class KeptRows:
    """A chunk, told apart: kept + left out + failed = read.

    Attributes:
        chunk: the rows that are kept, and those that could not be read.
        left_out: positions, in the chunk that was read, of the rows that are left out.
        failed: positions of the rows on which the condition fails.
        reasons: why, for each of these.
    """

    chunk: RecordChunk
    left_out: pl.Series
    failed: pl.Series
    reasons: pl.Series


def kept_rows(chunk: RecordChunk, rule: RowsRule) -> KeptRows:
    """Tell the rows that ``rule`` keeps from the others."""
    told = source_sql(rule.keep).run(chunk.fields)
    fails = told.problems.is_not_null()
    keeps = told.values.cast(pl.Boolean).fill_null(value=False) & ~fails
    chosen = chunk if keeps.all() else chunk.only(keeps.arg_true()).beside(chunk.unreadable)
    reasons = (_FAILED + ": " + told.problems.filter(fails)).alias("reason")
    return KeptRows(chosen, (~keeps & ~fails).arg_true(), fails.arg_true(), reasons)
