"""``up``: three pages that no other site can drive, on the data that the environment and ``.env`` name."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest

from fraud_pipelines_tests.browser import needs_browser, start_browser
from fraud_pipelines_tests.conftest import Installation

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

SCHEDULE: Final = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "fraud_pipelines",
    "scheduleName": "fraud_daily_schedule",
}
STARTUP_SECONDS: Final = 240.0  # on a machine that has other things to do

FOREIGN_PAGE: Final = """
<!doctype html><title>elsewhere</title>
<a id="link" href="LINK">a link</a>
<script>
const [target, link, body] = [TARGET, LINK_TEXT, BODY];
const post = {method: 'POST', mode: 'no-cors', credentials: 'include', body};
function form(type) {
  return new Promise(done => {
    const frame = document.createElement('iframe'), form = document.createElement('form');
    frame.name = type; frame.onload = done; document.body.append(frame, form);
    Object.assign(form, {action: link, method: 'POST', enctype: type, target: type});
    const field = document.createElement('input');
    field.name = body.slice(0, -1) + ', "'; field.value = '": 1}';
    form.append(field); form.submit();
  });
}
function loaded(kind) {
  return new Promise(done => {
    const element = document.createElement(kind);
    element.onload = element.onerror = done; element.src = link; document.body.append(element);
  });
}
function connected() {
  return new Promise(done => {
    const connection = new WebSocket(target.replace('http', 'ws'), 'graphql-ws');
    connection.onopen = () => done('open'); connection.onerror = () => done('refused');
  });
}
async function attack() {
  for (const kind of ['img', 'script', 'iframe']) await loaded(kind);
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) await form(type);
  for (const address of [target, link])
    for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
      await fetch(address, {...post, headers: {'Content-Type': type}}).catch(() => 0);
  await fetch(target, {...post, mode: 'cors', headers: {'Content-Type': 'application/json'}}).catch(() => 0);
  return await fetch(target, {credentials: 'include'}).then(answer => answer.text()).catch(() => 'unreadable');
}
</script>
"""


CONNECT: Final = """
const connection = new WebSocket(arguments[0], 'graphql-ws');
return await new Promise(end => { connection.onopen = () => end('open'); connection.onerror = () => end('refused'); });
"""
SEND: Final = """
const headers = {'Content-Type': 'application/json'};
return await fetch(arguments[0], {method: 'POST', headers, body: arguments[1]}).then(answer => answer.status);
"""


@dataclass(frozen=True)
class Up:
    """Where the pages are served."""

    process: int
    folder: Path
    data_dir: Path
    dagster: int
    mlflow: int
    review: int

    def answer(self, port: int, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        """The status and text of the answer to a GET, or of a POST if there is a body."""
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        sent = None if body is None else json.dumps(body)
        if sent is not None:
            headers["Content-Type"] = "application/json"
        connection.request("POST" if sent else "GET", path, sent, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, text

    def ask(self, query: str, **variables: object) -> Any:
        """The data that Dagster answers to a GraphQL query."""
        status, text = self.answer(self.dagster, "/graphql", {"query": query, "variables": variables})
        assert status == 200, text
        return json.loads(text)["data"]

    def schedule(self) -> dict[str, str]:
        """The id and the status of the nightly schedule."""
        found = "scheduleOrError(scheduleSelector: $s) { ... on Schedule { scheduleState { id status } } }"
        query = f"query($s: ScheduleSelector!) {{ {found} }}"
        return dict(self.ask(query, s=SCHEDULE)["scheduleOrError"]["scheduleState"])

    def experiments(self) -> int:
        _, text = self.answer(self.mlflow, "/api/2.0/mlflow/experiments/search", {"max_results": 100})
        return len(json.loads(text)["experiments"])


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """``up`` in a folder whose ``.env`` says one thing where the environment says another, and one thing more."""
    folder = tmp_path_factory.mktemp("up")
    (folder / ".env").write_text(
        "FRAUD_DATA_DIR=outranked\nFRAUD_OWNER=team:of-env-file\nFRAUD_ALLOWED_HOSTS=fraud.example\n"
    )
    installation = Installation(folder / "data")
    with ExitStack() as taken:
        sockets = [taken.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [each.getsockname()[1] for each in sockets]
    options = zip(("--dagster-port", "--mlflow-port", "--review-port"), map(str, ports), strict=True)
    command = installation.command("up", *(part for option in options for part in option))
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=installation.environment, stdout=output, stderr=output)
    up = Up(process.pid, folder, installation.data_dir, *ports)
    try:
        for port, path in ((up.dagster, "/server_info"), (up.mlflow, "/health"), (up.review, "/")):
            _wait_for(port, path, process, log)
        yield up
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def _wait_for(port: int, path: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status < 500:
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"nothing answered on {port}:\n{log.read_text()}")


def listening_ports(process: int) -> set[int]:
    """The TCP ports on which a process or one started by it listens."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("no /proc/net/tcp")
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = {process}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    sockets = set()
    for descriptor in (each for member in family for each in Path(f"/proc/{member}/fd").glob("*")):
        with suppress(OSError):
            sockets.add(str(descriptor.readlink()))
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return {
        int(line[1].rpartition(":")[2], 16) for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets
    }


