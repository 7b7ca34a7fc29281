"""The features a model sees, and in which role: numbers, hashed ids, labels or flags."""

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.catalog import FEATURES

Role = Literal["numeric", "hash", "label", "binary"]
Direction = Literal["high", "low", "both"]


class FeatureRole(BaseModel):
    """How one column enters a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role = Field(
        description="numeric: a magnitude. hash: an id with too many values to list. "
        "label: a category with few values. binary: a flag."
    )
    direction: Direction = Field(
        default="both", description="Which side of a numeric feature's usual range is suspicious."
    )

    @model_validator(mode="after")
    def _only_numbers_have_a_direction(self) -> "FeatureRole":
        if self.role != "numeric" and self.direction != "both":
            raise ValueError(f"a {self.role} feature has no direction; leave it out")
        return self


Schema = Mapping[str, FeatureRole]
"""Feature name → role; its order is the order of the model's columns."""

SchemaLike = Mapping[str, FeatureRole | str]
"""What is accepted wherever a schema is: roles may be plain strings, such as ``"numeric"``."""

FRAUD_SCHEMA: Final[Schema] = {
    "amount": FeatureRole(role="numeric"),
    "merchant_id": FeatureRole(role="hash"),
    "merchant_category": FeatureRole(role="label"),
    "device_type": FeatureRole(role="label"),
    "device_fingerprint": FeatureRole(role="hash"),
    "country": FeatureRole(role="label"),
    "city": FeatureRole(role="hash"),
    "ip_prefix": FeatureRole(role="hash"),
    "hour_of_day": FeatureRole(role="numeric"),
    "is_weekend": FeatureRole(role="binary"),
    "is_night": FeatureRole(role="binary"),
    "amount_rolling_mean_5": FeatureRole(role="numeric"),
    "amount_rolling_std_5": FeatureRole(role="numeric"),
    "amount_rolling_max_10": FeatureRole(role="numeric"),
    "tx_count_rolling_mean_5": FeatureRole(role="numeric"),
    "amount_lag_1": FeatureRole(role="numeric"),
    "minutes_since_last": FeatureRole(role="numeric"),
    "amount_vs_avg": FeatureRole(role="numeric"),
    "impossible_travel": FeatureRole(role="binary"),
}
"""The tutorial's table of 19 features. Its hashed ids are noise to an outlier detector: see `DEFAULT_SCHEMA`."""

_HIGH: Final = FeatureRole(role="numeric", direction="high")

LABEL_FREE_SCHEMA: Final[Schema] = dict.fromkeys(
    ("amount", "user_z", "user_rz", "user_log_ratio", "user_max_ratio", "user_big_14d"), _HIGH
)
"""How unusual an amount is for its user; needs no labels."""

FEEDBACK_SCHEMA: Final[Schema] = dict.fromkeys(
    ("merchant_risk_1d", "merchant_risk_7d", "merchant_risk_30d", "user_fraud_count_30d"), _HIGH
)
"""What earlier labels say about the merchant and the user."""

_ADDED: Final[Schema] = {
    name: FeatureRole(role=feature.role, direction=feature.direction if feature.role == "numeric" else "both")
    for name, feature in FEATURES.items()
    if feature.daily and name not in LABEL_FREE_SCHEMA and name not in FEEDBACK_SCHEMA
}

DEFAULT_SCHEMA: Final[Schema] = {**LABEL_FREE_SCHEMA, **FEEDBACK_SCHEMA, **_ADDED}
"""What the daily models use, where the data has it (see `default_schema`): every feature declared as ``daily``."""


def parse_schema(schema: SchemaLike) -> dict[str, FeatureRole]:
    """A schema with its roles spelled out.

    Raises:
        InvalidInput: the schema is empty, or a role is unknown; the message names the feature.
    """
    if not schema:
        raise InvalidInput("The feature schema is empty; name at least one feature with its role.")
    parsed: dict[str, FeatureRole] = {}
    for name, role in schema.items():
        try:
            parsed[name] = role if isinstance(role, FeatureRole) else FeatureRole.model_validate({"role": role})
        except ValidationError as error:
            raise InvalidInput(
                f"Feature {name!r} has the role {role!r}; it must be numeric, hash, label or binary."
            ) from error
    return parsed


def default_schema(features: pl.DataFrame) -> tuple[dict[str, FeatureRole], dict[str, str]]:
    """What of `DEFAULT_SCHEMA` these training rows can carry, and why the rest was left out.

    A column that is missing or has no value teaches nothing. A feedback feature that never varies means that no
    labels are known yet; one that varies on less than half of the days (where ``event_date`` tells them apart) that
    they have only begun to arrive, and a model that learned from mostly empty days would call every merchant with a
    past unusual.

    Returns:
        The schema, and feature → reason for each one left out.

    Raises:
        InvalidInput: none of the features is there.
    """
    left_out: dict[str, str] = {}
    for name in DEFAULT_SCHEMA:
        if name not in features.columns:
            left_out[name] = "the column is missing"
        elif features[name].null_count() == features.height:
            left_out[name] = "every value is missing"
        elif name in FEEDBACK_SCHEMA and features[name].drop_nulls().n_unique() == 1:
            left_out[name] = "it never varies: no labels are known yet"
        elif name in FEEDBACK_SCHEMA and _share_of_days_it_varies(features, name) < 0.5:
            left_out[name] = "it varies on less than half of the days: labels have only begun to arrive"
    schema = {name: role for name, role in DEFAULT_SCHEMA.items() if name not in left_out}
    if not schema:
        raise InvalidInput(
            f"None of the default features has a value in these {features.height} rows: {', '.join(DEFAULT_SCHEMA)}."
        )
    return schema, left_out


def _share_of_days_it_varies(features: pl.DataFrame, name: str) -> float:
    if "event_date" not in features.columns:
        return 1.0
    varies = features.group_by("event_date").agg(pl.col(name).drop_nulls().n_unique() > 1)[name]
    return float(varies.sum() / len(varies))
