"""Arrival: whether all of a day has landed, by a marker file or by how many files are named by the day."""

from datetime import date
from pathlib import Path
from typing import Final

_DAY_IN_NAME: Final = ("%Y-%m-%d", "%Y%m%d")


def missing_of(zone: Path, day: date, *, marker: str, files: int) -> str:
    """What of a day has not landed yet, in words; empty where all has.

    Args:
        zone: the landing zone of transactions.
        marker: name of the file in it that says that the day is complete, as by `date.strftime`; empty for none.
        files: how many files there have to be whose names hold the day, as 2026-11-27 or 20261127. Those that were
            taken in already count. 0 for any.
    """
    if marker:
        path = zone / day.strftime(marker)
        if not path.exists():
            return f"{path.name} is not there"
    if files:
        days = {day.strftime(form) for form in _DAY_IN_NAME}
        names = {path.name for path in zone.rglob("*") if path.is_file() and any(each in path.name for each in days)}
        marked = {day.strftime(marker)} if marker else set()
        if len(names - marked) < files:
            return f"{len(names - marked)} of {files} files are there"
    return ""
