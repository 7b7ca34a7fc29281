"""The table of known sources in the docs: each is there, and what it says is lost of a file is what is lost."""

import re
from pathlib import Path

import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.transactions.landing import land_transactions
from fraud_pipelines.transactions.recognition import known_sources, mapping_for
from fraud_pipelines_tests.transactions.known_files import KNOWN_FILES
from fraud_pipelines_tests.transactions.test_recognition import NOW, plan_of

_PAGE = Path(__file__).parents[2] / "docs" / "mappings.md"
_SECTION = _PAGE.read_text(encoding="utf-8").split("## Files that need no mapping")[1].split("\n## ")[0]
_ROWS = {
    cells[1].strip("` "): cells[3]
    for line in _SECTION.splitlines()
    if (cells := line.strip("|").split("|"))[0] and line.startswith("| ") and cells[1].strip().startswith("`")
}
_IN_WORDS = {"sparkov": {"column 1", "first", "last"}}


def test_each_known_source_stands_in_the_table() -> None:
    assert {*_ROWS} == {*known_sources()}


@pytest.mark.parametrize("name", [*KNOWN_FILES])
def test_what_is_lost_of_a_file_is_said_and_every_row_is_accounted_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.csv").write_text(KNOWN_FILES[name].text)
    plan = plan_of(known_sources()[name], tmp_path)
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", plan=plan, wait_seconds=0)
    mapping = mapping_for(tmp_path / "x.csv", tmp_path, plan.attributes)
    report = land_transactions(warehouse, tmp_path / "x.csv", mapping, now=NOW, max_age_years=40)
    assert report.rows_accepted + report.rows_rejected + report.rows_left_out == report.rows_read
    assert report.rows_read == len(KNOWN_FILES[name].rows) + KNOWN_FILES[name].left_out
    said = {*re.findall("`([^`]+)`", _ROWS[name])} | _IN_WORDS.get(name, set())
    assert {*report.unused_columns} <= said
    assert bool(report.unused_columns or report.rows_left_out) == ("nothing" not in _ROWS[name])
