"""What may stand in a declarations file: its keys and their values, as pydantic models.

They check each value by itself. What must fit together is checked when the plan is compiled.
"""

import difflib
import itertools
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.names import NAME_PATTERN
from fraud_pipelines.plan.problems import Key, listed, unknown
from fraud_pipelines.plan.source import Source
from fraud_pipelines.plan.spans import MAX_ROWS, SPAN_PATTERN, rows_or_span
from fraud_pipelines.plan.types import ColumnType, Direction

DeclaredRole = Literal["numeric", "hash", "label", "binary", "none"]

Text = Annotated[str, Field(max_length=1_000)]
Model = TypeVar("Model", bound=BaseModel)


def _columns(value: object) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("expected the name of a column, or a list of names")
    return names


def _windows(value: object) -> object:
    windows = value if isinstance(value, list) else [value]
    if not windows:
        raise ValueError("the list is empty; leave the key out instead")
    for window in windows:
        rows_or_span(window)
    return value


def _function(value: object) -> object:
    if not isinstance(value, str) or value not in FUNCTIONS:
        raise ValueError(unknown(value, "function", FUNCTIONS))
    return value


def _group(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(NAME_PATTERN, value):
        raise ValueError(f"{value!r} is no name of a group; write small letters, digits and _, such as velocity")
    return value


def _number(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d{1,2}", value, re.ASCII):
        return float(value)  # 1e12, which PyYAML takes for text
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number, not {value!r}")
    return value


_ONE_WINDOW: Final = {
    "anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_ROWS}, {"type": "string", "pattern": SPAN_PATTERN}]
}
_NAME_SCHEMA: Final = {"type": "string", "pattern": NAME_PATTERN}
_NAMES_SCHEMA: Final = {"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA, "minItems": 1}]}

_TOKENISED_SCHEMA: Final = {"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA}]}

Columns = Annotated[list[str], BeforeValidator(_columns), WithJsonSchema(_NAMES_SCHEMA)]
Windows = Annotated[
    Any,
    BeforeValidator(_windows),
    WithJsonSchema({"anyOf": [*_ONE_WINDOW["anyOf"], {"type": "array", "items": _ONE_WINDOW, "minItems": 1}]}),
]
How = Annotated[str, BeforeValidator(_function), WithJsonSchema({"type": "string", "enum": list(FUNCTIONS)})]
Group = Annotated[str, BeforeValidator(_group), WithJsonSchema(_NAME_SCHEMA)]
Number = Annotated[float, BeforeValidator(_number), WithJsonSchema({"type": "number"})]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DeclaredAttribute(_Declared):
    """A column of a transaction."""

    type: ColumnType
    role: DeclaredRole | None = Field(default=None, description="How a model gets it; without one, no model does.")
    direction: Direction | None = Field(default=None, description="Which side of a number is suspicious.")
    daily: bool = Field(default=False, description="Whether it enters the daily models.")
    group: Group | None = Field(default=None, description="What it is evidence of, such as velocity.")
    required: bool = Field(default=False, description="Whether a row without it is rejected.")
    min: Number | None = Field(default=None, description="The smallest value a row may have.")
    max: Number | None = Field(default=None, description="The largest value a row may have.")
    pii: bool = Field(default=False, description="Whether it says who a person is.")
    description: Text = ""


class DeclaredAggregate(_Declared):
    """One number about an entity's transactions, or one for each window of a list."""

    how: How = Field(description="The function; docs/declarations.md lists them.")
    of: Columns = Field(default=[], description="Columns of the transaction, or aggregates of this entity above it.")
    over: Windows = Field(default=None, description="The last n rows, or a span such as 24h; or a list of them.")
    where: Annotated[str, Field(max_length=4_000)] | None = Field(
        default=None, description="SQL on the transaction's columns: only rows for which it holds are counted."
    )
    name: Annotated[str, WithJsonSchema(_NAME_SCHEMA)] | None = Field(
        default=None, description="By default {entity}_{of}_{how}_{over}."
    )
    options: dict[str, Number] = Field(default={}, description="Further parameters of the function.")
    role: DeclaredRole | None = Field(default=None, description="How a model gets it; none: no model does.")
    direction: Direction | None = Field(default=None, description="Which side is suspicious.")
    daily: bool = Field(default=False, description="Whether it enters the daily models.")
    group: Group | None = Field(default=None, description="What it is evidence of, such as velocity.")
    description: Text = ""
    phrase: Text = Field(default="", description="What a reviewer reads of an alert.")


class DeclaredEntity(_Declared):
    """All transactions that share a key, and what is computed of them."""

    key: Columns | None = Field(default=None, description="A text column, or a list of them.")
    aggregates: list[DeclaredAggregate] = Field(default=[])


class DeclaredFeature(_Declared):
    """A feature without history: one SQL expression over a row's columns and features."""

    sql: Annotated[str, Field(max_length=4_000)]
    null_rule: Text = Field(default="", description="When it is null, in words.")
    role: DeclaredRole | None = Field(default=None, description="How a model gets it; none: no model does.")
    direction: Direction | None = Field(default=None, description="Which side is suspicious.")
    daily: bool = Field(default=False, description="Whether it enters the daily models.")
    group: Group | None = Field(default=None, description="What it is evidence of, such as velocity.")
    description: Text = ""
    phrase: Text = Field(default="", description="What a reviewer reads of an alert.")


class Declarations(_Declared):
    """Columns, entities and features of an installation (fraud.yaml)."""

    attributes: dict[str, DeclaredAttribute] = Field(default={}, description="Further columns of a transaction.")
    entities: dict[str, DeclaredEntity] = Field(default={}, description="What is computed of transactions by key.")
    features: dict[str, DeclaredFeature] = Field(default={}, description="Features by SQL expression.")
    tokenise: Annotated[list[str], BeforeValidator(_columns), WithJsonSchema(_TOKENISED_SCHEMA)] = Field(
        default=[],
        description="The columns of which tokens are stored in place of values, where FRAUD_PII_KEY is set; by default "
        "user_id alone.",
    )
    local_zone: str | None = Field(
        default=None, description="The time zone, by its IANA name, whose clock features of the hour and day follow."
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a declarations file, for editors."""
    schema = Declarations.model_json_schema()
    for section in ("attributes", "entities", "features"):
        schema["properties"][section]["propertyNames"] = {"pattern": NAME_PATTERN}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def parsed(model: type[Model], source: Source, key: Key, fields: object) -> Model | None:
    """``fields`` as a ``model``; None where something is wrong, which is reported to ``source``."""
    if not isinstance(fields, Mapping):
        source.report(key, f"expected the keys {listed(list(model.model_fields))}")
        return None
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        meant = {
            *itertools.chain.from_iterable(
                difflib.get_close_matches(str(fault["loc"][-1]), model.model_fields)
                for fault in faults
                if fault["type"] == "extra_forbidden"
            )
        }
        told = set()
        for fault in faults:
            at = tuple(part for part in fault["loc"] if part != "[key]")
            # A key that is misspelt is missing as well.
            if at in told or (fault["type"] == "missing" and at[-1] in meant):
                continue
            told.add(at)
            source.report((*key, *at), _described(model, str(at[-1]) if at else "", dict(fault)))
        return None


def _described(model: type[BaseModel], name: str, fault: dict[str, Any]) -> str:
    """What is wrong with the key ``name``."""
    given = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            message = unknown(name, "key here", model.model_fields)
        case "missing":
            message = "is required"
        case "literal_error":
            message = unknown(given, name if name in ("type", "role", "direction") else "choice", _choices(model, name))
        case "string_type":
            message = f"expected text, not {given!r}; put it in quotes"
        case "bool_type":
            message = f"expected true or false, not {given!r}"
        case "value_error":
            message = str(fault["ctx"]["error"])
        case _:
            message = str(fault["msg"])
            message = message[:1].lower() + message[1:]
    return message


def _choices(model: type[BaseModel], field: str) -> list[str]:
    """The values that a field of fixed choices may have."""
    annotation = model.model_fields[field].annotation
    choices = get_args(annotation)
    nested = [get_args(choice) for choice in choices if get_args(choice)]
    return [str(choice) for choice in (nested[0] if nested else choices)]
