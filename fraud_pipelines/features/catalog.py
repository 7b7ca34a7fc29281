"""Every feature there is, by name: what the table, the docs and the model schema are made from."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from fraud_pipelines.features.aggregates import entity_features, feedback_features
from fraud_pipelines.features.declarations import ENTITIES, Feature
from fraud_pipelines.features.derived import DERIVED
from fraud_pipelines.transactions.schema import TIMESTAMP

KEY_COLUMNS: Final[dict[str, pl.DataType]] = {
    "transaction_id": pl.String(),
    "user_id": pl.String(),
    "timestamp": TIMESTAMP,
    "event_date": pl.Date(),
}

KEY_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "transaction_id": "The transaction.",
    "user_id": "Who paid: customer, account or card.",
    "timestamp": "When it happened, UTC.",
    "event_date": "The UTC day of the transaction.",
}


def _by_name(features: list[Feature]) -> dict[str, Feature]:
    named: dict[str, Feature] = {}
    for feature in features:
        if feature.name in named or feature.name in KEY_COLUMNS:
            raise ValueError(f"the feature name {feature.name} is declared twice; rename one of them")
        named[feature.name] = feature
    return named


FEATURES: Final[Mapping[str, Feature]] = _by_name(
    [
        *(feature for entity in ENTITIES for feature in entity_features(entity)),
        *(feature for entity in ENTITIES for feature in feedback_features(entity)),
        *(derived.feature for derived in DERIVED),
    ]
)
"""The columns of ``features.transaction_features`` after the keys, in order."""


def column_descriptions() -> dict[str, str]:
    """What each column of ``features.transaction_features`` holds."""
    return {**KEY_DESCRIPTIONS, **{name: feature.description for name, feature in FEATURES.items()}}


def table_schema() -> dict[str, pl.DataType]:
    """Columns of ``features.transaction_features``."""
    return KEY_COLUMNS | {name: feature.dtype for name, feature in FEATURES.items()}
