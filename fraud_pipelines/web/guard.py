"""The guard before every page: under which names it may be asked for, and what other sites may do with it (nothing)."""

import ipaddress
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    # Not no-referrer: with that, browsers send a form's Origin as null.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Set on every answer that doesn't set them itself."""

_WRONG_NAME: Final = (
    "This server isn't meant to be asked for under that name. Behind a proxy, start it with --allow-host, and let the "
    "proxy pass the name on as Host."
)
_FOREIGN: Final = "This request comes from a page of another site, or of another port: it is refused."
_MUTATION: Final = "A GraphQL mutation changes something: send it with POST."


class Guard:
    """Lets requests through that name this server as their host, and that no page of another origin has caused.

    - A page on the internet can point its own name to 127.0.0.1 and read what a local server answers, as long as that
      server takes any name (DNS rebinding). So a request must name ``localhost``, an address, or one of ``names``.
    - A page can make a browser send requests to another origin: an image, a form, a script, a WebSocket (CSRF).
      Browsers say where a request comes from in ``Origin``, ``Sec-Fetch-Site`` and ``Referer``; whatever comes from
      another origin is refused, but for a link that is followed. Programs send none of these headers, and pass.
    - What a link can do must not change anything. So GraphQL by GET is for queries.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = (), *, headers: Mapping[str, str] | None = None) -> None:
        """Guard ``app``, and set ``headers`` on every answer, whatever the application says of them."""
        self._app = app
        self._names = {name.lower() for name in names}
        self._headers = headers or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        method = scope.get("method", "GET")
        if not self._is_ours(headers.get("host", "")):
            return PlainTextResponse(_WRONG_NAME, status_code=421)
        if _is_foreign(headers, method):
            return PlainTextResponse(_FOREIGN, status_code=403)
        if method in ("GET", "HEAD") and _asks_for_a_mutation(scope):
            return PlainTextResponse(_MUTATION, status_code=405, headers={"Allow": "POST"})
        return None

    def _is_ours(self, host: str) -> bool:
        name = _host_name(host)
        return name == "localhost" or name in self._names or _is_address(name)


def same_origin(headers: Headers) -> bool:
    """Whether a request says that it comes from a page of this server: browsers tell the origin of every form."""
    return headers.get("origin", "").lower() in _origins(headers)


def _is_foreign(headers: Headers, method: str) -> bool:
    if "origin" in headers:
        return not same_origin(headers)
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        # A link that is followed: the page is shown, and its origin can't see it.
        shown = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
        return not (shown and method in ("GET", "HEAD"))
    if method not in ("GET", "HEAD", "OPTIONS") and "referer" in headers:
        return not any(headers["referer"].lower().startswith(origin + "/") for origin in _origins(headers))
    return False


def _origins(headers: Headers) -> tuple[str, str]:
    host = headers.get("host", "").lower()
    return f"http://{host}", f"https://{host}"


def _asks_for_a_mutation(scope: Scope) -> bool:
    """Whether the address holds a GraphQL document with anything but queries, whichever of its operations is named."""
    documents = QueryParams(scope.get("query_string", b"")).getlist("query")
    if not documents or "graphql" not in scope["path"]:
        return False
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

    for document in documents:
        try:
            definitions = parse(document).definitions
        except GraphQLError:
            # The server may yet read it: how deep a document may be depends on how deep its reader is called.
            if "mutation" in document or "subscription" in document:
                return True
            continue
        for each in definitions:
            if isinstance(each, OperationDefinitionNode) and each.operation != OperationType.QUERY:
                return True
    return False


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
