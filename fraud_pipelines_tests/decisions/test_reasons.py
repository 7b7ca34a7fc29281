"""Reason codes: sentences a reviewer understands, in the order of what counts."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.reasons import reason_codes
from fraud_pipelines.features.catalog import FEATURES

NO_CONTRIBUTIONS = pl.DataFrame(
    schema={"row": pl.UInt32, "rank": pl.UInt8, "feature": pl.String, "value": pl.Float64, "contribution": pl.Float64}
)


def contributions(*rows: tuple[int, str, float]) -> pl.DataFrame:
    """``(row, feature, contribution)``, ranked in the order given."""
    return pl.DataFrame(
        [(row, rank, feature, 1.0, contribution) for rank, (row, feature, contribution) in enumerate(rows, 1)],
        schema=NO_CONTRIBUTIONS.schema,
        orient="row",
    )


def reasons(features: dict[str, object], *names: str) -> list[str]:
    frame = pl.DataFrame({"transaction_id": ["t0"], "amount": [50.0]} | {k: [v] for k, v in features.items()})
    [found] = reason_codes(frame, contributions(*((0, name, 1.0) for name in names)))
    return found


@pytest.mark.parametrize(
    ("feature", "value", "sentence"),
    [
        ("amount", 1250.0, "amount of 1,250.00 stands out among all payments"),
        ("amount_vs_avg", 6.0, "amount is 6× this customer's average"),
        ("user_max_ratio", math.log(51 / 21), "amount is 2.5× the largest of this customer's last 50 payments"),
        ("user_big_14d", 2, "2 earlier outsized payments of this customer in the last 14 days"),
        ("user_z", 6.24, "amount is 6.2 deviations above this customer's mean"),
        ("tx_count_1h", 5, "5 payments in the last hour"),
        ("tx_count_24h", 1, "1 payment in the last 24 hours"),
        ("device_tx_count_24h", 9, "9 payments from this device in the last 24 hours"),
        ("merchant_tx_count_7d", 9, "9 payments at this merchant in the last 7 days"),
        ("tx_count_rolling_mean_5", 12.4, "around 12.4 payments a day lately"),
        ("amount_rolling_max_10", 900.0, "largest of the last 10 amounts is 900.00"),
        ("amount_lag_1", 1.0, "the payment before was 1.00"),
        ("minutes_since_last", 3.9, "made 3 minutes after the last payment"),
        ("minutes_since_last", 0.5, "made 30 seconds after the last payment"),
        ("days_since_last_tx", 45.2, "first payment in 45 days"),
        ("hour_of_day", 3, "made at 03h UTC"),
        ("day_of_week", 6, "made on a Sunday"),
        ("merchant_risk_1d", 0.125, "12.5% of this merchant's payments were fraud, in the day up to 7 days before"),
        ("merchant_risk_7d", 0.125, "12.5% of this merchant's payments were fraud, in the 7 days up to 7 days before"),
        ("user_fraud_count_30d", 1, "1 known fraud on this customer, in the 30 days up to 7 days before"),
        ("merchant_category", "jewellery", "unusual merchant_category: jewellery"),
    ],
)
def test_each_feature_has_its_sentence(feature: str, value: object, sentence: str) -> None:
    assert reasons({feature: value}, feature) == [sentence]


def test_an_amount_far_from_the_usual_is_told_as_a_multiple() -> None:
    log_ratio = math.log((279 + 1) / (19 + 1))
    assert reasons({"amount": 279.0, "user_log_ratio": log_ratio}, "user_log_ratio") == [
        "amount is 15× this customer's usual (279.00 against 19.00)"
    ]


def test_an_amount_outside_the_customers_usual_range_is_told_with_it() -> None:
    features: dict[str, object] = {"amount": 279.0, "user_log_ratio": math.log(280 / 31), "user_rz": (279 - 30) / 9}
    assert reasons(features, "user_rz") == ["amount is 9.3× this customer's usual (279.00, usually 12.00 to 48.00)"]


def test_a_usual_range_from_nothing_is_told_by_its_end() -> None:
    features: dict[str, object] = {"amount": 279.0, "user_log_ratio": math.log(280 / 31), "user_rz": (279 - 30) / 20}
    assert reasons(features, "user_rz") == ["amount is 9.3× this customer's usual (279.00, usually up to 70.00)"]


def test_a_multiple_is_the_one_a_reader_would_compute() -> None:
    features: dict[str, object] = {"amount": 20.0, "user_max_ratio": math.log(21 / 3)}
    assert reasons(features, "user_max_ratio") == ["amount is 10× the largest of this customer's last 50 payments"]
    assert reasons({"amount": 20.0, "user_log_ratio": math.log(21)}, "user_log_ratio") == [
        "amount is 21× this customer's usual (20.00 against 0.00)"
    ]


def test_what_counts_little_beside_the_first_reason_isnt_mentioned() -> None:
    frame = pl.DataFrame({"transaction_id": ["t0"], "amount": [50.0], "tx_count_24h": [2]})
    assert reason_codes(frame, contributions((0, "tx_count_24h", 2.0), (0, "amount", 0.1))) == [
        ["2 payments in the last 24 hours"]
    ]


def test_what_several_features_say_of_the_amount_is_one_reason() -> None:
    found = reasons({"user_z": 8.0, "user_rz": 9.0, "user_log_ratio": 2.0, "tx_count_1h": 2}, *("user_z", "user_rz"))
    assert len(found) == 1
    assert "this customer's usual" in found[0]


def test_a_change_of_country_is_always_told_with_the_minutes() -> None:
    travelled = {"country_changed": 1, "impossible_travel": 1, "minutes_since_last": 35.2, "country": "RO"}
    found = reasons({**travelled, "amount_vs_avg": 9.0}, "amount_vs_avg", "amount", "minutes_since_last")
    assert found[0] == "country changed to RO 35 minutes after the last payment"
    assert len(found) == 3
    assert reasons({"country_changed": 1}) == ["country changed"]
    assert "country" not in " ".join(reasons({**travelled, "country_changed": 0, "impossible_travel": None}))


def test_a_burst_of_payments_is_told_though_no_model_weighed_it() -> None:
    assert reasons({"tx_count_1h": 6}, "amount")[1] == "6 payments in the last hour"


def test_features_that_lowered_the_score_are_no_reasons() -> None:
    frame = pl.DataFrame({"transaction_id": ["t0"], "amount": [50.0], "tx_count_24h": [2]})
    assert reason_codes(frame, contributions((0, "amount", 2.0), (0, "tx_count_24h", -1.0))) == [
        ["amount of 50.00 stands out among all payments"]
    ]


def test_the_rank_orders_the_reasons_and_rows_keep_their_place() -> None:
    frame = pl.DataFrame({"transaction_id": ["a", "b"], "amount": [10.0, 20.0], "tx_count_24h": [3, 4]})
    shuffled = contributions((1, "amount", 3.0), (1, "tx_count_24h", 2.0), (0, "amount", 1.0)).reverse()
    assert reason_codes(frame, shuffled) == [
        ["amount of 10.00 stands out among all payments"],
        ["amount of 20.00 stands out among all payments", "4 payments in the last 24 hours"],
    ]


def test_without_anything_to_go_by_the_amount_is_named() -> None:
    assert reasons({}) == ["unusual combination of features, with amount 50.00"]
    assert reasons({"user_log_ratio": 0.0}, "user_log_ratio") == ["unusual user_log_ratio: 0"]
    assert reasons({"merchant_risk_7d": None}, "merchant_risk_7d") == ["unusual merchant_risk_7d: missing"]


@given(
    values=st.lists(
        st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(-5, 5).map(float),
        min_size=1,
        max_size=4,
    ),
    data=st.data(),
)
def test_every_alert_gets_one_to_three_sentences_whatever_the_features_hold(
    values: list[float | None], data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from(list(FEATURES)), unique=True, max_size=5))
    frame = pl.DataFrame(
        {"transaction_id": [f"t{n}" for n in range(len(values))], "amount": [1.0] * len(values)}
        | {name: pl.Series(values, dtype=pl.Float64) for name in names}
    )
    named = contributions(*((row, name, 1.0) for row in range(len(values)) for name in names))
    found = reason_codes(frame, named)
    assert len(found) == len(values)
    for sentences in found:
        assert 1 <= len(sentences) <= 3
        assert len(set(sentences)) == len(sentences)
        assert all(sentence.strip() and "nan" not in sentence.lower() for sentence in sentences)
