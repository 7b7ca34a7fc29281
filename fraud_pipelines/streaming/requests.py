"""When to start a run for the stream: once for what waits, and again, later and later, if it still waits."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from fraud_pipelines.streaming.files import digest_of
from fraud_pipelines.transactions.waiting import Waiting, look_into

_FIRST_PAUSE: Final = 15.0
_LONGEST_PAUSE: Final = 900.0
_GROWING_SECONDS: Final = 0.25
"""A file that changed so lately is probably being written; a run would only wait for it."""


@dataclass(frozen=True)
class Requested:
    """The latest run that was asked for: for which files, the how many-th time, and when (seconds of the epoch)."""

    digest: str = ""
    attempt: int = 0
    at: float = 0.0

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Self:
        """What `cursor` wrote; of anything else, nothing was asked for."""
        try:
            fields = json.loads(cursor or "{}")
            return cls(**fields)
        except (ValueError, TypeError):
            return cls()

    def cursor(self) -> str:
        """As text, to be remembered by the sensor."""
        return json.dumps(asdict(self))

    @property
    def run_key(self) -> str:
        """Names what waits, and the attempt: Dagster never starts a second run with the same key."""
        return f"{self.digest}-{self.attempt}"


def next_request(folder: Path, latest: Requested, *, now: float) -> Requested | str:
    """What to ask for, or why nothing is.

    The same files get a further run only after a pause that doubles with every attempt: whatever made the run leave
    them won't have gone at once.
    """
    waiting = look_into(folder)
    files = [file for file in waiting.files if not now - _GROWING_SECONDS < file.changed_ns / 1e9 <= now]
    if not files and not waiting.troubles:
        return f"Nothing waits in {folder}."
    digest = digest_of(Waiting(files, waiting.troubles))
    if digest != latest.digest:
        return Requested(digest, 1, now)
    if not files:  # one run has told of them, and another would do no more
        return f"Nothing waits in {folder} but what can't be looked at: {', '.join(waiting.troubles)}."
    pause = min(_FIRST_PAUSE * 2 ** (latest.attempt - 1), _LONGEST_PAUSE)
    wait = latest.at + pause - now
    if wait > 0:
        return f"{len(files)} files still wait after {latest.attempt} runs; the next starts in {wait:.0f} s."
    return Requested(digest, latest.attempt + 1, now)
