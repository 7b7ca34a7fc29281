"""The decision engine: the same decision for one transaction as for a frame, segments, and hard rules' precedence."""

from collections.abc import Mapping
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.engine import Decision, DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRule, HardRules
from fraud_pipelines.decisions.policies import AlertCut, Policy, Segment, Thresholds, initial_thresholds, policy_named
from fraud_pipelines.decisions.stages import decide
from fraud_pipelines.errors import InvalidInput

DAY = date(2026, 3, 1)
BALANCED = policy_named("balanced")
COLUMNS = {
    "transaction_id": pl.String,
    "event_date": pl.Date,
    "merchant_id": pl.String,
    "merchant_category": pl.String,
    "country": pl.String,
    "amount": pl.Float64,
    "tx_count_1h": pl.Int64,
    "screening_score": pl.Float64,
    "second_stage_score": pl.Float64,
}
SCORES = st.integers(0, 20).map(lambda n: n / 20)
WORDS = st.sampled_from(["a", "b", "c"])
TRANSACTIONS = st.fixed_dictionaries(
    {
        "transaction_id": st.just("t"),
        "event_date": st.integers(0, 3).map(lambda n: DAY + timedelta(days=n)),
        "merchant_id": st.none() | WORDS,
        "merchant_category": st.none() | WORDS,
        "country": st.none() | WORDS,
        "amount": st.none() | st.sampled_from([0.0, 1.0, 2.5, float("nan")]),
        "tx_count_1h": st.none() | st.integers(0, 3),
        "screening_score": SCORES,
        "second_stage_score": st.none() | SCORES,
    }
)
TEXT_CONDITIONS = st.one_of(
    WORDS,
    st.lists(WORDS, min_size=1),
    st.builds(lambda values: {"none_of": values}, st.lists(WORDS, min_size=1)),
    st.sampled_from([{"missing": True}, {"missing": False}]),
)
BOUNDS = st.dictionaries(
    st.sampled_from(["above", "at_least", "below", "at_most"]), st.sampled_from([0.0, 1.0, 2.5]), min_size=1
)
NUMBER_CONDITIONS = st.one_of(st.sampled_from([1, 2.5]), BOUNDS, st.just({"none_of": [1]}), st.just({"missing": True}))
RULES = st.builds(
    lambda position, decision, days, when: HardRule.model_validate(
        {
            "name": f"rule_{position}",
            "decision": decision,
            "begins": DAY + timedelta(days=min(days)),
            "expires": DAY + timedelta(days=max(days)),
            "when": when,
        }
    ),
    st.uuids(),
    st.sampled_from(["block", "approve", "review"]),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.dictionaries(st.sampled_from(["merchant_id", "country"]), TEXT_CONDITIONS, min_size=1).flatmap(
        lambda text: st.dictionaries(st.sampled_from(["amount", "tx_count_1h"]), NUMBER_CONDITIONS).map(
            lambda numbers: {**text, **numbers}
        )
    ),
)
SEGMENTS = st.builds(
    lambda position, category, country, levels: Segment(
        name=str(position),
        merchant_category=category,
        country=country,
        review_threshold=min(levels),
        block_threshold=max(levels) if levels[0] > levels[1] else None,
    ),
    st.uuids(),
    WORDS,
    st.just(()) | WORDS.map(lambda word: (word,)),
    st.tuples(SCORES, SCORES),
)


def engine(
    *rules: Mapping[str, object], segments: tuple[Segment, ...] = (), policy: Policy = BALANCED
) -> DecisionEngine:
    policy = policy.model_copy(update={"segments": segments})
    parsed = tuple(
        HardRule.model_validate({"name": f"rule_{n}", "expires": DAY, **rule}) for n, rule in enumerate(rules)
    )
    return DecisionEngine(policy, initial_thresholds(policy, DAY), HardRules(rules=parsed))


def transaction(**values: object) -> dict[str, object]:
    given_values = {"transaction_id": "t", "event_date": DAY, "screening_score": 0.1, "second_stage_score": None}
    return {name: (given_values | values).get(name) for name in COLUMNS}


