"""Policies and rules from YAML: what they may say, which file is read, and what a mistake is answered with."""

from datetime import date
from pathlib import Path

import pytest

from fraud_pipelines.decisions.configuration import (
    engine_in_force,
    policies,
    policy_in_force,
    read_policies,
    read_rules,
    rules_in_force,
)
from fraud_pipelines.decisions.hard_rules import NO_RULES
from fraud_pipelines.decisions.policies import POLICIES, Policy, policy_named
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at

EXAMPLES = Path(__file__).parents[2] / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.yaml"


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def test_the_examples_that_ship_are_valid() -> None:
    read = read_policies(EXAMPLES / "policies.example.yaml")
    rules = read_rules(EXAMPLES / "rules.example.yaml")
    assert read.keys() >= {"night_shift"}
    assert {rule.decision for rule in rules.rules} == {"block", "approve", "review"}


def test_a_policy_takes_what_it_leaves_out_from_the_one_it_is_based_on(file: Path) -> None:
    read = read_policies(
        written(
            file,
            """
            policies:
              own: {based_on: high_security, review_threshold: 0.35, second_stage: fraud-supervised}
              balanced: {review_cost: 7}
              plain: {review_threshold: 0.5, contamination: 0.01}
            """,
        )
    )
    high, balanced = policy_named("high_security"), policy_named("balanced")
    changed = {"name": "own", "review_threshold": 0.35, "second_stage": "fraud-supervised"}
    assert read["own"] == high.model_copy(update=changed)
    assert read["balanced"] == balanced.model_copy(update={"review_cost": 7.0})
    assert (read["plain"].block_threshold, read["plain"].segments) == (0.8, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policies: {own: {based_on: balanced, review_threshold: 1.2}}", "policy 'own', field review_threshold: .*1.2"),
        ("policies: {own: {based_on: balanced, review_threshold: -0.1}}", "policy 'own', field review_threshold"),
        ("policies: {own: {based_on: balanced, review_threshold: high}}", "field review_threshold: .*number.*'high'"),
        ("policies: {own: {based_on: balanced, review_threshold: .nan}}", "policy 'own', field review_threshold"),
        (
            "policies: {own: {based_on: balanced, review_treshold: 0.5}}",
            "review_treshold: is no such field; .*block_th",
        ),
        ("policies: {own: {based_on: balanced, review_threshold: 0.9}}", "policy 'own': .*0.9 lies above block_thresh"),
        ("policies: {own: {based_on: lenient}}", "policy 'own', field based_on: 'lenient' is none of balanced, "),
        ("policies: {own: {based_on: [balanced]}}", "policy 'own', field based_on"),
        ("policies: {own: {review_threshold: 0.5}}", "policy 'own', field contamination: is required"),
        ("policies: {own: {}}", "policy 'own', field review_threshold: is required; field contamination: is required"),
        (
            "policies: {own: {based_on: balanced, second_stage: fraud-nightly}}",
            "field second_stage: .*'fraud-supervised'",
        ),
        ("policies: {o'hara: {based_on: balanced}}", "field name: string should match pattern"),
        ("policies: {own: 0.5}", "policy 'own': expected fields"),
        ("policies: {1: {based_on: balanced}}", "policy 1: the name is not text"),
        ("policies: {a: {based_on: balanced}, a: {based_on: balanced}}", "'a' stands twice"),
        ("policies: [own]", "expected the key policies alone, and under it each by its name"),
        ("policy: {}", "expected the key policies alone"),
        ("", "expected the key policies alone"),
        ("policies: {own: ", "is no valid YAML"),
        ("policies: {own: !!python/object/apply:os.getcwd []}", "is no valid YAML"),
        (
            "policies: {own: {based_on: balanced, segments: [{name: a, country: NO, block_threshold: 0.7}]}}",
            r"field segments.0.country: .*",
        ),
        (
            "policies: {own: {based_on: balanced, segments: [{name: a, country: [NO], block_threshold: 0.7}]}}",
            r"field segments.0.country.0: .*False is none: put it in quotes",
        ),
        (
            "policies: {own: {based_on: balanced, segments: [{name: a, town: Oslo, block_threshold: 0.7}]}}",
            r"field segments.0: town is neither a field nor a text column of a transaction",
        ),
        (
            "policies: {own: {based_on: balanced, segments: [{name: a, country: SE, block_threshold: 7}]}}",
            r"field segments.0.block_threshold: ",
        ),
        (
            "policies: {own: {based_on: balanced, segments: [{name: a, country: SE}]}}",
            r"field segments.0: a segment needs review_threshold or block_threshold",
        ),
        (
            "policies: {own: {based_on: balanced, segments: [{name: a, block_threshold: 0.7}]}}",
            r"field segments.0: a segment needs merchant_category, country or another text column",
        ),
        (
            "policies: {own: {based_on: balanced, segments: [&a {name: a, country: SE, block_threshold: 0.7}, *a]}}",
            r"policy 'own': two segments are named 'a'",
        ),
    ],
)
def test_a_mistake_in_a_policy_is_answered_with_file_policy_and_field(file: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        read_policies(written(file, text))
    assert str(file) in str(refused.value)


def test_rules_are_read_with_their_short_forms_and_lists_from_files(file: Path) -> None:
    (file.parent / "stolen.txt").write_text("# known since Monday\nc1\n\n c2 \n")
    rules = read_rules(
        written(
            file,
            """
            rules:
              - name: block_stolen
                decision: block
                expires: 2026-12-31
                when: {user_id: {in_file: stolen.txt}, amount: {above: 500}}
              - name: allow_own
                decision: approve
                begins: 2026-01-01
                expires: 2026-12-31
                when: {merchant_id: m1, country: ["NO", SE], is_night: 1}
            """,
        )
    )
    block, allow = rules.rules
    assert block.when["user_id"].any_of == ("c1", "c2")
    assert block.when["amount"].above == 500
    assert [allow.when[name].any_of for name in allow.when] == [("m1",), ("NO", "SE"), (1.0,)]
    assert (allow.begins, allow.expires) == (date(2026, 1, 1), date(2026, 12, 31))
    assert rules.columns == ("event_date", "user_id", "amount", "merchant_id", "country", "is_night")


RULE = "rules: [{{name: a, decision: block, expires: 2026-12-31, when: {}}}]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RULE.format("{amnt: {above: 5}}"), "rule 'a': when.amnt is no column .*did you mean amount"),
        (RULE.format("{zzzz: 5}"), "rule 'a': when.zzzz is no column .*docs/features.md"),
        (RULE.format("{amount: '500'}"), "rule 'a': when.amount: amount is a number, and '500' is not"),
        (RULE.format("{amount: {above: '500'}}"), "rule 'a', field when.amount.above: .*number"),
        (RULE.format("{amount: {above: true}}"), "rule 'a', field when.amount.above: .*number"),
        (RULE.format("{amount: {over: 500}}"), "field when.amount.over: is no such field; there are any_of"),
        (RULE.format("{merchant_id: 17}"), "merchant_id is text, and 17 is not: put it in quotes"),
        (RULE.format("{merchant_id: {above: 5}}"), "merchant_id is text, which above can't compare"),
        (RULE.format("{country: NO}"), "rule 'a': when.country: country is text, and false is not: put it in quotes"),
        (RULE.format("{country: []}"), "rule 'a', field when.country.any_of"),
        (RULE.format("{country: {}}"), "rule 'a', field when.country: is empty"),
        (
            RULE.format("{country: {missing: true, any_of: [SE]}}"),
            "field when.country: a missing value can't be any_of",
        ),
        (RULE.format("{amount: {above: .inf}}"), "rule 'a', field when.amount.above"),
        (RULE.format("{}"), "rule 'a', field when: "),
        (RULE.format("{amount: {above: 1}, amount: {below: 5}}"), "'amount' stands twice"),
        (RULE.format("{user_id: {in_file: nowhere.txt}}"), "rule 'a', field when.user_id: .*nowhere.txt can't be read"),
        (RULE.format("{user_id: {in_file: empty.txt}}"), "field when.user_id: .*empty.txt lists nothing"),
        (RULE.format("{user_id: {in_file: [a, b]}}"), "field when.user_id: in_file names one file"),
        ("rules: [{name: a, decision: block, when: {amount: 1}}]", "rule 'a', field expires: is required"),
        (
            "rules: [{name: a, decision: block, expires: never, when: {amount: 1}}]",
            "rule 'a', field expires: .*'never'",
        ),
        ("rules: [{decision: block, expires: 2026-12-31, when: {amount: 1}}]", "rule 1, field name: is required"),
        ("rules: [{name: a b, decision: block, expires: 2026-12-31, when: {amount: 1}}]", "rule 'a b', field name: "),
        ("rules: [{name: a, decision: stop, expires: 2026-12-31, when: {amount: 1}}]", "field decision: .*'block'"),
        (
            "rules: [{name: a, decision: block, begins: 2027-01-01, expires: 2026-12-31, when: {amount: 1}}]",
            "rule 'a': expires 2026-12-31 lies before begins 2027-01-01",
        ),
        (
            "rules: [&a {name: a, decision: block, expires: 2026-12-31, when: {amount: 1}}, *a]",
            "two rules are named 'a'",
        ),
        ("rules: [amount > 500]", "rule 1: expected name, decision, expires and when"),
        ("rules: {a: 1}", "expected the key rules alone, and under it a list of them"),
        ("rules:\n  - name: a\n decision: block", "is no valid YAML"),
        ("rules: [!!python/object/apply:os.getcwd []]", "is no valid YAML"),
    ],
)
def test_a_mistake_in_a_rule_is_answered_with_file_rule_and_field(file: Path, text: str, message: str) -> None:
    (file.parent / "empty.txt").write_text("# nobody\n")
    with pytest.raises(InvalidInput, match=message) as refused:
        read_rules(written(file, text))
    assert str(file) in str(refused.value)


