"""Which names are taken while declarations are compiled, by whom, and which of them are unusable."""

from dataclasses import dataclass, field
from typing import Final

from fraud_pipelines.plan.names import name_problem
from fraud_pipelines.plan.problems import Key
from fraud_pipelines.plan.source import Source

MAX_ATTRIBUTES: Final = 500
MAX_ENTITIES: Final = 16
MAX_FEATURES: Final = 250
"""In a file of the user's, what ships aside. Each is a column of a table, and part of what every payment waits for."""


@dataclass(frozen=True)
class Place:
    """Where something is declared."""

    source: Source
    key: Key

    def report(self, message: str, *below: str | int) -> None:
        """Note a problem here, or at a key below."""
        self.source.report((*self.key, *below), message)

    def __str__(self) -> str:
        return self.source.place(self.key)


@dataclass
class Names:
    """Names of columns and features, which share one space: an expression may read any of them.

    Attributes:
        shipped: what the user's file extends. It is sound by itself: where the two clash, the user's has the problem.
        key_words: of SQL, which can't be names.
        taken: name → where it is declared.
        broken: names whose declaration has a problem. What reads them is not reported once more.
    """

    shipped: Source
    key_words: frozenset[str]
    taken: dict[str, Place] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    _counts: dict[str, int] = field(default_factory=dict)

    def take(self, name: str, place: Place, *below: str) -> bool:
        """Give ``name`` to what is declared at ``place``; False, and reported, where it can't have it."""
        problem = name_problem(name, self.key_words)
        if problem is None and name in self.taken:
            other = self.taken[name]
            if place.source is self.shipped:
                place, other, below = other, place, ()
            problem = f"the name {name!r} stands twice; the other is at {other}"
        if problem:
            place.report(problem, *below)
            return False
        self.taken[name] = place
        return True

    def within(self, kind: str, most: int, place: Place) -> bool:
        """Whether one more of ``kind`` is allowed in the user's file; reported once."""
        if place.source is self.shipped:
            return True
        self._counts[kind] = count = self._counts.get(kind, 0) + 1
        if count == most + 1:
            place.report(f"is one more than the {most} {kind} that a file may declare")
        return count <= most
