"""MLflow's server as ``up`` starts it: its UI and API behind the guard, in one process.

``mlflow server`` would check hosts and origins, too, but takes ``10.evil.example`` for an address of the local network,
the pages of every other port of this machine for its own, and leaves out GraphQL. It also starts six processes for
jobs that nobody sends here.
"""

import os
import sys

import click

from fraud_pipelines.errors import FraudPipelinesError
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.mlflow_connection import errors_named, prepare_environment
from fraud_pipelines.web.guard import Guard
from fraud_pipelines.web.server import listen, names_of, server_of


@click.command()
@click.option("--host", required=True)
@click.option("--port", required=True, type=int)
def main(host: str, port: int) -> None:
    """Serve MLflow on the database that the settings name until SIGINT or SIGTERM."""
    settings = Settings.from_environment()
    listening = listen("MLflow", host, port, option="--mlflow-port")
    prepare_environment()
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = "*"  # The guard before it judges the host.
    from mlflow.server import constants

    artifacts = str(settings.artifact_root)
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: settings.tracking_uri,
        constants.ARTIFACT_ROOT_ENV_VAR: artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
    }
    with errors_named(settings.tracking_uri):
        from mlflow.server.fastapi_app import app
        from mlflow.server.handlers import initialize_backend_stores

        initialize_backend_stores(settings.tracking_uri, settings.tracking_uri, artifacts)
    server_of(Guard(app, names_of(host, settings.allowed_host_names))).run(sockets=[listening])


if __name__ == "__main__":
    try:
        main()
    except FraudPipelinesError as error:
        sys.exit(f"Error: {error}")
