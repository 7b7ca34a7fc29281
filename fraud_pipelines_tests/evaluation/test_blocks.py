"""Where blocks begin: where labels show that enough of them are frauds, by steps, and at once if the policy changes."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.policies import (
    BLOCKS,
    BY_PROBABILITY,
    Policy,
    Thresholds,
    initial_thresholds,
    policy_named,
    thresholds_in_force,
)
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.evaluation.alert_levels import single_levels
from fraud_pipelines.evaluation.blocks import choose_block_threshold
from fraud_pipelines.evaluation.daily_performance import tune_thresholds
from fraud_pipelines.evaluation.guards import why, why_blocks
from fraud_pipelines.evaluation.proposals import accept_proposal, put_in_effect, set_thresholds
from fraud_pipelines.evaluation.windows import ScoredDay
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.samples import FIRST, filled_warehouse, noon

POLICY = policy_named("balanced").model_copy(update={"second_stage": "fraud-ensemble", "max_daily_change": 1.0})
DAY = FIRST + timedelta(days=24)
TOMORROW = DAY + timedelta(days=1)


def scored(payments: list[tuple[float, bool]], day: date = DAY, *, labelled: int | None = None) -> ScoredDay:
    """Of a young day the first ``labelled`` payments have a label."""
    scores = np.array([score for score, _ in payments])
    frauds = np.array([score for score, fraud in payments if fraud])
    return ScoredDay(day, single_levels(scores), scores[:labelled], frauds, np.ones(len(frauds)))


def chosen(
    payments: list[tuple[float, bool]], policy: Policy = POLICY, *, current: float = 0.8, review: float = 0.5
) -> tuple[float, list[str]]:
    choice = choose_block_threshold(
        [scored(payments)], policy, as_of=DAY, matured_to=DAY, current=current, review=review
    )
    guards = choice.evidence["guards"]
    assert isinstance(guards, list)
    return choice.threshold, [str(guard) for guard in guards]


def banded(*bands: tuple[float, int, int]) -> list[tuple[float, bool]]:
    """So many payments at a score, so many of them frauds."""
    return [(score, n < frauds) for score, payments, frauds in bands for n in range(payments)]


def test_blocks_begin_at_the_lowest_score_that_is_shown_to_hold_the_target() -> None:
    assert chosen(banded((0.95, 200, 199), (0.65, 200, 198), (0.55, 300, 60))) == (0.55, [])
    # Right in 95 of 100, but not surely: what the policy says stands.
    assert chosen(banded((0.95, 100, 95), (0.55, 300, 60))) == (0.8, [])
    # Shown to be wrong too often: further up, where it is shown to hold, or nothing is blocked.
    assert chosen(banded((0.97, 100, 100), (0.85, 200, 150), (0.55, 300, 60))) == (0.85, [])
    assert chosen(banded((0.97, 10, 10), (0.85, 200, 150), (0.55, 300, 60))) == (1.0, [])
    # A target beyond what any number of payments could show.
    assert chosen(banded((0.55, 300, 60)), POLICY.model_copy(update={"block_precision": 0.999})) == (0.8, [])


def test_it_comes_down_by_steps_and_never_below_the_review_threshold() -> None:
    careful = POLICY.model_copy(update={"max_daily_change": 0.05})
    right = banded((0.95, 200, 199), (0.65, 200, 198), (0.35, 300, 60))
    assert chosen(right, careful) == (0.75, ["max_daily_change"])
    assert chosen(right, current=0.8, review=0.7) == (0.7, [])
    assert chosen(right, careful, current=0.6, review=0.7) == (0.7, [])


def test_where_labels_do_not_tell_enough_it_stays_or_goes_back() -> None:
    wrong = [scored(banded((0.92, 300, 100)))]

    def after(*guards: str) -> float:
        careful = POLICY.model_copy(update={"max_daily_change": 0.05})
        return choose_block_threshold(
            wrong, careful, as_of=DAY, matured_to=DAY, current=0.9, review=0.5, guards=list(guards)
        ).threshold

    assert after() == 1.0
    assert after("chargebacks_to_come") == 0.9
    assert after("min_labelled_frauds") == 0.85


@given(
    payments=st.lists(st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.booleans()), max_size=80),
    current=st.integers(0, 100).map(lambda n: n / 100),
    review=st.integers(0, 100).map(lambda n: n / 100),
    change=st.sampled_from([0.01, 0.05, 1.0]),
)
def test_no_choice_leaves_its_clamps_whatever_was_seen(
    payments: list[tuple[float, bool]], current: float, review: float, change: float
) -> None:
    policy = POLICY.model_copy(update={"max_daily_change": change})
    found, _ = chosen(payments, policy, current=current, review=review)
    assert review <= found <= 1
    assert found >= current - change - 1e-9
    assert chosen(payments[::-1], policy, current=current, review=review)[0] == found


def test_a_young_day_counts_where_nearly_all_that_scores_so_high_has_been_judged() -> None:
    right, wrong = banded((0.9, 150, 148)), banded((0.9, 150, 90))
    matured_to = DAY - timedelta(days=7)

    def after(*days: ScoredDay) -> float:
        return choose_block_threshold(days, POLICY, as_of=DAY, matured_to=matured_to, current=0.8, review=0.5).threshold

    assert after(scored(right, matured_to)) == 0.5
    assert after(scored(right, matured_to), scored(wrong)) == 1.0
    # Of the young day only a half is labelled so far: what isn't says nothing.
    assert after(scored(right, matured_to), scored(wrong, labelled=75)) == 0.5
    # What was long ago counts little.
    assert after(scored(wrong, DAY - timedelta(days=14)), scored(right)) == 1.0
    assert after(scored(wrong, DAY - timedelta(days=98)), scored(right)) == 0.5


SETTINGS = Settings(label_delay_days=7, evaluation_days=10)


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("FRAUD_DATA_DIR", str(tmp_path))
    return filled_warehouse(tmp_path, days=25)


def settings_with(folder: Path, **fields: object) -> Settings:
    lines = "".join(f"    {name}: {'null' if value is None else value}\n" for name, value in fields.items())
    (folder / "policies.yaml").write_text(f"policies:\n  balanced:\n    second_stage: fraud-daily\n{lines}")
    return SETTINGS.model_copy(update={"data_dir": folder})


def test_a_tuned_block_threshold_is_in_force_until_the_policy_says_something_else(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    settings = settings_with(tmp_path, review_threshold=0.2, block_threshold=0.25)
    tuned = tune_thresholds(warehouse, settings, DAY)
    policy = tuned.policy
    blocks = tuned.proposal.thresholds.evidence[BLOCKS]
    assert isinstance(blocks, dict)
    assert (blocks["before"], blocks["target_precision"]) == (0.25, 0.95)
    # The scores of these days are no good for blocking.
    assert tuned.proposal.thresholds.block_threshold == 1.0
    assert any("nothing should be blocked" in told for told in why_blocks(tuned.proposal.thresholds.evidence))

    kept = put_in_effect(warehouse, tuned.proposal.thresholds, tuned.current, mode="propose", day=DAY)
    assert kept.thresholds.block_threshold == 0.25
    accept_proposal(warehouse, "balanced", by="ana", now=noon(DAY))
    assert thresholds_in_force(warehouse, policy, DAY).block_threshold == 0.25
    assert thresholds_in_force(warehouse, policy, TOMORROW).block_threshold == 1.0

    for edited, expected in (
        ({"block_threshold": 0.9}, 0.9),
        ({"block_precision": None}, 0.25),
        ({"block_precision": 0.9}, 0.25),
        ({"second_stage": "fraud-supervised"}, 0.25),
        ({"review_cost": 9.0}, 1.0),
    ):
        now = policy.model_copy(update=edited)
        assert thresholds_in_force(warehouse, now, TOMORROW).block_threshold == expected, edited

    # What is kept while a proposal waits, and what a person sets for reviews, leaves the blocks as they are.
    set_thresholds(warehouse, policy, review_threshold=0.28, by="ana", reason="holiday week")
    assert thresholds_in_force(warehouse, policy, TOMORROW).block_threshold == 1.0
    current = thresholds_in_force(warehouse, policy, TOMORROW)
    proposed = initial_thresholds(policy, TOMORROW + timedelta(days=1))
    put_in_effect(warehouse, proposed, current, mode="propose", day=TOMORROW)
    assert thresholds_in_force(warehouse, policy, TOMORROW + timedelta(days=1)).block_threshold == 1.0


def test_without_a_target_and_with_too_few_frauds_the_policy_says_where_blocks_begin(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    off = tune_thresholds(warehouse, settings_with(tmp_path, block_precision=None), DAY).proposal.thresholds
    assert (off.block_threshold, off.evidence.get(BLOCKS)) == (0.8, None)
    few = tune_thresholds(warehouse, settings_with(tmp_path, min_labelled_frauds=1000), DAY).proposal.thresholds
    assert few.block_threshold == 0.8
    assert any("too few" in sentence for sentence in why_blocks(few.evidence))


def told(warehouse: Warehouse, as_of_days: int, knots: list[tuple[float, float]]) -> None:
    as_of = FIRST + timedelta(days=as_of_days)
    with warehouse.transaction() as connection:
        for score, probability in knots:
            connection.execute(
                "INSERT INTO monitoring.score_probabilities VALUES (?, 'fraud-daily', 'batch', ?, ?, ?, ?, 1, 1)",
                [as_of, as_of, as_of, score, probability],
            )


def test_thresholds_stated_as_probabilities_are_the_scores_that_have_them(warehouse: Warehouse, tmp_path: Path) -> None:
    settings = settings_with(tmp_path, review_probability=0.2, block_probability=0.9)
    policy = tune_thresholds(warehouse, settings, DAY).policy
    # Nothing is known yet.
    unknown = thresholds_in_force(warehouse, policy, DAY)
    assert (unknown.review_threshold, unknown.block_threshold) == (0.5, 0.8)

    told(warehouse, 23, [(0.1, 0.01), (0.3, 0.2), (0.7, 0.9)])
    told(warehouse, 24, [(0.1, 0.01), (0.4, 0.2), (0.6, 0.9)])
    in_force = thresholds_in_force(warehouse, policy, DAY)
    assert in_force.evidence[BY_PROBABILITY] == ["review_threshold", "block_threshold"]
    assert (in_force.review_threshold, in_force.block_threshold) == pytest.approx((0.3, 0.7))

    tuned = tune_thresholds(warehouse, settings, DAY)
    proposed = tuned.proposal.thresholds
    assert (proposed.review_threshold, proposed.block_threshold) == pytest.approx((0.4, 0.6))
    assert any("by a probability" in sentence for sentence in why(proposed.evidence))
    # It is the policy, and no proposal that a person would have to accept.
    assert put_in_effect(warehouse, proposed, tuned.current, mode="propose", day=DAY).status == "no_change"
    tomorrow = thresholds_in_force(warehouse, policy, TOMORROW)
    assert (tomorrow.review_threshold, tomorrow.block_threshold) == pytest.approx((0.4, 0.6))
    with pytest.raises(InvalidInput, match="review_probability"):
        set_thresholds(warehouse, policy, review_threshold=0.3, by="ana", reason="holiday week")

    # What decided is on record as scores: a replay needs no probabilities.
    candidates = pl.DataFrame({"transaction_id": ["a"], "screening_score": [0.65], "second_stage_score": [0.65]})
    engine = DecisionEngine(policy, tomorrow)
    kept = Thresholds.model_validate_json(engine.versions[1].content)
    assert engine.decide(candidates)["decision"].item() == "block"
    assert DecisionEngine(policy, kept).decide(candidates).equals(engine.decide(candidates))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"review_probability": 0.95}, (0.9, 0.9)),
        ({"block_probability": 0.2}, (0.3, 0.3)),
        ({"block_probability": 0.999}, (0.5, 1.0)),
    ],
)
def test_what_is_stated_as_a_probability_stands_and_the_other_yields(
    tmp_path: Path, fields: dict[str, float], expected: tuple[float, float]
) -> None:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    told(warehouse, 23, [(0.1, 0.01), (0.3, 0.2), (0.9, 0.95)])
    policy = POLICY.model_copy(update={"second_stage": "fraud-daily", **fields})
    found = thresholds_in_force(warehouse, policy, DAY)
    assert (found.review_threshold, found.block_threshold) == pytest.approx(expected)


def test_a_policy_whose_probabilities_cross_is_refused_and_one_without_them_is_the_one_it_was() -> None:
    with pytest.raises(ValueError, match=r"review_probability 0\.9 lies above block_probability 0\.5"):
        Policy(name="own", review_threshold=0.5, contamination=0.01, review_probability=0.9, block_probability=0.5)
    content = DecisionEngine(POLICY, initial_thresholds(POLICY, DAY)).versions[0].content
    assert "probability" not in content
    assert "block_precision" not in content
    assert "block_precision" in POLICY.model_copy(update={"block_precision": None}).model_dump_json()
