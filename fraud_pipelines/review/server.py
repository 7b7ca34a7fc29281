"""Serves the review page: one process, one port, until it is told to stop."""

from fraud_pipelines.bootstrap import publication_of
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
    with Publisher(publication) as publisher:
        desk = Desk(
            settings.warehouse_path,
            plan=plan_in_force(settings),
            read_wait=min(READ_WAIT_SECONDS, wait),
            write_wait=min(WRITE_WAIT_SECONDS, wait),
            skew=settings.clock_skew,
            stored=publisher.stored,
        )
        app = create_app(desk, names=names_of(host, settings.allowed_host_names))
        if not quiet:
            say(f"Review page  {page_address(host, listening.getsockname()[1])}")
            warn_of_strangers("The review page", host)
        server_of(app).run(sockets=[listening])
