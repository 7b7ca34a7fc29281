"""The schema of the daily models: every feature declared as ``daily``, where the data has it."""

from typing import Final

import polars as pl

from fraud_pipelines.detection.schema import FEEDBACK_SCHEMA, LABEL_FREE_SCHEMA, FeatureRole, Schema
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.catalog import FEATURES

_ADDED: Final[Schema] = {
    name: FeatureRole(role=feature.role, direction=feature.direction if feature.role == "numeric" else "both")
    for name, feature in FEATURES.items()
    if feature.daily and name not in LABEL_FREE_SCHEMA and name not in FEEDBACK_SCHEMA
}

DEFAULT_SCHEMA: Final[Schema] = {**LABEL_FREE_SCHEMA, **FEEDBACK_SCHEMA, **_ADDED}
"""What the daily models use, where the data has it (see `default_schema`): every feature declared as ``daily``."""


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
    left_out: dict[str, str] = {}
    for name in declared:
        if name not in features.columns:
            left_out[name] = "the column is missing"
        elif features[name].null_count() == features.height:
            left_out[name] = "every value is missing"
        elif name in FEEDBACK_SCHEMA and features[name].drop_nulls().n_unique() == 1:
            left_out[name] = "it never varies: no labels are known yet"
        elif name in FEEDBACK_SCHEMA and _share_of_days(features, pl.col(name).drop_nulls().n_unique() > 1) < 0.5:
            left_out[name] = "it varies on less than half of the days: labels have only begun to arrive"
        elif _share_of_days(features, pl.col(name).is_not_null().any()) < 0.5:
            left_out[name] = (
                "every value is missing on more than half of the days: it was declared or delivered only lately"
            )
    schema = {name: role for name, role in declared.items() if name not in left_out}
    if not schema:
        raise InvalidInput(
            f"None of the default features has a value in these {features.height} rows: {', '.join(declared)}."
        )
    return schema, left_out


def _share_of_days(features: pl.DataFrame, condition: pl.Expr) -> float:
    """On how many of the days the condition holds; on all, where days can't be told apart."""
    if "event_date" not in features.columns:
        return 1.0
    holds = features.group_by("event_date").agg(condition.alias("holds"))["holds"]
    return float(holds.sum() / len(holds))
