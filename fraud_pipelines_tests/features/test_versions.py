"""Versions of features of releases before the plan: a model of such a release goes on, until a feature changes."""

from pathlib import Path

from fraud_pipelines.features.versions import earlier_version
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines_tests.plan.files import plan_of

LABEL_FREE = ("amount", "user_z", "user_rz", "user_log_ratio", "user_max_ratio", "user_big_14d")


def test_the_version_is_that_which_the_release_gave() -> None:
    assert earlier_version(LABEL_FREE, shipped_plan()) == "ba8d0358edb7"
    assert earlier_version(LABEL_FREE[::-1], shipped_plan()) == "ba8d0358edb7"


def test_features_that_are_computed_otherwise_since_have_none() -> None:
    assert earlier_version(["amount", "merchant_risk_7d"], shipped_plan()) is None


def test_a_new_feature_has_none_and_takes_none_away(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "features: {twice: {sql: amount * 2}}")
    assert earlier_version([*LABEL_FREE, "twice"], plan) is None
    assert earlier_version(LABEL_FREE, plan) == "ba8d0358edb7"
