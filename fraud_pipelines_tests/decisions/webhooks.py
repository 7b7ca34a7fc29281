"""A webhook on this machine, which answers as a test tells it to."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "T0/B0/s3cret"


@dataclass
class Webhook:
    """Answers with each of ``answers`` in turn, the last for ever; ``hang`` doesn't answer within a second,
    ``drip`` a byte at a time."""

    answers: list[str]
    url: str = ""
    received: list[dict[str, str]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.received]


@contextmanager
def webhook(*answers: str) -> Iterator[Webhook]:
    """Serve it on a port of its own."""
    hook = Webhook(list(answers) or ["200"])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            hook.received.append(json.loads(body))
            answer = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
            if answer == "hang":
                time.sleep(1)
                return
            if answer == "drip":
                for byte in b"HTTP/1.1 200 OK\r\n" * 100:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
                return
            if answer == "drop":
                self.close_connection = True
                return
            self.send_response(int(answer))
            if answer == "302":
                self.send_header("Location", hook.url)
            if answer == "429":
                self.send_header("Retry-After", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.url = f"http://127.0.0.1:{server.server_address[1]}/services/{SECRET}"
    thread = threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02})
    thread.start()
    yield hook
    server.shutdown()
    server.server_close()
