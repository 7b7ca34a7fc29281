"""Labels: who learns what, and when, given how each transaction was decided."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.schema import LABEL_COLUMNS
from fraud_pipelines.transactions.simulator import TRUTH_COLUMNS, SimulationConfig, labels_known_on, simulate
from fraud_pipelines_tests.examples import examples

DAY = date(2026, 3, 10)
PAID = datetime(2026, 3, 9, 13, 30)
TRUTH = simulate(
    SimulationConfig(first_day=date(2026, 3, 2), days=12, users=60, transactions_per_day=200, fraud_rate=0.1)
).truth
ALL_DAYS = [date(2026, 3, 2) + timedelta(days=number) for number in range(90)]


def truth_of(*, is_fraud: bool, charged_back_at: datetime | None = None) -> pl.DataFrame:
    row = {
        "transaction_id": "t1",
        "user_id": "u1",
        "timestamp": PAID,
        "event_date": PAID.date(),
        "amount": 9.99,
        "is_fraud": is_fraud,
        "scenario": "large_amount" if is_fraud else None,
        "charged_back_at": charged_back_at,
    }
    return pl.DataFrame([row], schema=TRUTH_COLUMNS)


def decided(*decisions: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"transaction_id": ["t1"] * len(decisions), "decision": list(decisions)},
        schema={"transaction_id": pl.String(), "decision": pl.String()},
    )


def all_labels(decisions: pl.DataFrame, *, reviewer_error_rate: float = 0.0) -> pl.DataFrame:
    return pl.concat(
        [labels_known_on(day, TRUTH, decisions, reviewer_error_rate=reviewer_error_rate) for day in ALL_DAYS]
    )


@pytest.mark.parametrize("decision", ["review", "block"])
@pytest.mark.parametrize("is_fraud", [True, False])
def test_what_was_held_is_reviewed_one_day_after_the_payment(decision: str, is_fraud: bool) -> None:
    labels = labels_known_on(DAY, truth_of(is_fraud=is_fraud), decided(decision))
    assert labels.schema == pl.Schema(LABEL_COLUMNS)
    assert labels.rows() == [("t1", is_fraud, "review", PAID + timedelta(days=1))]


@pytest.mark.parametrize("day", [DAY - timedelta(days=1), DAY + timedelta(days=1)])
def test_a_label_belongs_to_the_day_it_becomes_known(day: date) -> None:
    assert labels_known_on(day, truth_of(is_fraud=True), decided("review")).is_empty()


def test_a_fraud_let_through_is_charged_back() -> None:
    truth = truth_of(is_fraud=True, charged_back_at=datetime(2026, 3, 20, 23, 59, 59))
    assert labels_known_on(date(2026, 3, 20), truth, decided("approve")).rows() == [
        ("t1", True, "chargeback", datetime(2026, 3, 20, 23, 59, 59))
    ]
    assert labels_known_on(date(2026, 3, 21), truth, decided("approve")).is_empty()


@pytest.mark.parametrize("decisions", [(), ("block",), ("review",), ("approve", "review"), ("approve", "block")])
def test_a_fraud_undecided_or_caught_is_not_charged_back(decisions: tuple[str, ...]) -> None:
    truth = truth_of(is_fraud=True, charged_back_at=datetime(2026, 3, 20))
    assert labels_known_on(date(2026, 3, 20), truth, decided(*decisions)).is_empty()


def test_a_fraud_released_by_a_reviewers_mistake_is_charged_back() -> None:
    truth = truth_of(is_fraud=True, charged_back_at=datetime(2026, 3, 20))
    review = labels_known_on(DAY, truth, decided("review"), reviewer_error_rate=1.0)
    later = labels_known_on(date(2026, 3, 20), truth, decided("review"), reviewer_error_rate=1.0)
    assert review["actual_fraud"].to_list() == [False]
    assert later["source"].to_list() == ["chargeback"]
    assert labels_known_on(date(2026, 3, 20), truth, decided("block"), reviewer_error_rate=1.0).is_empty()


@pytest.mark.parametrize("is_fraud", [True, False])
def test_an_approval_that_nobody_complains_about_gives_no_label(is_fraud: bool) -> None:
    truth = truth_of(is_fraud=is_fraud)
    assert all(labels_known_on(day, truth, decided("approve")).is_empty() for day in ALL_DAYS)


@examples(6)
@given(choice=st.lists(st.sampled_from(["approve", "review", "block", None]), min_size=7, max_size=7))
def test_over_all_days_each_transaction_gets_the_label_its_decision_earns(choice: list[str | None]) -> None:
    decisions = (
        TRUTH.select("transaction_id")
        .with_columns(decision=pl.Series([choice[row % 7] for row in range(TRUTH.height)], dtype=pl.String))
        .drop_nulls()
    )
    labels = all_labels(decisions).join(TRUTH, on="transaction_id", validate="1:1")
    assert (labels["known_at"] > labels["timestamp"]).all()
    assert (labels["actual_fraud"] == labels["is_fraud"]).all()

    expected = decisions.join(TRUTH, on="transaction_id").select(
        "transaction_id",
        source=pl.when(pl.col("decision") != "approve")
        .then(pl.lit("review"))
        .when(pl.col("charged_back_at").is_not_null())
        .then(pl.lit("chargeback")),
    )
    assert_frame_equal(labels.select("transaction_id", "source"), expected.drop_nulls(), check_row_order=False)
    chargebacks = labels.filter(pl.col("source") == "chargeback")
    assert (chargebacks["known_at"] - chargebacks["timestamp"] >= timedelta(days=7)).all()


def test_reviewers_err_in_the_share_asked_for_and_always_on_the_same_transactions() -> None:
    decisions = TRUTH.select("transaction_id", decision=pl.lit("review"))
    labels = all_labels(decisions, reviewer_error_rate=0.1).filter(pl.col("source") == "review")
    wrong = labels.join(TRUTH, on="transaction_id").filter(pl.col("actual_fraud") != pl.col("is_fraud"))
    assert wrong.height / labels.height == pytest.approx(0.1, abs=0.03)

    fewer = all_labels(decisions.sample(fraction=0.5, seed=1), reviewer_error_rate=0.1)
    assert fewer.filter(pl.col("source") == "review").join(labels, on=labels.columns, how="anti").is_empty()


def test_the_order_of_the_input_does_not_matter() -> None:
    decisions = TRUTH.select("transaction_id", decision=pl.lit("review"))
    shuffled = labels_known_on(DAY, TRUTH.sample(fraction=1, shuffle=True, seed=3), decisions.reverse())
    assert_frame_equal(shuffled, labels_known_on(DAY, TRUTH, decisions))


@pytest.mark.parametrize(
    ("decisions", "rate", "message"),
    [
        (decided("maybe"), 0.0, "'maybe'; it must be one of approve, review, block"),
        (decided("approve").with_columns(decision=pl.lit(None, pl.String())), 0.0, "must be one of"),
        (decided("approve").drop("decision"), 0.0, "lacks the column 'decision'"),
        (decided("approve"), 1.5, "between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused(decisions: pl.DataFrame, rate: float, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        labels_known_on(DAY, TRUTH, decisions, reviewer_error_rate=rate)