def alone(deciding: DecisionEngine, row: dict[str, object], unscored: str | None = None) -> Decision:
    """The decision on one transaction, after making sure that both ways agree on it."""
    one = deciding.decide_one(row, unscored=unscored)
    framed = deciding.decide(pl.DataFrame([row], schema=COLUMNS), unscored=unscored).row(0, named=True)
    assert vars(one) == {name: framed[name] for name in vars(one)}
    return one


@given(
    rows=st.lists(TRANSACTIONS, max_size=8),
    rules=st.lists(RULES, max_size=4),
    segments=st.lists(SEGMENTS, max_size=3),
    review=st.integers(0, 16).map(lambda n: n / 20),
    unscored=st.sampled_from([None, "collecting"]),
    second_stage=st.sampled_from(["fraud-ensemble", "fraud-supervised", "fraud-amount"]),
    gate=st.sampled_from([None, True, False]),
    cut=st.none() | st.builds(AlertCut, score=SCORES, transaction_id=st.sampled_from(["", "m", "t", "z"])),
)
def test_one_transaction_is_decided_as_it_is_in_a_frame(
    rows: list[dict[str, object]],
    rules: list[HardRule],
    segments: list[Segment],
    review: float,
    unscored: str | None,
    second_stage: str,
    gate: bool | None,
    cut: AlertCut | None,
) -> None:
    chosen = {"segments": tuple(segments), "second_stage": second_stage, "gate": gate}
    policy = BALANCED.model_copy(update=chosen)
    thresholds = initial_thresholds(policy, DAY).model_copy(update={"review_threshold": review, "alert_cut": cut})
    deciding = DecisionEngine(policy, thresholds, HardRules(rules=tuple(rules)))
    if unscored:
        rows = [row | {"screening_score": None} if position % 2 else row for position, row in enumerate(rows)]

    together = deciding.decide(pl.DataFrame(rows, schema=COLUMNS), unscored=unscored)

    singly = [vars(deciding.decide_one(row, unscored=unscored)) for row in rows]
    assert together.select("decision", "score", "reason", "review_threshold", "block_threshold").to_dicts() == singly


@given(rows=st.lists(TRANSACTIONS, max_size=8))
def test_without_rules_and_segments_it_is_the_two_stage_decision(rows: list[dict[str, object]]) -> None:
    candidates = pl.DataFrame(rows, schema=COLUMNS)
    decided = engine().decide(candidates)
    assert decided.select("transaction_id", "decision", "score", "reason").equals(
        decide(candidates, initial_thresholds(BALANCED, DAY), BALANCED)
    )
    assert decided.select(pl.col("policy").eq("balanced").all(), pl.col("review_threshold").eq(0.5).all()).row(0) == (
        True,
        True,
    )


SEVERE = {"screening_score": 0.9, "second_stage_score": 0.95}
SUSPECT = {"screening_score": 0.9, "second_stage_score": 0.6}


@pytest.mark.parametrize(
    ("listed", "scores", "expected"),
    [
        (["approve", "block"], {}, ("block", "rule:block")),
        (["approve", "review"], SUSPECT, ("approve", "rule:approve")),
        (["approve"], SEVERE, ("approve", "rule:approve")),
        (["review"], {}, ("review", "rule:review")),
        (["review"], SUSPECT, ("review", "rule:review")),
        (["review"], SEVERE, ("block", "high_fraud_confidence")),
        ([], SUSPECT, ("review", "flagged_for_review")),
    ],
)
def test_block_lists_outrank_allow_lists_which_outrank_the_models_and_a_review_rule_is_a_floor(
    listed: list[str], scores: dict[str, float], expected: tuple[str, str]
) -> None:
    deciding = engine(*({"name": each, "decision": each, "when": {"merchant_id": "m1"}} for each in listed))
    decided = alone(deciding, transaction(merchant_id="m1", **scores))
    assert (decided.decision, decided.reason) == expected
    assert decided.score == scores.get("second_stage_score", 0.1)


