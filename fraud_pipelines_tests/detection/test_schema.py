"""Schemas: the tutorial's is complete, plain strings are accepted, and the default adapts to the data."""

from datetime import date

import polars as pl
import pytest

from fraud_pipelines.detection.schema import (
    DEFAULT_SCHEMA,
    FEEDBACK_SCHEMA,
    FRAUD_SCHEMA,
    FeatureRole,
    default_schema,
    parse_schema,
)
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines_tests.detection.samples import numeric_rows


def test_fraud_schema_has_the_tutorials_19_features_in_their_roles() -> None:
    by_role = {role: {n for n, f in FRAUD_SCHEMA.items() if f.role == role} for role in ("hash", "label", "binary")}
    assert len(FRAUD_SCHEMA) == 19
    assert by_role["hash"] == {"merchant_id", "device_fingerprint", "city", "ip_prefix"}
    assert by_role["label"] == {"merchant_category", "device_type", "country"}
    assert by_role["binary"] == {"is_weekend", "is_night", "impossible_travel"}


def test_plain_strings_are_roles() -> None:
    assert parse_schema({"amount": "numeric", "merchant_id": "hash"}) == {
        "amount": FeatureRole(role="numeric"),
        "merchant_id": FeatureRole(role="hash"),
    }


def test_an_unknown_role_is_named_with_its_feature() -> None:
    with pytest.raises(InvalidInput, match=r"'amount'.*'number'.*numeric, hash, label or binary"):
        parse_schema({"amount": "number"})


def test_an_empty_schema_is_refused() -> None:
    with pytest.raises(InvalidInput, match="empty"):
        parse_schema({})


def test_only_numbers_have_a_direction() -> None:
    with pytest.raises(ValueError, match="label feature has no direction"):
        FeatureRole(role="label", direction="high")


def test_the_default_schema_is_whole_where_the_data_has_it() -> None:
    assert default_schema(numeric_rows(20)) == (DEFAULT_SCHEMA, {})


def test_the_default_schema_leaves_out_what_the_rows_cant_teach_and_says_why() -> None:
    rows = (
        numeric_rows(20)
        .drop("merchant_risk_1d")
        .with_columns(pl.lit(None, dtype=pl.Float64).alias("user_rz"), pl.lit(0.0).alias("merchant_risk_7d"))
    )
    schema, left_out = default_schema(rows)
    assert left_out == {
        "user_rz": "every value is missing",
        "merchant_risk_1d": "the column is missing",
        "merchant_risk_7d": "it never varies: no labels are known yet",
    }
    assert set(schema) == set(DEFAULT_SCHEMA) - set(left_out)


def test_feedback_features_wait_until_labels_reach_back_over_half_of_the_days() -> None:
    rows = numeric_rows(40).with_columns(
        pl.Series("event_date", [date(2026, 10, 1 + n // 10) for n in range(40)]),
    )

    def known_from(day: int) -> pl.DataFrame:
        late = pl.col("event_date") >= date(2026, 10, day)
        return rows.with_columns(pl.when(late).then("merchant_risk_7d").alias("merchant_risk_7d"))

    assert "merchant_risk_7d" in default_schema(known_from(3))[0]
    assert "less than half" in default_schema(known_from(4))[1]["merchant_risk_7d"]


@pytest.mark.parametrize("name", ["user_rz", "amount", "user_fraud_count_30d"])
def test_a_feature_without_a_value_on_more_than_half_of_the_days_is_left_out(name: str) -> None:
    rows = numeric_rows(40).with_columns(
        pl.Series("event_date", [date(2026, 10, 1 + n // 10) for n in range(40)]),
    )

    def declared_on(day: int) -> pl.DataFrame:
        declared = pl.col("event_date") >= date(2026, 10, day)
        return rows.with_columns(pl.when(declared).then(pl.col(name) + pl.int_range(pl.len())).alias(name))

    assert name in default_schema(declared_on(3))[0]
    schema, left_out = default_schema(declared_on(4))
    assert name not in schema
    assert "half of the days" in left_out[name]


def test_rows_without_any_default_feature_are_refused() -> None:
    with pytest.raises(InvalidInput, match="None of the default features"):
        default_schema(pl.DataFrame({"country": ["DE"]}))


def test_feedback_features_alarm_on_the_high_side() -> None:
    assert {feature.direction for feature in FEEDBACK_SCHEMA.values()} == {"high"}
