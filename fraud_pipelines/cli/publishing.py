"""Publishing at the end of a command, and ``fraud-pipelines publish``."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from fraud_pipelines.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


def publishes(command: Callable[P, R]) -> Callable[P, R]:
    """Have what ``command`` wrote published before it returns, also where it failed or was interrupted."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        finally:
            publish_what_changed(Settings.from_environment())

    return run


def publish_what_changed(settings: Settings) -> None:
    """Publish, unless nothing was written; where it can't be done, a warning says why."""
    from fraud_pipelines.bootstrap import publication_of

    publication_of(settings).publish_or_tell()


def publish_now(settings: Settings) -> None:
    """Publish, and say what was done.

    Raises:
        MissingData: there is no warehouse yet.
        NotPublished: there is no room for a copy, or it can't be made.
    """
    from rich.markup import escape

    from fraud_pipelines.bootstrap import live_warehouse, publication_of
    from fraud_pipelines.cli.terminal import terminal

    warehouse = live_warehouse(settings)
    if not warehouse.path.exists():
        warehouse.read("SELECT 1")  # Says how to begin.
    publication = publication_of(settings)
    new = publication.publish()
    record, size = publication.record(), settings.published_path.stat().st_size
    terminal(highlight=False).print(
        f"{escape(str(settings.published_path))} is as of {record.published_at:%Y-%m-%d %H:%M:%S} UTC: "
        + (f"{size / 1e6:,.0f} MB in {record.seconds:.1f} s." if new else "nothing has changed since."),
        soft_wrap=True,
    )
