"""Waiting for another process: how long before it is tried again."""

import random
import time
from typing import Final

_FIRST_SECONDS: Final = 0.01
_LONGEST_SECONDS: Final = 0.25


class GrowingPause:
    """A pause that is longer each time, up to a quarter of a second; those who wait together don't wake together."""

    def __init__(self) -> None:
        self._seconds = _FIRST_SECONDS

    def wait(self) -> None:
        """Let it pass."""
        time.sleep(self._seconds * random.uniform(0.5, 1.5))
        self._seconds = min(self._seconds * 1.5, _LONGEST_SECONDS)
