"""Tuning: each objective, each guard, and what holds whatever the scores."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.policies import OBJECTIVES, Objective, Policy, Segment, Thresholds, initial_thresholds
from fraud_pipelines.decisions.stages import decide
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.evaluation.alert_levels import single_levels
from fraud_pipelines.evaluation.sweep import candidate_thresholds
from fraud_pipelines.evaluation.tuning import Proposal, tune
from fraud_pipelines_tests.evaluation.samples import FIRST, ROWS, Row, outcomes, random_outcomes
from fraud_pipelines_tests.examples import examples

DAY = date(2024, 3, 21)
FREE = Policy(
    name="free",
    review_threshold=0.5,
    contamination=0.01,
    max_daily_change=1.0,
    min_alerts_factor=0.0,
    max_alerts_factor=1e9,
    min_labelled_frauds=1,
    block_threshold=1.0,
)
SCORE_COLUMNS = ("event_date", "score", "screening_score", "second_stage_score")


def proposed(
    frame: pl.DataFrame,
    policy: Policy,
    objective: Objective | None = None,
    *,
    current: float | None = None,
    recent: pl.DataFrame | None = None,
) -> Proposal:
    thresholds = initial_thresholds(policy, DAY)
    if current is not None:
        thresholds = thresholds.model_copy(update={"review_threshold": current})
    return tune(frame, frame if recent is None else recent, thresholds, policy, day=DAY, objective=objective)


def alerts_a_day(frame: pl.DataFrame, thresholds: Thresholds, policy: Policy) -> float:
    """Alerts a day as the rule itself would give them."""
    candidates = frame.select("transaction_id", "screening_score", "second_stage_score")
    alerts = (decide(candidates, thresholds, policy)["decision"] != "approve").sum()
    return float(alerts) / frame["event_date"].n_unique()


@pytest.fixture(scope="module")
def window() -> pl.DataFrame:
    return random_outcomes(5, rows=8000, days=14)


def test_the_sweep_is_what_the_rule_would_have_done_at_each_threshold(window: pl.DataFrame) -> None:
    # Two stages that differ, and rows that the ensemble hasn't seen only where the screen lets them pass.
    rng = np.random.default_rng(0)
    ensemble = pl.Series(np.clip(window["score"].to_numpy() + rng.normal(0, 0.2, window.height), 0, 1))
    frame = window.with_columns(second_stage_score=ensemble)
    sweep = proposed(frame, FREE, "min_cost").sweep
    assert 100 <= sweep.height <= 130
    assert sweep["threshold"].is_sorted()
    candidates = frame.select("transaction_id", "screening_score", "second_stage_score")
    for row in sweep.gather_every(9).iter_rows(named=True):
        thresholds = initial_thresholds(FREE, DAY).model_copy(update={"review_threshold": row["threshold"]})
        alert = decide(candidates, thresholds, FREE)["decision"] != "approve"
        alerts, caught = frame.filter(alert).height, frame.filter(alert & frame["is_fraud"]).height
        missed = float(frame.filter(frame["is_fraud"] & ~alert)["amount"].sum())
        assert row["alerts_per_day"] == pytest.approx(alerts / 14)
        assert row["precision"] == (pytest.approx(caught / alerts) if alerts else None)
        assert row["recall"] == pytest.approx(caught / frame.filter("is_fraud").height)
        assert row["cost"] == pytest.approx((5.0 * alerts + missed) / 14)


def test_each_objective_finds_the_best_of_the_sweep(window: pl.DataFrame) -> None:
    policy = FREE.model_copy(update={"target_precision": 0.5, "target_recall": 0.4, "alert_budget": 9.0})
    sweep = proposed(window, policy, "max_f1").sweep
    at = {row["threshold"]: row for row in sweep.iter_rows(named=True)}

    def best(objective: Objective) -> dict[str, float]:
        found: dict[str, float] = at[proposed(window, policy, objective).thresholds.review_threshold]
        return found

    assert best("max_f1")["f1"] == sweep["f1"].max()
    assert best("min_cost")["cost"] == sweep["cost"].min()
    precise = sweep.filter(pl.col("precision") >= 0.5)
    assert best("min_precision")["recall"] == precise["recall"].max()
    assert best("min_precision")["precision"] >= 0.5
    complete = sweep.filter(pl.col("recall") >= 0.4)
    assert best("min_recall")["threshold"] == complete["threshold"].max()
    assert best("alert_budget")["alerts_per_day"] == pytest.approx(9.0, abs=0.1)


def test_a_target_out_of_reach_gives_the_nearest_there_is(window: pl.DataFrame) -> None:
    hidden = window.with_columns(screening_score=pl.lit(0.0), second_stage_score=pl.lit(None, dtype=pl.Float64)).head(
        50
    )
    frame = pl.concat([window, hidden.with_columns(is_fraud=pl.lit(True), labelled=pl.lit(True))])
    policy = FREE.model_copy(update={"target_recall": 1.0, "target_precision": 1.0})
    demanding = proposed(frame, policy, "min_recall")
    assert demanding.thresholds.review_threshold == 0.0
    precise = proposed(random_outcomes(3, rows=3000, days=7, fraud_rate=0.01), policy, "min_precision")
    reached = dict(precise.sweep.select("threshold", "precision").iter_rows())
    assert reached[precise.thresholds.review_threshold] == precise.sweep["precision"].max()


@pytest.mark.parametrize("share", [0.5, 1.0, 1.7])
def test_the_alert_budget_is_met_without_labels(window: pl.DataFrame, share: float) -> None:
    unlabelled = window.with_columns(is_fraud=pl.lit(False), labelled=pl.lit(False))
    budget = share * 0.01 * window.height / 14
    policy = FREE.model_copy(update={"alert_budget": budget})
    proposal = proposed(unlabelled, policy, "alert_budget")
    assert alerts_a_day(window, proposal.thresholds, policy) == pytest.approx(budget, rel=0.05)
    assert proposal.thresholds.objective == "alert_budget"


def test_with_too_few_labelled_frauds_the_budget_rules(window: pl.DataFrame) -> None:
    frauds = window["is_fraud"].sum()
    few = proposed(window, FREE.model_copy(update={"min_labelled_frauds": frauds + 1}), "max_f1")
    enough = proposed(window, FREE.model_copy(update={"min_labelled_frauds": frauds}), "max_f1")
    assert few.thresholds.objective == "alert_budget"
    assert few.thresholds.evidence["objective_wanted"] == "max_f1"
    assert few.thresholds.evidence["guards"] == ["min_labelled_frauds"]
    assert enough.thresholds.objective == "max_f1"


def test_the_threshold_moves_no_further_than_the_policy_allows_and_arrives_in_the_end(window: pl.DataFrame) -> None:
    goal = proposed(window, FREE, "min_cost").thresholds.review_threshold
    careful = FREE.model_copy(update={"max_daily_change": 0.05})
    current, days = 0.9, 0
    while current != goal:
        proposal = proposed(window, careful, "min_cost", current=current)
        step = proposal.thresholds.review_threshold
        assert abs(step - current) <= 0.05 + 1e-9
        assert ("max_daily_change" in str(proposal.thresholds.evidence["guards"])) == (step != goal)
        current, days = step, days + 1
        assert days < 20
    assert days > 1


def test_tuning_never_approves_what_the_policy_blocks(window: pl.DataFrame) -> None:
    policy = FREE.model_copy(update={"block_threshold": 0.8, "target_precision": 1.0})
    proposal = proposed(window, policy, "min_precision")
    assert proposal.thresholds.review_threshold == 0.8
    assert "block_threshold" in str(proposal.thresholds.evidence["guards"])


def test_what_a_rule_or_a_segment_decides_is_not_tuned(window: pl.DataFrame) -> None:
    travel = Segment(name="travel", merchant_category=("travel",), review_threshold=0.2)
    abroad = Segment(name="abroad", country=("FR",), block_threshold=0.9)
    policy = FREE.model_copy(update={"segments": (travel, abroad)})
    kinds = pl.int_range(window.height) % 5
    frame = window.with_columns(
        merchant_category=pl.when(kinds == 0).then(pl.lit("travel")).otherwise(None),
        country=pl.when(kinds == 1).then(pl.lit("FR")).otherwise(pl.lit("DE")),
        reason=pl.when(kinds == 2).then(pl.lit("rule:watched")).otherwise(pl.lit("flagged_for_review")),
        decision=pl.when(kinds <= 2).then(pl.lit("review")).otherwise(pl.lit("approve")),
    )
    sweep = proposed(frame, policy, "min_cost").sweep
    settled, tuned = frame.filter(kinds.is_in([0, 2])), frame.filter(~kinds.is_in([0, 2]))
    for row in sweep.filter(pl.col("threshold") < 1).gather_every(9).iter_rows(named=True):
        moving = tuned.filter(pl.col("score") > row["threshold"])
        assert row["alerts_per_day"] == pytest.approx((settled.height + moving.height) / 14)


def test_scores_tied_at_the_top_keep_below_the_upper_bound() -> None:
    rows: list[Row] = [(n % 7, n % 5, 0.79 if n < 700 else 0.01, 0.0, 10.0, False, None) for n in range(1400)]
    frame = outcomes(rows)
    policy = FREE.model_copy(update={"alert_budget": 20.0, "min_alerts_factor": 0.5, "max_alerts_factor": 2.0})
    proposal = proposed(frame, policy, "alert_budget")
    assert proposal.thresholds.review_threshold == 0.79
    assert alerts_a_day(frame, proposal.thresholds, policy) == 0
    assert "alerts_tied" in str(proposal.thresholds.evidence["guards"])


def test_without_recent_scores_the_thresholds_stay(window: pl.DataFrame) -> None:
    proposal = proposed(window, FREE, "min_cost", current=0.61, recent=window.clear())
    assert proposal.thresholds.review_threshold == 0.61
    assert proposal.thresholds.evidence["guards"] == ["no_recent_scores"]
    nothing = proposed(window.clear(), FREE, current=0.61, recent=window.clear())
    assert nothing.thresholds.review_threshold == 0.61


def test_the_evidence_says_what_was_known_and_survives_the_table(window: pl.DataFrame) -> None:
    thresholds = proposed(window, FREE, "min_cost").thresholds
    evidence = thresholds.evidence
    assert thresholds.effective_date == DAY + timedelta(days=1)
    assert (evidence["window_start"], evidence["window_end"]) == (FIRST.isoformat(), "2024-03-14")
    assert (evidence["transactions"], evidence["labelled_frauds"]) == (8000, window["is_fraud"].sum())
    before, after = evidence["before"], evidence["after"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert before["review_threshold"] == 0.5
    assert after["review_threshold"] == thresholds.review_threshold
    assert float(str(after["cost"])) <= float(str(before["cost"]))
    assert Thresholds.from_row(thresholds.row()) == thresholds


def test_a_frame_without_the_stages_scores_is_refused(window: pl.DataFrame) -> None:
    with pytest.raises(InvalidInput, match="daily_scores lacks screening_score, second_stage_score"):
        proposed(window, FREE, recent=window.select("event_date", "score"))


@examples(150)
@given(
    rows=ROWS,
    recent=ROWS,
    objective=st.sampled_from(OBJECTIVES),
    current=st.integers(0, 80).map(lambda n: n / 100),
    budget=st.integers(1, 8),
    change=st.sampled_from([0.02, 0.05, 0.3, 1.0]),
    factors=st.sampled_from([(0.5, 2.0), (0.8, 1.2), (0.0, 1.0)]),
)
def test_no_proposal_leaves_its_clamps(
    rows: list[Row],
    recent: list[Row],
    objective: Objective,
    current: float,
    budget: int,
    change: float,
    factors: tuple[float, float],
) -> None:
    policy = Policy(
        name="own",
        review_threshold=0.5,
        contamination=0.1,
        alert_budget=float(budget),
        max_daily_change=change,
        min_alerts_factor=factors[0],
        max_alerts_factor=factors[1],
        min_labelled_frauds=3,
    )
    frame, latest = outcomes(rows), outcomes(recent)
    proposal = proposed(
        frame, policy, objective, current=current, recent=latest.select("transaction_id", *SCORE_COLUMNS)
    )
    again = proposed(frame, policy, objective, current=current, recent=latest)
    assert again.thresholds == proposal.thresholds
    assert again.sweep.equals(proposal.sweep)
    thresholds = proposal.thresholds
    found = thresholds.review_threshold
    assert 0 <= found <= policy.block_threshold
    if latest.is_empty():
        assert found == current
        return
    volume = alerts_a_day(latest, thresholds, policy)
    assert volume <= factors[1] * budget or found == policy.block_threshold
    # Whatever the ties, every volume that any threshold up to the block gives is that of some level.
    volumes = [
        alerts_a_day(latest, thresholds.model_copy(update={"review_threshold": level}), policy)
        for level in {0.0, policy.block_threshold, *latest["score"].to_list()}
        if level <= policy.block_threshold
    ]
    within = [value for value in volumes if factors[0] * budget <= value <= factors[1] * budget]
    if within:
        assert factors[0] * budget <= volume <= factors[1] * budget
    before = alerts_a_day(latest, thresholds.model_copy(update={"review_threshold": current}), policy)
    if before in within:
        assert abs(found - current) <= change + 1e-9


@given(
    levels=st.lists(st.integers(0, 10).map(lambda n: n / 10), min_size=1, max_size=40),
    count=st.integers(1, 40),
)
def test_if_any_threshold_lets_exactly_a_count_alert_a_candidate_does(levels: list[float], count: int) -> None:
    values = np.array(levels)
    reachable = {int((values > threshold).sum()) for threshold in {0.0, *levels}}
    candidates = candidate_thresholds(single_levels(values), counts=[count], thresholds=[])
    assert (count in {int((values > threshold).sum()) for threshold in candidates}) == (count in reachable)
