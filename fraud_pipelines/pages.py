"""Pages that people open, and the links to them: runs and versions in MLflow, the review page's queue and cases.

`fraud-pipelines up` tells the servers that it starts, and their runs, where its pages are (FRAUD_MLFLOW_URL,
FRAUD_REVIEW_URL). Elsewhere the addresses are those that it has by default.
"""

from typing import Final
from urllib.parse import quote, urlencode

from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.mlflow_connection import without_password

DAGSTER_PORT: Final = 3000
MLFLOW_PORT: Final = 5000
REVIEW_PORT: Final = 3001
"""Where `up` serves, unless it is told otherwise."""

_TRAINING: Final = "workflowType=machine_learning"
"""Without it MLflow opens its view of chats."""


def page_address(host: str, port: int) -> str:
    """The address of a server that listens on ``host``; one that listens everywhere is reached on this machine."""
    reached = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def mlflow_page(settings: Settings) -> str:
    """Where MLflow's pages are."""
    if settings.mlflow_url:
        return settings.mlflow_url.rstrip("/")
    if settings.tracking_uri.startswith(("http://", "https://")):
        return without_password(settings.tracking_uri).rstrip("/")
    return page_address("127.0.0.1", MLFLOW_PORT)


def training_view(settings: Settings, experiment_id: str) -> str:
    """The training runs in MLflow."""
    return f"{mlflow_page(settings)}/#/experiments/{experiment_id}/runs?{_TRAINING}"


def run_page(settings: Settings, experiment_id: str, run_id: str) -> str:
    """A run in MLflow."""
    return f"{mlflow_page(settings)}/#/experiments/{experiment_id}/runs/{run_id}?{_TRAINING}"


def version_page(settings: Settings, model_name: str, version: int) -> str:
    """A version of a registered model in MLflow."""
    return f"{mlflow_page(settings)}/#/models/{quote(model_name)}/versions/{version}?{_TRAINING}"


def review_page(settings: Settings) -> str:
    """The queue of the review page."""
    return (settings.review_url or page_address("127.0.0.1", REVIEW_PORT)).rstrip("/") + "/"


def case_page(settings: Settings, transaction_id: str) -> str:
    """A case on the review page."""
    return review_page(settings) + case_path(transaction_id).removeprefix("/")


def case_path(transaction_id: str, **more: str) -> str:
    """The path of a case on the review page."""
    return f"/case?{urlencode({'id': transaction_id, **more})}"
