"""Settings: read from the environment, refused with the variable's name, and the first day remembered."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from unittest import mock

import pytest
from pydantic import BaseModel, Field, SecretStr

from fraud_pipelines.environment import environment_for_dagster, load_env_file, read
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import Settings
from fraud_pipelines.settings_tables import PAGES, with_tables
from fraud_pipelines.streaming.settings import StreamSettings


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the ``.env`` of the working directory is to be written; nothing is left set afterwards."""
    monkeypatch.chdir(tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "MLFLOW_", "DAGSTER_"))}
    with mock.patch.dict(os.environ, kept, clear=True):
        yield tmp_path / ".env"


def test_every_setting_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRAUD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FRAUD_TRAINING_DAYS", "14")
    monkeypatch.setenv("FRAUD_FIRST_DAY", "2026-10-01")

    settings = Settings.from_environment()

    assert (settings.data_dir, settings.training_days, settings.first_partition) == (tmp_path, 14, date(2026, 10, 1))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FRAUD_TRAINING_DAYS", "0"), ("FRAUD_FIRST_DAY", "yesterday"), ("FRAUD_WAREHOUSE_WAIT_SECONDS", "-1")],
)
def test_a_value_out_of_range_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidInput, match=f"{variable}='{value}'"):
        Settings.from_environment()


def test_fewer_training_days_than_the_minimum_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_TRAINING_DAYS", "2")

    with pytest.raises(InvalidInput, match="FRAUD_TRAINING_DAYS=2 lies below FRAUD_MIN_TRAINING_DAYS=3"):
        Settings.from_environment()


def test_the_env_file_of_the_working_directory_sets_what_the_environment_leaves_unset_or_empty(env_file: Path) -> None:
    env_file.write_text(
        "FRAUD_DATA_DIR=mine\nFRAUD_POLICY='high_security'\nexport FRAUD_TRAINING_DAYS=9\nFRAUD_EVALUATION_DAYS=\n"
        "MLFLOW_TRACKING_URI=http://mlflow.example\nMLFLOW_TRACKING_USERNAME=anna\nDAGSTER_HOME=instance\n"
        "FRAUD_STREAM_MIN_SAMPLES=77\n"
    )
    os.environ |= {"FRAUD_POLICY": "customer_friendly", "FRAUD_TRAINING_DAYS": ""}

    settings, stream = Settings.from_environment(), StreamSettings.from_environment()

    assert settings.data_dir == env_file.with_name("mine")
    assert settings.dagster_home == env_file.with_name("instance")
    assert settings.tracking_uri == "http://mlflow.example"
    assert (settings.policy, settings.training_days, settings.evaluation_days) == ("customer_friendly", 9, 14)
    assert stream.detector.min_samples == 77
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "anna", "MLflow reads it itself"


def test_the_environment_outranks_the_env_file_where_dagster_has_read_it_first(env_file: Path) -> None:
    env_file.write_text("FRAUD_POLICY=balanced\nFRAUD_OWNER=\nFRAUD_TRAINING_DAYS=9\n")
    os.environ |= {"FRAUD_POLICY": "high_security", "FRAUD_OWNER": "team:risk"}

    passed_on = environment_for_dagster({"FRAUD_EVALUATION_DAYS": "20"})
    os.environ |= passed_on | {
        "FRAUD_POLICY": "balanced",
        "FRAUD_OWNER": "",
        "FRAUD_TRAINING_DAYS": "9",
    }  # as Dagster does
    settings = Settings.from_environment()

    assert (settings.policy, settings.owner, settings.training_days) == ("high_security", "team:risk", 9)
    assert settings.evaluation_days == 20


def test_an_env_file_that_can_not_be_read_is_named(env_file: Path) -> None:
    env_file.write_bytes(b"FRAUD_POLICY=\xff\xfe")

    with pytest.raises(InvalidInput, match=r"\.env can't be read"):
        load_env_file()


def test_a_folder_of_that_name_is_no_env_file(env_file: Path) -> None:
    env_file.mkdir()

    assert Settings.from_environment().policy == "balanced"


