"""Serves the review page: one process, one port, until it is told to stop."""

import socket
import sys
from collections.abc import Collection

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.review.desk import READ_WAIT_SECONDS, WRITE_WAIT_SECONDS, Desk
from fraud_pipelines.settings import Settings

LOCAL = ("127.0.0.1", "localhost", "::1")


def serve_page(
    settings: Settings, *, host: str, port: int, allowed_hosts: Collection[str] = (), quiet: bool = False
) -> None:
    """Listen on ``host``:``port`` until SIGINT or SIGTERM; port 0 takes any that is free.

    Raises:
        InvalidInput: the port is taken, or the host is none of this machine.
    """
    import uvicorn

    from fraud_pipelines.review.app import create_app

    listening = _listen(host, port)
    wait = settings.warehouse_wait_seconds
    desk = Desk(
        settings.warehouse_path,
        read_wait=min(READ_WAIT_SECONDS, wait),
        write_wait=min(WRITE_WAIT_SECONDS, wait),
        skew=settings.clock_skew,
    )
    app = create_app(desk, names=[host, socket.gethostname(), *allowed_hosts])
    if not quiet:
        shown = f"[{host}]" if ":" in host else host
        _say(f"Review page  http://{shown}:{listening.getsockname()[1]}")
    if host not in LOCAL:
        _say(f"The review page on {host} asks for no password: let only a proxy with a login reach it.")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=3
    )
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InvalidInput(
            f"The review page can't listen on {host}:{port}: {error.strerror}. Stop what listens there, or choose "
            "another port with --port."
        ) from error


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
