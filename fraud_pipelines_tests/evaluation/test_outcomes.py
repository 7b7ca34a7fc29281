"""Outcomes as of a day: the window, the labels known by then, and nothing of what comes later."""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.evaluation.judged import JudgedDays
from fraud_pipelines.evaluation.metrics import performance
from fraud_pipelines.evaluation.outcomes import (
    matured_decisions,
    matured_scores,
    matured_window,
    outcomes_learned_on,
    recent_scores,
)
from fraud_pipelines.evaluation.tuning import tune
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.samples import FIRST, filled_warehouse, forget_after, noon

AS_OF = FIRST + timedelta(days=22)
DELAY, LENGTH = 7, 10


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return filled_warehouse(tmp_path)


def scores(warehouse: Warehouse, model_name: str = "fraud-daily", as_of: date = AS_OF) -> pl.DataFrame:
    return matured_scores(warehouse, as_of, label_delay_days=DELAY, evaluation_days=LENGTH, model_name=model_name)


def decisions(warehouse: Warehouse, as_of: date = AS_OF, *, second_stage: str = "fraud-ensemble") -> pl.DataFrame:
    return matured_decisions(
        warehouse, as_of, label_delay_days=DELAY, evaluation_days=LENGTH, second_stage=second_stage
    )


def label(warehouse: Warehouse, transaction_id: str, source: str, actual_fraud: bool, known_at: datetime) -> None:
    rows = {
        "transaction_id": [transaction_id],
        "source": [source],
        "actual_fraud": [actual_fraud],
        "known_at": [known_at],
        "ingested_at": [known_at],
    }
    with warehouse.transaction() as connection:
        insert(connection, "feedback.labels", pl.DataFrame(rows))


def test_the_window_ends_a_label_delay_before_the_day(warehouse: Warehouse) -> None:
    first, last = matured_window(AS_OF, label_delay_days=DELAY, evaluation_days=LENGTH)
    assert (first, last) == (AS_OF - timedelta(days=16), AS_OF - timedelta(days=7))
    for found in (scores(warehouse), decisions(warehouse)):
        assert found["event_date"].unique().sort().to_list() == [first + timedelta(days=n) for n in range(LENGTH)]
        assert found.height == LENGTH * 40
        assert found["transaction_id"].is_unique().all()
        assert found.equals(found.sort("event_date", "transaction_id"))


def test_a_label_counts_from_the_day_it_became_known(warehouse: Warehouse) -> None:
    judged = decisions(warehouse).filter(~pl.col("labelled"))["transaction_id"]
    early, late = judged[0], judged[1]
    midnight = noon(AS_OF) + timedelta(hours=12)
    label(warehouse, early, "chargeback", True, midnight - timedelta(microseconds=1))
    label(warehouse, late, "chargeback", True, midnight)
    for found in (scores(warehouse), decisions(warehouse)):
        of = {row["transaction_id"]: (row["is_fraud"], row["labelled"]) for row in found.iter_rows(named=True)}
        assert of[early] == (True, True)
        assert of[late] == (False, False)


def test_of_what_nobody_has_judged_only_labelled_payments_are_looked_at(warehouse: Warehouse) -> None:
    before = decisions(warehouse)
    with warehouse.transaction() as connection:
        connection.execute("UPDATE raw.transactions SET judged_only = true WHERE amount > 20")
    known = before.filter(pl.col("labelled") | (pl.col("amount") <= 20))
    assert 0 < known.height < before.height
    for found in (scores(warehouse), decisions(warehouse)):
        assert found["transaction_id"].to_list() == known["transaction_id"].to_list()

    first, last = matured_window(AS_OF, label_delay_days=DELAY, evaluation_days=LENGTH)
    window = JudgedDays(warehouse, AS_OF, first, last).window("fraud-daily", "batch", first, last)
    assert (window.transactions, window.frauds.height) == (known.height, known["is_fraud"].sum())
    judged = before.filter(~pl.col("labelled"), pl.col("amount") > 20)["transaction_id"][0]
    label(warehouse, judged, "review", False, noon(AS_OF))
    again = JudgedDays(warehouse, AS_OF, first, last).window("fraud-daily", "batch", first, last)
    assert (again.transactions, again.labelled) == (window.transactions + 1, window.labelled + 1)


def test_a_chargeback_outranks_a_review(warehouse: Warehouse) -> None:
    unlabelled = decisions(warehouse).filter(~pl.col("labelled"))["transaction_id"][0]
    label(warehouse, unlabelled, "review", False, noon(AS_OF))
    label(warehouse, unlabelled, "chargeback", True, noon(AS_OF))
    [found] = decisions(warehouse).filter(pl.col("transaction_id") == unlabelled).to_dicts()
    assert (found["is_fraud"], found["labelled"]) == (True, True)


def test_decisions_carry_the_scores_of_both_stages_and_the_raw_score_of_the_one_that_decided(
    warehouse: Warehouse,
) -> None:
    found = decisions(warehouse)
    flagged = pl.col("screening_score") > 0.4
    assert found.filter(flagged & (pl.col("score") != pl.col("second_stage_score"))).is_empty()
    assert found.filter(flagged & ((pl.col("raw_score") - pl.col("second_stage_score") * 7).abs() > 1e-9)).is_empty()
    assert found.filter(~flagged & pl.col("second_stage_score").is_not_null()).is_empty()
    assert found.filter(~flagged & ((pl.col("raw_score") - pl.col("score") * 10).abs() > 1e-9)).is_empty()
    assert found.filter(flagged).height > 10


