"""Publication: what people open is whole, as new as it says, and in nobody's way, whatever dies when."""

import json
import shutil
import subprocess
import sys
import threading
import zipfile
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from fraud_pipelines.bootstrap import live_warehouse, publication_of, warehouse_of
from fraud_pipelines.errors import InvalidInput, NotPublished, WarehouseBusy
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage import publication as module
from fraud_pipelines.storage.publication import INTERVAL_SECONDS, Publication
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.conftest import assert_same_content, warehouse_content
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.full_disk import fill_disk
from fraud_pipelines_tests.locks import held_elsewhere
from fraud_pipelines_tests.storage.test_schema_version import EARLIER

DRIFT = "INSERT INTO monitoring.feature_drift (event_date, feature, psi) VALUES ('2026-10-01', ?, 0.1)"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse without rows."""
    warehouse = Warehouse(tmp_path_factory.mktemp("empty") / "fraud.duckdb")
    warehouse.initialise()
    return warehouse.path


@pytest.fixture
def installed(tmp_path: Path, empty: Path) -> Publication:
    """A live warehouse and its publication."""
    return install(tmp_path, empty)


def install(folder: Path, empty: Path) -> Publication:
    made = Publication(folder / "warehouse" / "live.duckdb", folder / "fraud.duckdb", wait_seconds=10)
    made.live.parent.mkdir()
    shutil.copy(empty, made.live)
    made.publish()
    return made


def write(installed: Publication, feature: str) -> None:
    with Warehouse(installed.live).transaction() as connection:
        connection.execute(DRIFT, [feature])


def opened(path: Path, *, read_only: bool = True) -> set[str]:
    """What somebody sees who opens the file with DuckDB alone."""
    with duckdb.connect(str(path), read_only=read_only) as connection:
        return {name for (name,) in connection.execute("SELECT feature FROM monitoring.feature_drift").fetchall()}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@examples(8, unchecked=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["write", "publish", "delete", "read", "restore"]), max_size=8))
def test_what_is_published_is_what_is_live_at_the_time(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    installed = install(tmp_path_factory.mktemp("data"), empty)
    live: set[str] = set()
    for number, step in enumerate(steps):
        if step == "write":
            live.add(f"f{number}")
            write(installed, f"f{number}")
        elif step == "delete":
            installed.published.unlink(missing_ok=True)
        elif step == "read":
            assert opened(installed.live) == live
        elif step == "restore":  # the live one wins
            shutil.copy(empty, installed.published)
        else:
            installed.publish()
            assert opened(installed.published) == opened(installed.published, read_only=False) == live
            assert_same_content(*(warehouse_content(Warehouse(path)) for path in (installed.live, installed.published)))
            assert not installed.publish(), "nothing was stored since"


def test_the_published_file_says_of_when_it_is_and_of_what(installed: Publication) -> None:
    before = installed.record().published_at
    write(installed, "new")
    assert not installed.is_current()

    assert installed.publish()

    with duckdb.connect(str(installed.published), read_only=True) as connection:
        rows = connection.execute("FROM main.publication").fetchall()
    assert rows == [(installed.record().published_at, str(installed.live))]
    assert rows == Warehouse(installed.live).read("FROM main.publication").rows()
    assert before < rows[0][0]
    assert files(installed.published.parent) == {
        "fraud.duckdb",
        *(f"warehouse/{name}" for name in ("live.duckdb", "publication.json", "publication.lock")),
    }


@pytest.mark.parametrize("read_only", [True, False])
def test_who_has_the_published_file_open_holds_up_nobody(installed: Publication, read_only: bool) -> None:
    with held_elsewhere(installed.published, read_only=read_only):
        for name in ("a", "b"):
            write(installed, name)
            assert installed.publish()
        assert opened(installed.published) == {"a", "b"}


_ANALYST = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
for line in sys.stdin:
    if line == "count\\n":
        print(connection.execute("SELECT count(*) FROM monitoring.feature_drift").fetchall()[0][0], flush=True)
    else:
        connection.execute("CREATE TABLE own AS SELECT 1")
        connection.execute("DELETE FROM monitoring.feature_drift")
        print("written", flush=True)
"""


