"""Versions of features of releases before the plan: a model of such a release goes on, until a feature changes."""

from pathlib import Path

from fraud_pipelines.features.versions import earlier_version
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines_tests.plan.files import plan_of

UNCHANGED = ("amount", "tx_count_24h", "amount_vs_avg", "minutes_since_last")


def test_the_version_is_that_which_the_release_gave() -> None:
    assert earlier_version(UNCHANGED, shipped_plan()) == "8e5e81392f8f"
    assert earlier_version(UNCHANGED[::-1], shipped_plan()) == "8e5e81392f8f"


def test_features_that_are_computed_otherwise_since_have_none() -> None:
    assert earlier_version(["amount", "merchant_risk_7d"], shipped_plan()) is None
    assert earlier_version(["amount", "user_z"], shipped_plan()) is None


def test_a_new_feature_has_none_and_takes_none_away(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "features: {twice: {sql: amount * 2}}")
    assert earlier_version([*UNCHANGED, "twice"], plan) is None
    assert earlier_version(UNCHANGED, plan) == "8e5e81392f8f"
