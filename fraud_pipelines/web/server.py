"""Listens on a port, and serves an application on it until the process is told to stop."""

import errno
import socket
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp

from fraud_pipelines.errors import InvalidInput

if TYPE_CHECKING:
    import uvicorn

LOCAL: Final = ("127.0.0.1", "localhost", "::1")


def listen(name: str, host: str, port: int, *, option: str) -> socket.socket:
    """A socket that listens on ``host``:``port``; port 0 takes any that is free.

    Args:
        name: what listens, for messages.
        option: of the command line, that chooses the port.

    Raises:
        InvalidInput: the port is taken, or no port for this user, or the host is none of this machine.
    """
    place = f"{name} can't listen on {host}:{port}"
    if not 0 <= port <= 65_535:
        raise InvalidInput(f"{place}: a port is a number from 1 to 65535. Choose one with {option}.")
    try:
        socket.getaddrinfo(host, port)  # create_server hides that a name is unknown
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except PermissionError as error:
        raise InvalidInput(
            f"{place}: {error.strerror}. Ports below 1024 are kept for the system: choose another with {option}."
        ) from error
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise InvalidInput(f"{place}: {host} is no address of this machine. Choose one with --host.") from error
        raise InvalidInput(
            f"{place}: {error.strerror}. Stop what listens there, or choose another port with {option}."
        ) from error


def names_of(host: str, allowed: Collection[str]) -> list[str]:
    """The names under which a page on ``host`` may be asked for, besides ``localhost`` and addresses."""
    return [host, socket.gethostname(), *allowed]


def warn_of_strangers(page: str, host: str) -> None:
    """Say that whoever reaches ``host`` can use the page, where more than this machine can."""
    if host not in LOCAL:
        say(f"{page} on {host} asks for no password: let only a proxy with a login reach it.")


def server_of(app: ASGIApp) -> "uvicorn.Server":
    """A quiet server, to be run on a socket: ``server_of(app).run(sockets=[listening])``.

    It runs until SIGINT or SIGTERM, or until its ``should_exit`` is set.
    """
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=3
        )
    )


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
