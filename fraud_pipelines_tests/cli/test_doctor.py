"""The doctor: what is well, what to look at and what is broken, each with what to do."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fraud_pipelines.bootstrap import prepare
from fraud_pipelines.storage.publication import Publication
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.locks import held_elsewhere


def found(installation: Installation, *, succeeds: bool = True, **environment: str) -> dict[str, tuple[str, str, str]]:
    """What is looked at → its state, what is said, the remedy; the last of several."""
    told = json.loads(installation.invoke("doctor", "--format", "json", succeeds=succeeds, **environment))
    return {each["about"]: (each["state"], each["says"], each["remedy"]) for each in told}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory in which everything is made and nothing was run; each test has a copy."""
    folder = tmp_path_factory.mktemp("doctor") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder / "dagster"))
        prepare(Installation(folder).settings)
        yield folder


@pytest.fixture
def prepared(made: Path, installation: Installation) -> Installation:
    shutil.copytree(made, installation.data_dir, dirs_exist_ok=True)
    installation.data_dir.chmod(0o700)
    return installation


def test_before_anything_is_made_the_newcomer_is_told_how_to_begin(installation: Installation) -> None:
    missing = installation.invoke("doctor", succeeds=False)
    assert f"{installation.data_dir} is missing" in missing
    assert "fraud-pipelines demo" in missing


def test_of_a_sound_installation_nothing_is_broken(prepared: Installation) -> None:
    told = found(prepared)
    assert {state for state, _, _ in told.values()} <= {"ok", "warning"}
    assert told["schema"][0] == told["packages"][0] == told["disk"][0] == told["clock"][0] == "ok"
    assert told["schedule"][1] == "fraud_daily_schedule is off: no day runs by itself"
    assert told["daemon"][0] == "warning"
    assert told["decisions"][1] == "no day is decided yet"
    assert all(remedy for state, _, remedy in told.values() if state != "ok")
    assert "Nothing is broken" in prepared.invoke("doctor")


def test_a_misspelt_variable_is_named_with_what_was_meant(prepared: Installation) -> None:
    told = found(prepared, FRAUD_TRAINING_DAY="3")
    assert told["settings"][1] == "FRAUD_TRAINING_DAY is set, and no setting has that name"
    assert told["settings"][2] == "did you mean FRAUD_TRAINING_DAYS?"
    wrong = prepared.invoke("doctor", succeeds=False, FRAUD_TRAINING_DAYS="many")
    assert "FRAUD_TRAINING_DAYS" in wrong


def test_a_broken_file_of_rules_is_a_fault(prepared: Installation) -> None:
    (prepared.data_dir / "rules.yaml").write_text("rules: [{name: x}]")
    state, says, _ = found(prepared, succeeds=False)["rules"]
    assert state == "fault"
    assert "rules.yaml: rule 'x', field decision: is required" in says


def test_who_holds_the_warehouse_is_told_and_a_newer_one_is_a_fault(prepared: Installation) -> None:
    with held_elsewhere(prepared.settings.warehouse_path):
        state, says, _ = found(prepared)["warehouse"]
    assert state == "warning"
    assert "held by another process" in says
    with prepared.warehouse.connect() as connection:
        connection.update("main.schema_version", "version = 999", "true")
    state, says, _ = found(prepared, succeeds=False)["warehouse"]
    assert state == "fault"
    assert "newer release" in says


def test_a_transaction_of_the_future_says_that_the_clock_is_wrong(prepared: Installation) -> None:
    later = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=2)
    with prepared.warehouse.transaction() as connection:
        connection.append(
            "raw.transactions",
            "SELECT 't' AS transaction_id, 'u' AS user_id, $later::TIMESTAMP AS timestamp, "
            "$later::DATE AS event_date, 1 AS amount, 's' AS source, now()::TIMESTAMP AS ingested_at",
            {"later": later},
        )
    state, says, remedy = found(prepared)["clock"]
    assert state == "warning"
    assert f"{later:%Y-%m-%d}" in says
    assert "NTP" in remedy


def test_open_folders_and_secrets_are_told_without_a_value(
    prepared: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared.data_dir.chmod(0o755)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "FRAUD_ALERT_WEBHOOK").write_text("https://hooks.example/canary")
    (secrets / "FRAUD_ALERT_WEBHOOK").chmod(0o644)
    monkeypatch.chdir(tmp_path)
    told = found(prepared, FRAUD_SECRETS_DIR=str(secrets))
    assert told["data directory"][2] == f"chmod o-rwx {prepared.data_dir}"
    assert told["alerts"][0] == "ok"
    assert told["secrets"][2] == f"chmod 600 {secrets / 'FRAUD_ALERT_WEBHOOK'}"
    assert "canary" not in prepared.invoke("doctor", FRAUD_SECRETS_DIR=str(secrets))


def test_dagster_and_mlflow_that_cannot_be_opened_are_faults(prepared: Installation) -> None:
    (prepared.settings.dagster_home / "dagster.yaml").write_text("storage: {nonsense: 1}")
    database = prepared.settings.mlflow_database
    assert database
    database.unlink()
    database.write_text("no database")
    told = found(prepared, succeeds=False)
    assert told["Dagster"][0] == "fault"
    assert told["MLflow"][0] == "fault"


def test_nothing_is_changed(prepared: Installation) -> None:
    settings = prepared.settings
    Publication(settings.warehouse_path, settings.published_path).publish_or_tell()
    before = settings.warehouse_path.read_bytes()
    prepared.invoke("doctor")
    assert settings.warehouse_path.read_bytes() == before
