"""Restore: a backup becomes an installation where the settings say, whatever machine or path it comes from."""

import shutil
from pathlib import Path

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.recovery.backup import (
    ARTIFACTS,
    DAGSTER,
    DATA,
    DATABASE,
    MLFLOW,
    WAREHOUSE,
    Manifest,
    read_manifest,
)
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.mlflow_connection import find_artifacts


def restore(settings: Settings, backup: Path) -> Manifest:
    """Copy a backup to where ``settings`` say that an installation lies, where there must be none.

    Each part is copied aside and then renamed; the warehouse comes last, so that what dies half-way is no installation
    yet and says so the next time. The addresses of MLflow's files are rewritten to the new place.

    Raises:
        InvalidInput: the backup is not whole, or of another kind of warehouse; or something is there already.
        RegistryUnavailable: MLflow's database can't be read.
        OSError: there is no room.
    """
    manifest = read_manifest(backup)
    if manifest.warehouse != settings.warehouse:
        raise InvalidInput(f"the backup is of FRAUD_WAREHOUSE={manifest.warehouse}, and {settings.warehouse} is set")
    (stored,) = (backup / WAREHOUSE).iterdir()
    parts = [(backup / DATA, settings.data_dir), (backup / DAGSTER, settings.dagster_home)]
    if settings.mlflow_database:
        parts.append((backup / MLFLOW / DATABASE, settings.mlflow_database))
    if settings.artifact_root:
        parts.append((backup / MLFLOW / ARTIFACTS, settings.artifact_root))
    parts.append((stored, settings.warehouse_path))
    for source, target in parts:
        if source.exists() and target.exists() and (target.is_file() or any(target.iterdir())):
            raise InvalidInput(
                f"{target} is there already: restore into an empty directory (FRAUD_DATA_DIR), or move it away first"
            )
    for source, target in parts:
        if source.exists():
            _put(source, target)
    find_artifacts(settings.tracking_uri, settings.artifact_root)
    return manifest


def _put(source: Path, target: Path) -> None:
    aside = target.with_name(f"{target.name}.restoring")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copy2(source, aside)
        aside.replace(target)
        return
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(source, aside, symlinks=True)
    if target.exists():
        target.rmdir()
    aside.rename(target)
