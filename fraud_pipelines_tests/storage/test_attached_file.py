"""A process opens a DuckDB file again and again at little cost, and holds it only while somebody uses it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.storage.attached_file import IDLE_ENGINES
from fraud_pipelines.storage.warehouse import Warehouse

OPENED_BY_ANOTHER = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('CREATE TABLE other AS SELECT 7')"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "fraud.duckdb", wait_seconds=0.2)
    with warehouse.transaction() as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 1 AS n")
    return warehouse


@contextmanager
def _in_another_thread(warehouse: Warehouse, *, read_only: bool) -> Iterator[None]:
    opened, finish = threading.Event(), threading.Event()

    def hold() -> None:
        with warehouse.connect(read_only=read_only):
            opened.set()
            finish.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert opened.wait(30)
    try:
        yield
    finally:
        finish.set()
        thread.join()


def test_an_engine_is_started_once_however_often_the_file_is_opened(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(duckdb, "connect", lambda *args, **kwargs: started.append((args, kwargs)))

    for _ in range(3):
        assert warehouse.read("FROM numbers").item() == 1
        with warehouse.transaction() as connection:
            connection.execute("UPDATE numbers SET n = n")

    assert started == []


def test_between_uses_the_file_is_free_for_another_process(warehouse: Warehouse) -> None:
    assert warehouse.read("FROM numbers").item() == 1

    subprocess.run([sys.executable, "-c", OPENED_BY_ANOTHER, str(warehouse.path)], check=True)

    assert warehouse.read("FROM other").item() == 7


def test_threads_read_side_by_side_and_beside_one_that_writes(warehouse: Warehouse) -> None:
    for read_only in (True, False):
        with _in_another_thread(warehouse, read_only=read_only):
            assert warehouse.read("FROM numbers").item() == 1


def test_a_thread_does_not_write_while_another_only_reads(warehouse: Warehouse) -> None:
    with _in_another_thread(warehouse, read_only=True), pytest.raises(WarehouseBusy), warehouse.transaction():
        pass
    with warehouse.transaction() as connection:
        connection.execute("INSERT INTO numbers VALUES (2)")


def test_what_one_path_calls_a_link_is_the_same_file(warehouse: Warehouse, tmp_path: Path) -> None:
    link = tmp_path / "link.duckdb"
    link.symlink_to(warehouse.path)
    with warehouse.connect(), _in_another_thread(Warehouse(link), read_only=True):
        pass


def test_of_many_files_each_can_be_opened_again(tmp_path: Path) -> None:
    warehouses = [Warehouse(tmp_path / f"{number}.duckdb") for number in range(2 * IDLE_ENGINES)]
    for number, warehouse in enumerate(warehouses):
        with warehouse.transaction() as connection:
            connection.execute(f"CREATE TABLE numbers AS SELECT {number} AS n")
    assert [warehouse.read("FROM numbers").item() for warehouse in warehouses] == list(range(2 * IDLE_ENGINES))


def test_a_path_with_a_quote_in_it_can_be_opened(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "it's.duckdb")
    with warehouse.transaction() as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 3 AS n")
    assert warehouse.read("FROM numbers").item() == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system can't keep a process to some cores")
def test_an_engine_has_no_more_threads_than_the_process_has_cores(tmp_path: Path) -> None:
    asked = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import sys, pathlib\n"
        "from fraud_pipelines.storage.warehouse import Warehouse\n"
        "with Warehouse(pathlib.Path(sys.argv[1])).connect() as connection:\n"
        "    print(connection.execute(\"SELECT current_setting('threads')\").fetchall())\n"
    )
    path = str(tmp_path / "fraud.duckdb")

    answer = subprocess.run([sys.executable, "-c", asked, path], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[(1,)]"


def test_what_was_committed_waits_in_the_log_and_is_there_after_a_kill(tmp_path: Path) -> None:
    """A stream commits much that is small: the log is written into the file seldom, and never lost."""
    path = tmp_path / "fraud.duckdb"
    killed = (
        "import os, sys, pathlib\n"
        "from fraud_pipelines.storage.warehouse import Warehouse\n"
        "with Warehouse(pathlib.Path(sys.argv[1])).connect() as connection:\n"
        "    connection.execute('CREATE TABLE numbers AS SELECT range AS n, random() AS x FROM range(1_500_000)')\n"
        "    connection.execute('INSERT INTO numbers SELECT n, x FROM numbers')\n"
        "    os._exit(9)\n"
    )

    subprocess.run([sys.executable, "-c", killed, str(path)], check=False)

    assert Warehouse(path).read("SELECT count(*), count(DISTINCT n) FROM numbers").row(0) == (3_000_000, 1_500_000)


def test_a_warehouse_at_rest_starts_another_engine_for_its_next_use_unless_it_was_used(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[duckdb.DuckDBPyConnection] = []
    connect = duckdb.connect

    def start(database: str, *, config: dict[str, str | bool | int | float | list[str]]) -> duckdb.DuckDBPyConnection:
        started.append(connect(database, config=config))
        return started[-1]

    monkeypatch.setattr(duckdb, "connect", start)

    with _in_another_thread(warehouse, read_only=True):
        warehouse.rest()
        assert warehouse.read("FROM numbers").item() == 1
    assert not started
    warehouse.rest()
    assert warehouse.read("FROM numbers").item() == 1
    assert len(started) == 1