def test_a_secret_can_come_from_a_file(env_file: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "FRAUD_ALERT_WEBHOOK").write_text("https://hooks.example/T0/s3cret\n")
    (secrets / "FRAUD_POLICY").write_text("customer_friendly")
    env_file.write_text(f"FRAUD_SECRETS_DIR={secrets}\nFRAUD_POLICY=high_security\n")

    settings = Settings.from_environment()

    assert settings.alert_webhook.get_secret_value() == "https://hooks.example/T0/s3cret"
    assert settings.policy == "high_security"
    os.environ["FRAUD_SECRETS_DIR"] = str(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match=r"FRAUD_SECRETS_DIR=.*nowhere' is no folder"):
        Settings.from_environment()


def test_the_value_of_a_secret_is_in_no_message(env_file: Path) -> None:
    class Guarded(BaseModel):
        token: SecretStr = Field(default=SecretStr(""), max_length=3)

    os.environ["FRAUD_TOKEN"] = "s3cret"
    with pytest.raises(InvalidInput, match="FRAUD_TOKEN: ") as refused:
        read(Guarded, "FRAUD_")

    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_settings_made_by_hand_read_nothing(env_file: Path) -> None:
    env_file.write_text("FRAUD_POLICY=high_security\n")
    os.environ |= {"FRAUD_TRAINING_DAYS": "9", "DAGSTER_HOME": "/elsewhere"}

    settings = Settings(data_dir=env_file.parent)

    assert (settings.policy, settings.training_days) == ("balanced", 7)
    assert settings.dagster_home == env_file.parent / "dagster"


def test_the_first_day_noted_is_the_earliest(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    for day in (date(2026, 10, 3), date(2026, 10, 1), date(2026, 10, 2)):
        settings.note_first_day(day)

    assert settings.first_partition == date(2026, 10, 1)


def test_a_damaged_note_of_the_first_day_is_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    (tmp_path / "first_day").write_text("once upon a time")

    with pytest.raises(InvalidInput, match=r"first_day should hold the first day"):
        _ = settings.first_partition


def test_the_artifacts_lie_beside_a_database_of_ours_and_a_server_keeps_its_own(tmp_path: Path) -> None:
    def root(uri: str) -> Path | None:
        return Settings(data_dir=tmp_path, mlflow_tracking_uri=uri).artifact_root

    assert root("") == tmp_path / "mlflow" / "artifacts"
    assert root(f"sqlite:///{tmp_path}/elsewhere/mlflow.db") == tmp_path / "elsewhere" / "artifacts"
    assert root(f"sqlite:///{tmp_path}/elsewhere/mlflow.db?timeout=5") == tmp_path / "elsewhere" / "artifacts"
    assert root("sqlite:///mlflow.db") == Path.cwd() / "artifacts"
    assert root("http://mlflow.example") is None
    assert root("postgresql://db.example/mlflow") == tmp_path / "mlflow" / "artifacts"
    assert root("mysql+pymysql://db.example/mlflow") == tmp_path / "mlflow" / "artifacts"


def test_the_tables_of_settings_are_up_to_date() -> None:
    for page in PAGES:
        assert page.read_text(encoding="utf-8") == with_tables(page), "run: python -m fraud_pipelines.settings_tables"


def test_the_tables_hold_every_setting_once() -> None:
    text = "".join(with_tables(page) for page in PAGES)
    for name in ("FRAUD_DATA_DIR", "MLFLOW_TRACKING_URI", "DAGSTER_HOME", "FRAUD_STREAM_MIN_SAMPLES"):
        assert text.count(f"| `{name}` | ") == 1
    for field in {*Settings.model_fields} - {"mlflow_tracking_uri", "dagster_home"}:
        assert text.count(f"| `FRAUD_{field.upper()}` | ") == 1


def test_declarations_are_looked_for_in_the_data_directory_then_in_config(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", config_dir=tmp_path / "config")
    assert (settings.declarations_path, settings.rules_path) == (None, None)
    for folder in ("config", "data"):
        (tmp_path / folder).mkdir()
        for name in ("fraud.yaml", "fraud.example.yaml", "rules.yaml", "policies.yaml"):
            (tmp_path / folder / name).touch()
        assert settings.declarations_path == tmp_path / folder / "fraud.yaml"
        assert settings.rules_path == tmp_path / folder / "rules.yaml"
        assert settings.policies_path == tmp_path / folder / "policies.yaml"
    named = Settings(data_dir=tmp_path / "data", declarations_file=tmp_path / "own.yaml")
    assert named.declarations_path == tmp_path / "own.yaml"
