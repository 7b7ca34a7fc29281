"""The columns that rules and segments may ask of a transaction: what is declared, and of which type."""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationInfo

from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import ColumnType

Columns = Mapping[str, ColumnType]

_ASKED: Final[frozenset[ColumnType]] = frozenset({"text", "number", "integer", "boolean"})
_CONTEXT: Final = "columns"


def columns_of(plan: Plan) -> dict[str, ColumnType]:
    """The columns and features of the plan that a condition can be asked of, and their types."""
    declared = {attribute.name: attribute.type for attribute in plan.attributes}
    declared |= {name: feature.type for name, feature in plan.features.items()}
    return {name: kind for name, kind in declared.items() if kind in _ASKED}


def asked_of(columns: Columns | None) -> dict[str, Columns | None]:
    """The context in which rules and segments are validated; None for what was checked when it was read."""
    return {_CONTEXT: columns}


def columns_in(info: ValidationInfo) -> Columns | None:
    """The columns of the context, by default those of what ships; None where nothing is to be checked."""
    if info.context is None or _CONTEXT not in info.context:
        return columns_of(shipped_plan())
    found: Columns | None = info.context[_CONTEXT]
    return found
