"""Old versions go with their runs and files; what is needed stays, loads, and is served, whatever dies when."""

import shutil
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.serving import serving_code
from fraud_pipelines.storage.model_artifact import ARCHIVE, SHARED_CODE
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.pruned import Pruned, bytes_of
from fraud_pipelines.storage.pruned_versions import prune_versions
from fraud_pipelines_tests.detection.samples import numeric_rows

FIRST = date(2026, 9, 1)
DAYS = 6
NOW = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=2)
"""Later than a day after the versions were made: what is newer is left alone."""
KEPT_DAYS = (NOW.date() - FIRST).days - 4
"""Leaves the first four days' versions out, 1 to 4."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow with a version a day, all with the same code; each test has a copy."""
    folder = tmp_path_factory.mktemp("mlflow")
    registry = ModelRegistry(f"sqlite:///{folder / 'mlflow.db'}", artifact_root=folder / "artifacts")
    registry.initialise()
    rows = numeric_rows(60)
    for number in range(DAYS):
        model = FraudModel.fit(rows.head(40 + number), backend="ecod")
        model.save(folder / "saved")
        registry.log_version(
            "fraud-daily",
            partition=FIRST + timedelta(days=number),
            fingerprint=str(number),
            artifact_folder=folder / "saved",
            serving=serving_code(model, rows[:3]),
        )
        shutil.rmtree(folder / "saved")
    return folder


@pytest.fixture
def registry(made: Path, tmp_path: Path) -> ModelRegistry:
    shutil.copytree(made, tmp_path / "mlflow")
    path = tmp_path / "mlflow" / "mlflow.db"
    return ModelRegistry(f"sqlite:///{path}", artifact_root=path.with_name("artifacts"))


def versions(registry: ModelRegistry) -> list[int]:
    """The versions there are, each of which can be loaded."""
    numbers = [each.version for each in registry.list_versions("fraud-daily")]
    for number in numbers:
        FraudModel.load(registry.download("fraud-daily", number))
    return numbers


def prune(registry: ModelRegistry, *needed: int, dry_run: bool = False, now: datetime = NOW) -> list[Pruned]:
    return prune_versions(
        registry, {("fraud-daily", number) for number in needed}, kept_days=KEPT_DAYS, now=now, dry_run=dry_run
    )


def test_versions_of_the_same_code_share_its_file(made: Path) -> None:
    (code,) = (made / "artifacts" / SHARED_CODE).iterdir()
    archives = list((made / "artifacts" / "models").glob(f"*/artifacts/{ARCHIVE}"))
    assert len(archives) == DAYS
    assert {archive.stat().st_ino for archive in archives} == {code.stat().st_ino}
    assert "fraud_pipelines/detection/pyfunc.py" in zipfile.ZipFile(code).namelist()


def test_what_is_old_goes_unless_it_is_needed_named_by_an_alias_or_the_newest(registry: ModelRegistry) -> None:
    registry.set_alias("fraud-daily", "pinned", 2)
    models = (registry.artifact_root or Path()) / "models"
    before = bytes_of(models)
    would = prune(registry, 3, dry_run=True)
    assert versions(registry) == [1, 2, 3, 4, 5, 6]

    gone, runs = prune(registry, 3)

    assert versions(registry) == [2, 3, 5, 6]
    assert (gone.count, gone.kept_older, runs.count) == (2, 2, 2)
    assert [each.count for each in would] == [2, 2]
    assert runs.bytes >= would[1].bytes > 0
    assert 0 < before - bytes_of(models) <= would[1].bytes
    assert [each.count for each in prune(registry, 3)] == [0, 0]
    assert prune_versions(registry, (), kept_days=1, now=NOW, dry_run=False)[0].count == 2
    assert versions(registry) == [2, 6], "the newest stays: its number must not be given twice"


def test_what_was_made_within_a_day_stays_though_its_day_is_old(registry: ModelRegistry) -> None:
    assert prune(registry, now=NOW - timedelta(days=1.5))[0].count == 0


@pytest.mark.parametrize("dies_at", ["delete_model_version", "_hard_delete_logged_model", "_hard_delete_run", "rmtree"])
def test_what_dies_half_way_leaves_the_rest_whole_and_is_gone_on_with(registry: ModelRegistry, dies_at: str) -> None:
    from mlflow import MlflowClient
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    owner: Any = {"delete_model_version": MlflowClient, "rmtree": shutil}.get(dies_at, SqlAlchemyStore)
    works, calls = getattr(owner, dies_at), 0

    def second_call_dies(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return works(*arguments, **options)

    with mock.patch.object(owner, dies_at, second_call_dies), pytest.raises(KeyboardInterrupt):
        prune(registry, 4)
    assert versions(registry)[-3:] == [4, 5, 6]
    prune(registry, 4)
    assert versions(registry) == [4, 5, 6]
    root = registry.artifact_root or Path()
    assert len(list((root / "models").iterdir())) == 3
    assert [each.count for each in prune(registry, 4)] == [0, 0]