def test_the_files_lie_in_the_data_directory_or_where_the_settings_say(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, policy="own")
    assert policies(settings) is POLICIES
    assert rules_in_force(settings) is NO_RULES
    with pytest.raises(InvalidInput, match="no policy is named 'own'; choose one of balanced, "):
        policy_in_force(settings)

    written(tmp_path / "policies.yaml", "policies: {own: {based_on: balanced}}")
    written(tmp_path / "rules.yaml", RULE.format("{amount: {above: 5}}"))
    assert policy_in_force(settings).name == "own"
    assert [rule.name for rule in rules_in_force(settings).rules] == ["a"]

    elsewhere = settings.model_copy(update={"policies_file": tmp_path / "p.yaml", "rules_file": tmp_path / "r.yaml"})
    for read, name in ((policies, "p.yaml"), (rules_in_force, "r.yaml")):
        with pytest.raises(InvalidInput, match=f"{name} can't be read"):
            read(elsewhere)


def test_a_policy_whose_block_threshold_is_edited_blocks_by_it_although_the_review_threshold_was_tuned(
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=tmp_path, policy="own")
    warehouse = warehouse_at(settings.warehouse_path)
    warehouse.initialise()
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO monitoring.decision_thresholds BY NAME SELECT DATE '2026-03-01' AS effective_date, "
            "'own' AS policy, 0.62 AS review_threshold, 0.8 AS block_threshold, 0.01 AS contamination, "
            "'min_cost' AS objective, '{}' AS evidence"
        )
    levels = []
    for block in (0.8, 0.9, 0.6):
        written(tmp_path / "policies.yaml", f"policies: {{own: {{based_on: balanced, block_threshold: {block}}}}}")
        thresholds = engine_in_force(warehouse, settings, date(2026, 3, 2)).thresholds
        levels.append((thresholds.review_threshold, thresholds.block_threshold))
    assert levels == [(0.62, 0.8), (0.62, 0.9), (0.6, 0.6)]


