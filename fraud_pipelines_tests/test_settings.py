"""Settings: read from the environment, refused with the variable's name, and the first day remembered."""

from datetime import date
from pathlib import Path

import pytest

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import Settings


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


def test_the_artifacts_lie_beside_an_sqlite_database_and_a_server_keeps_its_own(tmp_path: Path) -> None:
    def root(uri: str) -> Path | None:
        return Settings(data_dir=tmp_path, mlflow_tracking_uri=uri).artifact_root

    assert root("") == tmp_path / "mlflow" / "artifacts"
    assert root(f"sqlite:///{tmp_path}/elsewhere/mlflow.db") == tmp_path / "elsewhere" / "artifacts"
    assert root(f"sqlite:///{tmp_path}/elsewhere/mlflow.db?timeout=5") == tmp_path / "elsewhere" / "artifacts"
    assert root("sqlite:///mlflow.db") == Path.cwd() / "artifacts"
    assert root("http://mlflow.example") is None
    assert root("postgresql://mlflow.example/mlflow") is None
