"""Health and figures of a process, as Prometheus scrapes them: ``/healthz`` and ``/metrics``.

The text is Prometheus's exposition format 0.0.4, which is a line for each figure.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud_pipelines.logs import log_event

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
HEALTH, METRICS = "/healthz", "/metrics"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Metric:
    """A figure that is told: its name, what it means, and whether it only grows."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str


STARTED: Final = Metric("process_start_time_seconds", "gauge", "When the process began, seconds since 1970.")
REQUESTS: Final = Metric("fraud_http_requests_total", "counter", "Requests answered, by page and status.")
REQUEST_SECONDS: Final = Metric("fraud_http_request_seconds_total", "counter", "What answering them took, by page.")


@dataclass
class Metrics:
    """The figures of this process; safe to use from several threads."""

    _figures: dict[Metric, dict[Labels, float]] = field(default_factory=dict)
    _asked: dict[Metric, Callable[[], float | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.set(STARTED, time.time())

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Let a figure grow by ``amount``."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            of_metric = self._figures.setdefault(metric, {})
            of_metric[key] = of_metric.get(key, 0.0) + amount

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Say what a figure is now."""
        with self._lock:
            self._figures.setdefault(metric, {})[tuple(sorted(labels.items()))] = value

    def ask(self, metric: Metric, value: Callable[[], float | None]) -> None:
        """Have a figure computed when it is asked for; None leaves it out."""
        self._asked[metric] = value

    def text(self) -> str:
        """All figures, as Prometheus reads them."""
        for metric, value in self._asked.items():
            if (now := value()) is not None:
                self.set(metric, now)
        lines: list[str] = []
        with self._lock:
            for metric, figures in sorted(self._figures.items(), key=lambda each: each[0].name):
                lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
                lines += [f"{metric.name}{_braced(labels)} {figure!r}" for labels, figure in sorted(figures.items())]
        return "\n".join(lines) + "\n"


def health_routes(metrics: Metrics, problem: Callable[[], str]) -> list[Route]:
    """The routes ``/healthz``, 200 or 503 with what is wrong, and ``/metrics``.

    Args:
        problem: what keeps the process from its work; empty where nothing does.
    """

    async def health(_request: Request) -> Response:
        found = await run_in_threadpool(problem)
        return JSONResponse({"status": found or "ok"}, status_code=503 if found else 200)

    async def figures(_request: Request) -> Response:
        return PlainTextResponse(await run_in_threadpool(metrics.text), headers={"Content-Type": CONTENT_TYPE})

    return [Route(HEALTH, health), Route(METRICS, figures)]


class Measured:
    """Counts and times the requests of an application, and logs each of them.

    What is asked for is told by the page alone, never by the query, which names payments and people.

    Args:
        pages: paths that are told apart; every other one is ``other``.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, pages: Collection[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._pages = frozenset(pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in (HEALTH, METRICS):
            await self._app(scope, receive, send)
            return
        page = scope["path"] if scope["path"] in self._pages else "other"
        status, begun = 500, time.monotonic()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            seconds = time.monotonic() - begun
            self._metrics.add(REQUESTS, page=page, status=str(status))
            self._metrics.add(REQUEST_SECONDS, seconds, page=page)
            log_event("request", page=page, method=scope["method"], status=status, seconds=round(seconds, 4))


def _braced(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
