"""The guard: programs, pages of this server and followed links pass; what pages of other origins cause doesn't."""

import asyncio
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Scope
from starlette.websockets import WebSocket

from fraud_pipelines.web.guard import Guard

HOST = "127.0.0.1:3000"
HERE = f"http://{HOST}"
FOLLOWED_LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
MUTATION = "mutation { stopRunningSchedule { __typename } }"


def done(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("done")


async def connected(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


PAGES = Starlette(
    routes=[
        Route("/graphql", done, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        WebSocketRoute("/graphql", connected),
    ]
)
GUARD = Guard(PAGES, ["fraud.example"], headers={"X-Frame-Options": "DENY"})


def send(method: str, headers: dict[str, str], query: str = "", *, kind: str = "http") -> list[Message]:
    """What the guarded application answers to a request."""
    scope: Scope = {
        "type": kind,
        "method": method,
        "path": "/graphql",
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode(), value.encode("latin-1", "replace"))
            for name, value in ({"Host": HOST} | headers).items()
        ],
        "subprotocols": [],
    }
    received: list[Message] = [{"type": "websocket.connect" if kind == "websocket" else "http.request", "body": b""}]
    sent: list[Message] = []

    async def receive() -> Message:
        return received.pop(0)

    async def keep(message: Message) -> None:
        sent.append(message)

    asyncio.run(GUARD(scope, receive, keep))
    return sent


def status(method: str, headers: dict[str, str], query: str = "") -> int:
    return int(send(method, headers, query)[0]["status"])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:3000"},
        {"Host": "[::1]:3000"},
        {"Host": "fraud.example", "Origin": "https://fraud.example"},
        {"Origin": HERE, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Referer": HERE + "/runs"},
    ],
)
def test_programs_and_pages_of_this_server_pass(method: str, headers: dict[str, str]) -> None:
    assert status(method, headers) == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:3001"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1:3000.evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[evil"},
        {"Origin": "file://" + HOST},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_what_a_page_of_another_origin_causes_is_refused(method: str, headers: dict[str, str]) -> None:
    assert status(method, headers) == 403


def test_a_link_may_be_followed_and_no_more() -> None:
    assert status("GET", FOLLOWED_LINK) == 200
    assert status("POST", FOLLOWED_LINK) == 403
    assert status("GET", FOLLOWED_LINK, "query=" + quote(MUTATION)) == 405


def test_a_form_of_an_old_browser_is_known_by_its_referer() -> None:
    assert status("POST", {"Referer": "http://evil.example/page"}) == 403
    assert status("POST", {"Referer": HERE + "/page"}) == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.evil.example:3000", "[::1", ""])
def test_another_name_than_ours_is_refused_whoever_asks(host: str) -> None:
    assert status("GET", {"Host": host}) == 421
    assert status("POST", {"Host": host, "Origin": f"http://{host}"}) == 421
    assert send("GET", {"Host": host}, kind="websocket") == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    "query",
    [
        "query=" + quote(MUTATION),
        "query=" + MUTATION.replace(" ", "+"),
        "query=" + "".join(f"%{ord(letter):02x}" for letter in MUTATION),
        "query=%EF%BB%BF" + quote("# nothing\n,,," + MUTATION),
        "query=" + quote("query A { __typename } mutation B { stop }") + "&operationName=A",
        "query=" + quote("query A { __typename } mutation B { stop }") + "&operationName=B",
        "query=%7B__typename%7D&query=" + quote(MUTATION),
        "query=" + quote(MUTATION) + "&query=%7B__typename%7D",
        "variables=%7B%7D&query="
        + quote("fragment F on Q { __typename } mutation($a: Int = 1) { stop(a: $a) { ...F } }"),
        "query=" + quote("subscription { __typename }"),
        "query=" + quote("mutation { stop(a: " + "[" * 3_000 + "]" * 3_000 + ") }"),
    ],
)
def test_a_mutation_by_get_is_refused_however_it_is_written(query: str) -> None:
    assert status("GET", {}, query) == 405
    assert status("HEAD", {}, query) == 405
    assert status("POST", {"Origin": HERE}, query) == 200
    assert status("POST", {"Origin": "http://evil.example", "Content-Type": "text/plain"}, query) == 403


@pytest.mark.parametrize(
    "query", ["", "query=%7B__typename%7D", "query=", "query=tag:x", "query=query+A%7Ba%7D", "q=1"]
)
def test_a_query_by_get_passes(query: str) -> None:
    assert status("GET", {}, query) == 200


@given(st.sampled_from(["", HERE, HERE.upper(), HOST, "http://", "https://" + HOST]), st.text(max_size=20))
def test_no_origin_but_the_own_passes(like: str, more: str) -> None:
    for origin in (like + more, more + like):
        own = origin.lower() in (HERE, "https://" + HOST)
        assert status("POST", {"Origin": origin}) == (200 if own else 403)


def test_a_socket_of_another_origin_is_not_opened() -> None:
    for headers in ({}, {"Origin": HERE}):
        assert send("GET", headers, kind="websocket")[0]["type"] == "websocket.accept"
    for origin in ("http://evil.example", "http://127.0.0.1:3001", "null", ""):
        assert send("GET", {"Origin": origin}, kind="websocket") == [{"type": "websocket.close", "code": 1008}]


def test_every_answer_says_what_browsers_must_not_do_with_it() -> None:
    for headers in ({}, {"Host": "evil.example"}, {"Origin": "null"}):
        start = send("GET", headers)[0]
        answered = {name.decode(): value.decode() for name, value in start["headers"]}
        assert answered["x-frame-options"] == "DENY"
        assert answered["x-content-type-options"] == "nosniff"
        assert answered["cross-origin-resource-policy"] == "same-origin"
