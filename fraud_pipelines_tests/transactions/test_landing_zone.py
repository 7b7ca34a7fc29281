"""The landing zone: every file comes in, and what can't is named, whatever is the matter with its neighbours."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions import intake, landing_zone
from fraud_pipelines.transactions.intake import LandingReport, RecordIntake, land_file
from fraud_pipelines.transactions.landing import land_pending_transactions, land_transactions
from fraud_pipelines.transactions.landing_zone import Landed, known_problems, note_problems
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.moving import move_aside
from fraud_pipelines.transactions.waiting import WaitingFile, look_into, printable_name
from fraud_pipelines_tests.conftest import refuse
from fraud_pipelines_tests.lakes import copied

NOW = datetime(2026, 6, 1)
HEADER = "transaction_id,user_id,timestamp,amount,city"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = warehouse_at(tmp_path_factory.mktemp("empty") / "fraud.duckdb")
    warehouse.initialise()
    return warehouse.path


@pytest.fixture
def warehouse(empty: Path, tmp_path: Path) -> Warehouse:
    return warehouse_at(copied(empty, tmp_path / "fraud.duckdb"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def write(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def land(warehouse: Warehouse, path: Path) -> LandingReport:
    return land_transactions(warehouse, path, ColumnMapping.identity(), now=NOW)


def land_pending(warehouse: Warehouse, folder: Path) -> Landed:
    return land_pending_transactions(warehouse, folder, clock=lambda: NOW)


def stored(warehouse: Warehouse) -> list[str]:
    return warehouse.read("SELECT transaction_id FROM raw.transactions ORDER BY 1").to_series().to_list()


# What a producer does in the meantime


def test_a_file_that_is_replaced_between_its_commit_and_its_move_comes_in_too(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "x.csv", "a,u,2026-01-02,5,")
    second = [f"b{number},u,2026-01-02,5," for number in range(10)]

    def replaced_afterwards(warehouse: Warehouse, path: Path, intake: RecordIntake) -> LandingReport:
        report = land_file(warehouse, path, intake)
        write(folder / "x.part", *second).rename(path)
        return report

    with monkeypatch.context() as raced:
        raced.setattr(landing_zone, "land_file", replaced_afterwards)
        assert land_pending(warehouse, folder).problems == {}
    assert stored(warehouse) == ["a"]
    assert [report.rows_accepted for report in land_pending(warehouse, folder).reports] == [10]
    assert len(stored(warehouse)) == 11
    assert [path.name for path in folder.iterdir()] == ["_landed"]


def seen(path: Path) -> WaitingFile:
    return WaitingFile.of(path, path.name, path.stat())


def test_a_file_of_the_same_size_and_time_is_another_one_all_the_same(folder: Path) -> None:
    file = seen(write(folder / "x.csv", "a"))
    other = write(folder / "y.csv", "b")
    os.utime(other, ns=(file.changed_ns, file.changed_ns))
    other.rename(file.path)
    assert file.has_changed()
    assert move_aside(file, folder, "_landed") is None
    assert file.path.read_text().endswith("b\n")


@pytest.mark.parametrize("names", [["x.csv"], ["x.csv", "another"]])
def test_a_file_that_is_replaced_while_it_is_moved_goes_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """The look just before the move finds the file unchanged, and the producer is faster than the move."""
    file = seen(write(folder / "x.csv", "a"))
    write(folder / "y.csv", "b").rename(file.path)
    monkeypatch.setattr(WaitingFile, "has_changed", lambda self: False)
    rename = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if path == file.path and len(names) > 1:
            write(folder / "x.csv", "c")
        return moved

    monkeypatch.setattr(Path, "rename", renamed)
    assert move_aside(file, folder, "_landed") is None
    waiting = look_into(folder).files
    assert sorted(each.path.read_text().splitlines()[1] for each in waiting) == ["b", "c"][: len(names)]
    assert all(each.name.endswith("x.csv") for each in waiting)
    assert list((folder / "_landed").iterdir()) == []


def test_what_is_taken_away_in_the_meantime_is_no_problem(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        write(folder / f"{name}.csv", f"{name},u,2026-01-02,5,")
    (folder / "sub").mkdir()
    scandir = os.scandir

    @contextmanager
    def listed(path: Path) -> Iterator[Any]:
        with scandir(path) as entries:
            found = list(entries)
        (folder / "a.csv").unlink(missing_ok=True)
        if (folder / "sub").exists():
            (folder / "sub").rmdir()
        yield iter(found)

    monkeypatch.setattr(os, "scandir", listed)

    looked_at = intake._looked_at

    def taken_away(path: Path) -> WaitingFile:
        if path.name == "b.csv":
            path.unlink()
        return looked_at(path)

    monkeypatch.setattr(intake, "_looked_at", taken_away)
    landed = land_pending(warehouse, folder)
    assert landed.problems == {}
    assert stored(warehouse) == ["c"]


# What can't be looked at


TROUBLES: dict[str, tuple[Callable[[Path], None], str]] = {
    "loop": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "a link to what isn't there: No such file or directory"),
    "too long": (lambda path: path.symlink_to("x" * 300), "File name too long"),
    "beyond a file": (lambda path: path.symlink_to("good.csv/x"), "Not a directory"),
    "its own zone": (lambda path: path.symlink_to(".."), "a link to a folder that holds the landing zone itself"),
}


def make_trouble(folder: Path, name: str) -> None:
    make, _ = TROUBLES[name]
    make(folder / name)


@pytest.mark.parametrize("name", TROUBLES)
def test_an_entry_that_can_not_be_looked_at_is_named_and_stops_nothing(
    warehouse: Warehouse, folder: Path, name: str
) -> None:
    write(folder / "good.csv", "a,u,2026-01-02,5,")
    make_trouble(folder, name)
    landed = land_pending(warehouse, folder)
    assert landed.problems == {name: TROUBLES[name][1]}
    assert stored(warehouse) == ["a"]
    landed.require_usable()  # it may be no file at all


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOTCONN])
def test_a_folder_of_a_disk_that_fails_stops_nothing(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    write(folder / "good.csv", "a,u,2026-01-02,5,")
    write(folder / "mount" / "deep" / "b.csv", "b,u,2026-01-02,5,")
    with monkeypatch.context() as failing:
        refuse(failing, folder / "mount" / "deep", code)
        assert land_pending(warehouse, folder).problems == {"mount/deep": os.strerror(code)}
    assert stored(warehouse) == ["a"]
    assert land_pending(warehouse, folder).problems == {}
    assert stored(warehouse) == ["a", "b"]


def test_a_zone_that_can_not_be_listed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, folder, errno.EIO)
    assert look_into(folder).troubles == {".": os.strerror(errno.EIO)}
    assert look_into(write(folder.with_name("file"))).troubles == {".": os.strerror(errno.ENOTDIR)}


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file to be had here whose reading fails")
def test_a_file_that_the_disk_does_not_give_out_stays_and_stops_nothing(warehouse: Warehouse, folder: Path) -> None:
    write(folder / "good.csv", "a,u,2026-01-02,5,")
    (folder / "failing.csv").symlink_to("/proc/self/mem")
    landed = land_pending(warehouse, folder)
    assert list(landed.unusable) == ["failing.csv"]
    assert "Input/output error" in landed.unusable["failing.csv"]
    assert stored(warehouse) == ["a"]


def test_a_mapping_that_can_not_be_looked_for_stops_nothing(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "good.csv", "a,u,2026-01-02,5,")
    write(folder / "other" / "b.csv", "b,u,2026-01-02,5,")
    lstat = Path.lstat

    def failing(path: Path) -> os.stat_result:
        if path == folder / "other" / "mapping.yaml":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return lstat(path)

    with monkeypatch.context() as stale:
        stale.setattr(Path, "lstat", failing)
        assert os.strerror(errno.ESTALE) in land_pending(warehouse, folder).unusable["other/b.csv"]
    assert stored(warehouse) == ["a"]
    # One that is there and can't be read is not taken for none.
    (folder / "other" / "mapping.yaml").symlink_to("nowhere")
    assert "The mapping" in land_pending(warehouse, folder).unusable["other/b.csv"]


def test_what_was_not_taken_in_is_noted_until_it_is(warehouse: Warehouse) -> None:
    note_problems(warehouse, "labels", {"x": "why"}, now=NOW)
    note_problems(warehouse, "transactions", {"a": "1", "b": "2"}, now=NOW)
    note_problems(warehouse, "transactions", {"b": "3"}, now=NOW)
    assert known_problems(warehouse, "transactions") == {"b": "3"}
    note_problems(warehouse, "transactions", {}, now=NOW)
    assert known_problems(warehouse, "transactions") == {}
    assert known_problems(warehouse, "labels") == {"x": "why"}


# Links to folders


def test_a_link_to_a_folder_is_followed_once(warehouse: Warehouse, folder: Path, tmp_path: Path) -> None:
    share = tmp_path / "share"
    write(share / "a.csv", "a,u,2026-01-02,5,")
    write(share / "deep" / "b.csv", "b,u,2026-01-02,5,")
    (share / "deep" / "circle").symlink_to(share)
    (share / "mapping.yaml").write_text("source: shared")
    (folder / "linked").symlink_to(share)
    (folder / "linked again").symlink_to(share)
    (folder / "own").mkdir()
    (folder / "to own").symlink_to(folder / "own")
    write(folder / "_landed" / "c.csv", "c,u,2026-01-02,5,")
    (folder / "to landed").symlink_to("_landed")

    landed = land_pending(warehouse, folder)

    assert landed.problems == {}
    names = {report.source for report in landed.reports}
    assert names in [{f"shared: {link}/a.csv", f"shared: {link}/deep/b.csv"} for link in ("linked", "linked again")]
    assert stored(warehouse) == ["a", "b"]
    assert [path.name for path in share.rglob("*.csv")] == []
    assert land_pending(warehouse, folder) == Landed()


def test_what_can_be_reached_without_a_link_has_the_name_that_it_has_without(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "back").symlink_to(folder / "z")
    (folder / "a").symlink_to(tmp_path / "share")
    write(folder / "z" / "x.csv")
    assert [file.name for file in look_into(folder).files] == ["z/x.csv"]


def test_a_file_of_another_file_system_is_moved_by_a_copy(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "share" / "x.csv", "a")
    (folder / "linked").symlink_to(tmp_path / "share")
    (file,) = look_into(folder).files

    def refused(path: Path, target: Path) -> Path:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    unlink = Path.unlink

    def read_only(path: Path, missing_ok: bool = False) -> None:
        if path == file.path:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "rename", refused)
    with monkeypatch.context() as mounted:
        mounted.setattr(Path, "unlink", read_only)
        with pytest.raises(InvalidInput, match="Read-only file system"):
            move_aside(file, folder, "_landed")
    assert file.path.exists()
    assert list((folder / "_landed" / "linked").iterdir()) == []
    with monkeypatch.context() as raced:
        copy = shutil.copy2
        raced.setattr(shutil, "copy2", lambda path, target: (copy(path, target), write(path, "b")))
        assert move_aside(file, folder, "_landed") is None
    (file,) = look_into(folder).files
    moved = move_aside(file, folder, "_landed")
    assert moved == folder / "_landed" / "linked" / "x.csv"
    assert moved.read_text().endswith("b\n")
    assert look_into(folder).files == []


# Names


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_a_name_as_long_as_names_may_be_lands_every_day(warehouse: Warehouse, folder: Path, letter: str) -> None:
    name = letter * ((255 - 4) // len(letter.encode())) + ".csv"
    for number in range(4):
        write(folder / name, f"{number},u,2026-01-02,5,")
        assert land_pending(warehouse, folder).problems == {}
    write(folder / name, "3,u,2026-01-02,5,")  # the last one again
    assert land_pending(warehouse, folder).problems == {}
    assert stored(warehouse) == ["0", "1", "2", "3"]
    assert len(list((folder / "_landed").iterdir())) == 5


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31mred", "tab\t", "caf\udce9", "\u202eevil", " "])
def test_a_name_of_any_characters_lands_and_is_told_on_one_line(warehouse: Warehouse, folder: Path, name: str) -> None:
    try:
        write(folder / f"{name}.csv", "a,u,2026-01-02,5,")
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    row = {"transaction_id": ["b"], "user_id": ["u"], "timestamp": ["2026-01-02"], "amount": [1.0]}
    pl.DataFrame(row).write_parquet(folder / "sound.part")
    (folder / "sound.part").rename(folder / f"{name}.parquet")
    (folder / f"{name} broken.parquet").write_text("no parquet")
    (folder / f"{name} loop").symlink_to(folder / f"{name} loop")
    landed = land_pending(warehouse, folder)
    assert stored(warehouse) == ["a", "b"]
    shown = printable_name(name)
    assert shown.isprintable()
    assert sorted(landed.problems) == sorted([f"{shown} broken.parquet", f"{shown} loop"])
    for text in (*landed.problems.values(), *(report.source for report in landed.reports)):
        text.encode()
    note_problems(warehouse, "transactions", landed.problems, now=NOW)
    assert known_problems(warehouse, "transactions") == landed.problems


# What waits


def test_what_waits_is_taken_in_by_the_nearest_mapping_and_moved(warehouse: Warehouse, folder: Path) -> None:
    write(folder / "b.csv", "b,u,2026-01-02,5,")
    write(folder / "a" / "deep" / "a.csv", "a,u,2026-01-03,5,")
    (folder / "a" / "mapping.yaml").write_text("source: acquirer\ncolumns: {merchant_id: city}\n")
    for ignored in (".hidden.csv", "x.csv.part", "y.tmp", ".git/z.csv", "_landed/old.csv", "a/_SUCCESS"):
        write(folder / ignored, "no,u,2026-01-02,5,")
    reports = land_pending(warehouse, folder).reports
    assert [(report.source, report.rows_accepted) for report in reports] == [
        ("acquirer: a/deep/a.csv", 1),
        ("b.csv", 1),
    ]
    assert (folder / "_landed" / "a" / "deep" / "a.csv").is_file()
    assert (folder / "_landed" / "b.csv").is_file()
    assert not (folder / "b.csv").exists()
    assert (folder / "a" / "mapping.yaml").is_file()
    assert land_pending(warehouse, folder) == Landed()


def test_landed_files_are_never_overwritten(warehouse: Warehouse, folder: Path) -> None:
    contents = ["b,u,2026-01-02,5,", "c,u,2026-01-02,5,", "c,u,2026-01-02,5,", "c,u,2026-01-02,5,"]
    for row in contents:
        write(folder / "x.csv", row)
        land_pending(warehouse, folder)
    landed = [path.read_text().splitlines()[1] for path in (folder / "_landed").iterdir()]
    assert sorted(landed) == sorted(contents)


def test_a_crash_between_commit_and_move_does_no_harm(warehouse: Warehouse, folder: Path) -> None:
    path = write(folder / "x.csv", "a,u,2026-01-02,5,")
    land(warehouse, path)
    (report,) = land_pending(warehouse, folder).reports
    assert report.already_landed
    assert (folder / "_landed" / "x.csv").is_file()
    assert warehouse.read("SELECT count(*) FROM raw.transactions").item() == 1


def test_files_that_can_not_be_read_stay_and_do_not_hold_up_the_others(warehouse: Warehouse, folder: Path) -> None:
    write(folder / "2.csv", "a,u,2026-01-02,5,")
    (folder / "1.parquet").write_text("no parquet")
    (folder / "3.csv").touch()
    landed = land_pending(warehouse, folder)
    assert list(landed.problems) == list(landed.unusable) == ["1.parquet", "3.csv"]
    with pytest.raises(InvalidInput, match="2 files") as raised:
        landed.require_usable()
    assert "1.parquet" in str(raised.value)
    assert "3.csv" in str(raised.value)
    assert warehouse.read("SELECT source FROM raw.transactions").item() == "2.csv"
    assert (folder / "1.parquet").is_file()


def test_a_folder_that_can_not_be_listed_does_not_hold_up_the_others(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "locked" / "a.csv", "a,u,2026-01-02,5,")
    write(folder / "other.csv", "b,u,2026-01-02,5,")
    refuse(monkeypatch, folder / "locked")
    assert land_pending(warehouse, folder).problems == {"locked": "Permission denied"}
    assert warehouse.read("SELECT source FROM raw.transactions").item() == "other.csv"


def test_a_folder_that_is_missing_has_nothing_waiting(warehouse: Warehouse, folder: Path) -> None:
    assert land_pending(warehouse, folder / "nowhere") == Landed()


def test_a_file_name_that_is_no_text_is_escaped(warehouse: Warehouse, folder: Path) -> None:
    path = folder / os.fsdecode(b"caf\xe9.csv")
    try:
        write(path, "a,u,2026-01-02,5,")
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    (report,) = land_pending(warehouse, folder).reports
    assert report.source == "caf\\udce9.csv"


# Many files


def test_small_files_are_taken_in_together_as_they_are_one_by_one(
    warehouse: Warehouse, folder: Path, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        write(folder / f"{number}.csv", f"t{number},u,2026-05-0{number + 1} 10:00:00,{number}.5,x")
    write(folder / "3-again.csv", "t3,u,2026-05-04 10:00:00,3.5,x", "t9,u,yesterday,1,x")
    shutil.copyfile(folder / "1.csv", folder / "1-again.csv")
    shutil.copytree(folder, tmp_path / "alone")
    monkeypatch.setattr(landing_zone, "_GROUP_FILES", 4)
    together = land_pending(warehouse, folder)
    monkeypatch.setattr(landing_zone, "_GROUP_FILES", 1)
    alone = warehouse_at(copied(empty, tmp_path / "alone.duckdb"))
    assert together == land_pending(alone, tmp_path / "alone")
    for table in ("raw.transactions", "raw.rejected_transactions", "raw.landed_files"):
        rows = [each.read(f"SELECT * FROM {table} ORDER BY ALL") for each in (warehouse, alone)]
        assert rows[0].equals(rows[1]), table
    assert not look_into(folder).files


def test_one_file_of_many_that_can_not_be_read_stays_and_the_others_come_in(warehouse: Warehouse, folder: Path) -> None:
    for number in range(3):
        write(folder / f"{number}.csv", f"t{number},u,2026-05-01 10:00:00,1,x")
    (folder / "1.csv").write_text("no,such,columns\n1,2,3\n")
    landed = land_pending(warehouse, folder)
    assert list(landed.unusable) == ["1.csv"]
    assert stored(warehouse) == ["t0", "t2"]
    assert [file.name for file in look_into(folder).files] == ["1.csv"]


def test_who_dies_in_a_group_stores_nothing_of_it(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write(folder / f"{number}.csv", f"t{number},u,2026-05-01 10:00:00,1,x")

    def dies(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fraud_pipelines.transactions.intake._record", dies)
        with pytest.raises(KeyboardInterrupt):
            land_pending(warehouse, folder)
    assert stored(warehouse) == []
    assert len(look_into(folder).files) == 3
    land_pending(warehouse, folder)
    assert stored(warehouse) == ["t0", "t1", "t2"]