def test_of_two_rules_of_a_kind_the_first_in_the_file_is_the_reason() -> None:
    deciding = engine(
        {"name": "second", "decision": "approve", "when": {"amount": {"above": 0}}},
        {"name": "broad", "decision": "block", "when": {"amount": {"above": 0}}},
        {"name": "narrow", "decision": "block", "when": {"amount": {"above": 10}}},
    )
    assert alone(deciding, transaction(amount=20.0)).reason == "rule:broad"


def test_a_rule_applies_from_its_first_to_its_last_day_by_the_day_of_the_transaction() -> None:
    day = timedelta(days=1)
    deciding = engine({"decision": "block", "begins": DAY - day, "when": {"amount": {"at_least": 0}}})
    decisions = [
        alone(deciding, transaction(amount=1.0, event_date=DAY + offset * day)).decision for offset in (-2, -1, 0, 1)
    ]
    assert decisions == ["approve", "block", "block", "approve"]


def test_a_missing_value_meets_no_condition_but_missing() -> None:
    nothing = transaction()
    for condition in ({"none_of": ["a"]}, ["a"], {"missing": False}):
        assert alone(engine({"decision": "block", "when": {"country": condition}}), nothing).decision == "approve"
    assert alone(engine({"decision": "block", "when": {"amount": {"below": 5}}}), nothing).decision == "approve"
    assert alone(engine({"decision": "block", "when": {"country": {"missing": True}}}), nothing).decision == "block"


def test_the_first_segment_that_fits_sets_the_thresholds_and_crossed_ones_yield_to_it() -> None:
    deciding = engine(
        segments=(
            Segment(name="both", merchant_category=("games",), country=("NO",), review_threshold=0.9),
            Segment(name="games", merchant_category=("games", "cards"), block_threshold=0.4),
        )
    )
    levels = [
        alone(deciding, transaction(merchant_category=category, country=country))
        for category, country in (("games", "NO"), ("games", "SE"), ("cards", None), ("food", "NO"), (None, "NO"))
    ]
    assert [(each.review_threshold, each.block_threshold) for each in levels] == [
        (0.9, 0.9),
        (0.4, 0.4),
        (0.4, 0.4),
        (0.5, 0.8),
        (0.5, 0.8),
    ]
    assert deciding.columns == ("merchant_category", "country")


@given(row=TRANSACTIONS, segments=st.lists(SEGMENTS, max_size=3), review=st.integers(0, 16).map(lambda n: n / 20))
def test_the_second_stage_changes_nothing_up_to_the_screen_level(
    row: dict[str, object], segments: list[Segment], review: float
) -> None:
    policy = BALANCED.model_copy(update={"segments": tuple(segments)})
    thresholds = initial_thresholds(policy, DAY).model_copy(update={"review_threshold": review})
    deciding = DecisionEngine(policy, thresholds)
    row["screening_score"] = deciding.screen_level
    assert deciding.decide_one({**row, "second_stage_score": 1.0}) == deciding.decide_one(
        {**row, "second_stage_score": None}
    )


def test_what_has_no_score_yet_is_approved_for_the_reason_given_unless_a_rule_applies() -> None:
    deciding = engine({"decision": "block", "when": {"merchant_id": "m1"}})
    for merchant, expected in (("m1", ("block", "rule:rule_0")), ("m2", ("approve", "collecting"))):
        decided = alone(deciding, transaction(merchant_id=merchant, screening_score=None), unscored="collecting")
        assert (decided.decision, decided.reason, decided.score) == (*expected, 0.0)


@pytest.mark.parametrize("score", [None, float("nan"), 1.5, -0.1])
def test_a_score_that_is_missing_or_no_share_is_refused_by_name(score: float | None) -> None:
    row = transaction(screening_score=score)
    for attempt in (engine().decide_one, lambda row: engine().decide(pl.DataFrame([row], schema=COLUMNS))):
        with pytest.raises(InvalidInput, match="first is 't' with screening_score"):
            attempt(row)


def test_a_column_that_the_rules_need_is_missed_by_name() -> None:
    deciding = engine({"decision": "block", "when": {"country": "NO"}})
    row = transaction()
    del row["country"]
    with pytest.raises(InvalidInput, match="look at country, which"):
        deciding.decide(pl.DataFrame([row]))
    with pytest.raises(InvalidInput, match="look at country, which transaction 't' lacks"):
        deciding.decide_one(row)


