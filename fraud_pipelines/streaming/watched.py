"""The health and the figures of a process that consumes a topic, on a port of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.applications import Starlette

from fraud_pipelines.streaming.batches import BatchReport
from fraud_pipelines.web.guard import Guard
from fraud_pipelines.web.metrics import Metric, Metrics, health_routes
from fraud_pipelines.web.server import listen, names_of, server_of

DECIDED: Final = Metric("fraud_stream_decided_total", "counter", "Payments decided and committed.")
REJECTED: Final = Metric("fraud_stream_rejected_total", "counter", "Rows rejected.")
COMMITS: Final = Metric("fraud_stream_commits_total", "counter", "Commits that held something.")
SINCE_POLL: Final = Metric("fraud_stream_seconds_since_poll", "gauge", "Since the consumer asked the broker last.")
SINCE_COMMIT: Final = Metric("fraud_stream_seconds_since_commit", "gauge", "Since the last commit that held something.")

SILENT_SECONDS: Final = 300.0
"""A consumer that has not asked the broker for so long hangs: a commit may wait for the warehouse two minutes."""


class Watched:
    """What the consumer says of itself, after every poll."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._polled = time.monotonic()
        self._committed: float | None = None
        for counter in (DECIDED, REJECTED, COMMITS):
            self.metrics.add(counter, 0)
        self.metrics.ask(SINCE_POLL, lambda: time.monotonic() - self._polled)
        self.metrics.ask(SINCE_COMMIT, lambda: None if self._committed is None else time.monotonic() - self._committed)

    def polled(self, reports: list[BatchReport]) -> None:
        """Take note of a poll, and of what was committed."""
        self._polled = time.monotonic()
        if reports:
            self._committed = self._polled
            self.metrics.add(COMMITS)
            self.metrics.add(DECIDED, sum(each.decided for each in reports))
            self.metrics.add(REJECTED, sum(each.rejected for each in reports))

    def problem(self) -> str:
        """What is wrong; empty where nothing is."""
        silent = time.monotonic() - self._polled
        return f"the broker was asked last {silent:.0f} s ago" if silent > SILENT_SECONDS else ""

    @contextmanager
    def told(self, host: str, port: int) -> Iterator[int]:
        """Answer on ``host``:``port`` as long as the block lasts; gives the port, 0 takes any that is free.

        Raises:
            InvalidInput: the port is taken, or the host is none of this machine.
        """
        listening = listen("stream-consume", host, port, option="FRAUD_STREAM_METRICS_PORT")
        server = server_of(Guard(Starlette(routes=[*health_routes(self.metrics, self.problem)]), names_of(host, ())))
        thread = threading.Thread(target=server.run, args=([listening],), name="health and figures", daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
            listening.close()
