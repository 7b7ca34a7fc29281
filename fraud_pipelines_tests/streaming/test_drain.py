"""The stream's files: each valid transaction is decided once, whatever dies, comes twice, late or broken."""

import os
import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from fraud_pipelines.settings import CLOCK_SKEW
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.streaming.batches import Batch, BatchReport
from fraud_pipelines.streaming.drain import drain
from fraud_pipelines.streaming.files import settled_files
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines.streaming.settings import StreamSettings
from fraud_pipelines_tests.conftest import assert_same_content, refuse
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.streaming.samples import SMALL, NoModels, Stream, drop, now, results, traffic


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with an empty warehouse, to be copied: to make one takes a while."""
    data_dir = tmp_path_factory.mktemp("prepared") / "data"
    Stream(data_dir).prepare()
    return data_dir


@pytest.fixture
def stream(prepared: Path, tmp_path: Path) -> Stream:
    return copy_of(prepared, tmp_path / "data")


def copy_of(prepared: Path, data_dir: Path, stream: StreamSettings = SMALL) -> Stream:
    shutil.copytree(prepared, data_dir)
    return Stream(data_dir, stream)


def test_a_batch_leaves_transactions_features_scores_decisions_and_its_id(stream: Stream) -> None:
    rows = traffic(100)
    drop(stream.folder, "a.jsonl.gz", rows[:50])
    drop(stream.folder, "b.parquet", rows[50:])

    report = stream.drain()

    assert (report.waiting, report.accepted, report.left) == (2, 100, 0)
    ids = rows["transaction_id"].sort().to_list()
    read = stream.warehouse.read
    assert read("SELECT transaction_id FROM raw.transactions ORDER BY 1").to_series().to_list() == ids
    assert stream.decisions()["transaction_id"].to_list() == ids
    assert (stream.decisions()["channel"] == "stream").all()
    features = read("FROM streaming.transaction_features ORDER BY position")
    assert features["position"].to_list() == list(range(100))
    assert features["transaction_id"].to_list() == rows["transaction_id"].to_list()
    scores = read("FROM scoring.transaction_scores ORDER BY transaction_id")
    assert scores["transaction_id"].to_list() == sorted(rows["transaction_id"][30:])
    assert (scores["model_name"] == "fraud-realtime").all()
    collecting = stream.decisions().filter(pl.col("reason") == "collecting")
    assert set(collecting["transaction_id"]) == set(rows["transaction_id"][:30])
    assert (collecting["decision"] == "approve").all()
    batches = read("SELECT source, transactions, accepted, rejected, first_position FROM streaming.processed_batches")
    assert batches.sort("source").rows() == [("stream/a.jsonl.gz", 50, 50, 0, 0), ("stream/b.parquet", 50, 50, 0, 50)]
    assert stream.waiting() == []
    assert sorted(path.name for path in (stream.folder / "_landed").iterdir()) == ["a.jsonl.gz", "b.parquet"]


def test_what_is_delivered_again_counts_once_and_crashes_leave_nothing_behind(stream: Stream) -> None:
    rows = traffic(60)
    drop(stream.folder, "a.jsonl", rows)
    stream.drain()
    first = results(stream)

    # As if the process had died after the commit and before the move; and the same content under another name.
    shutil.copy(stream.folder / "_landed" / "a.jsonl", stream.folder / "a.jsonl")
    shutil.copy(stream.folder / "_landed" / "a.jsonl", stream.folder / "other.jsonl")
    report = stream.drain()

    assert [batch.repeated for batch in report.batches] == [True, True]
    assert stream.waiting() == []
    assert_same_content(results(stream), first)
    # The same payments in another file: no second decision, and the quarantine says why.
    drop(stream.folder, "again.parquet", rows)
    assert stream.drain().rejected_by_reason == {"duplicate": 60}
    assert stream.decisions().height == 60


def test_broken_rows_are_quarantined_and_broken_files_set_aside_without_holding_up_the_others(stream: Stream) -> None:
    rows = traffic(30)
    good = drop(stream.folder, "good.jsonl", rows)
    text = good.read_text().splitlines()
    future = '{"transaction_id": "y", "user_id": "u", "timestamp": "2999-01-01T00:00:00", "amount": 1}'
    (stream.folder / "mixed.jsonl").write_text("\n".join(["{", '{"transaction_id": "x", "amount": 3}', future]))
    (stream.folder / "bad.parquet").write_bytes(b"PAR1 and no more")
    (stream.folder / "cut.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00 broken")
    (stream.folder / "empty.jsonl").touch()
    (stream.folder / "notes.txt").write_text("hello")
    (stream.folder / "growing.jsonl.part").write_text(text[0][:20])

    report = stream.drain()

    assert report.accepted == 30
    assert sorted(report.unreadable) == ["bad.parquet", "cut.jsonl.gz", "empty.jsonl", "notes.txt"]
    aside = stream.folder / "_unreadable"
    assert "can't be read as Parquet" in (aside / "bad.parquet.reason.txt").read_text()
    assert (aside / "bad.parquet").read_bytes() == b"PAR1 and no more"
    assert stream.waiting() == ["growing.jsonl.part"]
    rejected = stream.warehouse.read("SELECT source, row_number, reason FROM raw.rejected_transactions ORDER BY 2")
    assert rejected["source"].unique().to_list() == ["stream/mixed.jsonl"]
    assert rejected["reason"].to_list() == [
        "malformed JSON: Expecting property name enclosed in double quotes",
        "user_id is missing",
        "timestamp is in the future",
    ]
    mixed = [batch for batch in report.batches if batch.source == "stream/mixed.jsonl"]
    assert [(batch.transactions, batch.accepted, batch.rejected) for batch in mixed] == [(3, 0, 3)]


def test_what_can_not_be_read_or_moved_does_not_hold_up_the_others(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = traffic(40)
    drop(stream.folder, "first.jsonl", rows[:20])
    os.mkfifo(stream.folder / "pipe.jsonl")  # whoever opens it waits for ever
    drop(stream.folder / "locked", "x.jsonl", rows[20:])
    refuse(monkeypatch, stream.folder / "locked")
    (stream.folder / "_landed").touch()

    report = stream.drain()

    assert report.accepted == 20
    assert report.troubles == {"locked": "Permission denied"}
    assert "can't be moved" in report.stuck["first.jsonl"]
    assert list(report.problems) == ["locked", "first.jsonl"]
    (stream.folder / "_landed").unlink()
    report = stream.drain()
    assert (report.accepted, report.figures["batches_repeated"], report.stuck) == (0, 1, {})
    monkeypatch.undo()
    report = stream.drain()
    assert (report.accepted, report.problems) == (20, {})
    assert sorted(path.name for path in stream.folder.iterdir()) == ["_landed", "locked", "pipe.jsonl"]


def test_entries_that_the_disk_does_not_give_out_are_left_and_named(stream: Stream) -> None:
    rows = traffic(40)
    drop(stream.folder, "a.jsonl", rows[:20])
    drop(stream.folder / "producer", "b.jsonl", rows[20:])
    (stream.folder / "producer" / "mapping.yaml").write_text("columns: [")
    (stream.folder / "loop").symlink_to(stream.folder / "loop")
    (stream.folder / "gone").symlink_to("nowhere")
    expected = ["gone", "loop", "producer/b.jsonl"]
    if Path("/proc/self/mem").exists():  # a file whose reading fails
        (stream.folder / "failing.jsonl").symlink_to("/proc/self/mem")
        expected.append("failing.jsonl")

    report = stream.drain()

    assert report.accepted == 20
    assert sorted(report.troubles) == sorted(expected)
    assert (report.unreadable, report.stuck) == ({}, {})
    assert not (stream.folder / "_unreadable").exists()
    (stream.folder / "producer" / "mapping.yaml").unlink()
    assert stream.drain().accepted == 20


def test_the_longest_name_is_set_aside_with_its_reason(stream: Stream) -> None:
    name = "x" * 247 + ".parquet"
    for _ in range(2):
        (stream.folder / name).write_text("no parquet")
        report = stream.drain()
        assert (list(report.unreadable), report.stuck) == ([name], {})
    aside = sorted(path.name[-11:] for path in (stream.folder / "_unreadable").iterdir())
    assert aside.count(".reason.txt") >= 1
    assert len(aside) == 4


def test_a_file_written_over_once_its_rows_are_committed_waits_again(stream: Stream) -> None:
    rows = traffic(30)
    drop(stream.folder, "a.jsonl", rows[:15])
    drop(stream.folder, "b.jsonl", rows[15:20])

    class Raced(StreamSession):
        """A producer writes over one file, and takes another away, between the commit and the move."""

        def commit(self, batches: Sequence[Batch], *, now: datetime) -> list[BatchReport]:
            reports = super().commit(batches, now=now)
            drop(stream.folder, "a.jsonl", rows[20:])
            (stream.folder / "b.jsonl").unlink()
            return reports

    drain(Raced(stream.warehouse, cast(ModelRegistry, NoModels()), stream.settings, SMALL), stream.folder, clock=now)

    assert stream.waiting() == ["a.jsonl"]
    assert stream.drain().accepted == 10
    assert stream.decisions().height == 30


def test_a_file_that_is_still_growing_is_not_read(prepared: Path, tmp_path: Path) -> None:
    stream = copy_of(prepared, tmp_path / "data", SMALL.model_copy(update={"settle_seconds": 0.5}))
    drop(stream.folder, "whole.jsonl", traffic(20))
    os.utime(stream.folder / "whole.jsonl", (1, 1))
    ahead = time.time() + 3600
    growing = drop(stream.folder, "growing.jsonl", traffic(20))

    def grow(seconds: float) -> None:
        assert 0 < seconds <= 0.5
        with growing.open("a") as file:
            file.write("{}\n")

    assert [file.name for file in settled_files(stream.folder, settle_seconds=0.5, sleep=grow).files] == ["whole.jsonl"]
    # A server whose clock is ahead wrote it in the future. It is taken in as soon as it has been left alone.
    os.utime(growing, (ahead, ahead))
    assert stream.drain().waiting == 2
    assert stream.waiting() == []


def test_a_batch_that_is_delivered_again_brings_what_the_clock_had_turned_away(stream: Stream) -> None:
    rows = traffic(60)
    times = rows["timestamp"]
    drop(stream.folder, "a.jsonl", rows[:40])
    early = stream.drain(lambda: times[19])
    ahead = (rows["timestamp"][:40] > times[19] + CLOCK_SKEW).sum()
    assert (early.accepted, early.rejected_by_reason) == (40 - ahead, {"timestamp is in the future": ahead})
    drop(stream.folder, "b.jsonl", rows[40:])
    stream.drain()

    def deliver_again(at: datetime) -> int:
        shutil.copy(stream.folder / "_landed" / "a.jsonl", stream.folder / "again.jsonl")
        report = stream.drain(lambda: at)
        assert report.batches[0].repeated == (report.accepted == 0)
        batches = stream.warehouse.read("FROM streaming.processed_batches")
        assert batches["batch_id"].is_unique().all()
        assert (batches["accepted"] + batches["rejected"] == batches["transactions"]).all()
        assert batches["transactions"].sum() == 60
        assert batches["rejected"].sum() == stream.warehouse.read("FROM raw.rejected_transactions").height
        return report.accepted

    brought = [deliver_again(times[number]) for number in (19, 29, 29, 39, 39)]

    assert (brought[0], brought[2], brought[4]) == (0, 0, 0)
    assert brought[1] > 0
    assert brought[1] + brought[3] == ahead
    assert stream.decisions()["transaction_id"].to_list() == rows["transaction_id"].sort().to_list()
    features = stream.warehouse.read("FROM streaming.transaction_features ORDER BY position")
    assert features["position"].to_list() == list(range(60))
    # Another session, and histories built anew, go on from the same.
    drop(stream.folder, "b-again.jsonl", rows[40:])
    assert stream.drain().rejected_by_reason == {}


def test_the_oldest_comes_first_and_a_run_is_bounded(prepared: Path, tmp_path: Path) -> None:
    stream = copy_of(prepared, tmp_path / "data", SMALL.model_copy(update={"run_rows": 40, "commit_files": 2}))
    rows = traffic(80)
    for k in range(8):
        drop(stream.folder, f"{9 - k}.jsonl", rows[10 * k : 10 * k + 10])
        os.utime(stream.folder / f"{9 - k}.jsonl", (1000 + k, 1000 + k))

    first, second = stream.drain(), stream.drain()

    assert [batch.source for batch in first.batches] == [f"stream/{k}.jsonl" for k in (9, 8, 7, 6)]
    assert (first.left, second.left, second.accepted) == (4, 0, 40)


@examples(8, unchecked=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_valid_transaction_is_decided_exactly_once(
    prepared: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    stream = copy_of(prepared, tmp_path_factory.mktemp("once") / "data")
    rows = traffic(90)
    lines = [line for line in rows.write_ndjson().splitlines() if line]
    order = data.draw(st.permutations(range(9)))
    delivered: set[int] = set()
    for number in range(data.draw(st.integers(1, 8))):
        pieces = data.draw(st.lists(st.sampled_from(order), min_size=1, max_size=3))
        content = [lines[10 * piece + k] for piece in pieces for k in range(10)]
        kind = data.draw(st.sampled_from(["plain", "plain", "broken lines", "broken file"]))
        if kind == "broken lines":
            broken = data.draw(st.integers(2, 5))
            content = ["{" if k % broken == 0 else line for k, line in enumerate(content)]
        if kind == "broken file":
            (stream.folder / f"{number}.parquet").write_text("\n".join(content))
        else:
            delivered |= {k for k, line in enumerate(lines) if line in content}
            (stream.folder / f"{number}.jsonl").write_text("\n".join(content))
        if data.draw(st.booleans()):
            stream.drain()
    report = stream.drain()

    assert report.left == 0
    assert stream.waiting() == []
    valid = sorted(rows["transaction_id"][k] for k in delivered)
    assert stream.decisions()["transaction_id"].to_list() == valid
    for table in ("raw.transactions", "streaming.transaction_features"):
        assert stream.warehouse.read(f"SELECT transaction_id FROM {table} ORDER BY 1").to_series().to_list() == valid
    sums = stream.warehouse.read(
        "SELECT sum(transactions), sum(accepted), sum(rejected) FROM streaming.processed_batches"
    )
    assert sums.row(0)[1] == len(valid) or not valid
    quarantined = stream.warehouse.read("SELECT count(*) FROM raw.rejected_transactions").item()
    assert (sums.row(0)[2] or 0) == quarantined


def test_a_mapping_with_column_rules_means_to_the_stream_what_it_means_to_an_import(stream: Stream) -> None:
    folder = stream.folder / "bank"
    folder.mkdir(parents=True)
    (folder / "mapping.yaml").write_text(
        "columns:\n"
        "  transaction_id: {row: true}\n"
        "  user_id: {first_of: [mail, phone]}\n"
        "  amount: {column: Betrag, decimal: ',', divide_by: 100, negative: absolute}\n"
        "timestamp: {columns: [day, hour], format: '%d.%m.%Y %H:%M'}\n"
    )
    (folder / "a.csv").write_text(
        "mail,phone,Betrag,day,hour\n"
        'a@x,1,"1999,0",5.1.2026,9:05\n'
        "guest,2,-500,5.1.2026,9:06\n"
        "guest,2,-500,5.1.2026,9:06\n"
        "guest,nan,500,5.1.2026,9:07\n"
    )
    report = stream.drain()
    assert (report.accepted, report.rejected_by_reason) == (3, {"user_id is missing": 1})
    rows = stream.warehouse.read("SELECT * FROM raw.transactions ORDER BY timestamp, transaction_id")
    assert rows.select("user_id", "amount").rows() == [("a@x", 19.99), ("2", 5.0), ("2", 5.0)]
    assert sorted(each.rpartition("-")[2] for each in rows["transaction_id"]) == ["1", "1", "2"]
    assert stream.decisions().height == 3
