"""The webhook: posts a text as Slack and those like it take it, and never tells its address."""

import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from queue import Empty, Queue
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

TIMEOUT_SECONDS: Final = 5.0
TRIES: Final = 3
PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 0.5
"""For the answer that comes just in time, and for one of the operating system that tells more."""


class WebhookError(Exception):
    """A text could not be delivered; says why, without the address, which is a secret."""

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(reason)
        self.attempts = attempts


def post_text(
    url: str,
    text: str,
    *,
    timeout: float = TIMEOUT_SECONDS,
    tries: int = TRIES,
    pause: float = PAUSE_SECONDS,
) -> int:
    """Post ``{"text": …}`` to ``url``; returns how many attempts it took.

    What may pass is tried again after a pause that doubles: no answer, a server's error, too many requests.

    Raises:
        WebhookError: it was not taken.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        raise WebhookError("FRAUD_ALERT_WEBHOOK is no http or https address", 0)
    body = json.dumps({"text": escape(text)}).encode()
    request = Request(url, body, {"Content-Type": "application/json", "User-Agent": "fraud-pipelines"}, method="POST")
    for attempt in range(1, tries + 1):
        reason, passing, wait = _within(timeout, lambda: _post(request, timeout))
        if not reason:
            return attempt
        if not passing or attempt == tries:
            break
        time.sleep(max(pause * 2 ** (attempt - 1), min(wait, LONGEST_PAUSE_SECONDS)))
    raise WebhookError(reason, attempt)


def escape(text: str) -> str:
    """``text`` with what Slack would take for a mention or a link made harmless, as its documentation asks."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _within(seconds: float, post: Callable[[], tuple[str, bool, float]]) -> tuple[str, bool, float]:
    """What ``post`` returns, if it does in time: an answer of a byte at a time resets the clock of each read."""
    answers: Queue[tuple[str, bool, float]] = Queue()
    threading.Thread(target=lambda: answers.put(post()), daemon=True).start()
    try:
        return answers.get(timeout=seconds + _GRACE_SECONDS)
    except Empty:
        return f"no whole answer within {seconds:g} s", True, 0.0


def _post(request: Request, timeout: float) -> tuple[str, bool, float]:
    """Why it failed (empty if it didn't), whether to try again helps, and how many seconds the server asks to wait."""
    try:
        with _opener().open(request, timeout=timeout):
            return "", False, 0.0
    except HTTPError as error:
        with error:
            asked = error.headers.get("Retry-After", "")
        passing = error.code >= 500 or error.code in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
        return f"the webhook answered {error.code}", passing, float(asked) if asked.isdecimal() else 0.0
    except TimeoutError:
        return f"no answer within {timeout:g} s", True, 0.0
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            return f"no answer within {timeout:g} s", True, 0.0
        # Only the kind of failure: the text of some names the address.
        return f"the webhook can't be reached ({type(error.reason).__name__})", True, 0.0
    except (OSError, HTTPException) as error:
        return f"the connection broke ({type(error).__name__})", True, 0.0


def _opener() -> OpenerDirector:
    """Opens addresses, by way of a proxy where the environment names one, and takes a redirect for a failure: what is
    told is for the one address that was given."""
    opener = OpenerDirector()
    handlers = (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor)
    for handler in handlers:
        opener.add_handler(handler())
    return opener
