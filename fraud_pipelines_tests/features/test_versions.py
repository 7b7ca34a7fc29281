"""Versions of features: they follow what is computed, and no word that describes it."""

import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest

from fraud_pipelines.features.aggregates import entity_features, feedback_features
from fraud_pipelines.features.catalog import FEATURES
from fraud_pipelines.features.declarations import ENTITIES, MERCHANT, USER, Entity, Feature, Profile
from fraud_pipelines.features.derived import DERIVED, Derived, derived
from fraud_pipelines.features.versions import definitions, feature_version, version_by_words

ALL = tuple(FEATURES)


def other(name: str, expression: pl.Expr) -> list[Derived]:
    """The derived features, with another expression for one of them, and every word as it was."""
    return [
        replace(each, expression=expression.cast(each.feature.dtype).alias(name)) if each.feature.name == name else each
        for each in DERIVED
    ]


def catalog(*entities: Entity) -> dict[str, Feature]:
    """The features, with these entities in place of those of the same name."""
    declared = {entity.name: entity for entity in (*ENTITIES, *entities)}.values()
    found = [each for entity in declared for each in (*entity_features(entity), *feedback_features(entity))]
    return {each.name: each for each in found} | {each.feature.name: each.feature for each in DERIVED}


def changed(features: dict[str, Feature] | None = None, derived: list[Derived] | None = None) -> set[str]:
    """The features whose version is another one."""
    features, derived = features or dict(FEATURES), derived or list(DERIVED)
    return {
        name for name in ALL if feature_version([name], features=features, derived=derived) != feature_version([name])
    }


def test_words_are_no_part_of_a_version() -> None:
    reworded = {
        name: replace(each, description="?", formula="?", window="?", null_rule="?", group="time")
        for name, each in FEATURES.items()
    }
    assert feature_version(ALL, features=reworded) == feature_version(ALL)
    assert changed(features=reworded) == set()


def test_role_direction_and_place_in_the_daily_schema_are_no_part_of_a_version() -> None:
    otherwise = {name: replace(each, role="numeric", direction="low", daily=True) for name, each in FEATURES.items()}
    assert feature_version(ALL, features=otherwise) == feature_version(ALL)


def test_a_changed_expression_changes_its_feature_and_those_that_read_it() -> None:
    assert changed(derived=other("amount", pl.col("amount") * 2)) == {"amount"}
    assert changed(derived=other("day_of_week", pl.col("timestamp").dt.weekday())) == {"day_of_week", "is_weekend"}
    assert changed(derived=other("hour_of_day", pl.col("timestamp").dt.minute())) == {"hour_of_day", "is_night"}


@pytest.mark.parametrize(
    ("entity", "names"),
    [
        (replace(USER, profile=Profile(window=40)), {"user_z", "user_rz", "user_log_ratio", "user_max_ratio"}),
        (replace(USER, profile=Profile(weight=4)), {"user_z", "user_rz"}),
        (replace(USER, profile=Profile(outsized_z=3)), set()),
    ],
)
def test_a_parameter_changes_the_features_that_are_computed_with_it(entity: Entity, names: set[str]) -> None:
    assert changed(features=catalog(entity)) == names | {"user_big_14d"}


def test_another_key_of_an_entity_changes_all_its_features_and_what_reads_them() -> None:
    by_device = replace(USER, column="device_fingerprint")
    names = {each.name for each in (*entity_features(USER), *feedback_features(USER))}
    assert changed(features=catalog(by_device)) == names | {"impossible_travel"}


def test_the_labels_delay_changes_what_looks_at_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fraud_pipelines.features.aggregates.LABEL_DELAY", "3d")
    names = {each.name for entity in (USER, MERCHANT) for each in feedback_features(entity)}
    assert changed(features=catalog()) == names


def test_a_version_covers_only_the_features_it_is_asked_for() -> None:
    new = derived("half", pl.col("amount") / 2, "Half.", formula="x / 2")
    features = {**FEATURES, "half": new.feature}
    assert feature_version(ALL, features=features, derived=[*DERIVED, new]) == feature_version(ALL)
    assert feature_version([*ALL, "half"], features=features, derived=[*DERIVED, new]) != feature_version(ALL)
    assert feature_version(reversed(ALL)) == feature_version([*ALL, "isolation_forest_score", "merchant_category"])


def test_an_expression_that_chooses_by_a_pattern_reads_all_above_it() -> None:
    total = derived("total", pl.sum_horizontal("^user_.*$"), "Sum.", formula="Σ")
    both = [*DERIVED, total], other("amount", pl.col("amount") * 2)
    features = {**FEATURES, "total": total.feature}
    before = definitions(features, both[0])["total"]
    assert before != definitions(features, [*both[1], total])["total"]


def test_the_version_is_the_same_in_another_process() -> None:
    code = (
        "from fraud_pipelines.features.versions import FEATURES, feature_version, version_by_words;"
        "print(feature_version(FEATURES), version_by_words(FEATURES))"
    )
    for seed in "1", "2":
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        assert done.stdout.split() == [feature_version(ALL), version_by_words(ALL)]


def test_a_model_of_the_release_that_hashed_words_keeps_its_version_until_an_expression_changes() -> None:
    daily = [name for name, feature in FEATURES.items() if feature.daily]
    assert version_by_words(daily) == "280da94b7de7"
    assert version_by_words(daily, derived=other("amount", pl.col("amount") * 2)) is None
    doubled = other("amount", pl.col("amount") * 2)
    assert version_by_words(["user_z"], derived=doubled) == version_by_words(["user_z"])
