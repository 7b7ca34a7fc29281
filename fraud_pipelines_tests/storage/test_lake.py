"""The lake: snapshots, writers side by side, death at any moment, and what it needs of deltalake."""

import json
import signal
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.errors import InvalidInput, MissingData, WarehouseBusy
from fraud_pipelines.storage.connection import insert, overwrite, select
from fraud_pipelines.storage.lake.maintenance import compact, snapshots, vacuum
from fraud_pipelines.storage.lake.manifests import LAYOUT, Manifest, Manifests, ManifestTaken
from fraud_pipelines.storage.lake.snapshot import WriteConflict
from fraud_pipelines.storage.lake.warehouse import LakeWarehouse
from fraud_pipelines_tests.storage import lake_killed, lake_writer

DAY, NEXT = date(2026, 10, 1), date(2026, 10, 2)
DRIFT, SCORES = "monitoring.feature_drift", "monitoring.score_reliability"
LATER = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=30)


@pytest.fixture
def lake(tmp_path: Path) -> LakeWarehouse:
    lake = LakeWarehouse(tmp_path / "lake", wait_seconds=20)
    lake.initialise()
    return lake


def drift(day: date, **psi: float) -> pl.DataFrame:
    return pl.DataFrame({"event_date": day, "feature": list(psi), "psi": list(psi.values())})


def stored(lake: LakeWarehouse) -> list[tuple[object, ...]]:
    return lake.read(f"SELECT event_date, feature, psi FROM {DRIFT} ORDER BY ALL").rows()


def data_files(lake: LakeWarehouse, table: str = DRIFT) -> list[str]:
    folder = lake.path.joinpath(*table.split("."))
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))


def test_a_day_lies_in_a_folder_of_its_own_as_zstd_parquet(lake: LakeWarehouse) -> None:
    lake.overwrite(DRIFT, drift(DAY, amount=0.1), event_date=DAY)

    [file] = data_files(lake)

    assert file.startswith("event_date=2026-10-01/")
    with lake.connect(read_only=True) as connection:
        path = lake.path / "monitoring" / "feature_drift" / file
        codecs = connection.execute(f"SELECT DISTINCT compression FROM parquet_metadata('{path}')").fetchall()
    assert codecs == [("ZSTD",)]


def test_each_table_is_a_delta_table_that_others_can_read(lake: LakeWarehouse) -> None:
    from deltalake import DeltaTable

    lake.overwrite(DRIFT, drift(DAY, amount=0.1, hour=0.2), event_date=DAY)
    lake.overwrite(DRIFT, drift(DAY, amount=0.3), event_date=DAY)

    found = DeltaTable(str(lake.path / "monitoring" / "feature_drift"))
    rows = pl.scan_delta(found).select("event_date", "feature", "psi").collect()
    assert rows.rows() == [(DAY, "amount", 0.3)]
    assert found.metadata().partition_columns == ["event_date"]
    versions = DeltaTable(str(lake.path / "main" / "schema_version"))
    assert "timestamp_ntz" in versions.schema().to_json()


def test_a_reader_keeps_its_snapshot_and_stops_no_writer(lake: LakeWarehouse) -> None:
    lake.overwrite(DRIFT, drift(DAY, amount=0.1), event_date=DAY)

    with lake.connect(read_only=True) as connection:
        other = threading.Thread(
            target=lake.overwrite, args=(DRIFT, drift(DAY, amount=0.2)), kwargs={"event_date": DAY}
        )
        other.start()
        other.join()
        assert select(connection, f"SELECT psi FROM {DRIFT}").rows() == [(0.1,)]

    assert stored(lake) == [(DAY, "amount", 0.2)]


def test_the_past_is_read_by_the_number_of_its_snapshot_and_not_written_to(lake: LakeWarehouse) -> None:
    lake.overwrite(DRIFT, drift(DAY, amount=0.1), event_date=DAY)
    before = snapshots(lake.path)[0].number
    lake.overwrite(DRIFT, drift(DAY, amount=0.2), event_date=DAY)

    past = LakeWarehouse(lake.path, at=before)

    assert stored(past) == [(DAY, "amount", 0.1)]
    with pytest.raises(InvalidInput, match=f"snapshot {before}"):
        past.overwrite(DRIFT, drift(DAY), event_date=DAY)
    with pytest.raises(MissingData, match="no snapshot 999"):
        LakeWarehouse(lake.path, at=999).read("SELECT 1")


def test_only_the_folder_of_the_day_is_read(lake: LakeWarehouse) -> None:
    for day in (DAY, NEXT):
        lake.overwrite(DRIFT, drift(day, amount=0.1), event_date=day)

    plan = lake.read(f"EXPLAIN ANALYZE SELECT * FROM {DRIFT} WHERE event_date = ?", [DAY])["explain_value"][0]

    assert "1/2" in plan  # scanned of all files


