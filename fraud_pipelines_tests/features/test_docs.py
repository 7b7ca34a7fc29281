"""The page of features says what the code does."""

from fraud_pipelines.features.docs import PAGE, features_page
from fraud_pipelines.plan.compile import shipped_plan


def test_the_page_is_up_to_date() -> None:
    page = features_page(shipped_plan())
    assert PAGE.read_text(encoding="utf-8") == page, "run: python -m fraud_pipelines.features.docs"


def test_the_page_describes_every_feature_once() -> None:
    lines = features_page(shipped_plan()).splitlines()
    assert sorted(line.split("`")[1] for line in lines if line.startswith("| `")) == sorted(shipped_plan().features)
    for name, feature in shipped_plan().features.items():
        assert sum(line.startswith(f"| `{name}` | {feature.dtype} | ") for line in lines) == 1


def test_every_feature_is_described_whole() -> None:
    for feature in shipped_plan().features.values():
        assert feature.description.endswith(".")
        assert feature.formula
        assert feature.null_rule
