"""Shadow: what it decides equals its backtest, it touches nothing else, and a promoted rule decides and is logged."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.decisions.audit import audit_decisions
from fraud_pipelines.decisions.configuration import engine_of_day, policy_in_force, rules_in_force
from fraud_pipelines.decisions.decided_day import decide_candidates, read_candidates
from fraud_pipelines.decisions.hard_rules import HardRules
from fraud_pipelines.decisions.log import record_decisions
from fraud_pipelines.decisions.rule_promotions import demote_rule, promote_rule, rules_of_day
from fraud_pipelines.decisions.shadow import decide_day_in_shadow, shadows_of_day
from fraud_pipelines.decisions.shadow_records import DAYS as SHADOW_DAYS
from fraud_pipelines.decisions.shadow_records import DECISIONS as SHADOW_DECISIONS
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.evaluation.backtest_run import Trial, run_backtest
from fraud_pipelines.evaluation.daily_performance import measure_performance, store_performance
from fraud_pipelines.evaluation.estimates import estimate
from fraud_pipelines.evaluation.intervals import known_frauds
from fraud_pipelines.evaluation.outcomes import reporting_delay
from fraud_pipelines.evaluation.rule_backtest import shadow_effect
from fraud_pipelines.evaluation.stored_days import StoredDays
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.conftest import Installation, warehouse_content
from fraud_pipelines_tests.evaluation.stored_days import ROWS, day, make_warehouse, score_by_hash

NUMBER = 5
NOW = datetime(2026, 10, 1)
RULES = """
rules:
  - {name: stop, decision: block, expires: 2027-01-01, when: {amount: {above: 250}}}
  - {name: look, decision: review, expires: 2027-01-01, shadow: true, when: {amount: {above: 60}}}
  - {name: let_pass, decision: approve, expires: 2027-01-01, shadow: true, when: {amount: {at_least: 100}}}
  - {name: never, decision: block, expires: 2027-01-01, shadow: true, when: {amount: {above: 1000000}}}
  - {name: later, decision: block, begins: 2026-12-01, expires: 2027-01-01, shadow: true, when: {amount: {above: 1}}}
