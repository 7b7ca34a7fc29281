"""Dagster as ``up`` serves it: the UI behind the guard, the daemon, and the code servers that both share.

What ``dagster dev`` starts, but for the web server, which runs the mutations of any page that asks. Dagster has no
public way to put something before it but a proxy, and what is behind a proxy can still be reached; so the application
is built here, from what Dagster's own commands build it from.
"""

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import dagster as dg
import yaml

from fraud_pipelines.errors import FraudPipelinesError
from fraud_pipelines.settings import Settings
from fraud_pipelines.web.guard import Guard
from fraud_pipelines.web.server import listen, names_of, server_of

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

MODULE = "fraud_pipelines.definitions"
LOCATION = "fraud_pipelines"

_WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"
_STOP_SECONDS = 15.0


@click.command()
@click.option("--host", required=True)
@click.option("--port", required=True, type=int)
def main(host: str, port: int) -> None:
    """Serve Dagster until SIGINT or SIGTERM."""
    from dagster._utils.interrupts import setup_interrupt_handlers

    settings = Settings.from_environment()
    listening = listen("Dagster", host, port, option="--dagster-port")
    setup_interrupt_handlers()  # SIGTERM interrupts, as Ctrl-C does.
    with contextlib.suppress(KeyboardInterrupt), dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3_600, max_overflow=20)
        with _code_servers(instance) as workspace, _web_application(instance, workspace) as app:
            server = server_of(Guard(app, names_of(host, settings.allowed_host_names)))
            with _daemon(instance, workspace) as daemon:
                threading.Thread(target=_end_with, args=(daemon, server), daemon=True).start()
                server.run(sockets=[listening])
                if daemon.poll() is not None:
                    raise FraudPipelinesError(f"Dagster's daemon ended with exit code {daemon.returncode}")


def _end_with(daemon: "subprocess.Popen[bytes]", server: "uvicorn.Server") -> None:
    daemon.wait()
    server.should_exit = True


@contextlib.contextmanager
def _code_servers(instance: dg.DagsterInstance) -> Iterator[Path]:
    """Start the code locations of workspace.yaml; gives a workspace file that names their sockets."""
    from dagster._cli.proxy_server_manager import ProxyServerManager
    from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget

    target = (
        WorkspaceFileTarget(paths=[str(_WORKSPACE)])
        if _WORKSPACE.exists()
        else ModuleTarget(module_name=MODULE, attribute=None, working_directory=None, location_name=LOCATION)
    )
    with (
        ProxyServerManager(instance, target, code_server_log_level="warning") as servers,
        tempfile.TemporaryDirectory() as folder,
    ):
        workspace = Path(folder) / "workspace.yaml"
        workspace.write_text(yaml.dump({"load_from": servers.get_code_server_specs()}))
        yield workspace


@contextlib.contextmanager
def _web_application(instance: dg.DagsterInstance, workspace: Path) -> Iterator["Starlette"]:
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    target = WorkspaceFileTarget(paths=[str(workspace)])
    with WorkspaceProcessContext(instance, target, __version__, code_server_log_level="warning") as context:
        yield create_app_from_workspace_process_context(context, live_data_poll_rate=2_000)


@contextlib.contextmanager
def _daemon(instance: dg.DagsterInstance, workspace: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Dagster's daemon: schedules, sensors, and the queue of runs."""
    from dagster_shared.serdes import serialize_value

    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "dagster._daemon", "run", "--log-level", "warning"),
            *("--instance-ref", serialize_value(instance.get_ref()), "--workspace", str(workspace)),
        ]
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    try:
        main()
    except FraudPipelinesError as error:
        sys.exit(f"Error: {error}")
