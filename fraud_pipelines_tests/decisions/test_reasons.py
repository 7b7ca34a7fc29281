"""Reason codes: sentences a reviewer understands, in the order of what counts."""

import math
import statistics
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.reasons import reason_codes
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.transactions.schema import LABEL_COLUMNS
from fraud_pipelines_tests.plan.files import plan_of


def reasons(features: dict[str, object], *names: str) -> list[str]:
    return reason_codes({"transaction_id": "t0", "amount": 50.0} | features, [(name, 1.0) for name in names])


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
        ("tx_count_10m", 40, "40 payments in the last 10 minutes"),
        ("device_users_24h", 12, "12 customers on this device in the last 24 hours"),
        ("merchant_burst", 9.47, "9.5× the usual traffic at this merchant"),
        ("country_novelty", 1.5, "country that is new to this customer, who seldom uses new ones"),
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
        ("user_fraud_count_30d", 1, "1 known fraud on this customer in the last 30 days"),
        ("merchant_last_labels_1", 1, "the last payment of this merchant whose outcome is known was fraud"),
        (
            "merchant_last_labels_5",
            0.4,
            "40% of the last 5 payments of this merchant whose outcome is known were fraud",
        ),
        (
            "merchant_days_since_first_fraud",
            9.0,
            "the first known fraud of this merchant in the last 30 days was 9 days ago",
        ),
        ("merchant_category", "jewellery", "what the merchant sells: jewellery"),
        ("is_night", 1, "made at night (23h to 6h UTC)"),
    ],
)
def test_each_feature_has_its_sentence(feature: str, value: object, sentence: str) -> None:
    assert reasons({feature: value}, feature) == [sentence]


def test_a_first_payment_is_compared_with_those_of_others() -> None:
    row = {"amount": 279.0, "user_log_ratio": math.log(280 / 20), "user_max_ratio": math.log(280 / 80)}
    assert reasons({**row, "user_earlier": 0}, "user_log_ratio", "user_max_ratio") == [
        "amount is 15× what others usually pay (279.00 against a median of 19.00)",
        "amount is above nearly all that others pay",
    ]


def test_an_amount_far_from_the_usual_is_told_as_a_multiple() -> None:
    log_ratio = math.log((279 + 1) / (19 + 1))
    assert reasons({"amount": 279.0, "user_log_ratio": log_ratio}, "user_log_ratio") == [
        "amount is 15× this customer's usual (279.00 against a median of 19.00)"
    ]


@pytest.mark.parametrize("earlier", [[12.0, 30.0, 48.0], [5.0, 29.0, 31.0, 900.0], [0.0, 0.0, 61.0, 90.0]])
def test_the_usual_that_a_multiple_is_of_is_the_one_that_is_named(earlier: list[float]) -> None:
    begin = datetime(2026, 11, 1)
    amounts = [*earlier, 279.0]
    features, _ = compute_features(
        pl.DataFrame(
            {
                "transaction_id": [f"t{n}" for n in range(len(amounts))],
                "user_id": "u",
                "timestamp": [begin + timedelta(days=n) for n in range(len(amounts))],
                "amount": amounts,
            }
        )
    )
    for feature in ("user_rz", "user_z", "user_log_ratio"):
        found = reason_codes(features.tail(1).row(0, named=True), [(feature, 1.0)])
        median = statistics.median(amount for amount in earlier if amount)  # a verification is no history
        assert found == [
            f"amount is {279 / median:.1f}× this customer's usual (279.00 against a median of {median:.2f})"
        ]


def test_a_multiple_is_the_one_a_reader_would_compute() -> None:
    features: dict[str, object] = {"amount": 20.0, "user_max_ratio": math.log(21 / 3)}
    assert reasons(features, "user_max_ratio") == ["amount is 10× the largest of this customer's last 50 payments"]
    assert reasons({"amount": 20.0, "user_log_ratio": math.log(21)}, "user_log_ratio") == [
        "amount is 21× this customer's usual (20.00 against a median of 0.00)"
    ]


def test_what_counts_little_beside_the_first_reason_isnt_mentioned() -> None:
    row = {"transaction_id": "t0", "amount": 50.0, "tx_count_24h": 2}
    assert reason_codes(row, [("tx_count_24h", 2.0), ("amount", 0.1)]) == ["2 payments in the last 24 hours"]


def test_what_several_features_say_of_the_amount_is_one_reason() -> None:
    found = reasons({"user_z": 8.0, "user_rz": 9.0, "user_log_ratio": 2.0, "tx_count_1h": 2}, *("user_z", "user_rz"))
    assert len(found) == 1
    assert "this customer's usual" in found[0]


def test_a_change_of_country_that_no_model_weighed_is_told_last_and_as_context() -> None:
    travelled = {"country_changed": 1, "impossible_travel": 1, "minutes_since_last": 35.2, "country": "RO"}
    found = reasons({**travelled, "amount_vs_avg": 9.0}, "amount_vs_avg", "amount", "minutes_since_last")
    assert found == [
        "amount is 9× this customer's average",
        "amount of 50.00 stands out among all payments",
        "made 35 minutes after the last payment",
        "also: country changed to RO 35 minutes after the last payment",
    ]
    assert reasons({"country_changed": 1})[1:] == ["also: country changed"]
    assert "country" not in " ".join(reasons({**travelled, "country_changed": 0, "impossible_travel": None}))


def test_a_change_of_country_that_raised_the_score_is_a_reason_where_it_ranks() -> None:
    found = reasons({"country_changed": 1, "country": "RO"}, "amount", "impossible_travel")
    assert found == ["amount of 50.00 stands out among all payments", "country changed to RO"]


