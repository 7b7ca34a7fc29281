"""What ships as declarations is the contract: names, types, roles, and what each expression says."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.features.feature_plan import feature_plan
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.transactions.schema import FURTHER_COLUMNS, REQUIRED_COLUMNS, TRANSACTION_COLUMNS

PLAN = compile_plan()


def test_the_columns_are_those_of_today() -> None:
    assert list(PLAN.attribute_types.items()) == list((TRANSACTION_COLUMNS | FURTHER_COLUMNS).items())
    assert [each.name for each in PLAN.attributes if each.required] == list(REQUIRED_COLUMNS)


def test_an_amount_has_the_bounds_that_rows_are_judged_by() -> None:
    [amount] = [each for each in PLAN.attributes if each.name == "amount"]
    assert (amount.minimum, amount.maximum) == (0, 1e12)


FEATURES: dict[str, tuple[str, str, str, bool, bool]] = {
    "amount_rolling_mean_3": ("Float64", "numeric", "high", False, True),
    "amount_rolling_std_3": ("Float64", "numeric", "high", False, True),
    "amount_rolling_min_3": ("Float64", "numeric", "high", False, True),
    "amount_rolling_max_3": ("Float64", "numeric", "high", False, True),
    "amount_rolling_mean_5": ("Float64", "numeric", "high", False, True),
    "amount_rolling_std_5": ("Float64", "numeric", "high", False, True),
    "amount_rolling_min_5": ("Float64", "numeric", "high", False, True),
    "amount_rolling_max_5": ("Float64", "numeric", "high", False, True),
    "amount_rolling_mean_10": ("Float64", "numeric", "high", False, True),
    "amount_rolling_std_10": ("Float64", "numeric", "high", False, True),
    "amount_rolling_min_10": ("Float64", "numeric", "high", False, True),
    "amount_rolling_max_10": ("Float64", "numeric", "high", False, True),
    "amount_rolling_mean_50": ("Float64", "numeric", "high", False, True),
    "amount_rolling_std_50": ("Float64", "numeric", "high", False, True),
    "amount_rolling_min_50": ("Float64", "numeric", "high", False, True),
    "amount_rolling_max_50": ("Float64", "numeric", "high", False, True),
    "tx_count_10m": ("Int32", "numeric", "high", False, True),
    "tx_count_1h": ("Int32", "numeric", "high", False, True),
    "tx_count_24h": ("Int32", "numeric", "high", False, True),
    "tx_count_7d": ("Int32", "numeric", "high", False, True),
    "tx_count_rolling_mean_5": ("Float64", "numeric", "high", False, True),
    "amount_lag_1": ("Float64", "numeric", "both", False, True),
    "amount_lag_5": ("Float64", "numeric", "both", False, True),
    "amount_lag_10": ("Float64", "numeric", "both", False, True),
    "minutes_since_last": ("Float64", "numeric", "low", False, True),
    "days_since_last_tx": ("Float64", "numeric", "low", False, True),
    "country_changed": ("Int8", "binary", "high", False, True),
    "amount_vs_avg": ("Float64", "numeric", "high", False, True),
    "user_z": ("Float64", "numeric", "high", True, True),
    "user_rz": ("Float64", "numeric", "high", True, True),
    "user_log_ratio": ("Float64", "numeric", "high", True, True),
    "user_max_ratio": ("Float64", "numeric", "high", True, True),
    "user_big_14d": ("Int32", "numeric", "high", True, True),
    "user_earlier": ("Int32", "numeric", "low", False, True),
    "merchant_novelty": ("Float64", "numeric", "high", False, True),
    "category_novelty": ("Float64", "numeric", "high", False, True),
    "device_novelty": ("Float64", "numeric", "high", False, True),
    "country_novelty": ("Float64", "numeric", "high", False, True),
    "user_hour_share": ("Float64", "numeric", "low", False, True),
    "device_tx_count_1h": ("Int32", "numeric", "high", False, True),
    "device_tx_count_24h": ("Int32", "numeric", "high", False, True),
    "device_users_24h": ("Int32", "numeric", "high", False, True),
    "device_users_7d": ("Int32", "numeric", "high", False, True),
    "merchant_tx_count_1h": ("Int32", "numeric", "high", False, True),
    "merchant_tx_count_24h": ("Int32", "numeric", "high", False, True),
    "user_fraud_count_30d": ("Int32", "numeric", "high", True, True),
    "merchant_risk_1d": ("Float64", "numeric", "high", True, True),
    "merchant_risk_7d": ("Float64", "numeric", "high", True, True),
    "merchant_risk_30d": ("Float64", "numeric", "high", True, True),
    "merchant_risk_1d_payments": ("Int32", "numeric", "high", False, False),
    "merchant_risk_7d_payments": ("Int32", "numeric", "high", False, False),
    "merchant_risk_30d_payments": ("Int32", "numeric", "high", False, False),
    "merchant_last_labels_1": ("Float64", "numeric", "high", False, True),
    "merchant_last_labels_3": ("Float64", "numeric", "high", False, True),
    "merchant_last_labels_5": ("Float64", "numeric", "high", False, True),
    "merchant_last_labels_10": ("Float64", "numeric", "high", False, True),
    "merchant_last_labels_20": ("Float64", "numeric", "high", False, True),
    "merchant_days_since_first_fraud": ("Float64", "numeric", "high", False, True),
    "merchant_days_since_last_fraud": ("Float64", "numeric", "low", False, True),
    "amount": ("Float64", "numeric", "high", True, True),
    "hour_of_day": ("Int8", "numeric", "both", False, True),
    "day_of_week": ("Int8", "numeric", "both", False, True),
    "is_weekend": ("Int8", "binary", "high", False, True),
    "is_night": ("Int8", "binary", "high", False, True),
    "amount_below_usual": ("Float64", "numeric", "high", False, True),
    "merchant_burst": ("Float64", "numeric", "high", False, True),
    "impossible_travel": ("Int8", "binary", "high", False, True),
}
"""The features that ship: type, role, direction, whether daily models and whether any model gets it. A contract."""


def test_the_features_are_those_of_the_contract_in_order() -> None:
    declared = {name: str(dtype) for name, dtype in list(PLAN.feature_types.items())[4:]}
    assert declared == {name: kind for name, (kind, *_) in FEATURES.items()}
    assert list(declared) == list(FEATURES)


def test_models_get_each_feature_as_the_contract_says() -> None:
    schema = {name: of[1:4] for name, of in FEATURES.items() if of[4]}
    assert {name: (model.role, model.direction, model.daily) for name, model in PLAN.model_schema.items()} == schema


def test_the_entities_are_those_of_the_contract() -> None:
    entities = {"user": ("user_id",), "device": ("device_fingerprint",), "merchant": ("merchant_id",)}
    assert {each.name: each.key for each in PLAN.entities} == entities


_moments = st.datetimes(min_value=datetime(1960, 1, 1), max_value=datetime(2100, 1, 1)) | st.integers(0, 400).map(
    lambda hours: datetime(2026, 2, 26) + timedelta(hours=hours)
)
_numbers = st.floats(allow_nan=False) | st.sampled_from([119.99999, 120.0, 120.00001, -0.0])
_values = {
    "timestamp": _moments,
    "amount": _numbers,
    "country_changed": st.none() | st.sampled_from([0, 1]),
    "minutes_since_last": st.none() | _numbers,
    "merchant_tx_count_1h": st.none() | st.integers(1, 50),
    "merchant_tx_count_24h": st.integers(50, 1000),
    "user_log_ratio": st.none() | st.floats(-50, 50),
}


@given(st.lists(st.fixed_dictionaries(_values), min_size=1, max_size=40))
def test_each_expression_says_what_its_words_say(rows: list[dict[str, Any]]) -> None:
    counts: dict[str, pl.DataType] = {"merchant_tx_count_1h": pl.Int32(), "merchant_tx_count_24h": pl.Int32()}
    ratio: dict[str, pl.DataType] = {"user_log_ratio": pl.Float64()}
    schema = {"timestamp": pl.Datetime("us"), "amount": pl.Float64(), "country_changed": pl.Int8()}
    frame = pl.DataFrame(rows, schema=pl.Schema(schema | {"minutes_since_last": pl.Float64()} | counts | ratio))
    found = feature_plan(PLAN).expressions.on_frame(frame).select(each.name for each in PLAN.expressions)
    for row, values in zip(rows, found.iter_rows(named=True), strict=True):
        hour, day_long = row["merchant_tx_count_1h"], row["merchant_tx_count_24h"]
        moment, changed, pause = row["timestamp"], row["country_changed"], row["minutes_since_last"]
        assert values == {
            "amount": row["amount"],
            "hour_of_day": moment.hour,
            "day_of_week": moment.weekday(),
            "is_weekend": int(moment.weekday() >= 5),
            "is_night": int(moment.hour < 6 or moment.hour > 22),
            "amount_below_usual": None if row["user_log_ratio"] is None else -row["user_log_ratio"],
            "merchant_burst": None if hour is None else (hour + 1) / (day_long / 24 + 1),
            "impossible_travel": None if changed is None or pause is None else int(changed and pause < 120),
        }
