"""What is wrong with a declarations file: every problem with its line and key, told together."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fraud_pipelines.errors import InvalidInput

_MOST_NAMES: Final = 40

Key = tuple[str | int, ...]
"""Where something stands in a file: keys of mappings, and positions in lists from 0."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong: ``line`` counts from 1, ``key`` is empty for the file as a whole."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: " + (f"{self.key}: " if self.key else "") + self.message


class InvalidDeclarations(InvalidInput):
    """A declarations file can't be used.

    Attributes:
        problems: all that is wrong, each once, by line.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


def written_key(key: Key) -> str:
    """A key as people read it: ``entities.card.aggregates[0].over``; positions count from 0."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def unknown(value: object, kind: str, known: Iterable[str]) -> str:
    """That ``value`` is no ``kind``, and what may have been meant."""
    names = list(known)
    near = difflib.get_close_matches(str(value), names, n=1)
    if near:
        return f"{value!r} is no {kind}; did you mean {near[0]}?"
    if len(names) > _MOST_NAMES:
        return f"{value!r} is no {kind} (fraud-pipelines declarations show lists them)"
    return f"{value!r} is no {kind}; there {'is' if len(names) == 1 else 'are'} {listed(names)}"


def listed(names: Sequence[str]) -> str:
    """Names with commas between."""
    return ", ".join(names) or "none"
