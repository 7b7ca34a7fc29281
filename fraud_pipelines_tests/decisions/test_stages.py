"""The two-stage decision, and the threshold at which a transaction would stop alerting."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.policies import Policy, Thresholds, initial_thresholds, policy_named
from fraud_pipelines.decisions.stages import alert_level, decide
from fraud_pipelines.errors import InvalidInput

DAY = date(2024, 3, 1)
BALANCED = policy_named("balanced")

# Hundredths, so that scores fall on the thresholds often.
SCORES = st.integers(0, 100).map(lambda n: n / 100)


def candidates(rows: list[tuple[float | None, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(f"t{position}", *row) for position, row in enumerate(rows)],
        schema={"transaction_id": pl.String, "screening_score": pl.Float64, "second_stage_score": pl.Float64},
        orient="row",
    )


def at(review_threshold: float, policy: Policy = BALANCED) -> Thresholds:
    return initial_thresholds(policy, DAY).model_copy(update={"review_threshold": review_threshold})


def one(screening: float, ensemble: float | None, review_threshold: float = 0.5) -> tuple[object, ...]:
    return decide(candidates([(screening, ensemble)]), at(review_threshold), BALANCED).row(0)[1:]


@pytest.mark.parametrize(
    ("screening", "ensemble", "expected"),
    [
        (0.40, 0.99, ("approve", 0.40, "below_screening_threshold")),
        (0.10, None, ("approve", 0.10, "below_screening_threshold")),
        (0.41, 0.81, ("block", 0.81, "high_fraud_confidence")),
        (0.41, 0.80, ("review", 0.80, "flagged_for_review")),
        (0.95, 0.51, ("review", 0.51, "flagged_for_review")),
        (0.95, 0.50, ("approve", 0.50, "cleared_by_ensemble")),
        (0.95, None, ("block", 0.95, "ensemble_score_missing")),
        (0.60, None, ("review", 0.60, "ensemble_score_missing")),
        (0.45, None, ("approve", 0.45, "ensemble_score_missing")),
    ],
)
def test_the_ensemble_decides_on_what_the_screening_flags(
    screening: float, ensemble: float | None, expected: tuple[object, ...]
) -> None:
    assert one(screening, ensemble) == expected


def test_the_screen_goes_down_with_a_review_threshold_below_it() -> None:
    assert one(0.35, 0.9, review_threshold=0.5) == ("approve", 0.35, "below_screening_threshold")
    assert one(0.35, 0.9, review_threshold=0.3) == ("block", 0.9, "high_fraud_confidence")


@given(
    rows=st.lists(st.tuples(SCORES, st.none() | SCORES), max_size=30),
    review_threshold=st.integers(0, 80).map(lambda n: n / 100),
    gate=st.sampled_from([None, False]),
)
def test_a_transaction_alerts_exactly_while_its_alert_level_is_above_the_review_threshold(
    rows: list[tuple[float, float | None]], review_threshold: float, gate: bool | None
) -> None:
    policy = BALANCED.model_copy(update={"gate": gate})
    frame = candidates([(screening, ensemble) for screening, ensemble in rows])
    decided = decide(frame, at(review_threshold), policy)
    level = frame.select(alert_level(policy)).to_series()
    assert (decided["decision"] != "approve").to_list() == (level > review_threshold).to_list()
    assert decided["transaction_id"].to_list() == frame["transaction_id"].to_list()
    assert decided["score"].is_between(0, 1).all()


@given(rows=st.lists(st.tuples(SCORES, st.none() | SCORES), min_size=1, max_size=20))
def test_one_transaction_is_decided_as_it_is_among_many(rows: list[tuple[float, float | None]]) -> None:
    frame = candidates([(screening, ensemble) for screening, ensemble in rows])
    together = decide(frame, at(0.5), BALANCED)
    alone = pl.concat(decide(frame[position], at(0.5), BALANCED) for position in range(frame.height))
    assert together.equals(alone)


@given(
    rows=st.lists(st.tuples(SCORES, st.none() | SCORES), max_size=20),
    lower=st.integers(0, 80).map(lambda n: n / 100),
    higher=st.integers(0, 80).map(lambda n: n / 100),
)
def test_a_higher_review_threshold_never_alerts_on_more(
    rows: list[tuple[float, float | None]], lower: float, higher: float
) -> None:
    lower, higher = sorted((lower, higher))
    frame = candidates([(screening, ensemble) for screening, ensemble in rows])
    few = decide(frame, at(higher), BALANCED).filter(pl.col("decision") != "approve")["transaction_id"]
    many = decide(frame, at(lower), BALANCED).filter(pl.col("decision") != "approve")["transaction_id"]
    assert set(few) <= set(many)


def test_no_candidates_give_no_decisions() -> None:
    decided = decide(candidates([]), at(0.5), BALANCED)
    assert decided.shape == (0, 4)


@pytest.mark.parametrize(
    ("screening", "ensemble"),
    [(None, 0.9), (float("nan"), None), (1.01, None), (-0.01, None), (0.9, 1.01), (0.9, float("nan"))],
)
def test_a_score_that_is_missing_or_no_share_is_refused_by_name(
    screening: float | None, ensemble: float | None
) -> None:
    with pytest.raises(InvalidInput, match="1 transactions have no usable score, the first is 't1'"):
        decide(candidates([(0.2, None), (screening, ensemble)]), at(0.5), BALANCED)
