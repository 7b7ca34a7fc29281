"""The features a model sees, and in which role: numbers, hashed ids, labels or flags."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.types import Direction, Role


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
    group: str = Field(
        default="", description="What it is evidence of, such as velocity; a detector of groups judges each by itself."
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

LABEL_FREE_SCHEMA: Final[Schema] = dict.fromkeys(
    ("amount", "user_z", "user_rz", "user_log_ratio", "user_max_ratio", "user_big_14d"),
    FeatureRole(role="numeric", direction="high", group="amount"),
)
"""How unusual an amount is for its user; needs no labels."""

FEEDBACK_SCHEMA: Final[Schema] = dict.fromkeys(
    ("merchant_risk_1d", "merchant_risk_7d", "merchant_risk_30d", "user_fraud_count_30d"),
    FeatureRole(role="numeric", direction="high", group="labels"),
)
"""What earlier labels say about the merchant and the user."""


MODEL_SCORES: Final = ("isolation_forest_score", "suod_score", "ecod_score")
"""Scores of other models as features. Where nobody scored, as in a stream, their columns may be absent: see
`fraud_pipelines.detection.model.FraudModel.score`."""


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


if TYPE_CHECKING:
    from fraud_pipelines.detection.default_schema import DEFAULT_SCHEMA as DEFAULT_SCHEMA  # noqa: PLC0414
    from fraud_pipelines.detection.default_schema import default_schema as default_schema  # noqa: PLC0414
else:

    def __getattr__(name: str) -> object:
        """``DEFAULT_SCHEMA`` and ``default_schema``, on first use.

        They are made from the declared features, which a served model doesn't have; it has this module.
        """
        if name in {"DEFAULT_SCHEMA", "default_schema"}:
            from fraud_pipelines.detection import default_schema

            return getattr(default_schema, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
