"""Policies: the original's three, what they mean in alerts, and the thresholds kept in the warehouse."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fraud_pipelines.decisions.policies import (
    POLICIES,
    Policy,
    Thresholds,
    initial_thresholds,
    policy_named,
    thresholds_in_force,
)
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.opening import warehouse_at

DAY = date(2024, 3, 1)


@pytest.mark.parametrize(
    ("name", "threshold", "contamination"),
    [("high_security", 0.3, 0.02), ("balanced", 0.5, 0.01), ("customer_friendly", 0.7, 0.005)],
)
def test_the_three_policies_have_the_original_thresholds(name: str, threshold: float, contamination: float) -> None:
    policy = policy_named(name)
    assert (policy.name, policy.review_threshold, policy.contamination) == (name, threshold, contamination)
    assert (policy.block_threshold, policy.screening_threshold) == (0.8, 0.4)


def test_an_unknown_policy_names_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"lenient.*balanced, customer_friendly, high_security"):
        policy_named("lenient")


def test_own_policies_can_be_looked_up_beside_the_three() -> None:
    own = Policy(name="own", review_threshold=0.6, contamination=0.01)
    assert policy_named("own", {**POLICIES, "own": own}) is own


@pytest.mark.parametrize(
    "wrong",
    [
        {"review_threshold": 1.2},
        {"review_threshold": -0.1},
        {"review_threshold": float("nan")},
        {"review_threshold": 0.9},
        {"contamination": 0.0},
        {"contamination": 0.6},
        {"objective": "max_profit"},
        {"alert_budget": 0.0},
        {"max_alerts_factor": 0.9},
        {"reviewcost": 3.0},
    ],
)
def test_a_policy_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    values: dict[str, object] = {"name": "own", "review_threshold": 0.5, "contamination": 0.01} | wrong
    with pytest.raises(ValidationError):
        Policy.model_validate(values)


@given(
    threshold=st.floats(0.01, 0.8),
    contamination=st.floats(0.001, 0.2),
    traffic=st.integers(10, 10**6),
)
def test_expected_alerts_are_the_tail_share_whose_anchored_score_is_the_threshold(
    threshold: float, contamination: float, traffic: int
) -> None:
    policy = Policy(name="own", review_threshold=threshold, contamination=contamination)
    share = policy.expected_alert_share
    anchored = contamination / (2 * share) if share > contamination else 1 - share / (2 * contamination)
    assert share == 1 or anchored == pytest.approx(threshold, abs=1e-9)
    assert policy.alerts_per_day(traffic) == pytest.approx(share * traffic)


def test_balanced_aims_at_its_contamination_of_the_traffic() -> None:
    assert policy_named("balanced").alerts_per_day(3000) == pytest.approx(30)


def test_an_alert_budget_of_its_own_is_the_aim_whatever_the_traffic() -> None:
    policy = policy_named("balanced").model_copy(update={"alert_budget": 12.0})
    assert policy.alerts_per_day(3000) == policy.alerts_per_day(10) == 12.0


def test_thresholds_outside_the_unit_interval_or_in_the_wrong_order_are_refused() -> None:
    good = initial_thresholds(policy_named("balanced"), DAY).model_dump()
    for wrong in ({"review_threshold": 1.01}, {"block_threshold": -0.01}, {"review_threshold": 0.81}):
        with pytest.raises(ValidationError):
            Thresholds.model_validate(good | wrong)


def test_the_thresholds_in_force_are_the_latest_that_took_effect_by_the_day(tmp_path: Path) -> None:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    policy = policy_named("balanced")
    assert thresholds_in_force(warehouse, policy, DAY) == initial_thresholds(policy, DAY)

    tuned = [
        initial_thresholds(policy, DAY.replace(day=day)).model_copy(
            update={"review_threshold": threshold, "objective": "min_cost", "evidence": {"guards": ["x"], "a": None}}
        )
        for day, threshold in ((2, 0.47), (5, 0.44))
    ]
    for thresholds in tuned:
        warehouse.overwrite(
            "monitoring.decision_thresholds",
            pl.DataFrame([thresholds.row()]),
            effective_date=thresholds.effective_date,
            policy=thresholds.policy,
        )
    assert thresholds_in_force(warehouse, policy, date(2024, 3, 1)).review_threshold == 0.5
    assert thresholds_in_force(warehouse, policy, date(2024, 3, 4)) == tuned[0]
    assert thresholds_in_force(warehouse, policy, date(2024, 3, 5)) == tuned[1]
    assert thresholds_in_force(warehouse, policy_named("high_security"), date(2024, 3, 9)).review_threshold == 0.3
