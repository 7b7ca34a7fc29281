"""Backup: all that an installation stores, as one folder that is whole or not there, made while runs go on.

What is copied first may say less than what is copied later, and never more: files that wait are copied before the
tables that say what was taken in, Dagster's record of days before the tables of these days, and the tables before the
models that they name. So a restored installation has at most a day to run again, or a file to take in that it has
already.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.recovery.copying import copy_folder, copy_sqlite, digest
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import publication_at

MANIFEST: Final = "backup.json"
"""Written last. A folder without it is no backup."""
DATA, WAREHOUSE, MLFLOW, DAGSTER = "data", "warehouse", "mlflow", "dagster"
"""The parts, each a folder of the backup."""
DATABASE: Final = "mlflow.db"
ARTIFACTS: Final = "artifacts"
FORMAT: Final = 1


class Manifest(BaseModel):
    """What a backup holds.

    Attributes:
        made_at: when it was begun, naive UTC.
        release: that made it.
        warehouse: ``duckdb`` or ``lake``.
        files: path below the backup → SHA-256.
        left_out: what lies on servers, which have backups of their own.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    made_at: datetime
    release: str
    warehouse: str
    files: dict[str, str]
    left_out: list[str]


@dataclass(frozen=True)
class Backup:
    """A backup that was made: where, of how many bytes and files, in how many seconds."""

    folder: Path
    bytes: int
    seconds: float
    manifest: Manifest


def back_up(settings: Settings, folder: Path) -> Backup:
    """Copy the installation into ``folder``, which must not exist. Runs, streams and reviewers go on.

    Raises:
        MissingData: there is no warehouse yet.
        InvalidInput: the folder exists, or lies in the data directory.
        WarehouseBusy: a run wrote to the warehouse for longer than the wait.
        OSError: there is no room, or a file can't be read.
    """
    folder = folder.expanduser().resolve()
    if folder.exists():
        raise InvalidInput(f"{folder} exists already; name a folder that doesn't")
    if folder.is_relative_to(settings.data_dir):
        raise InvalidInput(f"{folder} lies in the data directory, which is what is backed up; name a folder elsewhere")
    if not settings.warehouse_path.exists():
        raise MissingData(f"There is nothing to back up: no warehouse at {settings.warehouse_path}.")
    begun, clock = datetime.now(UTC).replace(tzinfo=None), time.monotonic()
    aside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True, mode=0o700)
    try:
        left_out = _copy_all(settings, aside)
        files = {
            str(path.relative_to(aside)): digest(path)
            for path in sorted(aside.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        manifest = Manifest(
            made_at=begun,
            release=version("fraud-pipelines"),
            warehouse=settings.warehouse,
            files=files,
            left_out=left_out,
        )
        (aside / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        os.sync()
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    size = sum((folder / name).stat().st_size for name in files)
    return Backup(folder, size, time.monotonic() - clock, manifest)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup, all of whose files are there and as they were.

    Raises:
        InvalidInput: it is no backup, one of a newer release, or damaged; the message names the file.
    """
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        manifest = Manifest.model_validate(content)
    except FileNotFoundError as error:
        raise InvalidInput(f"{folder} is no backup, or one that was not finished: it has no {MANIFEST}") from error
    except ValueError as error:
        raise InvalidInput(f"{folder / MANIFEST} is not what a backup wrote") from error
    if manifest.format > FORMAT:
        raise InvalidInput(f"{folder} was made by release {manifest.release}; restore it with that one or a newer one")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file() or digest(path) != expected:
            raise InvalidInput(f"{path} is missing or damaged: restore another backup")
    return manifest


def _copy_all(settings: Settings, target: Path) -> list[str]:
    """Copy each part, in the order that the module gives; what was left out."""
    left_out = []
    published = settings.published_path
    files = {
        settings.warehouse_path,
        settings.warehouse_path.parent,
        published,
        published.with_name("fraud.duckdb.new"),
    }
    passing = {settings.work_path, settings.trials_dir}
    apart = {*files, *passing, settings.mlflow_dir, settings.dagster_home} - {settings.data_dir}
    copy_folder(settings.data_dir, target / DATA, leave_out=frozenset(apart))
    copy_folder(settings.dagster_home, target / DAGSTER)
    if "postgres" in _text(settings.dagster_home / "dagster.yaml"):
        left_out.append("Dagster's runs and events, which are in PostgreSQL")
    publication = publication_at(
        settings.warehouse_path, settings.published_path, wait_seconds=settings.warehouse_wait_seconds
    )
    publication.copy_to(target / WAREHOUSE / settings.warehouse_path.name)
    if settings.mlflow_database is None:
        left_out.append("MLflow's records, which a server keeps")
    elif settings.mlflow_database.exists():
        copy_sqlite(settings.mlflow_database, target / MLFLOW / DATABASE)
    if settings.artifact_root is None:
        left_out.append("MLflow's files, which a server keeps")
    else:
        copy_folder(settings.artifact_root, target / MLFLOW / ARTIFACTS)
    return left_out


def _text(path: Path) -> str:
    settings_lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return "\n".join(line for line in settings_lines if not line.lstrip().startswith("#"))