def test_a_burst_of_payments_is_context_unless_the_model_weighed_it() -> None:
    assert reasons({"tx_count_1h": 6}, "amount")[1] == "also: 6 payments in the last hour"
    assert reasons({"tx_count_1h": 6}, "tx_count_1h") == ["6 payments in the last hour"]


@pytest.mark.parametrize(
    ("frauds", "payments", "sentence"),
    [
        (1, 4, "1 of this merchant's 4 payments whose outcome is known was fraud, in the last 14 days"),
        (6, 209, "6 of this merchant's 209 payments whose outcome is known were fraud, in the last 14 days"),
        (1, 1, "1 of this merchant's 1 payment whose outcome is known was fraud, in the last 14 days"),
    ],
)
def test_a_rate_of_frauds_is_told_in_counts(frauds: int, payments: int, sentence: str) -> None:
    shrunk = (frauds + 0.1) / (payments + 0.1 / 0.005)
    features: dict[str, object] = {"merchant_risk_7d": shrunk, "merchant_risk_7d_payments": payments}
    assert reasons(features, "merchant_risk_7d") == [sentence]


def test_a_rate_of_a_release_that_kept_no_counts_is_told_without_a_share() -> None:
    for features in ({}, {"merchant_risk_1d_payments": None}):
        assert reasons({"merchant_risk_1d": 0.25, **features}, "merchant_risk_1d") == [
            "known frauds of this merchant, in the last 8 days"
        ]


def test_the_counts_told_are_those_of_the_transactions_and_labels() -> None:
    begin = datetime(2026, 11, 1)
    made = pl.DataFrame(
        {
            "transaction_id": [f"t{n}" for n in range(8)],
            "user_id": [f"u{n}" for n in range(8)],
            "merchant_id": ["m", "m", "m", "m", "elsewhere", "m", "m", "m"],
            # The last but two is too young to count, the last one is the alert; t0 is too old.
            "timestamp": [begin + timedelta(days=n) for n in (0, 3, 4, 5, 5, 6, 13, 15)],
            "amount": 10.0,
        }
    )
    labels = pl.DataFrame(
        {
            "transaction_id": ["t0", "t2", "t3", "t5"],
            "source": "chargeback",
            "actual_fraud": [True, True, False, True],
            "known_at": [begin + timedelta(days=n) for n in (9, 9, 9, 30)],
        },
        schema=LABEL_COLUMNS,
    )
    features, _ = compute_features(made, past=LabelEvents.of(shipped_plan().entities, made, labels))
    [alert] = features.filter(pl.col("transaction_id") == "t7").iter_rows(named=True)
    found = reason_codes(alert, [("merchant_risk_7d", 1.0)])
    assert found == ["1 of this merchant's 4 payments whose outcome is known was fraud, in the last 14 days"]


def test_a_feature_that_somebody_added_is_named_by_its_description(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        """
features:
  abroad: {sql: amount + 0, description: "The amount, if paid abroad, else 0."}
  odd_hour: {sql: amount > 1, role: binary, description: "1 if it is made before dawn, else 0."}
  outlet: {sql: "if(amount > 0, 'web', 'shop')", role: label, description: Sales channel.}
  ratio: {sql: amount * 1, description: POS share of the day.}
  told: {sql: amount * 3, description: "Three times.", phrase: "three times as much, {value}"}
""",
    )

    def said(features: dict[str, object], name: str) -> list[str]:
        return reason_codes({"transaction_id": "t0", "amount": 50.0} | features, [(name, 1.0)], plan=plan)

    assert said({"abroad": 1250.5}, "abroad") == ["the amount, if paid abroad, else 0: 1,250"]
    assert said({"odd_hour": 1}, "odd_hour") == ["it is made before dawn: yes"]
    assert said({"outlet": "web"}, "outlet") == ["sales channel: web"]
    assert said({"ratio": 0.126}, "ratio") == ["POS share of the day: 0.126"]
    assert said({"told": 150.0}, "told") == ["three times as much, 150"]


def test_features_that_lowered_the_score_are_no_reasons() -> None:
    row = {"transaction_id": "t0", "amount": 50.0, "tx_count_24h": 2}
    assert reason_codes(row, [("amount", 2.0), ("tx_count_24h", -1.0)]) == [
        "amount of 50.00 stands out among all payments"
    ]


def test_without_anything_to_go_by_the_amount_is_named() -> None:
    assert reasons({}) == ["unusual combination of features, with amount 50.00"]
    assert reasons({"user_log_ratio": 0.0}, "user_log_ratio") == [
        "log ratio of the amount to the median of the user's previous 50 amounts: 0"
    ]
    assert reasons({"merchant_risk_7d": None}, "merchant_risk_7d") == [
        "the merchant's fraud rate over 7 d, as far as labels were known by now: missing"
    ]


def test_a_time_of_more_minutes_than_a_number_can_hold_is_told() -> None:
    [sentence] = reasons({"merchant_days_since_first_fraud": 1e306}, "merchant_days_since_first_fraud")
    assert sentence.endswith("days ago")


@given(
    values=st.lists(
        st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(-5, 5).map(float),
        min_size=1,
        max_size=4,
    ),
    data=st.data(),
)
def test_every_alert_gets_one_to_three_reasons_and_then_context_whatever_the_features_hold(
    values: list[float | None], data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from(list(shipped_plan().features)), unique=True, max_size=5))
    for value in values:
        sentences = reasons(dict.fromkeys(names, value), *names)
        told = [sentence for sentence in sentences if not sentence.startswith("also: ")]
        assert 1 <= len(told) <= 3
        assert sentences[: len(told)] == told
        assert len(sentences) - len(told) <= 2
        assert len(set(sentences)) == len(sentences)
        assert all(sentence.strip() and "nan" not in sentence.lower() for sentence in sentences)
