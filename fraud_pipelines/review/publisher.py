"""Publishes what the page stores, in a thread of its own: nobody's page waits for it."""

import threading
from typing import Self

from fraud_pipelines.storage.publication import Publication


class Publisher:
    """Publishes after verdicts, at most every five minutes, and at the end. Use as a context manager."""

    def __init__(self, publication: Publication) -> None:
        self._publication = publication
        self._stored = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ending.set()
        self._stored.set()
        self._thread.join()
        self._publication.publish_or_tell()

    def stored(self) -> None:
        """Say that something was stored."""
        self._stored.set()

    def _work(self) -> None:
        while True:
            self._stored.wait()
            while wait := self._publication.due_in():
                if self._ending.wait(wait):
                    return
            if self._ending.is_set():
                return
            self._stored.clear()
            self._publication.publish_or_tell()
