"""The schema of the daily models: every feature declared as ``daily``, where the data has it."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from fraud_pipelines.detection.schema import FEEDBACK_SCHEMA, LABEL_FREE_SCHEMA, FeatureRole, Schema
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import Modelled


def daily_schema(plan: Plan) -> dict[str, FeatureRole]:
    """What the daily models use, where the data has it (see `default_schema`): all that is declared as ``daily``.

    What ships comes first, in the order in which it always came.
    """
    declared = {name: feature_role(model) for name, model in plan.daily_schema.items()}
    first = [name for name in (*LABEL_FREE_SCHEMA, *FEEDBACK_SCHEMA) if name in declared]
    return {name: declared[name] for name in dict.fromkeys([*first, *declared])}


def grouped_schema(plan: Plan) -> dict[str, FeatureRole]:
    """What a daily model of groups uses: `daily_schema`, and what else is in a group."""
    further = {name: feature_role(model) for name, model in plan.grouped_schema.items()}
    return {
        **daily_schema(plan),
        **{name: role for name, role in further.items() if role.role in ("numeric", "binary")},
    }


def feature_role(model: Modelled) -> FeatureRole:
    """How a model's schema says it."""
    direction = model.direction if model.role == "numeric" else "both"
    return FeatureRole(role=model.role, direction=direction, group=model.group)


DEFAULT_SCHEMA: Final[Schema] = daily_schema(shipped_plan())
"""`daily_schema` of what ships."""


def default_schema(
    features: pl.DataFrame, declared: Schema = DEFAULT_SCHEMA
) -> tuple[dict[str, FeatureRole], dict[str, str]]:
    """What of ``declared`` these training rows can carry, and why the rest was left out.

    A column that is missing or has no value teaches nothing. One without a value on more than half of the days
    (where ``event_date`` tells them apart) was declared or delivered only lately, and what is filled in on the other
    days would pass for the usual. A feedback feature that never varies means that no labels are known yet; one that
    varies on less than half of the days that they have only begun to arrive, and a model that learned from mostly
    empty days would call every merchant with a past unusual.

    Returns:
        The schema, and feature → reason for each one left out.

    Raises:
        InvalidInput: none of the features is there.
    """
    days = _by_day(features, declared)
    left_out: dict[str, str] = {}
    for name in declared:
        reason = why_left_out(name, days[name]) if name in days else "the column is missing"
        if reason:
            left_out[name] = reason
    schema = {name: role for name, role in declared.items() if name not in left_out}
    if not schema:
        raise InvalidInput(
            f"None of the default features has a value in these {features.height} rows: {', '.join(declared)}."
        )
    return schema, left_out


def why_left_out(name: str, days: Sequence[tuple[bool, bool]]) -> str | None:
    """Why a daily model leaves the feature out; None if it doesn't.

    Args:
        days: of each day it would learn from, whether the feature has a value there, and whether it has two.
    """
    has_values, varies = sum(has_value for has_value, _ in days), sum(two for _, two in days)
    if not has_values:
        return "every value is missing"
    if name in FEEDBACK_SCHEMA and not varies:
        return "it never varies: no labels are known yet"
    if name in FEEDBACK_SCHEMA and varies < 0.5 * len(days):
        return "it varies on less than half of the days: labels have only begun to arrive"
    if has_values < 0.5 * len(days):
        return "every value is missing on more than half of the days: it was declared or delivered only lately"
    return None


def _by_day(features: pl.DataFrame, declared: Schema) -> dict[str, list[tuple[bool, bool]]]:
    """Of each declared feature there is, what `why_left_out` asks; where days can't be told apart, all are one."""
    names = [name for name in declared if name in features.columns]
    by_day = features if "event_date" in features.columns else features.with_columns(event_date=pl.lit(0))
    found = by_day.group_by("event_date").agg(
        *(pl.col(name).is_not_null().any() for name in names),
        *((pl.col(name).min() != pl.col(name).max()).fill_null(value=False).alias(f"{name} varies") for name in names),
    )
    return {name: list(zip(found[name], found[f"{name} varies"], strict=True)) for name in names}
