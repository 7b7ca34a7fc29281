"""Starts the Dagster UI with its daemon, the MLflow UI and the review page on the same data, and stops them all."""

import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Final

from fraud_pipelines.environment import environment_for_dagster
from fraud_pipelines.errors import FraudPipelinesError, InvalidInput
from fraud_pipelines.pages import page_address, training_view
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.mlflow_connection import without_password
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.web.server import listen, say, warn_of_strangers

STOP_SECONDS = 20.0
_ANSWERS: Final = {"Dagster": "/server_info", "MLflow": "/health", "Review": "/healthz"}
"""Server → what it answers without looking anything up."""
_DIRECTLY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks this machine, never a proxy."""


def serve(settings: Settings, *, host: str, dagster_port: int, mlflow_port: int, review_port: int) -> int:
    """Run the servers until Ctrl-C, SIGTERM or the end of one of them; returns the exit code.

    Where the models are on an MLflow server, there is one already, and none is started.

    Raises:
        InvalidInput: a port is taken, is none, or is given to two of them.
    """
    ports = {"Dagster": dagster_port, "MLflow": mlflow_port, "Review": review_port}
    if settings.artifact_root is None:
        del ports["MLflow"]
    _check_ports(host, ports)
    commands = {
        "Dagster": _dagster_command(host, dagster_port),
        "MLflow": _mlflow_command(host, mlflow_port),
        "Review": _review_command(host, review_port),
    }
    environment = environment_for_dagster(
        {
            "DAGSTER_HOME": str(settings.dagster_home),
            "FRAUD_ALLOWED_HOSTS": settings.allowed_hosts,
            # Where the links on Dagster's pages lead.
            "FRAUD_REVIEW_URL": settings.review_url or page_address(host, review_port),
            "FRAUD_MLFLOW_URL": settings.mlflow_url or (page_address(host, mlflow_port) if "MLflow" in ports else ""),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONWARNINGS": "ignore",
        }
    )
    # Before the servers start: a shell's background job inherits SIGINT ignored, would pass that on, and
    # Dagster could not be stopped. A handler of ours is not inherited, the default is.
    stopped = _on_signal()
    servers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in ports:
            servers[name] = _start(commands[name], environment)
        say("Starting …")
        for name, port in ports.items():
            address = page_address(host, port) + _ANSWERS[name]
            while port and not (stopped or _first_ended(servers) or _is_served(address)):
                time.sleep(0.2)
        say(f"Dagster UI  {page_address(host, dagster_port)}")
        local = page_address(host, mlflow_port)
        say(f"MLflow UI   {local if 'MLflow' in servers else without_password(settings.tracking_uri)}")
        if settings.mlflow_database and settings.mlflow_database.exists():
            registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
            reached = settings.model_copy(update={"mlflow_url": environment["FRAUD_MLFLOW_URL"]})
            say(f"  its training runs: {training_view(reached, registry.experiment_id)}")
        say(f"Review page {page_address(host, review_port)}")
        warn_of_strangers("What listens", host)
        say("Ctrl-C stops them.")
        while not stopped:
            if ended := _first_ended(servers):
                code = servers[ended].returncode
                raise FraudPipelinesError(f"{ended} ended with exit code {code}; see its output above")
            time.sleep(0.2)
    finally:
        _stop(list(servers.values()))
    return 0


def _first_ended(servers: Mapping[str, subprocess.Popen[bytes]]) -> str | None:
    return next((name for name, server in servers.items() if server.poll() is not None), None)


def _is_served(address: str) -> bool:
    """Whether a page answers, whatever it says: its port listens long before it does."""
    try:
        with _DIRECTLY.open(address, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException):
        return False


def _dagster_command(host: str, port: int) -> list[str]:
    return [sys.executable, "-m", "fraud_pipelines.cli.dagster_ui", "--host", host, "--port", str(port)]


def _mlflow_command(host: str, port: int) -> list[str]:
    return [sys.executable, "-m", "fraud_pipelines.cli.mlflow_ui", "--host", host, "--port", str(port)]


def _review_command(host: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "fraud_pipelines.cli", "review", "serve", "--quiet"),
        *("--host", host, "--port", str(port)),
    ]


def _check_ports(host: str, ports: dict[str, int]) -> None:
    """Raise `InvalidInput` where a server could not listen: its message names the server and its option."""
    first: dict[int, str] = {}
    for name, port in ports.items():
        if port and port in first:
            raise InvalidInput(
                f"{first[port]} and {name} can't both listen on port {port}: choose another with {_option(name)}."
            )
        first[port] = name
        listen(name, host, port, option=_option(name)).close()


def _option(name: str) -> str:
    return f"--{name.lower()}-port"


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # A group of its own, so that a Ctrl-C reaches the servers once, through us.
    return subprocess.Popen(command, env=environment, start_new_session=True)


def _on_signal() -> list[int]:
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _frame: received.append(signum))
    return received


def _stop(servers: list[subprocess.Popen[bytes]]) -> None:
    """Ask politely, then insist; nothing may outlive this process."""
    # First the servers themselves, which end their children in order.
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGINT, 5.0)):
        for server in servers:
            if server.poll() is None:
                os.kill(server.pid, number)
        _wait(patience, lambda: all(server.poll() is not None for server in servers))
    # Then what is left of their groups: also the children of one that died without ending them.
    for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
        for server in servers:
            _signal_group(server, number)
        _wait(patience, lambda: not any(_signal_group(server, 0) for server in servers))


def _signal_group(server: subprocess.Popen[bytes], number: int) -> bool:
    """Whether there was anyone in the server's group to receive it; 0 only asks."""
    server.poll()
    try:
        os.killpg(server.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS refuses where all that is left has ended
        return False
    return True


def _wait(seconds: float, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not done():
        time.sleep(0.1)
