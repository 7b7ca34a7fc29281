"""``fraud-pipelines declarations``: what is in force, from where, and what a change would do."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from fraud_pipelines.plan.compile import compile_plan, plan_in_force
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.settings import Settings
from fraud_pipelines_tests.conftest import Installation

EXAMPLE = Path(__file__).parents[2] / "data" / "fraud.example.yaml"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """One without any data: declarations need none."""
    return Installation(tmp_path / "data")


def test_without_a_file_what_ships_is_in_force(installation: Installation, tmp_path: Path) -> None:
    told = installation.invoke("declarations", "check", FRAUD_CONFIG_DIR=str(tmp_path / "config"))
    assert str(tmp_path / "config") in told
    assert installation.settings.label_delay_days != Settings().label_delay_days
    assert f"version {plan_in_force(installation.settings).version}" in told
    assert not installation.data_dir.exists()


def test_check_names_the_file_in_force(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "fraud.yaml"
    shutil.copy(EXAMPLE, file)
    told = installation.invoke("declarations", "check", FRAUD_CONFIG_DIR=str(file.parent))
    assert f"{file} is sound. It adds 8 columns and 17 features, and changes 1 of what ships." in told

    told = installation.invoke("declarations", "check", FRAUD_DECLARATIONS_FILE=str(EXAMPLE))
    assert f"{EXAMPLE} is sound" in told


def test_check_tells_every_problem_and_fails(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("attributes:\n  a: {type: txt}\nfeatures:\n  b: {sql: sum(amount)}\n")
    told = installation.invoke("declarations", "check", str(file), succeeds=False)
    assert told.splitlines() == [
        f"Error: {file}:2: attributes.a.type: 'txt' is no type; did you mean text?",
        f"{file}:4: features.b.sql: sum() looks at other rows; declare an aggregate of an entity instead",
    ]
    assert not installation.data_dir.exists()


def test_show_prints_how_each_feature_is_computed(installation: Installation) -> None:
    lines = installation.invoke("declarations", "show", str(EXAMPLE)).splitlines()
    rows = {line.split()[0]: " ".join(line.split()) for line in lines if line.strip()}
    assert compile_plan(EXAMPLE).features.keys() <= rows.keys()
    assert rows["card_declines_1h"] == "card_declines_1h INTEGER card supervised count, 1 h, where status = 'declined'"
    assert rows["latitude"] == "latitude number -90 90"
    assert rows["customer_at_merchant"] == "customer_at_merchant user_id, merchant_id 2"
    assert rows["customer_at_merchant_amount_z"].endswith("both z of amount, window 20")
    assert rows["amount_in_new_country"].endswith("DOUBLE both amount * coalesce(country_changed, 0)")

    assert rows["v1"] == "v1 number numeric both"
    assert rows["merchant_category"] == "merchant_category text label daily"
    assert rows["card_amount_mean_10"] == "card_amount_mean_10 DOUBLE card mean of amount, 10 rows"

    own = installation.invoke("declarations", "show", str(EXAMPLE), "--own")
    assert "card_declines_1h" in own
    assert "user_z" not in own


def test_diff_tells_what_a_change_does(installation: Installation, tmp_path: Path) -> None:
    told = installation.invoke("declarations", "diff", str(EXAMPLE))
    assert "new columns: status, card_id" in told
    assert "changed columns: merchant_category (model: none → label, daily, group own)" in told
    assert "card starts cold: its new and changed features look back over all that came before." in told
    assert "To be retrained: fraud-daily, fraud-ensemble, fraud-realtime, fraud-autoencoder, fraud-supervised." in told

    file = tmp_path / "own.yaml"
    file.write_text(EXAMPLE.read_text().replace("features: ", "features: # ") + "  note: {sql: lower(status)}\n")
    told = installation.invoke("declarations", "diff", str(file), "--against", str(EXAMPLE))
    assert "new features: note" in told
    assert "No model has to be retrained." in told
    assert "cold" not in told
    assert "nothing changes." in installation.invoke("declarations", "diff", str(file), "--against", str(file))


def test_the_schema_in_the_docs_is_the_one_that_is_printed(installation: Installation) -> None:
    copy = EXAMPLE.parents[1] / "docs" / "fraud.schema.json"
    printed = installation.invoke("declarations", "schema")
    assert copy.read_text(encoding="utf-8") == printed, f"fraud-pipelines declarations schema > docs/{copy.name}"


def test_the_schema_knows_the_keys_and_functions(installation: Installation) -> None:
    schema = json.loads(installation.invoke("declarations", "schema"))
    declared = yaml.safe_load(EXAMPLE.read_text())
    assert declared.keys() == schema["properties"].keys()
    aggregate = schema["$defs"]["DeclaredAggregate"]
    assert aggregate["properties"]["how"]["enum"] == list(FUNCTIONS)
    used = {key for entity in declared["entities"].values() for each in entity["aggregates"] for key in each}
    assert used <= aggregate["properties"].keys()
    assert not aggregate["additionalProperties"]