def test_what_was_in_force_is_known_by_the_hash_of_its_content() -> None:
    rule = {"decision": "block", "when": {"merchant_id": "m1"}}
    one, same, other = engine(rule), engine(rule), engine({**rule, "when": {"merchant_id": "m2"}})
    assert one.versions == same.versions
    assert [a == b for a, b in zip(one.versions, other.versions, strict=True)] == [True, True, False]
    assert HardRules.model_validate_json(one.versions[2].content) == one.rules
    assert Policy.model_validate_json(one.versions[0].content) == one.policy


def test_without_a_gate_the_second_stage_decides_whatever_the_screening_says() -> None:
    ungated = BALANCED.model_copy(update={"second_stage": "fraud-supervised", "gate": False})
    deciding = engine(policy=ungated)
    for second, expected in ((0.9, "block"), (0.6, "review"), (0.5, "approve")):
        decision = alone(deciding, transaction(screening_score=0.0, second_stage_score=second))
        assert (decision.decision, decision.score) == (expected, second)
    assert decision.reason == "below_review_threshold"
    # What it didn't score is decided as behind a gate; what only it scored is decided by it.
    assert alone(deciding, transaction(screening_score=0.9)).reason == "ensemble_score_missing"
    assert alone(deciding, transaction(screening_score=0.1)).reason == "below_screening_threshold"
    nothing_screened = transaction(screening_score=None, second_stage_score=0.9)
    assert alone(deciding, nothing_screened, "collecting").decision == "block"
    assert alone(engine(), nothing_screened, "collecting").reason == "collecting"


def test_what_the_amount_decides_says_so() -> None:
    by_amount = engine(policy=BALANCED.model_copy(update={"second_stage": "fraud-amount", "gate": False}))
    for second in (0.9, 0.6, 0.1):
        assert alone(by_amount, transaction(screening_score=0.95, second_stage_score=second)).reason == "amount"


@given(
    scores=st.lists(SCORES, min_size=1, max_size=30),
    by_rule=st.sets(st.integers(0, 29), max_size=3),
    most=st.integers(0, 12),
)
def test_a_day_has_no_more_alerts_than_it_may_and_keeps_the_highest(
    scores: list[float], by_rule: set[int], most: int
) -> None:
    rule = {"decision": "review", "when": {"merchant_id": "watched"}}
    deciding = engine(rule, policy=BALANCED.model_copy(update={"second_stage": "fraud-supervised", "gate": False}))
    day = pl.DataFrame(
        [
            transaction(
                transaction_id=f"t{number:02}",
                second_stage_score=score,
                merchant_id="watched" if number in by_rule else "other",
            )
            for number, score in enumerate(scores)
        ],
        schema=COLUMNS,
    )
    free = deciding.decide(day)
    capped = deciding.with_alerts_capped(day, free, most)
    decided = capped.decide(day)

    alerts = decided.filter(pl.col("decision") != "approve")
    # The rule reviews these, whatever the models say.
    watched = [f"t{number:02}" for number in by_rule if number < len(scores)]
    assert alerts.height == min(max(most, len(watched)), free.filter(pl.col("decision") != "approve").height)
    cut = decided.filter(reason="alert_cap")
    assert (cut["decision"] == "approve").all()
    by_models = alerts.filter(~pl.col("transaction_id").is_in(watched))
    if cut.height and by_models.height:
        assert by_models["score"].min() >= cut["score"].max()  # type: ignore[operator]
    # The cut is part of what is kept with the decisions, so that each can be made again by itself.
    assert [vars(capped.decide_one(row))["reason"] for row in day.iter_rows(named=True)] == decided["reason"].to_list()
    kept = Thresholds.model_validate_json(capped.versions[1].content)
    assert kept.alert_cut == capped.thresholds.alert_cut


def test_a_policy_or_thresholds_without_gate_and_cut_keep_the_hash_that_they_had() -> None:
    contents = [version.content for version in engine(policy=BALANCED).versions]
    assert "gate" not in contents[0]
    assert "alert_cut" not in contents[1]
