"""Who is to be forgotten: the ids that name a person and their payments, and how they are found in texts and files."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import quote

from fraud_pipelines.decisions.hash_chain import REDACTED

_WORD: Final = re.compile(r"[^\s\"'`,;|()\[\]{}<>=&\\]+")
_DISTINCTIVE_DIGITS: Final = 10


@dataclass(frozen=True)
class Person:
    """The ids of a person.

    Attributes:
        names: what stands for the person: the id, its token, or both.
        payments: the ids of their payments.
    """

    names: frozenset[str]
    payments: frozenset[str] = frozenset()

    @cached_property
    def needles(self) -> tuple[bytes, ...]:
        """Each name in every way in which it may stand in a file."""
        spelled = {text for name in self.names for text in _spellings(name)}
        return tuple(text.encode(encoding) for text in sorted(spelled) for encoding in ("utf-8", "utf-16-le"))

    def is_in(self, content: bytes) -> bool:
        """Whether a name stands in ``content``, within a longer word too."""
        return any(needle in content for needle in self.needles)

    def redacted(self, text: str, *, prose: bool = False) -> str:
        """``text`` without the names and payments.

        Ids that are short numbers, which may be amounts or counts elsewhere, are replaced only where they are all that
        stands between quotation marks, or in a cell of a table; so are other ids of one or two characters, which
        programs use for much else, but not in ``prose``, what people wrote.
        """
        for pattern in self._patterns_of_prose if prose else self._patterns:
            text = pattern.sub(REDACTED, text)
        payments = self._distinctive_payments
        if payments:
            text = _WORD.sub(lambda word: REDACTED if word.group() in payments else word.group(), text)
        return text

    @cached_property
    def _distinctive_payments(self) -> frozenset[str]:
        return frozenset(filter(_is_distinctive, self.payments))

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        return self._patterns_in(prose=False)

    @cached_property
    def _patterns_of_prose(self) -> list[re.Pattern[str]]:
        return self._patterns_in(prose=True)

    def _patterns_in(self, *, prose: bool) -> list[re.Pattern[str]]:
        found = []
        for name in self.names:
            either = "|".join(map(re.escape, sorted(_spellings(name), key=len, reverse=True)))
            if _is_distinctive(name) or (prose and not name.isdigit()):
                found.append(re.compile(rf"(?<![0-9A-Za-z])(?:{either})(?![0-9A-Za-z])"))
            else:
                found.append(re.compile(rf"(?<=[\"'`])(?:{either})(?=\\?[\"'`])|(?<=\| )(?:{either})(?= \|)"))
        return found


def _spellings(name: str) -> Iterable[str]:
    once = json.dumps(name)[1:-1]
    return {name, once, json.dumps(once)[1:-1], quote(name, safe=""), quote(name)}


def _is_distinctive(text: str) -> bool:
    return len(text) >= (_DISTINCTIVE_DIGITS if text.isdigit() else 3)
