"""Fixtures shared by the tests: a small demo, run once by the real commands."""

import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import settings as hypothesis_settings

from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.examples import MOST, examples
from fraud_pipelines_tests.lakes import ON_LAKE

if TYPE_CHECKING:
    import dagster as dg

hypothesis_settings.register_profile("project", examples(MOST))
hypothesis_settings.load_profile("project")

SMALL_WORLD = {
    "FRAUD_TRAINING_DAYS": "3",
    "FRAUD_MIN_TRAINING_DAYS": "2",
    "FRAUD_LABEL_DELAY_DAYS": "3",
    "FRAUD_EVALUATION_DAYS": "4",
    "FRAUD_RETRY_PAUSE_SECONDS": "0.1",
}


@dataclass(frozen=True)
class Installation:
    """A data directory, and the command line on it in a process of its own."""

    data_dir: Path
    declarations: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "DAGSTER_", "MLFLOW_"))
        }
        own = {"FRAUD_DECLARATIONS_FILE": str(self.declarations)} if self.declarations else {}
        if ON_LAKE:
            own |= {"FRAUD_WAREHOUSE": "lake", "FRAUD_LAKE": str(self.settings.warehouse_path)}
        return kept | SMALL_WORLD | {"FRAUD_DATA_DIR": str(self.data_dir), "COLUMNS": "200"} | own

    @property
    def settings(self) -> Settings:
        return Settings(
            data_dir=self.data_dir, training_days=3, min_training_days=2, label_delay_days=3, evaluation_days=4
        )

    @property
    def warehouse(self) -> Warehouse:
        return warehouse_at(self.settings.warehouse_path)

    @contextmanager
    def dagster(self) -> Iterator["dg.DagsterInstance"]:
        """Dagster's instance in the data directory, whose configuration reads ``DAGSTER_HOME``."""
        import dagster as dg

        with (
            mock.patch.dict(os.environ, {"DAGSTER_HOME": str(self.settings.dagster_home)}),
            dg.DagsterInstance.get() as instance,
        ):
            yield instance

    def invoke(self, *arguments: str, succeeds: bool = True, **environment: str) -> str:
        """As `run`, in this process: seconds faster. Days must lie within the last thirty."""
        from fraud_pipelines.cli import main

        with mock.patch.dict(os.environ, self.environment | environment, clear=True):
            done = CliRunner().invoke(main, arguments)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert (done.exit_code == 0) == succeeds, done.output
        return done.output

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "fraud_pipelines.cli", *arguments]

    def run(self, *arguments: str, succeeds: bool = True, **environment: str) -> str:
        """Run ``fraud-pipelines`` with these arguments; returns all it printed."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=900,  # a busy machine is no failure
            check=False,
        )
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == succeeds, output
        return output


@pytest.fixture(scope="session", autouse=True)
def _no_env_file_of_the_developer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A ``.env`` in the working directory would count for the tests, too, and for the commands that they start."""
    before = Path.cwd()
    moved = {"PYTHONPATH": str(Path(__file__).parents[1])}  # for tests that start a module of the tests
    if os.environ.get("FRAUD_REFERENCE_DATA"):
        moved["FRAUD_REFERENCE_DATA"] = str(Path(os.environ["FRAUD_REFERENCE_DATA"]).resolve())
    with mock.patch.dict(os.environ, moved):
        os.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield
        os.chdir(before)


@pytest.fixture(scope="session", autouse=True)
def _thirty_partitions() -> None:
    """Partitions are declared when they are imported, once a process: for `Installation.invoke` they are the last
    thirty days, whichever test comes first."""
    first = datetime.now(UTC).date() - timedelta(days=30)
    with mock.patch.dict(os.environ, SMALL_WORLD | {"FRAUD_FIRST_DAY": first.isoformat()}):
        importlib.import_module("fraud_pipelines.defs.partitions")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An empty installation of the test's own."""
    return Installation(tmp_path / "data")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The handbook's Parquet files; skips where they are absent."""
    folder = os.environ.get("FRAUD_REFERENCE_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FRAUD_REFERENCE_DATA names no folder with the handbook's data")
    return Path(folder)


PROCESSING_TIMES = {"ingested_at", "scored_at", "decided_at", "rejected_at", "landed_at", "marked_at", "created_at"}
PROCESSING_TIMES |= {"appended_at", "first_used_at", "previous_hash", "entry_hash", "head_hash"}  # hash times, too
PROCESSING_TIMES |= {"applied_at", "previous_root"}
_HASH_AT_THE_END = "/[0-9a-f]{64}$"


def warehouse_content(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """Every table, sorted, without the times of processing: what two installations with the same input share."""
    with warehouse.connect(read_only=True) as connection:
        tables = [table for table in connection.tables() if table != "main.publication"]
    return {table: _without_times(warehouse.read(f"SELECT * FROM {table} ORDER BY ALL")) for table in tables}


def _without_times(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` without the times of processing and what hashes them; the heads of the log's chains keep their place."""
    rows = rows.drop(PROCESSING_TIMES, strict=False)
    if "heads" not in rows.columns:
        return rows
    return rows.with_columns(pl.col("heads").list.eval(pl.element().str.replace(_HASH_AT_THE_END, "")))


def assert_same_content(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame]) -> None:
    assert left.keys() == right.keys()
    for table, rows in left.items():
        assert rows.equals(right[table], null_equal=True), table


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, code: int = errno.EACCES) -> None:
    """Let nobody list ``folder``, which for root no permissions would do; the system answers with ``code``."""
    allowed = os.scandir

    def scandir(path: str | Path = ".") -> Any:
        if Path(path) == folder:
            raise OSError(code, os.strerror(code), str(path))
        return allowed(path)

    monkeypatch.setattr(os, "scandir", scandir)
