"""The commands with ``FRAUD_WAREHOUSE=lake``: those of every day, and ``fraud-pipelines lake``."""

from functools import partial
from pathlib import Path

import duckdb

from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.lakes import ON_LAKE


def write(path: Path, first: int) -> Path:
    lines = [f"t{number},u{number % 3},2026-01-0{1 + number % 3}T10:00:00,5" for number in range(first, first + 6)]
    path.write_text("\n".join(["transaction_id,user_id,timestamp,amount", *lines]) + "\n")
    return path


def test_files_come_in_are_looked_at_taken_back_and_kept_small(installation: Installation, tmp_path: Path) -> None:
    invoke = partial(installation.invoke, FRAUD_WAREHOUSE="lake", FRAUD_LAKE=str(tmp_path / "lake"))
    count = ("sql", "SELECT count(*) AS n FROM raw.transactions", "--format", "csv")

    invoke("import", str(write(tmp_path / "a.csv", 0)))
    invoke("import", str(write(tmp_path / "b.csv", 6)))
    assert invoke(*count).split() == ["n", "12"]
    assert "raw.transactions" in invoke("status")
    with duckdb.connect(str(installation.settings.published_path), read_only=True) as published:
        assert published.execute("SELECT count(*) FROM raw.transactions").fetchall() == [(12,)]

    assert "small files were put together" in invoke("lake", "compact")
    invoke("import", "undo", "b.csv", "--yes")
    assert invoke(*count).split() == ["n", "6"]
    before = invoke("lake", "snapshots").splitlines()
    assert f"Removed {len(before) - 1} snapshots" in invoke("lake", "vacuum", "--keep-days", "0")
    assert invoke("lake", "snapshots").splitlines() == before[:1]
    assert invoke(*count).split() == ["n", "6"]
    assert not (installation.data_dir / "warehouse").exists()


def test_without_a_lake_its_commands_say_so(installation: Installation) -> None:
    if not ON_LAKE:
        assert "FRAUD_WAREHOUSE=lake" in installation.invoke("lake", "compact", succeeds=False)


def test_the_address_of_an_object_store_is_refused(installation: Installation) -> None:
    shown = installation.invoke("status", FRAUD_WAREHOUSE="lake", FRAUD_LAKE="s3://bucket/lake", succeeds=False)
    assert "s3://bucket/lake is the address of an object store" in " ".join(shown.split())
