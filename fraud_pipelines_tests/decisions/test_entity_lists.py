"""Lists that people keep: what they decide from which day to which, what the log says of them, and bad entries."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.columns import columns_of
from fraud_pipelines.decisions.configuration import engine_of_day, read_rules
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.entity_lists import (
    ListEntry,
    add_entry,
    end_entry,
    entries_about,
    read_entries,
    with_lists,
)
from fraud_pipelines.decisions.hard_rules import NO_RULES, HardRule, HardRules
from fraud_pipelines.decisions.policies import POLICIES, initial_thresholds
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.examples import examples

PLAN = shipped_plan()
COLUMNS = columns_of(PLAN)
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
TODAY = NOW.date()
POLICY = POLICIES["balanced"].model_copy(update={"second_stage": "fraud-ensemble"})
LARGE = HardRule.model_validate(
    {"name": "large", "decision": "review", "expires": date(2030, 1, 1), "when": {"amount": {"above": 100}}}
)
RULES = HardRules(rules=(LARGE,))


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb", wait_seconds=20)
    warehouse.initialise()
    return warehouse


def added(warehouse: Warehouse, list_name: str = "block", **changed: object) -> ListEntry:
    fields: dict[str, object] = {"column": "user_id", "value": "u1", "reason": "stolen", "author": "ann", "now": NOW}
    return add_entry(warehouse, PLAN, list_name=list_name, rules=RULES, **(fields | changed))  # type: ignore[arg-type]


def decided(engine: DecisionEngine, day: date, **row: object) -> tuple[str, str]:
    """Decision and reason of a payment that the models would approve, as a frame and alone."""
    payment = {"transaction_id": "t", "screening_score": 0.1, "second_stage_score": None, "event_date": day}
    payment |= {"user_id": "u9", "merchant_id": None, "amount": 10.0} | row
    types = {"second_stage_score": pl.Float64, "merchant_id": pl.String}
    frame = engine.decide(pl.DataFrame([payment], schema_overrides=types)).row(0, named=True)
    alone = engine.decide_one(payment)
    assert (frame["decision"], frame["reason"]) == (alone.decision, alone.reason)
    return alone.decision, alone.reason


def engine_on(warehouse: Warehouse, day: date, rules: HardRules = RULES) -> DecisionEngine:
    return engine_of_day(warehouse, POLICY, day, rules=rules, plan=PLAN)


def test_without_entries_rules_and_their_version_stay_as_they_were(warehouse: Warehouse) -> None:
    plain = DecisionEngine(POLICY, initial_thresholds(POLICY, TODAY), RULES)
    assert engine_on(warehouse, TODAY).rules == RULES
    assert engine_on(warehouse, TODAY).versions[2] == plain.versions[2]
    assert "unless" not in plain.versions[2].content
    added(warehouse)
    assert engine_on(warehouse, TODAY - timedelta(days=1)).versions[2] == plain.versions[2]
    assert engine_on(warehouse, TODAY).versions[2] != plain.versions[2]
    assert HardRules.model_validate_json(engine_on(warehouse, TODAY).versions[2].content).rules[0] == LARGE


@pytest.mark.parametrize(("list_name", "decision"), [("block", "block"), ("allow", "approve"), ("watch", "review")])
def test_a_list_decides_from_the_day_of_its_entry_to_the_last(
    warehouse: Warehouse, list_name: str, decision: str
) -> None:
    added(warehouse, list_name, expires=TODAY + timedelta(days=2))
    for days, listed in ((-1, False), (0, True), (2, True), (3, False)):
        day = TODAY + timedelta(days=days)
        found, reason = decided(engine_on(warehouse, day), day, user_id="u1")
        assert reason == (f"rule:list-{list_name}-user_id" if listed else "below_screening_threshold")
        assert found == (decision if listed else "approve")
        assert decided(engine_on(warehouse, day), day)[1] == "below_screening_threshold"


def test_an_entry_that_is_taken_off_counts_for_the_days_before(warehouse: Warehouse) -> None:
    entry = added(warehouse)
    end_entry(warehouse, entry.entry_id, author="ben", now=NOW + timedelta(days=3))
    for days, decision in ((0, "block"), (2, "block"), (3, "approve")):
        day = TODAY + timedelta(days=days)
        assert decided(engine_on(warehouse, day), day, user_id="u1")[0] == decision
    [ended] = read_entries(warehouse)
    assert (ended.ended_by, ended.ended_on) == ("ben", TODAY + timedelta(days=3))
    with pytest.raises(InvalidInput, match="has ended"):
        end_entry(warehouse, entry.entry_id, author="ben", now=NOW + timedelta(days=4))
    added(warehouse, now=NOW + timedelta(days=4))
    assert len(read_entries(warehouse)) == 2


def test_a_snoozed_entity_is_spared_by_one_rule_alone(warehouse: Warehouse) -> None:
    added(warehouse, "snooze", column="merchant_id", value="m1", rule="large", expires=TODAY)
    engine = engine_on(warehouse, TODAY)
    assert decided(engine, TODAY, amount=500.0, merchant_id="m1")[0] == "approve"
    assert decided(engine, TODAY, amount=500.0, merchant_id="m2") == ("review", "rule:large")
    assert decided(engine, TODAY, amount=500.0, merchant_id=None) == ("review", "rule:large")
    later = TODAY + timedelta(days=1)
    assert decided(engine_on(warehouse, later), later, amount=500.0, merchant_id="m1") == ("review", "rule:large")


def test_block_outranks_allow_which_outranks_rules_and_watch(warehouse: Warehouse) -> None:
    for list_name in ("block", "allow", "watch"):
        added(warehouse, list_name, value="all")
    added(warehouse, "allow", value="friend")
    added(warehouse, "watch", value="friend")
    engine = engine_on(warehouse, TODAY)
    assert decided(engine, TODAY, user_id="all", amount=500.0)[0] == "block"
    assert decided(engine, TODAY, user_id="friend", amount=500.0) == ("approve", "rule:list-allow-user_id")
    codes = engine.rules.reason_codes("rule:list-allow-user_id", ["amount is large"])
    assert codes == ["user_id is on the list allow", "also: amount is large"]


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["block", "allow", "watch", "snooze"]),
        st.sampled_from(["user_id", "merchant_id"]),
        st.sampled_from(["a", "b"]),
    ),
    unique=True,
    max_size=8,
)


@examples(100)
@given(entries=ENTRIES, user=st.sampled_from(["a", "b", "c"]), merchant=st.sampled_from(["a", "b", None]))
def test_a_frame_and_a_single_payment_are_decided_alike(
    entries: list[tuple[str, str, str]], user: str, merchant: str | None
) -> None:
    held = [
        ListEntry("x", name, column, value, "large" if name == "snooze" else None, TODAY, TODAY, "r", "a", None, NOW)
        for name, column, value in entries
    ]
    engine = DecisionEngine(POLICY, initial_thresholds(POLICY, TODAY), with_lists(RULES, held, COLUMNS))
    decision, _ = decided(engine, TODAY, user_id=user, merchant_id=merchant, amount=500.0)
    on = {name for name, column, value in entries if {"user_id": user, "merchant_id": merchant}[column] == value}
    expected = (
        "block"
        if "block" in on
        else "approve"
        if "allow" in on
        else "review"
        if "watch" in on or "snooze" not in on
        else "approve"
    )
    assert decision == expected


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"list_name": "grey"}, "list"),
        ({"column": "nothing"}, "column"),
        ({"column": "amount"}, "column"),
        ({"column": "transaction_id"}, "column"),
        ({"value": "  "}, "value"),
        ({"value": "x" * 10_000}, "value"),
        ({"value": "a\nb"}, "value"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 201}, "reason"),
        ({"author": ""}, "author"),
        ({"expires": TODAY - timedelta(days=1)}, "expires"),
        ({"expires": TODAY + timedelta(days=9_999)}, "expires"),
        ({"list_name": "snooze", "rule": "nobody"}, "rule"),
        ({"list_name": "snooze"}, "rule"),
        ({"rule": "large"}, "rule"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_named_and_nothing_is_stored(
    warehouse: Warehouse, changed: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput, match=field):
        added(warehouse, **({"list_name": "block"} | changed))  # type: ignore[arg-type]
    assert read_entries(warehouse) == []


def test_what_is_on_a_list_is_told_by_whom_and_not_put_there_twice(warehouse: Warehouse) -> None:
    entry = added(warehouse)
    with pytest.raises(InvalidInput, match="by ann: stolen"):
        added(warehouse, author="ben")
    added(warehouse, "watch", column="merchant_id", value="m1")
    transaction = {"user_id": "u1", "merchant_id": "m2", "amount": 5.0, "country": None}
    assert entries_about(warehouse, transaction, day=TODAY) == [entry]
    assert entries_about(warehouse, transaction, day=TODAY - timedelta(days=1)) == []
    assert [each.list_name for each in read_entries(warehouse, list_name="watch")] == ["watch"]


def test_a_rule_with_the_name_of_a_list_is_refused(warehouse: Warehouse) -> None:
    named = LARGE.model_copy(update={"name": "list-block-user_id"})
    added(warehouse)
    with pytest.raises(InvalidInput, match="rename it"):
        engine_on(warehouse, TODAY, HardRules(rules=(named,)))
    assert with_lists(NO_RULES, [], COLUMNS) is NO_RULES


def test_a_file_of_rules_may_name_exceptions(tmp_path: Path) -> None:
    (tmp_path / "friends.txt").write_text("u1\nu2\n")
    file = tmp_path / "rules.yaml"
    text = "rules:\n  - {{name: large, decision: review, expires: 2030-01-01, when: {{amount: 5}}, unless: {}}}\n"
    file.write_text(text.format("{user_id: {in_file: friends.txt}}"))
    [rule] = read_rules(file).rules
    assert rule.unless["user_id"].any_of == ("u1", "u2")
    file.write_text(text.format("{usr_id: 1}"))
    with pytest.raises(InvalidInput, match=r"unless\.usr_id is no column .* did you mean user_id"):
        read_rules(file)