def side_by_side(lake: LakeWarehouse) -> tuple[LakeWarehouse, LakeWarehouse]:
    return LakeWarehouse(lake.path, one_writer=False), LakeWarehouse(lake.path, one_writer=False)


def test_of_two_writers_of_one_day_the_second_is_refused_and_tries_again(lake: LakeWarehouse) -> None:
    one, other = side_by_side(lake)

    def write_while_the_other_does() -> None:
        with one.transaction() as connection:
            overwrite(connection, DRIFT, drift(DAY, amount=0.1), event_date=DAY)
            other.overwrite(DRIFT, drift(DAY, amount=0.2), event_date=DAY)

    with pytest.raises(WriteConflict, match=r"monitoring\.feature_drift of 2026-10-01"):
        write_while_the_other_does()
    assert stored(lake) == [(DAY, "amount", 0.2)]

    one.retrying(lambda connection: overwrite(connection, DRIFT, drift(DAY, amount=0.1), event_date=DAY))
    assert stored(lake) == [(DAY, "amount", 0.1)]


def test_writers_of_different_days_both_succeed(lake: LakeWarehouse) -> None:
    one, other = side_by_side(lake)

    with one.transaction() as connection:
        overwrite(connection, DRIFT, drift(DAY, amount=0.1), event_date=DAY)
        other.overwrite(DRIFT, drift(NEXT, amount=0.2), event_date=NEXT)

    assert stored(lake) == [(DAY, "amount", 0.1), (NEXT, "amount", 0.2)]


def test_a_table_without_days_takes_one_writer_at_a_time(lake: LakeWarehouse) -> None:
    one, other = side_by_side(lake)
    row = pl.DataFrame({"currency": ["EUR"]})

    def append_while_the_other_does() -> None:
        with one.transaction() as connection:
            insert(connection, "raw.base_currency", row)
            with other.transaction() as inner:
                insert(inner, "raw.base_currency", row)

    with pytest.raises(WriteConflict, match=r"raw\.base_currency since"):
        append_while_the_other_does()

    assert lake.read("FROM raw.base_currency").rows() == [("EUR",)]


def test_who_writes_alone_lets_others_wait_for_as_long_as_agreed(lake: LakeWarehouse) -> None:
    hasty = LakeWarehouse(lake.path, wait_seconds=0.05)

    def write() -> None:
        with hasty.transaction():
            pass

    with lake.transaction():
        with pytest.raises(WarehouseBusy, match="FRAUD_WAREHOUSE_WAIT_SECONDS"):
            write()
        assert stored(hasty) == []
    write()


@pytest.mark.parametrize("writers", ["one", "many"])
def test_four_writers_at_once_lose_nothing_and_double_nothing(lake: LakeWarehouse, writers: str) -> None:
    command = [sys.executable, "-m", lake_writer.__name__, str(lake.path)]
    started = [subprocess.Popen([*command, str(number), writers]) for number in range(4)]
    assert [each.wait(300) for each in started] == [0] * 4

    chain = lake.read("SELECT sequence, channel FROM scoring.decision_chain ORDER BY sequence")
    assert chain["sequence"].to_list() == list(range(1, 21))
    assert chain["channel"].value_counts()["count"].to_list() == [5] * 4
    assert lake.read(f"SELECT count(*), count(DISTINCT feature) FROM {DRIFT}").row(0) == (20, 20)


def both(lake: LakeWarehouse) -> tuple[object, object]:
    with lake.connect(read_only=True):
        return lake.read(f"SELECT psi FROM {DRIFT}").rows(), lake.read("SELECT reason FROM raw.stale_days").rows()


