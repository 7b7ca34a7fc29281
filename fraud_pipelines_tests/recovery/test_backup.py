"""Backups: whole or not there, of one moment, restored elsewhere as they were, and refused where they are damaged."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest

from fraud_pipelines.bootstrap import prepare
from fraud_pipelines.recovery import backup as backup_module
from fraud_pipelines.recovery.backup import MANIFEST
from fraud_pipelines.recovery.copying import copy_folder, copy_sqlite
from fraud_pipelines_tests.conftest import Installation, assert_same_content, warehouse_content
from fraud_pipelines_tests.lakes import ON_LAKE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory with a run of Dagster that has not ended, and a file that waits."""
    folder = tmp_path_factory.mktemp("backup") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder / "dagster"))
        installation = Installation(folder)
        prepare(installation.settings)
        (folder / "landing" / "transactions" / "waits.csv").write_text("transaction_id\n")
        (folder / "rules.yaml").write_text("rules: []\n")
        with dg.DagsterInstance.get() as instance:
            job = dg.GraphDefinition(name="a_job").to_job()
            instance.create_run_for_job(job, tags={"dagster/partition": "2026-10-01"})
        yield folder


@pytest.fixture
def backed_up(made: Path, tmp_path: Path) -> Path:
    told = Installation(made).invoke("backup", str(tmp_path / "backup"))
    assert "MB in" in told
    return tmp_path / "backup"


def test_what_is_restored_is_what_was_backed_up(made: Path, backed_up: Path, tmp_path: Path) -> None:
    restored = Installation(tmp_path / "elsewhere" / "data")
    told = restored.invoke("restore", str(backed_up))
    assert "A run was under way: a_job for 2026-10-01" in told
    assert_same_content(warehouse_content(Installation(made).warehouse), warehouse_content(restored.warehouse))
    assert (restored.data_dir / "landing" / "transactions" / "waits.csv").read_text() == "transaction_id\n"
    assert (restored.data_dir / "rules.yaml").exists()
    assert (restored.data_dir / "fraud.duckdb").exists()
    with restored.dagster() as instance:
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.FAILURE
    with closing(sqlite3.connect(restored.data_dir / "mlflow" / "mlflow.db")) as database:
        locations = {location for (location,) in database.execute("SELECT artifact_location FROM experiments")}
    assert all(str(restored.data_dir) in location for location in locations)
    assert "is there already" in restored.invoke("restore", str(backed_up), succeeds=False)


def test_relocated_data_lie_ready_elsewhere(made: Path, tmp_path: Path) -> None:
    told = Installation(made).invoke("relocate", str(tmp_path / "new"))
    assert f"set FRAUD_DATA_DIR={tmp_path / 'new'}" in told
    moved = Installation(tmp_path / "new")
    assert_same_content(warehouse_content(Installation(made).warehouse), warehouse_content(moved.warehouse))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("fault", ["damaged", "missing", "unfinished", "newer", "another kind"])
def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_restored(
    backed_up: Path, tmp_path: Path, fault: str
) -> None:
    manifest, database = backed_up / MANIFEST, backed_up / "mlflow" / "mlflow.db"
    says = {"damaged": "missing or damaged", "missing": "missing or damaged", "unfinished": "is no backup"}
    says |= {"newer": "restore it with that one", "another kind": "is set"}
    if fault == "damaged":
        database.write_bytes(database.read_bytes()[:-1] + b"!")
    elif fault == "missing":
        database.unlink()
    elif fault == "unfinished":
        manifest.unlink()
    elif fault == "newer":
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    else:
        kinds = ('"warehouse": "lake"', '"warehouse": "duckdb"')
        manifest.write_text(manifest.read_text().replace(*(kinds if ON_LAKE else kinds[::-1])))
    target = Installation(tmp_path / "restored")
    assert says[fault] in target.invoke("restore", str(backed_up), succeeds=False)
    assert not target.data_dir.exists()


def test_a_backup_goes_where_nothing_is_and_not_into_the_data(made: Path, tmp_path: Path) -> None:
    installation = Installation(made)
    assert "exists already" in installation.invoke("backup", str(tmp_path), succeeds=False)
    assert "in the data directory" in installation.invoke("backup", str(made / "backup"), succeeds=False)
    nothing = Installation(tmp_path / "nothing").invoke("backup", str(tmp_path / "backup"), succeeds=False)
    assert "nothing to back up" in nothing


def test_a_backup_that_is_interrupted_leaves_nothing(made: Path, tmp_path: Path) -> None:
    with mock.patch.object(backup_module, "digest", side_effect=OSError("no space left on device")):
        told = Installation(made).invoke("backup", str(tmp_path / "backup"), succeeds=False)
    assert "no space left" in told
    assert list(tmp_path.iterdir()) == []


def test_a_database_is_copied_as_of_one_moment_while_others_write(tmp_path: Path) -> None:
    path, ended = tmp_path / "busy.db", threading.Event()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE pairs (one INTEGER, two INTEGER)")

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
            number = 0
            while not ended.is_set():
                number += 1
                database.execute("BEGIN IMMEDIATE")
                database.execute("INSERT INTO pairs VALUES (?, NULL)", [number])
                database.execute("UPDATE pairs SET two = one WHERE two IS NULL")
                database.execute("COMMIT")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            copy_sqlite(path, tmp_path / f"{number}.db")
    finally:
        ended.set()
        writer.join()
    for number in range(5):
        with closing(sqlite3.connect(tmp_path / f"{number}.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert database.execute("SELECT count(*) FROM pairs WHERE two IS NULL").fetchone() == (0,)


def test_a_file_that_is_moved_to_a_deeper_folder_meanwhile_is_copied(tmp_path: Path) -> None:
    zone = tmp_path / "zone"
    (zone / "_landed").mkdir(parents=True)
    (zone / "a.csv").write_text("a")
    (zone / "b.csv").write_text("b")
    copies = shutil.copy2

    def moved_meanwhile(source: Path, target: Path, **options: bool) -> str:
        if source.name == "a.csv" and (zone / "b.csv").exists():
            (zone / "b.csv").rename(zone / "_landed" / "b.csv")
        return str(copies(source, target, **options))

    with mock.patch.object(shutil, "copy2", moved_meanwhile):
        copy_folder(zone, tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").rglob("*.csv")} == {"a.csv", "b.csv"}
