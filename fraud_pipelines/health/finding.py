"""Findings: what a check of an installation has to say."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from fraud_pipelines.settings import Settings

State = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        about: what was looked at, in a word or two.
        state: ``warning`` is worth a look, with a ``fault`` something does not work.
        says: what there is.
        remedy: what to do about it; empty where all is well.
    """

    about: str
    state: State
    says: str
    remedy: str = ""


Check = Callable[[Settings], Iterable[Finding]]
"""Looks at an installation and changes nothing. A further check is one such function in `checks.CHECKS`."""


def ok(about: str, says: str) -> Finding:
    """All is well."""
    return Finding(about, "ok", says)


def warning(about: str, says: str, remedy: str) -> Finding:
    """Worth a look."""
    return Finding(about, "warning", says, remedy)


def fault(about: str, says: str, remedy: str) -> Finding:
    """Something does not work."""
    return Finding(about, "fault", says, remedy)
