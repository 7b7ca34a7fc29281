"""MLflow's files lie beside its database: a directory that was copied or moved belongs to where it is."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from fraud_pipelines.errors import MissingData
from fraud_pipelines.storage.artifact_location import local_path
from fraud_pipelines.storage.metric_series import MetricSeries
from fraud_pipelines.storage.mlflow_connection import find_artifacts
from fraud_pipelines.storage.model_registry import ModelRegistry, ModelVersionInfo
from fraud_pipelines.storage.training_record import TrainingRecord

DAY = date(2026, 10, 5)
MODEL = "fraud-daily"


def registry_in(folder: Path) -> ModelRegistry:
    return ModelRegistry(f"sqlite:///{folder / 'mlflow.db'}", artifact_root=folder / "artifacts")


def series_in(folder: Path) -> MetricSeries:
    return MetricSeries(f"sqlite:///{folder / 'mlflow.db'}", artifact_root=folder / "artifacts")


def log(folder: Path, day: date, saved: Path) -> ModelVersionInfo:
    return registry_in(folder).log_version(
        MODEL,
        partition=day,
        fingerprint=str(day),
        artifact_folder=saved,
        record=TrainingRecord(figures={"plot": "<svg></svg>"}),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow directory with a version in use, a series, and an experiment whose files are elsewhere on purpose."""
    folder = tmp_path_factory.mktemp("made") / "mlflow"
    registry = registry_in(folder)
    registry.initialise()
    saved = saved_model(folder.parent)
    log(folder, DAY, saved)
    registry.set_alias(MODEL, "champion", 1)
    series_in(folder).log({"policy": {"recall": 0.5}}, day=DAY)
    client(folder).create_experiment(
        "of-others", artifact_location=(folder.parent / "elsewhere" / "artifacts").as_uri()
    )
    return folder


@pytest.fixture
def original(made: Path, tmp_path: Path) -> Path:
    """A directory that has always been where it is."""
    folder = tmp_path / "original"
    shutil.copytree(made, folder)
    find_artifacts(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    return folder


def saved_model(folder: Path) -> Path:
    saved = folder / "saved"
    saved.mkdir()
    (saved / "model.json").write_text('{"weights": 1}')
    return saved


def client(folder: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def addresses(folder: Path) -> set[str]:
    """Every text in the database that names a file or folder."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        texts = {value for table in tables for row in connection.execute(f'SELECT * FROM "{table}"') for value in row}
    return {text for text in texts if isinstance(text, str) and (text.startswith(("file:", "/")))}


def copied(original: Path, target: Path) -> Path:
    shutil.copytree(original, target)
    return target


def moved(original: Path, target: Path) -> Path:
    return original.rename(target)


@pytest.mark.parametrize("take", [copied, moved])
@pytest.mark.parametrize("name", ["other", "with a space, ü and 100 %"])
def test_a_directory_elsewhere_reads_and_writes_itself_and_nothing_else(
    take: Callable[[Path, Path], Path], name: str, original: Path, tmp_path: Path
) -> None:
    outside = saved_model(tmp_path)
    folder = take(original, tmp_path / name)
    before = content(original) if original.exists() else None

    registry = registry_in(folder)
    assert (registry.download(MODEL, 1) / "model.json").read_text() == '{"weights": 1}'
    assert registry.download(MODEL, 1).is_relative_to(folder)
    version = log(folder, DAY + timedelta(days=1), outside)
    assert registry.download(MODEL, version.version).is_relative_to(folder)
    series_in(folder).log({"policy": {"recall": 0.6}}, day=DAY + timedelta(days=1))
    assert len(series_in(folder).points("policy", "recall")) == 2

    strays = {text for text in addresses(folder) if not (local_path(text) or Path()).is_relative_to(folder)}
    assert {Path(text).parent.name for text in strays} == {"elsewhere"}, "others' addresses stay"
    for run in client(folder).search_runs([registry_experiment(folder)]):
        assert [file.path for file in client(folder).list_artifacts(run.info.run_id, "plots")] == ["plots/plot.svg"]
    assert (content(original) if original.exists() else None) == before


def registry_experiment(folder: Path) -> str:
    return str(client(folder).get_experiment_by_name("fraud-pipelines").experiment_id)


PLAIN = """
import sys
import mlflow

mlflow.set_tracking_uri(sys.argv[1])
print(mlflow.artifacts.download_artifacts("models:/fraud-daily@champion"))
"""


def test_plain_mlflow_loads_the_champion_of_a_moved_directory(original: Path, tmp_path: Path) -> None:
    folder = moved(original, tmp_path / "moved")
    registry_in(folder).initialise()

    process = [sys.executable, "-c", PLAIN, f"sqlite:///{folder / 'mlflow.db'}"]
    done = subprocess.run(process, cwd="/", capture_output=True, text=True, check=False, env=_environment())
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_relative_to(folder)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "FRAUD"))}


def test_of_several_processes_that_find_a_copy_each_finds_it_whole(original: Path, tmp_path: Path) -> None:
    folder = copied(original, tmp_path / "copy")
    threads = [
        threading.Thread(target=find_artifacts, args=(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts"))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not {text for text in addresses(folder) if str(original) in text}


def test_where_nothing_has_moved_the_database_is_not_written_to(original: Path) -> None:
    before = content(original)
    find_artifacts(f"sqlite:///{original / 'mlflow.db'}", original / "artifacts")

    assert content(original) == before


def test_files_that_an_earlier_release_wrote_into_the_original_come_into_the_copy(
    original: Path, tmp_path: Path
) -> None:
    folder = copied(original, tmp_path / "copy")
    # As the release before did it: the copy's database, the original's folder.
    version = log(original, DAY + timedelta(days=1), saved_model(tmp_path))
    shutil.copyfile(original / "mlflow.db", folder / "mlflow.db")
    before = content(original)

    assert registry_in(folder).download(MODEL, version.version).is_relative_to(folder)
    assert content(original) == before


def test_files_that_are_gone_are_named_and_no_server_is_blamed(original: Path) -> None:
    shutil.rmtree(registry_in(original).download(MODEL, 1))

    with pytest.raises(MissingData, match=r"files of version 1 of fraud-daily are gone: .*/original/artifacts/"):
        registry_in(original).download(MODEL, 1)
