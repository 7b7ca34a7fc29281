"""The connection to MLflow: quiet, without telemetry, soon to say that a server can't be reached."""

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from fraud_pipelines.errors import RegistryUnavailable
from fraud_pipelines.storage.artifact_location import SQLITE, database_path, follow_database, names_database_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Set before MLflow is imported, unless the environment has a value of its own."""

_PROBE: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "4"}
"""For the first request to a server, so that a wrong address shows within ten seconds."""

EXPERIMENT: Final = "fraud-pipelines"
"""Of the training runs."""
SERIES_EXPERIMENT: Final = "fraud-pipelines-performance"
"""Of what is measured day by day: beside the training runs, whose table it would clutter."""
TRIAL_EXPERIMENT: Final = "fraud-pipelines-trials"
"""Of what was tried on past days and is not in use."""


def prepare_environment() -> None:
    """Set MLflow's environment variables; what the user has set stays. Importing MLflow takes seconds, this doesn't."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def connect(tracking_uri: str, artifact_root: Path | None) -> "MlflowClient":
    """A client whose server has answered once to this process, and whose files are found below ``artifact_root``.

    Raises:
        RegistryUnavailable: it didn't, or the address is no tracking server.
    """
    with errors_named(tracking_uri):
        find_artifacts(tracking_uri, artifact_root)
        return _client(tracking_uri, os.getpid())


@cache
def _client(tracking_uri: str, process: int) -> "MlflowClient":  # noqa: ARG001 - a forked process connects itself
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])  # in case it was imported before
    if names_database_server(tracking_uri):
        _reach_database(tracking_uri)
    with _environment(_PROBE):
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        client.search_experiments(max_results=1)
    return client


def _reach_database(uri: str) -> None:
    """Raise SQLAlchemy's error where a database can't be reached: MLflow itself would try for three minutes."""
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def find_artifacts(tracking_uri: str, artifact_root: Path | None) -> None:
    """Where MLflow's SQLite database was copied or moved, let it find its files below ``artifact_root``."""
    database = database_path(tracking_uri)
    if database and artifact_root:
        follow_database(database, artifact_root, (EXPERIMENT, SERIES_EXPERIMENT, TRIAL_EXPERIMENT))


@contextlib.contextmanager
def errors_named(tracking_uri: str) -> Iterator[None]:
    """MLflow's errors as one of ours, with the address and what to do."""
    prepare_environment()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    # An ImportError is a missing database driver.
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        text = _without_credentials(str(error), tracking_uri)
        cause = (text.strip() or type(error).__name__).splitlines()[0].rstrip(". ")
        if isinstance(error, ImportError) and tracking_uri.startswith("postgresql"):
            raise RegistryUnavailable(
                f"MLflow at {without_password(tracking_uri)} needs the driver of PostgreSQL ({cause}): "
                "pip install 'fraud-pipelines[postgres]'"
            ) from None
        raise RegistryUnavailable(
            f"MLflow at {without_password(tracking_uri)} failed: {cause}. Check that the server runs and "
            "MLFLOW_TRACKING_URI is right (unset, it is SQLite under the data directory), then run the step again: "
            "it goes on where it stopped."
            # Every traceback and run log shows a cause as it is.
        ) from (error if without_password(tracking_uri) == tracking_uri else None)


def experiment_id(
    client: "MlflowClient", name: str, artifact_folder: Path | None, *, tags: Mapping[str, str] | None = None
) -> str:
    """The id of the experiment, which is made if there is none, its files in ``artifact_folder`` unless that is None.

    Two processes may be about to make it.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = artifact_folder.resolve().as_uri() if artifact_folder else None
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=dict(tags or {})))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
    return str(found.experiment_id)


def create_database(tracking_uri: str) -> None:
    """Create the SQLite database behind ``sqlite:///path``, if it isn't there; other addresses are left alone.

    MLflow creates its tables step by step and can't go on after a crash. So they are made in a file aside,
    which then gets the name; of several processes one does it and the others wait.
    """
    path = database_path(tracking_uri)
    if path is None or path.exists():
        return
    prepare_environment()
    with errors_named(tracking_uri), _locked(path.with_name(path.name + ".lock")):
        if path.exists():
            return
        from mlflow.db import upgrade

        aside = path.with_name(path.name + ".new")
        aside.unlink(missing_ok=True)
        upgrade.main([f"{SQLITE}{aside}"], standalone_mode=False)
        aside.replace(path)


def without_password(uri: str) -> str:
    """The address without user and password, fit for messages."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else uri


def _without_credentials(text: str, uri: str) -> str:
    """The text, in which the user and password of the address may be repeated, without them."""
    userinfo = urlsplit(uri).netloc.rpartition("@")[0]
    if userinfo:
        text = text.replace(f"{userinfo}@", "")
    password = userinfo.partition(":")[2]
    for secret in filter(None, (password, unquote(password))):
        text = text.replace(secret, "***")
    return text


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
