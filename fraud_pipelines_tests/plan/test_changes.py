"""What a change of declarations would do, told before it is made."""

from pathlib import Path

import pytest

from fraud_pipelines.plan.changes import Difference, changes
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines_tests.plan.files import plan_of

BEFORE = """
    attributes: {status: {type: text}, fee: {type: number, min: 0}, old: {type: text}}
    entities:
      shop: {key: status, aggregates: [{how: sum, of: fee, over: 24h, name: paid}, {how: count, over: 5, name: gone}]}
    features: {share: {sql: paid / (amount + 1), daily: true}}
"""


def test_of_the_same_declarations_nothing_changes() -> None:
    found = changes(compile_plan(), compile_plan())
    assert not found
    assert (found.cold, found.daily_models, found.supervised_model) == ({}, False, False)


def test_what_is_new_gone_or_computed_otherwise_is_named(tmp_path: Path) -> None:
    after = """
        attributes: {status: {type: text, required: true}, fee: {type: number, min: 1}, new: {type: number}}
        entities:
          shop: {key: status, aggregates: [{how: sum, of: fee, over: 7d, name: paid}]}
        features: {share: {sql: paid / (amount + 1), daily: true}, more: {sql: new * 2}}
    """
    found = changes(plan_of(tmp_path, BEFORE), plan_of(tmp_path, after))
    assert found.columns == Difference(("new",), ("old",), {"status": "required: False → True", "fee": "min: 0 → 1"})
    assert found.features == Difference(
        ("more",), ("gone",), {"paid": "computed otherwise", "share": "computed otherwise"}
    )
    assert found.cold == {"shop": "7 d"}
    assert (found.daily_models, found.supervised_model) == (True, True)


@pytest.mark.parametrize(
    ("aggregate", "reach"),
    [
        ("{how: max, of: fee, over: [1h, 2d, 9]}", "2 d and 9 transactions"),
        ("{how: outsized, of: fee, options: {window: 20}}", "14 d and 20 transactions"),
        ("{how: days_since_first}", "all that came before"),
    ],
)
def test_a_cold_entity_tells_how_far_back_it_looks(tmp_path: Path, aggregate: str, reach: str) -> None:
    after = BEFORE.replace("features:", f"  town: {{key: city, aggregates: [{aggregate}]}}\n    features:")
    assert changes(plan_of(tmp_path, BEFORE), plan_of(tmp_path, after)).cold == {"town": reach}


@pytest.mark.parametrize(
    ("words", "replaced", "daily", "supervised"),
    [
        ("old: {type: text}", "old: {type: text}, unused: {type: text}", False, False),
        ("old: {type: text}", "old: {type: text, role: label}", False, False),
        ("min: 0", "min: 0, role: numeric", False, True),
        ("min: 0", "min: 0, daily: true", True, True),
        ("name: gone", "name: gone, description: words", False, False),
        ("amount + 1), daily: true", "amount + 1), daily: true, group: costs", False, False),
        ("over: 5, name: gone", "over: 6, name: gone", False, True),
        ("over: 5, name: gone", "over: 5, name: gone, direction: low", False, True),
        ("amount + 1", "amount + 2", True, True),
        ("amount + 1), daily: true", "amount + 1)", True, False),
        ("features: {", "features: {text: {sql: lower(old)}, ", False, False),
    ],
)
def test_a_model_is_retrained_where_what_it_reads_changes(
    tmp_path: Path, words: str, replaced: str, daily: bool, supervised: bool
) -> None:
    found = changes(plan_of(tmp_path, BEFORE), plan_of(tmp_path, BEFORE.replace(words, replaced)))
    assert (found.daily_models, found.supervised_model) == (daily, supervised)


def test_features_from_labels_keep_nothing_and_so_are_never_cold(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "entities: {merchant: {aggregates: [{how: days_since_fraud}]}}")
    found = changes(compile_plan(), plan)
    assert found.features.new == ("merchant_days_since_fraud",)
    assert found.cold == {}
