"""Old versions of models go, with the runs that trained them and their files: what `mlflow gc` does, by what is needed.

What dies half-way leaves runs that no version names, or files without a run, and the next time removes them.
"""

import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fraud_pipelines.storage.artifact_location import local_path
from fraud_pipelines.storage.mlflow_connection import connect, errors_named
from fraud_pipelines.storage.model_artifact import SHARED_CODE
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.pruned import Pruned, bytes_of, shrink_database
from fraud_pipelines.storage.registered_models import PARTITION_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.entities import PagedList

Found = TypeVar("Found")

_PAGE: Final = 1000
_AT_WORK: Final = timedelta(days=1)
"""What was made so lately stays, whatever day it is for: a backfill may be about to use it."""

Version = tuple[str, int]
"""A registered model's name, and the number of a version."""


@dataclass(frozen=True)
class _Old:
    """What is to go."""

    versions: "list[ModelVersion]"
    runs: "list[Run]"
    models: "list[LoggedModel]"
    needed: int


def prune_versions(
    registry: ModelRegistry, needed: Collection[Version], *, kept_days: int, now: datetime, dry_run: bool
) -> list[Pruned]:
    """Remove versions of days more than ``kept_days`` ago, and training runs of such days that no version names.

    A version stays that is ``needed`` or has an alias, and the newest of each model, whatever its day. Of a server
    that keeps MLflow's records they are marked as deleted; ``mlflow gc`` there removes them for good.

    Args:
        registry: its experiment's runs are looked at, and every registered model's versions that they trained.
        now: naive UTC.

    Returns:
        What went, or with ``dry_run`` would go: versions, and runs with their files.

    Raises:
        RegistryUnavailable: MLflow can't be reached or refuses.
    """
    with errors_named(registry.tracking_uri):
        client = connect(registry.tracking_uri, registry.artifact_root)
        store = client._tracking_client.store  # What `mlflow gc` removes by is in no public interface.
        for_good = hasattr(store, "_hard_delete_run")
        before = (now - timedelta(days=kept_days)).date()
        old = _old(client, registry.experiment_id, needed, before=before, now=now, for_good=for_good)
        addresses = [*(run.info.artifact_uri for run in old.runs), *(each.artifact_location for each in old.models)]
        size = bytes_of(*_folders(addresses))
        if not dry_run:
            for version in old.versions:
                client.delete_model_version(version.name, version.version)
            for model in old.models:
                _remove_model(store, client, model, for_good=for_good)
            for run in old.runs:
                _remove_run(store, client, run, for_good=for_good)
            size += _left_behind(store, registry.experiment_id, kept_days) if for_good else 0
            size += _unused_code(registry.artifact_root)
        if database := _database(registry):
            size += 0 if dry_run else shrink_database(database)
    note = "decisions, aliases and pins need those" if old.needed else ""
    return [
        Pruned("model versions", kept_days, len(old.versions), 0, old.needed, note),
        Pruned(
            "training runs and their files",
            kept_days,
            len(old.runs),
            size,
            note="" if for_good else "marked as deleted; run mlflow gc on the server",
        ),
    ]


def _old(
    client: "MlflowClient",
    experiment: str,
    needed: Collection[Version],
    *,
    before: date,
    now: datetime,
    for_good: bool,
) -> _Old:
    from mlflow.entities import ViewType

    lately = int((now - _AT_WORK).replace(tzinfo=UTC).timestamp() * 1000)

    def is_old(tags: dict[str, str], created: int) -> bool:
        return tags.get(PARTITION_TAG, "") < before.isoformat() and PARTITION_TAG in tags and created < lately

    # A server keeps what is marked as deleted; here it is left of a process that died.
    view = ViewType.ALL if for_good else ViewType.ACTIVE_ONLY
    runs = _all(lambda token: client.search_runs([experiment], "", view, _PAGE, page_token=token))
    trained_here = {run.info.run_id for run in runs}
    going: list[ModelVersion] = []
    staying_runs, needed_old = set(), 0
    for model in _all(lambda token: client.search_registered_models(max_results=_PAGE, page_token=token)):
        versions = _versions(client, model.name)
        keep = {version for name, version in needed if name == model.name}
        keep |= {int(version) for version in model.aliases.values()}
        keep |= {max((int(each.version) for each in versions), default=0)}
        for each in versions:
            old = each.run_id in trained_here and is_old(each.tags, each.creation_timestamp)
            needed_old += old and int(each.version) in keep
            if old and int(each.version) not in keep:
                going.append(each)
            else:
                staying_runs.add(each.run_id)
    old_runs = [
        run for run in runs if run.info.run_id not in staying_runs and is_old(run.data.tags, run.info.start_time)
    ]
    ids = {run.info.run_id for run in old_runs}
    models = _all(lambda token: client.search_logged_models([experiment], max_results=50, page_token=token))
    return _Old(going, old_runs, [each for each in models if each.source_run_id in ids], needed_old)


def _versions(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    return _all(lambda token: client.search_model_versions(f"name = '{name}'", max_results=_PAGE, page_token=token))


def _all(page: Callable[[str | None], "PagedList[Found]"]) -> "list[Found]":
    found: list[Found] = []
    token: str | None = None
    while True:
        part = page(token)
        found += part
        token = part.token
        if not token:
            return found


def _remove_model(store: Any, client: "MlflowClient", model: "LoggedModel", *, for_good: bool) -> None:
    if not for_good:
        client.delete_logged_model(model.model_id)
        return
    _remove_files(model.artifact_location)
    store._hard_delete_logged_model(model.model_id)


def _left_behind(store: Any, experiment: str, kept_days: int) -> int:
    """Remove models that were marked as deleted, as those of a training that was killed; bytes of their files."""
    size = 0
    for model_id in store._get_deleted_logged_models(older_than=kept_days * 86_400_000):
        model = store.get_logged_model(model_id, allow_deleted=True)
        if str(model.experiment_id) == experiment:
            size += bytes_of(*_folders([model.artifact_location]))
            _remove_files(model.artifact_location)
            store._hard_delete_logged_model(model_id)
    return size


def _remove_run(store: Any, client: "MlflowClient", run: "Run", *, for_good: bool) -> None:
    if not for_good:
        client.delete_run(run.info.run_id)
        return
    _remove_files(run.info.artifact_uri)
    store._hard_delete_run(run.info.run_id)


def _remove_files(address: str) -> None:
    """Before the row that names them: by that, what is left of a process that dies is found again."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if folders := _folders([address]):
        shutil.rmtree(folders[0], ignore_errors=True)
    else:
        get_artifact_repository(address).delete_artifacts()  # type: ignore[no-untyped-call]


def _folders(addresses: Iterable[str]) -> list[Path]:
    """The local folder of each, ``artifacts`` in a folder of its own; none of what a server keeps."""
    found = map(local_path, addresses)
    return [path.parent for path in found if path and path.name == "artifacts"]


def _unused_code(root: Path | None) -> int:
    """Remove the files of code that no version shares any more; how many bytes they took.

    One that a version is about to share is made anew by it.
    """
    size = 0
    for file in (root / SHARED_CODE).glob("*.zip") if root else ():
        found = file.stat()
        if found.st_nlink == 1:
            size += found.st_size
            file.unlink()
    return size


def _database(registry: ModelRegistry) -> Path | None:
    from fraud_pipelines.storage.artifact_location import database_path

    return database_path(registry.tracking_uri)