@pytest.mark.parametrize("written", ["2026-13-45", "2026-02-30", "20261231", "yes", "soon", "[1]", "0b_"])
@pytest.mark.parametrize("field", ["begins", "expires"])
def test_what_is_no_day_is_told_with_the_file_the_rule_and_the_field(tmp_path: Path, field: str, written: str) -> None:
    other = {"begins": "expires: 2027-01-01", "expires": "begins: 2026-01-01"}[field]
    file = tmp_path / "rules.yaml"
    file.write_text(f"rules:\n  - {{name: a, decision: block, {other}, {field}: {written}, when: {{amount: 1}}}}\n")
    with pytest.raises(InvalidInput, match=rf"rules\.yaml: rule 'a', field {field}: .* is no day; write it as 2026-"):
        read_rules(file)


@pytest.mark.parametrize("written", ["2026-13-45", "2026-01-01", "yes", "0b_", ".nan", "[1]", "9" * 5000])
def test_what_is_no_number_is_told_with_the_file_and_the_field(tmp_path: Path, written: str) -> None:
    file = tmp_path / "rules.yaml"
    asked = f"{{amount: {{above: {written}}}}}"
    file.write_text(f"rules:\n  - {{name: a, decision: block, expires: 2027-01-01, when: {asked}}}\n")
    with pytest.raises(InvalidInput, match=r"rules\.yaml: rule 'a', field when\.amount\.above: "):
        read_rules(file)
    for name in Policy.model_fields:
        if name not in {"name", "objective", "second_stage", "gate", "audit_blind", "segments"}:
            file.write_text(f"policies:\n  own: {{based_on: balanced, {name}: {written}}}\n")
            with pytest.raises(InvalidInput, match=rf"rules\.yaml: policy 'own', field {name}: "):
                read_policies(file)
    file.write_text(f"policies:\n  own: {{based_on: balanced, segments: [{{name: s, block_threshold: {written}}}]}}\n")
    with pytest.raises(InvalidInput, match=r"policy 'own', field segments\.0\.block_threshold: "):
        read_policies(file)
