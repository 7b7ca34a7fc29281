"""Fixtures of the page's tests: the real server on a port of its own, and a client like a browser's."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import uvicorn

from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.review.app import create_app
from fraud_pipelines.review.desk import Desk
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.review.samples import queue_warehouse


class _Fields(HTMLParser):
    """The fields of the first form of a page that is sent to ``action``."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._action, self._within = action, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._within = given.get("action") == self._action and not self.found
        if tag == "input" and given.get("name") and self._within:
            self.found[str(given["name"])] = given.get("value") or ""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def fields(self) -> dict[str, str]:
        """The values that the inputs of the form for a verdict come with."""
        return self.form("/verdict")

    def form(self, action: str) -> dict[str, str]:
        """The values that the inputs of the form come with that is sent to ``action``."""
        parser = _Fields(action)
        parser.feed(self.text)
        return parser.found


@dataclass
class Client:
    """Keeps cookies, and sends the headers that a browser sends with a form of the same origin."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def case(self, transaction_id: str) -> Answer:
        return self.get("/case?id=" + quote(transaction_id, safe=""))

    def send(self, fields: dict[str, str], to: str = "/verdict", **headers: str) -> Answer:
        form = {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", to, headers=form | headers, body=urlencode(fields).encode())

    def judge(self, transaction_id: str, verdict: str, /, **changed: str) -> Answer:
        """Open the case, fill in the form and send it."""
        return self.send(self.case(transaction_id).fields | {"verdict": verdict, "reviewer": "anna"} | changed)

    def request(self, method: str, path: str, *, headers: dict[str, str], body: bytes | None = None) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        if self.cookies:
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} | headers
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        self._keep_cookies(answer)
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)

    def _keep_cookies(self, answer: HTTPResponse) -> None:
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return queue_warehouse(tmp_path)


@pytest.fixture
def patience() -> float:
    """Seconds that the page waits for the warehouse."""
    return 20.0


@contextmanager
def served(
    warehouse: Warehouse,
    *,
    plan: Plan | None = None,
    patience: float = 20.0,
    reviewer_header: str = "",
    blind: bool = False,
) -> Iterator[int]:
    """The port on which the page of a warehouse is served, as long as the block lasts."""
    listening = socket.create_server(("127.0.0.1", 0))
    desk = Desk(warehouse.path, plan=plan or shipped_plan(), read_wait=patience, write_wait=patience, blind=blind)
    settings = Settings(data_dir=warehouse.path.parent, reviewer_header=reviewer_header)
    app = create_app(desk, settings, names=["reviews.example"])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=10)
    listening.close()


@pytest.fixture
def port(warehouse: Warehouse, patience: float) -> Iterator[int]:
    """Where the page is served, on the test's own warehouse."""
    with served(warehouse, patience=patience) as port:
        yield port


@pytest.fixture
def client(port: int) -> Client:
    return Client(port)