def test_a_second_stage_is_judged_by_the_days_that_it_scored_and_the_ensemble_by_the_others(
    warehouse: Warehouse,
) -> None:
    name, since = "fraud-supervised", AS_OF - timedelta(days=10)
    with warehouse.transaction() as connection:
        connection.execute(
            f"""
            INSERT INTO scoring.transaction_scores BY NAME
            SELECT * REPLACE ('{name}' AS model_name, 0.125 AS score, 3 AS raw_score)
            FROM scoring.transaction_scores WHERE model_name = 'fraud-ensemble' AND event_date >= ?
            """,
            [since],
        )

    for of_ensemble, of_policy in (
        (decisions(warehouse), decisions(warehouse, second_stage=name)),
        (recent_scores(warehouse, AS_OF, days=14), recent_scores(warehouse, AS_OF, days=14, second_stage=name)),
    ):
        given = pl.col("second_stage_score").is_not_null()
        scored = pl.col("event_date") >= since
        assert of_policy.filter(~scored).equals(of_ensemble.filter(~scored))
        assert of_policy.filter(scored, given)["second_stage_score"].unique().to_list() == [0.125]
        assert of_policy.filter(scored, given).height == of_ensemble.filter(scored, given).height > 10


def test_an_alert_of_a_model_is_its_anomaly_and_of_a_policy_what_is_not_approved(warehouse: Warehouse) -> None:
    by_model = scores(warehouse)
    assert (by_model["alert"] == (by_model["score"] > 0.5)).all()
    by_policy = decisions(warehouse)
    assert (
        by_policy["alert"].sum() == by_policy.filter((pl.col("screening_score") > 0.4) & (pl.col("score") > 0.5)).height
    )


def test_what_is_computed_as_of_a_day_is_the_same_when_all_later_data_is_deleted(warehouse: Warehouse) -> None:
    policy = policy_named("balanced")
    # So few alerts a day are asked of the objective that the labels matter.
    policy = policy.model_copy(update={"min_labelled_frauds": 5, "alert_budget": 2.0})

    def as_known() -> tuple[object, ...]:
        outcomes, recent = decisions(warehouse), recent_scores(warehouse, AS_OF)
        proposal = tune(outcomes, recent, initial_thresholds(policy, AS_OF), policy, day=AS_OF)
        return (
            performance(outcomes, review_cost=5.0),
            performance(scores(warehouse), review_cost=5.0),
            performance(scores(warehouse, "fraud-ensemble"), review_cost=5.0),
            proposal.thresholds,
            proposal.sweep.rows(),
            outcomes_learned_on(warehouse, AS_OF).rows(),
        )

    before = as_known()
    later = warehouse.read("SELECT count(*) AS n FROM feedback.labels WHERE known_at > ?", [noon(AS_OF)]).item()
    assert later > 10
    forget_after(warehouse, AS_OF)
    assert as_known() == before


def test_recent_scores_end_with_the_day(warehouse: Warehouse) -> None:
    found = recent_scores(warehouse, AS_OF, days=3)
    assert found["event_date"].unique().sort().to_list() == [AS_OF - timedelta(days=n) for n in (2, 1, 0)]
    assert found.height == 120
    assert found["screening_score"].null_count() == 0


def test_a_day_learns_the_labels_that_became_known_in_it(warehouse: Warehouse) -> None:
    found = outcomes_learned_on(warehouse, AS_OF)
    known = warehouse.read("SELECT transaction_id FROM feedback.labels WHERE known_at::DATE = ? ORDER BY ALL", [AS_OF])
    assert known.height > 0
    assert found["transaction_id"].to_list() == known["transaction_id"].to_list()
    assert found["outcome_date"].unique().to_list() == [AS_OF]
    right = pl.when(pl.col("decision") == "approve").then(~pl.col("actual_fraud")).otherwise("actual_fraud")
    assert found.filter(pl.col("correct") != right).is_empty()
    warehouse.overwrite("feedback.decision_outcomes", found, outcome_date=AS_OF)


def test_a_label_without_a_decision_or_before_it_gives_no_outcome(warehouse: Warehouse) -> None:
    before = outcomes_learned_on(warehouse, AS_OF)
    future = recent_scores(warehouse, AS_OF + timedelta(days=1), days=1)["transaction_id"][0]
    label(warehouse, "nobody", "chargeback", True, noon(AS_OF))
    label(warehouse, future, "chargeback", True, noon(AS_OF))
    assert outcomes_learned_on(warehouse, AS_OF).equals(before)


def test_before_anything_has_matured_there_are_no_outcomes(warehouse: Warehouse) -> None:
    found = decisions(warehouse, FIRST + timedelta(days=DELAY - 1))
    assert found.is_empty()
    assert performance(found, review_cost=5.0).transactions == 0
    assert decisions(warehouse, FIRST + timedelta(days=DELAY)).height == 40
