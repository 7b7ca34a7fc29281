"""Rules and policies tried on stored days: what they hit and change is what the engine itself would have decided."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from fraud_pipelines.decisions.decided_day import decide_candidates, read_candidates
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRule, HardRules
from fraud_pipelines.decisions.log import record_decisions
from fraud_pipelines.decisions.policies import POLICIES, Policy, initial_thresholds
from fraud_pipelines.errors import MissingData
from fraud_pipelines.evaluation.frauds_among import KnownOutcomes, draw_frauds
from fraud_pipelines.evaluation.lateness import ReportingDelay
from fraud_pipelines.evaluation.rule_backtest import Effect, backtest_policy, backtest_rules
from fraud_pipelines.evaluation.stored_days import StoredDays
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.evaluation.stored_days import ROWS, day, make_warehouse, score_by_hash
from fraud_pipelines_tests.examples import examples

DAYS = 4
NOW = datetime(2026, 10, 1)
POLICY = POLICIES["balanced"].model_copy(update={"second_stage": "fraud-ensemble", "alert_budget": 1000.0})
ENDED = date(2020, 1, 1)
"""Rules are tried whatever the days that they are dated for."""


def rule(name: str, decision: str, when: Mapping[str, object], *, expires: date = ENDED) -> HardRule:
    return HardRule.model_validate({"name": name, "decision": decision, "expires": expires, "when": when})


def in_force(rules: HardRules) -> HardRules:
    """The same rules, dated for the stored days."""
    return HardRules(rules=tuple(each.model_copy(update={"expires": date(2030, 1, 1)}) for each in rules.rules))


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Scores of four days, of which nothing is decided yet."""
    warehouse = make_warehouse(tmp_path_factory.mktemp("backtest") / "fraud.duckdb", days=DAYS)
    score_by_hash(warehouse)
    return warehouse


def decide(warehouse: Warehouse, rules: HardRules, policy: Policy = POLICY) -> dict[str, str]:
    """Let the engine decide all days, store that, and give the decisions."""
    found: dict[str, str] = {}
    for number in range(DAYS):
        engine, decided = decided_by(warehouse, policy, in_force(rules), day(number))
        rows = decided.with_columns(
            event_date=pl.lit(day(number)),
            reason_codes=pl.lit([], dtype=pl.List(pl.String)),
            model_versions=pl.lit(["fraud-daily/1", "fraud-ensemble/1"]),
        )
        record_decisions(warehouse, rows, engine=engine, day=day(number), channel="batch", now=NOW)
        found |= dict(decided.select("transaction_id", "decision").iter_rows())
    return found


def decided_by(warehouse: Warehouse, policy: Policy, rules: HardRules, on: date) -> tuple[DecisionEngine, pl.DataFrame]:
    engine = DecisionEngine(policy, initial_thresholds(policy, on), rules)
    return decide_candidates(engine, read_candidates(warehouse, engine, on))


def would_decide(warehouse: Warehouse, rules: HardRules, policy: Policy = POLICY) -> dict[str, str]:
    frames = [decided_by(warehouse, policy, in_force(rules), day(number))[1] for number in range(DAYS)]
    return dict(pl.concat(frames).select("transaction_id", "decision").iter_rows())


def stored_days(warehouse: Warehouse, *, last: int = DAYS - 1) -> StoredDays:
    return StoredDays(warehouse, day(0), day(last), channel="batch", policy=POLICY, unreported_share=0.3)


def counts(effect: Effect) -> tuple[int, int, int]:
    return effect.new_alerts.number, effect.spared_alerts.number, effect.new_blocks