def test_who_writes_into_the_published_file_sees_that_until_it_is_made_new(installed: Publication) -> None:
    script = [sys.executable, "-c", _ANALYST, str(installed.published)]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as analyst:

        def ask(what: str) -> str:
            assert analyst.stdin
            assert analyst.stdout
            print(what, file=analyst.stdin, flush=True)
            return analyst.stdout.readline().strip()

        assert ask("write") == "written"
        assert installed.published.with_name("fraud.duckdb.wal").exists()
        write(installed, "live")
        assert installed.publish()
        assert opened(installed.published) == {"live"}, "nor does DuckDB's log of the analyst keep others out"
        assert ask("count") == "0", "of the state that was opened"
    assert opened(installed.published) == {"live"}, "the analyst's process has ended"


_KILLED = """
import os, signal, sys
from pathlib import Path
from fraud_pipelines.storage import publication
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
setattr(publication, sys.argv[3], die)
found = publication.Publication(Path(sys.argv[1]), Path(sys.argv[2]))
found.settle()
found.publish()
"""


def killed_at(installed: Publication, function: str) -> None:
    """Publish in a process that is killed when it calls ``function``."""
    arguments = [sys.executable, "-c", _KILLED, str(installed.live), str(installed.published), function]
    assert subprocess.run(arguments, check=False).returncode < 0


def test_killed_between_copy_and_rename_it_leaves_the_earlier_one_and_no_litter(installed: Publication) -> None:
    write(installed, "a")
    installed.publish()
    before = files(installed.published.parent)
    write(installed, "b")

    for _ in range(2):
        killed_at(installed, "_sync")
        assert opened(installed.published) == {"a"}
        assert files(installed.published.parent) - before == {"fraud.duckdb.new"}

    assert installed.publish()
    assert opened(installed.published) == {"a", "b"}
    assert files(installed.published.parent) == before