@pytest.mark.slow
def test_killed_at_any_moment_a_transaction_is_there_whole_or_not_at_all(lake: LakeWarehouse) -> None:
    at = datetime(2026, 1, 1)
    with lake.transaction() as connection:
        overwrite(connection, DRIFT, drift(DAY, a=1.0), event_date=DAY)
        row = pl.DataFrame({"event_date": [DAY], "reason": ["1"], "marked_at": [at]})
        overwrite(connection, "raw.stale_days", row, event_date=DAY)
    before, after = ([(1.0,)], [("1",)]), ([(2.0,)], [("2",)])
    moments = []
    for step in range(11):
        assert both(lake) == before
        command = [sys.executable, "-m", lake_killed.__name__, str(lake.path), str(step)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        moments.append(done.stdout.strip())
        if done.stdout.strip() == "done" or "put after" in done.stdout:
            assert both(lake) == after
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert [moment.rpartition(".")[2] for moment in moments] == [
        *["write before", "write after"] * 2,
        *["_commit before", "_commit after"] * 2,
        "put before",
        "put after",
    ]
    vacuum(lake, now=LATER)
    assert both(lake) == after
    assert len(data_files(lake)) == len(data_files(lake, "raw.stale_days")) == 1


def test_a_reader_in_a_loop_never_sees_half_a_day(lake: LakeWarehouse) -> None:
    seen: set[tuple[float, ...]] = set()
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with lake.connect(read_only=True):
                values = lake.read(
                    f"SELECT psi FROM {DRIFT} UNION ALL SELECT share FROM {SCORES} UNION ALL "
                    f"SELECT (SELECT count(*) FROM {DRIFT})"
                )
            seen.add(tuple(values.to_series().to_list()))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(10):
            with lake.transaction() as connection:
                overwrite(connection, DRIFT, drift(DAY, a=number), event_date=DAY)
                overwrite(connection, SCORES, _reliability(float(number)), as_of=DAY)
    finally:
        ended.set()
        reader.join()

    assert seen <= {(0.0,), *((float(n), float(n), 1.0) for n in range(10))}


def _reliability(share: float) -> pl.DataFrame:
    names = {"as_of": DAY, "model_name": "m", "channel": "batch", "window_start": DAY, "window_end": DAY}
    figures = {"band_low": 0.0, "band_high": 1.0, "payments": 1, "probability": 0.5, "share": share}
    return pl.DataFrame([names | figures])


def test_compaction_changes_no_row_and_vacuum_nothing_that_a_kept_snapshot_needs(lake: LakeWarehouse) -> None:
    for number in range(5):
        with lake.transaction() as connection:
            insert(connection, DRIFT, drift(DAY, **{f"f{number}": 0.1}))
    before = stored(lake)

    compacted = compact(lake)

    assert (compacted.before, compacted.after) == (5, 1)
    assert stored(lake) == before
    assert vacuum(lake, now=datetime.now(UTC).replace(tzinfo=None)).files == 0
    assert len(snapshots(lake.path)) == 7
    done = vacuum(lake, now=LATER)
    assert (done.snapshots, done.files) == (6, 5)
    assert done.bytes > 0
    assert stored(lake) == before
    assert len(data_files(lake)) == 1
    lake.overwrite(DRIFT, drift(NEXT, amount=0.1), event_date=NEXT)
    with pytest.raises(InvalidInput, match="-1 days"):
        vacuum(lake, now=LATER, kept_days=-1)


def test_a_lake_of_a_newer_layout_is_refused(lake: LakeWarehouse) -> None:
    manifests = Manifests(lake.path)
    last = manifests.latest()
    assert last
    path = manifests.folder / f"{last.number + 1:020d}.json"
    content = json.loads((manifests.folder / f"{last.number:020d}.json").read_text())
    path.write_text(json.dumps(content | {"layout": LAYOUT + 1, "number": last.number + 1}))

    with pytest.raises(InvalidInput, match=rf"layout is {LAYOUT + 1}, and this release knows {LAYOUT}"):
        lake.read("SELECT 1")


def test_a_version_that_is_gone_is_told(lake: LakeWarehouse) -> None:
    lake.overwrite(DRIFT, drift(DAY, amount=0.1), event_date=DAY)
    log = lake.path / "monitoring" / "feature_drift" / "_delta_log"
    sorted(log.glob("*.json"))[-1].unlink()
    script = (
        "import sys; from pathlib import Path; from fraud_pipelines.storage.lake.warehouse import LakeWarehouse\n"
        "from fraud_pipelines.errors import MissingData\n"
        "try: LakeWarehouse(Path(sys.argv[1])).read('SELECT 1')\n"
        "except MissingData as error: print(error)"
    )

    done = subprocess.run([sys.executable, "-c", script, str(lake.path)], capture_output=True, text=True, check=True)

    assert "lacks version 1 of monitoring.feature_drift" in done.stdout


def test_without_the_extra_the_message_names_it_and_nothing_of_delta_is_imported(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules['deltalake'] = None\n"
        "from pathlib import Path\n"
        "import fraud_pipelines.definitions\n"
        "from fraud_pipelines.errors import MissingData\n"
        "from fraud_pipelines.storage.opening import warehouse_at\n"
        "warehouse_at(Path(sys.argv[1]) / 'fraud.duckdb').initialise()\n"
        "try: warehouse_at(Path(sys.argv[1]) / 'lake')\n"
        "except MissingData as error: print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)

    assert "pip install 'fraud-pipelines[lake]'" in done.stdout, done.stderr


def test_a_manifest_is_put_once(tmp_path: Path) -> None:
    manifests = Manifests(tmp_path)
    manifests.put(Manifest("id", 1, "catalogue"))

    with pytest.raises(ManifestTaken):
        manifests.put(Manifest("other", 1, "catalogue"))

    assert (found := manifests.latest())
    assert found.lake == "id"
    assert [path.name for path in manifests.folder.iterdir()] == [f"{1:020d}.json"]
