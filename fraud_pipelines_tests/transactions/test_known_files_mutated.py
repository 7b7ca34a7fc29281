"""Damaged rows of each known source: nothing crashes, and every row is accepted, rejected or left out."""

import random
from pathlib import Path

import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.transactions.landing import land_transactions
from fraud_pipelines.transactions.recognition import known_sources, mapping_for
from fraud_pipelines_tests.transactions.known_files import KNOWN_FILES
from fraud_pipelines_tests.transactions.test_recognition import NOW, plan_of

_ROWS = 1_000
_SOUND_ROWS = 30
_SIGNS = [*"0123456789,;.-\"'\t $€é:/ \\NaN{}\x00", "NULL", "1e400", "\r", "9" * 20, "2026-13-45"]


def _damaged(dice: random.Random, row: str) -> str:
    signs = list(row)
    for _ in range(dice.randrange(4)):
        place = dice.randrange(len(signs))
        signs[place : place + dice.randrange(2)] = [dice.choice([*_SIGNS, ""])]
    return "".join(signs)


@pytest.mark.parametrize("name", [*KNOWN_FILES])
def test_no_damaged_row_is_lost(tmp_path: Path, name: str) -> None:
    dice = random.Random(name)
    head, *rows = KNOWN_FILES[name].text.strip("\n").split("\n")
    sound = [rows[number % len(rows)] for number in range(_SOUND_ROWS)]
    damaged = [_damaged(dice, dice.choice(rows)) for _ in range(_ROWS)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([head, *sound, *damaged]) + "\n", newline="")
    plan = plan_of(known_sources()[name], tmp_path)
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", plan=plan, wait_seconds=0)
    report = land_transactions(warehouse, path, mapping_for(path, tmp_path, plan.attributes), now=NOW, max_age_years=40)
    assert report.rows_accepted + report.rows_rejected + report.rows_left_out == report.rows_read
    counts = [
        warehouse.read(f"SELECT count(*) FROM raw.{table}").item()
        for table in ("transactions", "rejected_transactions", "left_out_rows")
    ]
    assert counts == [report.rows_accepted, report.rows_rejected, report.rows_left_out]
    # A damaged quote may join lines to one row; else each line is one.
    assert _SOUND_ROWS + _ROWS * 0.9 < report.rows_read <= _SOUND_ROWS + _ROWS
