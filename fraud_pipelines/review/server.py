"""Serves the review page: one process, one port, until it is told to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from fraud_pipelines.bootstrap import publication_of
from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.pages import page_address
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.review.desk import READ_WAIT_SECONDS, WRITE_WAIT_SECONDS, Desk
from fraud_pipelines.review.publisher import Publisher
from fraud_pipelines.settings import Settings
from fraud_pipelines.web.server import listen, names_of, say, server_of, warn_of_strangers


def serve_page(settings: Settings, *, host: str, port: int, quiet: bool = False) -> None:
    """Listen on ``host``:``port`` until SIGINT or SIGTERM; port 0 takes any that is free.

    Raises:
        InvalidInput: the port is taken, or the host is none of this machine.
    """
    from fraud_pipelines.review.app import create_app

    publication = publication_of(settings)
    publication.settle()
    listening = listen("The review page", host, port, option="--port")
    wait = settings.warehouse_wait_seconds
    with _terminated_afterwards(), Publisher(publication) as publisher:
        desk = Desk(
            settings.warehouse_path,
            plan=plan_in_force(settings),
            read_wait=min(READ_WAIT_SECONDS, wait),
            write_wait=min(WRITE_WAIT_SECONDS, wait),
            blind=policy_in_force(settings).audit_blind,
            skew=settings.clock_skew,
            stored=publisher.stored,
        )
        names = names_of(host, settings.allowed_host_names)
        app = create_app(desk, settings, names=names)
        if not quiet:
            say(f"Review page  {page_address(host, listening.getsockname()[1])}")
            warn_of_strangers("The review page", host)
        server_of(app).run(sockets=[listening])


@contextmanager
def _terminated_afterwards() -> Iterator[None]:
    """Let SIGTERM end the process when the block has ended: uvicorn stops for it, and then sends it once more."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    if received:
        signal.raise_signal(signal.SIGTERM)