"""
SHADOW_TABLES = (SHADOW_DAYS, SHADOW_DECISIONS, "monitoring.shadow_performance")


def installed(folder: Path, *, rules: str = RULES, policies: str = "high_security, customer_friendly") -> Settings:
    """Settings of a data directory whose warehouse has scores of `NUMBER` days, of which nothing is decided."""
    settings = Settings(data_dir=folder, shadow_policies=policies, label_delay_days=1)
    warehouse = make_warehouse(settings.warehouse_path, days=NUMBER)
    score_by_hash(warehouse)
    (folder / "rules.yaml").write_text(rules)
    return settings


def decide(warehouse: Warehouse, settings: Settings, on: date) -> None:
    """What `scoring/decisions` does, without the reasons of alerts, which need models."""
    policy = policy_in_force(settings)
    engine = engine_of_day(warehouse, policy, on, rules=rules_in_force(settings), plan=shipped_plan())
    engine, decided = decide_candidates(engine, read_candidates(warehouse, engine, on))
    rows = decided.with_columns(
        event_date=pl.lit(on),
        reason_codes=pl.lit([], dtype=pl.List(pl.String)),
        model_versions=pl.lit(["fraud-daily/1", "fraud-ensemble/1"]),
    )
    shadow = decide_day_in_shadow(warehouse, shadows_of_day(warehouse, settings, on), rows, on)
    record_decisions(warehouse, rows, engine=engine, day=on, channel="batch", now=NOW, shadow=shadow)


def decide_all(warehouse: Warehouse, settings: Settings) -> None:
    for number in range(NUMBER):
        decide(warehouse, settings, day(number))
    store_performance(warehouse, measure_performance(warehouse, settings, day(NUMBER - 1)), day(NUMBER - 1))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return installed(tmp_path_factory.mktemp("shadow"))


@pytest.fixture(scope="module")
def warehouse(settings: Settings) -> Warehouse:
    """Five days, decided."""
    warehouse = warehouse_at(settings.warehouse_path)
    decide_all(warehouse, settings)
    return warehouse


def stored(warehouse: Warehouse, settings: Settings) -> StoredDays:
    return StoredDays(
        warehouse,
        day(0),
        day(NUMBER - 1),
        channel="batch",
        policy=policy_in_force(settings),
        unreported_share=settings.unreported_share,
    )


@pytest.mark.parametrize("name", ["look", "let_pass", "never"])
def test_a_rule_in_shadow_for_five_days_equals_its_backtest_over_them(
    warehouse: Warehouse, settings: Settings, name: str
) -> None:
    alone = HardRules(rules=tuple(rule for rule in rules_in_force(settings).rules if rule.name == name))
    trial = Trial(day(0), day(NUMBER - 1), rules=alone)
    [expected] = run_backtest(warehouse, settings, shipped_plan(), trial).each
    effect = shadow_effect(stored(warehouse, settings), "rule", name)
    assert effect == expected
    assert (effect.hits.number > 0) == (name != "never")


@pytest.mark.parametrize("name", ["high_security", "customer_friendly"])
def test_a_policy_in_shadow_equals_its_backtest(warehouse: Warehouse, settings: Settings, name: str) -> None:
    trial = Trial(day(0), day(NUMBER - 1), policy_name=name)
    found = run_backtest(warehouse, settings, shipped_plan(), trial)
    effect = shadow_effect(stored(warehouse, settings), "policy", name)
    assert effect == found.of_policy
    assert effect.hits.number > 0


def test_the_rest_of_the_warehouse_is_the_same_with_and_without(
    warehouse: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    live = "\n".join(line for line in RULES.splitlines() if "shadow" not in line)
    without = installed(tmp_path, rules=live, policies="")
    other = warehouse_at(without.warehouse_path)
    decide_all(other, without)
    with_shadow, plain = warehouse_content(warehouse), warehouse_content(other)
    assert all(plain[table].is_empty() for table in SHADOW_TABLES)
    assert not any(with_shadow[table].is_empty() for table in SHADOW_TABLES)
    for table in plain.keys() - set(SHADOW_TABLES):
        assert with_shadow[table].equals(plain[table]), table
    assert audit_decisions(warehouse).head == audit_decisions(other).head


def test_a_rule_is_in_shadow_only_on_its_days_and_also_where_it_hits_nothing(
    warehouse: Warehouse, settings: Settings
) -> None:
    days = warehouse.read(f"SELECT name, count(*), sum(payments) FROM {SHADOW_DAYS} WHERE kind = 'rule' GROUP BY name")
    assert set(days.rows()) == {(name, NUMBER, NUMBER * ROWS) for name in ("look", "let_pass", "never")}
    with pytest.raises(MissingData, match="the rule later was not in shadow from 2026-09-01"):
        shadow_effect(stored(warehouse, settings), "rule", "later")


def test_the_figures_are_those_of_plain_sql(warehouse: Warehouse, settings: Settings) -> None:
    hits, new, frauds = warehouse.read(
        """
        SELECT count(*), count(*) FILTER (d.decision = 'approve'),
               count(*) FILTER (l.actual_fraud)
        FROM raw.transactions t JOIN scoring.decisions d USING (transaction_id)
        LEFT JOIN feedback.labels l USING (transaction_id) WHERE t.amount > 60
        """
    ).row(0)
    alerts = warehouse.read("SELECT count(*) FROM scoring.decisions WHERE decision <> 'approve'").item()
    rows = warehouse.read("FROM monitoring.shadow_performance WHERE name = 'look'").rows_by_key("arm", named=True)
    [shadow], [in_force] = rows["shadow"], rows["in force"]
    assert (shadow["hits"], shadow["alerts"], in_force["alerts"]) == (hits, alerts + new, alerts)
    assert shadow["days"] == NUMBER
    assert shadow["blocks"] == in_force["blocks"]
    assert frauds > 0
    # The same by the labels known at the end of the last day, in plain Python.
    known = warehouse.read(
        """
        SELECT t.user_id, t.amount, d.decision <> 'approve' OR t.amount > 60 AS alert, l.late
        FROM feedback.reported_before($known_before::TIMESTAMP) l
        JOIN scoring.decisions d USING (transaction_id) JOIN raw.transactions t USING (transaction_id)
        WHERE l.actual_fraud ORDER BY d.event_date, t.user_id, t.amount
        """,
        {"known_before": day(NUMBER)},
    )
    policy = policy_in_force(settings)
    reported = reporting_delay(warehouse, day(NUMBER - 1)).reported({day(number): ROWS for number in range(NUMBER)})
    expected = estimate(
        known_frauds(known),
        alerts=alerts + new,
        labelled=known.height,
        reported=reported,
        review_cost=policy.review_cost,
        loss_share=policy.loss_share,
        unreported_share=settings.unreported_share,
    )
    assert (shadow["frauds"], shadow["labelled"]) == (known.height, known.height)
    for name in ("precision", "recall", "cost"):
        figure = getattr(expected, name)
        assert [shadow[name + end] for end in ("", "_low", "_high")] == [figure.value, figure.low, figure.high]


def test_a_day_that_is_decided_again_replaces_what_was_in_shadow_and_forgets_what_no_longer_is(tmp_path: Path) -> None:
    settings = installed(tmp_path)
    warehouse = warehouse_at(settings.warehouse_path)
    decide(warehouse, settings, day(0))
    before = [warehouse.read(f"FROM {table} ORDER BY ALL") for table in SHADOW_TABLES[:2]]
    decide(warehouse, settings, day(0))
    after = [warehouse.read(f"FROM {table} ORDER BY ALL") for table in SHADOW_TABLES[:2]]
    assert [frame.equals(other) for frame, other in zip(before, after, strict=True)] == [True, True]
    (tmp_path / "rules.yaml").write_text("rules: []\n")
    decide(warehouse, settings.model_copy(update={"shadow_policies": ""}), day(0))
    assert all(warehouse.read(f"FROM {table}").is_empty() for table in SHADOW_TABLES[:2])


def test_a_promoted_rule_decides_from_its_day_on_and_the_log_holds_it(tmp_path: Path) -> None:
    settings = installed(tmp_path, policies="")
    warehouse, rules = warehouse_at(settings.warehouse_path), rules_in_force(settings)
    promoted_at = datetime.combine(day(1), datetime.min.time(), UTC)
    promotion = promote_rule(warehouse, rules, "look", reason="it finds them", author="ann", now=promoted_at)
    decide(warehouse, settings, day(0))
    decide(warehouse, settings, day(1))
    decided = warehouse.read("SELECT event_date FROM scoring.decisions WHERE reason = 'rule:look'")
    assert set(decided["event_date"]) == {day(1)}
    in_shadow = warehouse.read(f"SELECT event_date FROM {SHADOW_DAYS} WHERE name = 'look'")
    assert in_shadow["event_date"].to_list() == [day(0)]
    logged = warehouse.read(
        """
        SELECT DISTINCT event_date, content FROM scoring.decision_revisions
        JOIN scoring.policy_versions ON hash = rules_hash ORDER BY event_date
        """
    )
    names = [[rule["name"] for rule in json.loads(content)["rules"]] for content in logged["content"]]
    assert names == [["stop"], ["stop", "look"]]
    assert json.loads(promotion.content) == json.loads(logged["content"][1])["rules"][1]
    assert "shadow" not in promotion.content
    assert not audit_decisions(warehouse).findings

    demote_rule(warehouse, "look", author="ben", now=promoted_at + timedelta(days=2))
    assert [rule.name for rule in rules_of_day(warehouse, rules, day(2)).rules] == ["stop", "look"]
    assert [rule.name for rule in rules_of_day(warehouse, rules, day(3)).rules] == ["stop"]


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("nobody", "r", "there is no rule 'nobody'; in shadow there are look, let_pass"),
        ("stop", "r", "the rule stop is not in shadow"),
        ("look", " ", "reason: say it"),
        ("look", "x" * 10_000, "reason: has 10,000 characters"),
        ("look", "a\nb", "reason: has control characters"),
    ],
)
def test_what_can_t_be_promoted_is_told(
    warehouse: Warehouse, settings: Settings, name: str, reason: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        promote_rule(warehouse, rules_in_force(settings), name, reason=reason, author="ann", now=NOW)
    assert warehouse.read("FROM scoring.rule_promotions").is_empty()


def test_a_policy_that_is_in_force_or_unknown_can_t_be_in_shadow(warehouse: Warehouse, settings: Settings) -> None:
    for names, message in (("balanced", "balanced is the policy in force"), ("nobody", "no policy is named 'nobody'")):
        with pytest.raises(InvalidInput, match=message):
            shadows_of_day(warehouse, settings.model_copy(update={"shadow_policies": names}), day(0))


def test_the_commands_compare_promote_and_put_back(installation: Installation) -> None:
    data_dir = installation.settings.data_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    settings = installed(data_dir, policies="high_security")
    decide_all(warehouse_at(settings.warehouse_path), settings)
    file = data_dir / "rules.yaml"
    before = hashlib.sha256(file.read_bytes()).hexdigest()

    rows = json.loads(installation.invoke("rules", "shadow", "--format", "json"))
    names = ("look", "let_pass", "never", "high_security")
    assert {(row["name"], row["arm"]) for row in rows} == {*product(names, ("shadow", "in force"))}
    assert "rule look, batch, 5 days from 2026-09-01 to 2026-09-05" in installation.invoke("rules", "shadow")
    assert "in shadow" in installation.invoke("rules", "show")
    assert "decides payments from" in installation.invoke("rules", "promote", "look", "--reason", "good", "--by", "ann")
    assert "decides since" in installation.invoke("rules", "promote", "look", "--reason", "good", succeeds=False)
    rule_lines = [line for line in installation.invoke("rules", "show").splitlines() if "look" in line]
    assert "in shadow" not in " ".join(rule_lines)
    assert "is in shadow again" in installation.invoke("rules", "demote", "look", "--by", "ben")
    assert "no rule 'look' was promoted" in installation.invoke("rules", "demote", "look", succeeds=False)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before