def test_a_copy_for_which_there_is_no_room_is_left_out_and_told(
    installed: Publication, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(installed, "a")
    with monkeypatch.context() as full:
        fill_disk(full)
        with pytest.raises(
            NotPublished, match=r"was not made new: a copy takes .* MB, and 0 MB are free in .*Make room"
        ):
            installed.publish()
        assert not installed.publish_or_tell()
    assert "Make room" in caplog.text
    assert "Make room" in installed.record().left_out
    assert opened(installed.published) == set()
    assert opened(installed.live) == {"a"}

    assert installed.publish()
    assert installed.record().left_out == ""


def test_a_live_file_that_another_process_writes_to_is_not_copied(installed: Publication) -> None:
    write(installed, "a")
    impatient = Publication(installed.live, installed.published, wait_seconds=0.1)
    with held_elsewhere(installed.live), pytest.raises(NotPublished, match="was held by another process"):
        impatient.publish()
    assert opened(installed.published) == set()
    assert impatient.publish()


def test_a_thread_that_writes_is_waited_for(installed: Publication) -> None:
    writing, done = threading.Event(), threading.Event()

    def work() -> None:
        with Warehouse(installed.live).transaction() as connection:
            writing.set()
            done.wait()
            connection.execute(DRIFT, ["of the thread"])

    thread = threading.Thread(target=work)
    thread.start()
    writing.wait()
    with (
        pytest.raises(WarehouseBusy, match="a writer in this process"),
        Warehouse(installed.live, wait_seconds=0).still(),
    ):
        pass
    done.set()
    thread.join()
    assert installed.publish()
    assert opened(installed.published) == {"of the thread"}


def test_what_runs_for_long_publishes_at_most_every_five_minutes(
    installed: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = installed.record()
    assert record.published_at

    def wait(seconds: float) -> None:
        assert record.published_at
        now = record.published_at + timedelta(seconds=seconds)
        monkeypatch.setattr(module, "_now", lambda: now)

    for seconds, due_in, light in ((INTERVAL_SECONDS - 1, 1, 0), (INTERVAL_SECONDS, 0, 0), (-1, 0, 0)):
        wait(seconds)
        assert (installed.due_in(), installed.due_in(light=True)) == (due_in, light)
    wait(record.seconds)
    assert installed.due_in(light=True) > 0
    write(installed, "a")
    assert not installed.publish_if_due()
    wait(INTERVAL_SECONDS)
    with held_elsewhere(installed.live):  # after a try that failed, the next one has time
        assert not Publication(installed.live, installed.published, wait_seconds=0).publish_if_due()
    assert installed.due_in() == installed.due_in(light=True) == INTERVAL_SECONDS
    wait(2 * INTERVAL_SECONDS)
    assert installed.publish_if_due()


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    """A data directory of a release that knew only ``fraud.duckdb``."""
    with zipfile.ZipFile(EARLIER) as archive:
        archive.extract("fraud.duckdb", tmp_path)
    return Settings(data_dir=tmp_path, warehouse_wait_seconds=5)


def transactions(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        return int(connection.execute("SELECT count(*) FROM raw.transactions").fetchall()[0][0])


def test_a_data_directory_of_an_earlier_release_comes_up(old: Settings) -> None:
    rows, inode = transactions(old.published_path), old.published_path.stat().st_ino

    found = live_warehouse(old)

    assert found.path == old.warehouse_path
    assert old.warehouse_path.stat().st_ino == inode, "it was moved"
    assert transactions(old.warehouse_path) == transactions(old.published_path) == rows
    with duckdb.connect(str(old.published_path)) as shell:  # nobody waits for it any more
        warehouse_of(old)
        assert publication_of(old).publish()
        assert shell.execute("SELECT count(*) FROM raw.transactions").fetchall() == [(rows,)]
    assert (old.warehouse_path.with_name("live.schema-0.duckdb")).exists()
    with duckdb.connect(str(old.published_path), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM main.publication").fetchall() == [(1,)]


@pytest.mark.parametrize("function", ["_sync", "_copy_file"])
def test_killed_while_it_is_moved_it_is_moved_or_not_yet(old: Settings, function: str) -> None:
    rows = transactions(old.published_path)
    killed_at(publication_of(old), function)
    assert [path for path in (old.published_path, old.warehouse_path) if path.exists()] == [old.warehouse_path]

    assert live_warehouse(old).read("SELECT count(*) FROM raw.transactions").item() == rows
    assert transactions(old.published_path) == rows


def test_what_an_earlier_release_left_in_duckdbs_log_moves_with_it(old: Settings) -> None:
    rows = transactions(old.published_path)
    script = (
        "import duckdb, os, signal, sys; c = duckdb.connect(sys.argv[1]);"
        "c.execute('DELETE FROM raw.transactions'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(old.published_path)], check=False)
    assert old.published_path.with_name("fraud.duckdb.wal").exists()
    assert rows

    assert live_warehouse(old).read("SELECT count(*) FROM raw.transactions").item() == 0
    assert transactions(old.published_path) == 0


def test_a_file_that_another_program_writes_to_is_not_moved(old: Settings) -> None:
    impatient = old.model_copy(update={"warehouse_wait_seconds": 0.1})
    with held_elsewhere(old.published_path), pytest.raises(WarehouseBusy, match="was held by another process"):
        live_warehouse(impatient)
    assert not old.warehouse_path.exists()
    with held_elsewhere(old.published_path, read_only=True):  # a notebook that was left open
        live_warehouse(impatient)
    assert old.warehouse_path.exists()


def test_what_is_no_warehouse_is_not_moved(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.published_path.write_text("not a database, but long enough to look like a file of some size" * 100)
    with pytest.raises(InvalidInput, match=r"fraud\.duckdb can't be opened"):
        live_warehouse(settings)
    assert files(tmp_path) <= {"fraud.duckdb", "warehouse/publication.lock"}


def test_a_backup_becomes_the_live_file_where_that_was_removed(installed: Publication) -> None:
    write(installed, "a")
    installed.publish()
    backup = installed.published.with_name("backup.duckdb")
    shutil.copy(installed.published, backup)
    write(installed, "b")
    installed.publish()

    installed.live.unlink()
    backup.replace(installed.published)
    installed.settle()

    assert opened(installed.live) == opened(installed.published) == {"a"}


def test_a_link_to_another_disk_stays_one(installed: Publication, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    installed.live.replace(elsewhere / "big.duckdb")
    installed.published.unlink()
    installed.published.symlink_to(Path("elsewhere") / "big.duckdb")

    installed.settle()
    write(installed, "a")
    installed.publish()

    assert installed.live.resolve() == elsewhere / "big.duckdb"
    assert not installed.published.is_symlink()
    assert opened(installed.published) == opened(elsewhere / "big.duckdb") == {"a"}


def test_a_record_that_was_cut_off_counts_as_none(installed: Publication) -> None:
    record = installed.live.with_name("publication.json")
    json.loads(record.read_text())
    record.write_text(record.read_text()[:20])
    assert installed.age_seconds() is None
    assert installed.publish()
    assert not installed.publish()
