"""Arrival: a day is complete by its marker, by the number of its files, or by both."""

from datetime import date
from pathlib import Path

import pytest

from fraud_pipelines.transactions.arrival import missing_of

DAY = date(2026, 11, 27)
MARKER = "_complete-%Y-%m-%d"


@pytest.mark.parametrize(
    ("there", "marker", "files", "missing"),
    [
        ([], "", 0, ""),
        ([], MARKER, 0, "_complete-2026-11-27 is not there"),
        (["_complete-2026-11-26"], MARKER, 0, "_complete-2026-11-27 is not there"),
        (["_complete-2026-11-27"], MARKER, 0, ""),
        (["a-2026-11-27.csv", "b-2026-11-26.csv"], "", 2, "1 of 2 files are there"),
        (["a-2026-11-27.csv", "bank/_landed/b_20261127.csv"], "", 2, ""),
        (["a-2026-11-27.csv", "_complete-2026-11-27"], MARKER, 2, "1 of 2 files are there"),
        (["a-2026-11-27.csv", "b-2026-11-27.csv"], MARKER, 2, "_complete-2026-11-27 is not there"),
    ],
)
def test_what_is_missing_is_told(tmp_path: Path, there: list[str], marker: str, files: int, missing: str) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert missing_of(tmp_path, DAY, marker=marker, files=files) == missing


def test_a_zone_that_is_not_there_yet_holds_nothing(tmp_path: Path) -> None:
    assert missing_of(tmp_path / "none", DAY, marker="", files=1) == "0 of 1 files are there"
