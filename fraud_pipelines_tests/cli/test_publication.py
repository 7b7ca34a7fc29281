"""What people open: made new at the end of every command that writes, and in no command's way."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.full_disk import fill_disk
from fraud_pipelines_tests.locks import held_elsewhere
from fraud_pipelines_tests.review.samples import queue_warehouse


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation with a queue, as a release left it that knew only ``fraud.duckdb``."""
    installation = Installation(tmp_path_factory.mktemp("published") / "data")
    installation.data_dir.mkdir()
    queue_warehouse(installation.data_dir)
    return installation


def impatient(installation: Installation, *arguments: str) -> str:
    """Run a command that waits for nobody."""
    return installation.invoke(*arguments, FRAUD_WAREHOUSE_WAIT_SECONDS="0.2")


def published(installation: Installation, query: str) -> list[tuple[Any, ...]]:
    """What somebody sees who opens the file with DuckDB alone."""
    with duckdb.connect(str(installation.settings.published_path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def payments(path: Path, *ids: str) -> Path:
    rows = [f"{name},u1,2026-10-01T10:00:00,5.0" for name in ids]
    path.write_text("\n".join(["transaction_id,user_id,timestamp,amount", *rows]))
    return path


@pytest.mark.parametrize("read_only", [True, False])
def test_who_has_it_open_waits_for_nobody_and_nobody_for_them(
    reviewed: Installation, tmp_path: Path, read_only: bool
) -> None:
    reviewed.invoke("status")  # moves what an earlier release left
    name, verdict = (f"of {read_only}", "--fraud" if read_only else "--legitimate")
    counts = "SELECT (SELECT count(*) FROM raw.transactions), (SELECT count(*) FROM feedback.labels)"
    ((transactions, _),) = published(reviewed, counts)
    with held_elsewhere(reviewed.settings.published_path, read_only=read_only):
        impatient(reviewed, "import", str(payments(tmp_path / "a.csv", name)))
        impatient(reviewed, "review", "label", "big", verdict)
        assert "big" not in impatient(reviewed, "review", "list")

        assert published(reviewed, counts) == [(transactions + 1, 1)]
        assert published(reviewed, "SELECT actual_fraud FROM feedback.labels") == [(read_only,)]
        impatient(reviewed, "import", "undo", "a.csv", "--yes")
        assert published(reviewed, counts) == [(transactions, 1)]


def test_what_a_command_stored_before_it_failed_is_published(installation: Installation, tmp_path: Path) -> None:
    payments(tmp_path / "a.csv", "good")
    (tmp_path / "b.csv").write_text("no,payment\n1,2\n")

    installation.invoke("import", str(tmp_path), succeeds=False)

    assert published(installation, "SELECT transaction_id FROM raw.transactions") == [("good",)]


def test_the_status_says_how_old_it_is_and_publish_makes_it_new(reviewed: Installation) -> None:
    reviewed.invoke("publish")
    assert f"Published {reviewed.settings.published_path}: as of " in reviewed.invoke("status")
    assert "nothing has changed since" in reviewed.invoke("publish")
    with reviewed.warehouse.transaction() as connection:
        connection.execute("INSERT INTO raw.stale_days VALUES ('2026-10-01', 'late', now())")
    assert "not what is live now (fraud-pipelines publish makes it new)" in reviewed.invoke("status")
    assert published(reviewed, "SELECT count(*) FROM raw.stale_days") == [(0,)]

    assert " MB in " in reviewed.invoke("publish")

    assert published(reviewed, "SELECT count(*) FROM raw.stale_days") == [(1,)]
    assert "not what is live now" not in reviewed.invoke("status")


def test_without_room_a_command_succeeds_and_says_that_nothing_was_published(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installation.invoke("import", str(payments(tmp_path / "a.csv", "first")))
    with monkeypatch.context() as full:
        fill_disk(full)
        installation.invoke("import", str(payments(tmp_path / "b.csv", "second")))
        assert "fraud.duckdb was not made new: a copy takes" in caplog.text
        assert "Make room" in installation.invoke("publish", succeeds=False)

    assert published(installation, "SELECT transaction_id FROM raw.transactions") == [("first",)]
    assert "It could not be made new: a copy takes" in installation.invoke("status")
    assert installation.warehouse.read("SELECT count(*) FROM raw.transactions").item() == 2


def test_a_published_file_that_was_deleted_comes_again(reviewed: Installation) -> None:
    reviewed.settings.published_path.unlink()
    reviewed.invoke("status")
    assert published(reviewed, "SELECT count(*) > 0 FROM raw.transactions") == [(True,)]


def test_sql_reads_the_live_warehouse_beside_another_reader(reviewed: Installation) -> None:
    query = "SELECT 'a,\"[b]\"' AS x, 1 AS n, [1, 2] AS l, NULL AS nothing, TIMESTAMP '2026-10-01 10:00' AS t"
    with held_elsewhere(reviewed.settings.warehouse_path, read_only=True):
        table = reviewed.invoke("sql", query)
        as_json = json.loads(reviewed.invoke("sql", query, "--format", "json"))
        ((*header,), (*row,)) = csv.reader(io.StringIO(reviewed.invoke("sql", query, "--format", "csv")))
    assert 'a,"[b]"' in table
    assert "1 row" in table
    assert as_json == [{"x": 'a,"[b]"', "n": 1, "l": [1, 2], "nothing": None, "t": "2026-10-01 10:00:00"}]
    assert (header, row) == (["x", "n", "l", "nothing", "t"], ['a,"[b]"', "1", "[1, 2]", "", "2026-10-01 10:00:00"])
    assert "45 rows, 3 shown (--limit)" in reviewed.invoke(
        "sql", "FROM raw.transactions WHERE user_id LIKE 'u_'", "--limit", "3"
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("FROM raw.nothing", "Table with name nothing"),
        ("SELECT 1; SELECT 2", "Give one statement"),
        ("DELETE FROM raw.transactions", "read-only"),
        ("", "Give one statement"),
    ],
)
def test_sql_changes_nothing_and_says_what_it_can_not_do(reviewed: Installation, query: str, message: str) -> None:
    assert message in reviewed.invoke("sql", query, succeeds=False)
