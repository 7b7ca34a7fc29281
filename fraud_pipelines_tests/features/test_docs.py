"""The page of features says what the code does."""

from fraud_pipelines.features.catalog import FEATURES
from fraud_pipelines.features.docs import PAGE, features_page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == features_page(), "run: python -m fraud_pipelines.features.docs"


def test_the_page_describes_every_feature_once() -> None:
    lines = features_page().splitlines()
    assert sorted(line.split("`")[1] for line in lines if line.startswith("| `")) == sorted(FEATURES)
    for name, feature in FEATURES.items():
        assert sum(line.startswith(f"| `{name}` | {feature.dtype} | ") for line in lines) == 1


def test_every_feature_is_described_whole() -> None:
    for feature in FEATURES.values():
        assert feature.description.endswith(".")
        assert feature.formula
        assert feature.window
        assert feature.null_rule