def compared(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[int, int, int]:
    """New alerts, spared ones and new blocks between two sets of decisions."""
    pairs = [(before[each], after[each]) for each in before]
    return (
        sum(was == "approve" != becomes for was, becomes in pairs),
        sum(was != "approve" == becomes for was, becomes in pairs),
        sum(was != "block" == becomes for was, becomes in pairs),
    )


CONDITIONS = st.fixed_dictionaries({"amount": st.sampled_from([{"above": 60}, {"below": 40}, {"at_least": 100}])})
SETS = st.lists(st.tuples(st.sampled_from(["block", "approve", "review"]), CONDITIONS), max_size=3).map(
    lambda chosen: HardRules(rules=tuple(rule(f"rule_{n}", *each) for n, each in enumerate(chosen)))
)


@given(then=SETS, tried=SETS)
@examples(15, unchecked=[HealthCheck.function_scoped_fixture])
def test_all_rules_together_change_what_the_engine_would_have_decided_otherwise(
    warehouse: Warehouse, then: HardRules, tried: HardRules
) -> None:
    before = decide(warehouse, then)
    _, together = backtest_rules(stored_days(warehouse), tried)
    assert counts(together) == compared(before, would_decide(warehouse, tried))


@given(tried=SETS, list_name=st.sampled_from(["block", "allow", "watch"]))
@examples(10, unchecked=[HealthCheck.function_scoped_fixture])
def test_what_a_list_decided_holds_as_a_rule_of_its_kind(
    warehouse: Warehouse, tried: HardRules, list_name: str
) -> None:
    named = {"block": "block", "allow": "approve", "watch": "review"}[list_name]
    listed = rule(f"list-{list_name}-user_id", named, {"user_id": [f"u{number}" for number in range(0, ROWS, 3)]})
    before = decide(warehouse, HardRules(rules=(listed,)))
    _, together = backtest_rules(stored_days(warehouse), tried)
    assert counts(together) == compared(before, would_decide(warehouse, HardRules(rules=(*tried.rules, listed))))


def test_hits_new_alerts_and_frauds_of_a_rule_are_those_that_sql_counts(warehouse: Warehouse) -> None:
    decide(warehouse, HardRules())
    look, let_pass, both = (
        rule("look", "review", {"amount": {"above": 60}}),
        rule("let_pass", "approve", {"amount": {"at_least": 100}}),
        rule("both", "block", {"amount": {"above": 60}, "user_z": {"below": 1}}),
    )
    (looked, passed, blocked), _ = backtest_rules(stored_days(warehouse), HardRules(rules=(look, let_pass, both)))

    def counted(where: str) -> tuple[int, int, int]:
        found: tuple[int, int, int] = warehouse.read(
            f"""
            SELECT count(*), count(*) FILTER (d.decision = 'approve'), count(*) FILTER (l.actual_fraud)
            FROM scoring.decisions d JOIN features.transaction_features f USING (transaction_id)
            JOIN raw.transactions t USING (transaction_id) LEFT JOIN feedback.labels l USING (transaction_id)
            WHERE {where}
            """
        ).row(0)
        return found

    hits, approved, frauds = counted("t.amount > 60")
    assert (looked.hits.number, looked.new_alerts.number, looked.hits.known_frauds) == (hits, approved, frauds)
    assert looked.spared_alerts.number == 0
    hits, approved, _ = counted("t.amount >= 100")
    assert (passed.hits.number, passed.new_alerts.number, passed.spared_alerts.number) == (hits, 0, hits - approved)
    hits, approved, _ = counted("t.amount > 60 AND f.user_z < 1")
    assert (blocked.hits.number, blocked.new_alerts.number) == (hits, approved)
    assert looked.overlap == {"let_pass": passed.hits.number, "both": blocked.hits.number}
    assert len(looked.counter_examples) == 10
    assert all(each["known"] == "no label" for each in looked.counter_examples)
    amounts = [each["amount"] for each in looked.counter_examples]
    assert amounts == sorted(amounts, reverse=True)  # type: ignore[type-var]


def test_labels_are_told_as_known_then_and_as_known_now(warehouse: Warehouse) -> None:
    decide(warehouse, HardRules())
    (every,), _ = backtest_rules(
        stored_days(warehouse, last=1), HardRules(rules=(rule("every", "review", {"amount": {"at_least": 0}}),))
    )
    # Chargebacks come after two days: at the end of the second day none was known.
    assert (every.hits.number, every.hits.known_frauds_then, every.hits.known_frauds) == (2 * ROWS, 0, 16)
    assert every.recall is not None
    assert every.recall.value == 1.0


def test_a_policy_that_decided_changes_nothing_and_another_what_the_engine_says(warehouse: Warehouse) -> None:
    before = decide(warehouse, HardRules())

    def tried(policy: Policy) -> Effect:
        engines = {
            day(number): DecisionEngine(policy, initial_thresholds(policy, day(number))) for number in range(DAYS)
        }
        return backtest_policy(stored_days(warehouse), engines)

    assert counts(tried(POLICY)) == (0, 0, 0)
    stricter = POLICY.model_copy(update={"review_threshold": 0.3, "block_threshold": 0.6})
    assert counts(tried(stricter)) == compared(before, would_decide(warehouse, HardRules(), stricter))
    capped = stricter.model_copy(update={"alert_budget": 10.0})
    effect = tried(capped)
    assert effect.hits.number == DAYS * capped.most_alerts(ROWS)
    assert effect.alerts_per_day == capped.most_alerts(ROWS)


def test_what_the_models_had_alerted_beyond_the_cap_stays_approved(warehouse: Warehouse) -> None:
    capped = POLICY.model_copy(update={"alert_budget": 10.0})
    decide(warehouse, HardRules(rules=(rule("let_pass", "approve", {"amount": {"at_least": 30}}),)), capped)
    _, together = backtest_rules(stored_days(warehouse), HardRules(rules=(rule("none", "review", {"amount": -1}),)))
    ranked_above = warehouse.read(
        """
        WITH lowest AS (
            SELECT event_date, min(score) AS cut FROM scoring.decisions WHERE decision <> 'approve' GROUP BY event_date
        )
        SELECT count(*) FROM scoring.decisions JOIN lowest USING (event_date)
        WHERE reason = 'rule:let_pass' AND score > cut
        """
    ).item()
    assert together.new_alerts.number == ranked_above
    assert ranked_above > 0


def test_nothing_decided_is_said(warehouse: Warehouse) -> None:
    decide(warehouse, HardRules())
    with pytest.raises(MissingData, match="nothing was decided from 2030-01-01 to 2030-01-02 in the channel stream"):
        StoredDays(warehouse, date(2030, 1, 1), date(2030, 1, 2), channel="stream", policy=POLICY, unreported_share=0.3)


def test_the_estimate_of_frauds_holds_the_truth_while_most_are_unknown() -> None:
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        payments = {day(number): 400 for number in range(20)}
        frauds = rng.binomial(400, 0.02, size=20)
        delays = [np.round(rng.lognormal(2.3, 0.5, size=number)) for number in frauds]
        reported = [rng.random(number) > 0.3 for number in frauds]
        known = [int((reported[n] & (n + delays[n] <= 20)).sum()) for n in range(20)]
        chargebacks = pl.DataFrame(
            [
                {"event_date": day(n), "known_on": day(n + int(delay)), "chargebacks": 1}
                for n in range(20)
                for delay in delays[n][reported[n] & (n + delays[n] <= 20)]
            ]
        )
        outcomes = KnownOutcomes(payments, {}, sum(known), sum(known))
        draws = draw_frauds(outcomes, ReportingDelay(chargebacks, day(20)), unreported_share=0.3)
        assert draws is not None
        held += draws.range.low <= frauds.sum() <= draws.range.high
        assert draws.range.low >= sum(known)
    assert held >= 36


def test_what_is_reviewed_is_known_and_without_a_chargeback_nothing_is_said_of_the_rest() -> None:
    no_chargebacks = pl.DataFrame(schema={"event_date": pl.Date, "known_on": pl.Date, "chargebacks": pl.Int64})
    delay = ReportingDelay(no_chargebacks, day(20))
    reviewed = draw_frauds(KnownOutcomes({day(0): 5}, {day(0): 5}, 3, 0), delay, unreported_share=0.3)
    assert reviewed is not None
    assert (reviewed.range.low, reviewed.range.value, reviewed.range.high) == (3, 3, 3)
    assert draw_frauds(KnownOutcomes({day(0): 5}, {day(0): 4}, 3, 0), delay, unreported_share=0.3) is None


def test_the_command_tells_it_as_json_and_leaves_every_byte_as_it_was(
    installation: Installation, tmp_path: Path
) -> None:
    installation.data_dir.mkdir(parents=True, exist_ok=True)
    made = make_warehouse(installation.settings.warehouse_path, days=DAYS)
    with made.transaction() as connection:
        connection.execute(
            """
            INSERT INTO scoring.transaction_scores
            SELECT transaction_id, 'fraud-daily', 'batch', event_date, 1, 0.3, 0.3, false, event_date
            FROM features.transaction_features
            """
        )
    decide(made, HardRules())
    installation.invoke("status")
    file = tmp_path / "tried.yaml"
    file.write_text("rules:\n  - {name: large, decision: review, expires: 2027-01-01, when: {amount: {above: 60}}}\n")
    days = ("--from", str(day(0)), "--to", str(day(DAYS - 1)))

    path = installation.settings.warehouse_path
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    told: dict[str, Any] = json.loads(
        installation.invoke("backtest", "--rules", str(file), "--review-threshold", "0.2", *days, "--format", "json")
    )
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    (large,) = told["rules"]
    assert large["hits"] == made.read("SELECT count(*) FROM raw.transactions WHERE amount > 60").item()
    assert {"name", "new_alerts", "spared_alerts", "known_frauds", "estimated_frauds"} <= large.keys()
    assert told["policy"]["new_alerts"] == told["policy"]["hits"] > 0
    assert "large (review)" in installation.invoke("backtest", "--rules", str(file), *days)
    assert "1 rule, which look at amount" in installation.invoke("rules", "check", str(file))
    assert "amount above 60" in " ".join(installation.invoke("rules", "show", str(file)).split())
    assert "balanced, in force" in installation.invoke("policies", "show", "balanced")

    for arguments, message in (
        (("--from", str(day(1)), "--to", str(day(0))), "lies before from"),
        (days, "there is no rule to try"),
        ((*days, "--policy", "nobody"), "no policy is named 'nobody'"),
        ((*days, "--policy", "balanced", "--channel", "stream"), "a policy is tried on the scores of the daily run"),
        ((*days, "--review-threshold", "1.5"), "thresholds lie from 0 to 1"),
    ):
        assert message in installation.invoke("backtest", *arguments, succeeds=False)
    file.write_text("rules:\n  - {name: large, decision: review, expires: 2027-01-01, when: {amont: 1}}\n")
    assert "did you mean amount?" in installation.invoke("backtest", "--rules", str(file), *days, succeeds=False)