@pytest.fixture(scope="module")
def browser() -> Iterator["Chrome"]:
    driver = start_browser()
    yield driver
    driver.quit()


class Elsewhere:
    """A page of another site, which tries all that a page can to have something done at ``target``."""

    def __init__(self, target: str, link: str, body: object) -> None:
        text = json.dumps(body)
        page = FOREIGN_PAGE.replace("LINK_TEXT", json.dumps(link)).replace("LINK", link.replace("&", "&amp;"))
        page = page.replace("TARGET", json.dumps(target)).replace("BODY", json.dumps(text))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        """The address of the page: of another site than 127.0.0.1."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://localhost:{self._server.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def wait_for_text(browser: "Chrome", text: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda page: text in page.find_element("tag name", "body").text)


def promised(browser: "Chrome", script: str, *arguments: object) -> Any:
    """What the promise that a script returns is fulfilled with."""
    browser.set_script_timeout(60)
    return browser.execute_async_script(
        f"const end = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(end, e => end(String(e)))",
        *arguments,
    )


@needs_browser
def test_no_page_of_another_site_can_stop_the_nightly_schedule_and_dagsters_own_can(up: Up, browser: "Chrome") -> None:
    start = "mutation($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }"
    up.ask(start, s=SCHEDULE)
    running = up.schedule()
    assert running["status"] == "RUNNING"
    stop = f'mutation {{ stopRunningSchedule(id: "{running["id"]}") {{ __typename }} }}'
    address = f"http://127.0.0.1:{up.dagster}"

    with Elsewhere(f"{address}/graphql", f"{address}/graphql?query={quote(stop)}", {"query": stop}) as page:
        browser.get(page)
        assert promised(browser, "return await connected()") == "refused"
        assert promised(browser, "return await attack()") == "unreadable"
        assert up.schedule() == running
        browser.find_element("id", "link").click()
        wait_for_text(browser, "send it with POST")
        assert up.schedule() == running

    browser.get(address)
    wait_for_text(browser, "Runs")
    assert promised(browser, CONNECT, f"ws://127.0.0.1:{up.dagster}/graphql") == "open"
    promised(browser, SEND, "/graphql", json.dumps({"query": stop}))
    assert up.schedule()["status"] == "STOPPED"


@needs_browser
def test_no_page_of_another_site_can_write_to_mlflow_and_its_own_can(up: Up, browser: "Chrome") -> None:
    before = up.experiments()
    address, create = f"http://127.0.0.1:{up.mlflow}", "/ajax-api/2.0/mlflow/experiments/create"
    with Elsewhere(address + create, f"{address}{create}?name=evil", {"name": "evil"}) as page:
        browser.get(page)
        assert promised(browser, "return await attack()") == "unreadable"
    assert up.experiments() == before

    browser.get(address)
    wait_for_text(browser, "Experiments")
    assert promised(browser, SEND, create, json.dumps({"name": "ours"})) == 200
    assert up.experiments() == before + 1


def test_every_page_is_asked_for_under_its_own_names_only(up: Up) -> None:
    for port, path in ((up.dagster, "/server_info"), (up.mlflow, "/health"), (up.review, "/")):
        for name in ("fraud.example", "localhost:1", socket.gethostname()):
            assert up.answer(port, path, Host=name)[0] == 200
        for name in ("evil.example", "10.evil.example"):
            assert up.answer(port, path, Host=name)[0] == 421
            assert up.answer(port, path, {"name": "evil"}, Host=name, Origin=f"http://{name}")[0] == 421


def test_nothing_listens_on_another_port(up: Up) -> None:
    assert listening_ports(up.process) == {up.dagster, up.mlflow, up.review}


def test_servers_code_location_and_commands_use_the_same_data(up: Up) -> None:
    query = """
    query($r: ResourceSelector!) {
      topLevelResourceDetailsOrError(resourceSelector: $r) { ... on ResourceDetails { configuredValues { key value } } }
      assetNodes { owners { ... on TeamAssetOwner { team } } }
    }
    """
    place = {name: SCHEDULE[name] for name in ("repositoryName", "repositoryLocationName")}
    found = up.ask(query, r=place | {"resourceName": "warehouse"})
    configured = {each["key"]: each["value"] for each in found["topLevelResourceDetailsOrError"]["configuredValues"]}
    assert json.loads(configured["path"]) == str(up.data_dir / "warehouse" / "live.duckdb")
    assert json.loads(configured["published"]) == str(up.data_dir / "fraud.duckdb")
    assert {owner["team"] for node in found["assetNodes"] for owner in node["owners"]} == {"of-env-file"}
    assert sorted(path.name for path in up.folder.iterdir()) == [".env", "data", "log"]

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "DAGSTER_"))}
    command = Installation(up.data_dir).command("status")
    status = subprocess.run(
        command, cwd=up.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert str(up.folder / "outranked" / "warehouse" / "live.duckdb") in (status.stdout + status.stderr).replace(
        "\n", ""
    )
