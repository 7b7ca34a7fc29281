"""The guard: who may talk to the page, what a browser may do with it, and the token that a verdict needs."""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with that, browsers send a form's Origin as null.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


class Guard:
    """Lets requests through that name this server as their host, and sets the headers of every answer.

    A page on the internet can point its own name to 127.0.0.1 and read what a local server answers, as long as that
    server takes any name (DNS rebinding). So a request must name ``localhost``, an address, or one of ``names``.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        self._app = app
        self._names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if self._is_ours(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send_with_headers)
        else:
            refusal = PlainTextResponse(
                "This server isn't meant to be asked for under that name. Behind a proxy, start it with --allow-host.",
                status_code=421,
            )
            await refusal(scope, receive, send_with_headers)

    def _is_ours(self, host: str) -> bool:
        name = _host_name(host)
        return name == "localhost" or name in self._names or _is_address(name)


def same_origin(headers: Headers) -> bool:
    """Whether a form came from a page of this server: browsers tell the origin of every form that is sent."""
    origin = urlsplit(headers.get("origin", ""))
    return origin.scheme in ("http", "https") and origin.netloc.lower() == headers.get("host", "").lower()


class Tokens:
    """Tokens that tie a verdict to one browser, one transaction, and the verdicts that were seen beside it.

    They hold as long as this server runs.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def token(self, session: str, transaction_id: str, seen: int) -> str:
        """The token of a form."""
        message = "\0".join((session, str(seen), transaction_id)).encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def is_valid(self, token: str, session: str, transaction_id: str, seen: int) -> bool:
        """Whether ``token`` was made for just this."""
        expected = self.token(session, transaction_id, seen)
        return bool(session) and hmac.compare_digest(token.encode(), expected.encode())


def new_session() -> str:
    """A name for a browser that nobody can guess."""
    return secrets.token_urlsafe(24)


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
