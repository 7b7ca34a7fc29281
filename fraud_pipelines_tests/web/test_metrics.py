"""Health and figures: what Prometheus reads, of whom, and what is never told."""

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fraud_pipelines.streaming import watched as watched_module
from fraud_pipelines.streaming.batches import BatchReport
from fraud_pipelines.streaming.watched import Watched
from fraud_pipelines.web.metrics import Measured, Metric, Metrics, health_routes
from fraud_pipelines.web.server import listen, server_of

SAMPLE = re.compile(
    r'^(?P<name>[a-z_]+)(\{(?P<labels>([a-z_]+="([^"\\\n]|\\["\\n])*",?)*)\})? (?P<value>[-+.0-9einf]+)$'
)
"""A line of the exposition format, by its grammar."""


def samples(text: str) -> dict[str, float]:
    """Name and labels → value; every line is one that Prometheus can read."""
    found: dict[str, float] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            assert re.match(r"# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge))$", line), line
            continue
        sample = SAMPLE.match(line)
        assert sample, line
        found[line.rpartition(" ")[0]] = float(sample["value"])
    return found


Get = Callable[[str], tuple[int, str, str]]


def asking(port: int) -> Get:
    """Asks the server on a port for a path; gives status, content type and text."""

    def get(path: str) -> tuple[int, str, str]:
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()

    return get


@pytest.fixture
def get() -> Iterator[Get]:
    metrics = Metrics()

    def page(request: Request) -> Response:
        if "fail" in request.query_params:
            raise RuntimeError("it fails")
        return PlainTextResponse("here")

    problems = iter(["", "the disk is full"])
    app = Starlette(routes=[Route("/case", page), *health_routes(metrics, lambda: next(problems))])
    listening = listen("a test", "127.0.0.1", 0, option="none")
    server = server_of(Measured(app, metrics, ["/case"]))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    yield asking(listening.getsockname()[1])
    server.should_exit = True
    thread.join()
    listening.close()


def test_requests_are_counted_by_page_and_status_and_ids_are_not_told(get: Get) -> None:
    for path in ("/case?id=secret-1", "/case?id=secret-2", "/case?fail=1", "/secret-3"):
        get(path)
    _, kind, text = get("/metrics")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert "secret" not in text
    found = samples(text)
    assert found['fraud_http_requests_total{page="/case",status="200"}'] == 2
    assert found['fraud_http_requests_total{page="/case",status="500"}'] == 1
    assert found['fraud_http_requests_total{page="other",status="404"}'] == 1
    assert found['fraud_http_request_seconds_total{page="/case"}'] > 0


def test_health_says_what_is_wrong(get: Get) -> None:
    well, ill = get("/healthz"), get("/healthz")
    assert (well[0], json.loads(well[2])) == (200, {"status": "ok"})
    assert (ill[0], json.loads(ill[2])) == (503, {"status": "the disk is full"})


def test_labels_are_escaped_and_what_is_unknown_is_left_out() -> None:
    metrics, metric = Metrics(), Metric("fraud_of_a_test", "gauge", "Of a test.")
    metrics.set(metric, 1.5, text='a "b"\\\n')
    metrics.ask(Metric("fraud_unknown", "gauge", "Not known."), lambda: None)
    metrics.ask(Metric("fraud_known", "gauge", "Known."), lambda: 2.0)
    found = samples(metrics.text())
    assert found[r'fraud_of_a_test{text="a \"b\"\\\n"}'] == 1.5
    assert found["fraud_known"] == 2
    assert not any("unknown" in name for name in found)


def test_a_consumer_tells_its_commits_and_that_it_hangs() -> None:
    watched = Watched()
    with watched.told("127.0.0.1", 0) as port:
        get = asking(port)
        before = samples(get("/metrics")[2])
        assert before["fraud_stream_decided_total"] == 0
        assert "fraud_stream_seconds_since_commit" not in before
        watched.polled([])
        batches = [(3, 1), (4, 0)]
        watched.polled([BatchReport("b", "s", accepted=accepted, rejected=bad) for accepted, bad in batches])
        after = samples(get("/metrics")[2])
        assert after["fraud_stream_decided_total"] == 7
        assert after["fraud_stream_rejected_total"] == 1
        assert after["fraud_stream_commits_total"] == 1
        assert after["fraud_stream_seconds_since_commit"] < 60
        assert get("/healthz")[0] == 200
        with mock.patch.object(watched_module, "SILENT_SECONDS", -1.0):
            status, _, text = get("/healthz")
        assert status == 503
        assert "the broker was asked last" in json.loads(text)["status"]
