"""Refunds in the stream: stored and folded where something asks for them, never decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.streaming.batches import FrameBatch
from fraud_pipelines_tests.conftest import assert_same_content
from fraud_pipelines_tests.streaming.samples import YESTERDAY, Stream, now, results, traffic

DECLARED = """
entities:
  user:
    aggregates:
      - {how: count, over: 7d, where: "kind = 'refund'", name: refunds_7d}
      - {how: sum, of: amount, over: 3, where: "kind = 'refund'", name: refunded}
"""


@dataclass(frozen=True)
class Asking(Stream):
    """A stream whose declarations ask for refunds."""

    @property
    def settings(self) -> Settings:
        return Settings(data_dir=self.data_dir, declarations_file=self.data_dir / "fraud.yaml")

    def prepare(self) -> "Asking":
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "fraud.yaml").write_text(DECLARED)
        plan = compile_plan(self.data_dir / "fraud.yaml")
        open_warehouse(self.settings.warehouse_path, plan=plan, wait_seconds=10)
        return self


def mixed(rows: int, *, days: int = 1) -> pl.DataFrame:
    """Traffic of which every third row is a refund."""
    third = pl.int_range(pl.len()) % 3 == 2
    return traffic(rows, users=8, days=days).with_columns(
        kind=pl.when(third).then(pl.lit("refund")).otherwise(pl.lit("payment"))
    )


def commit(stream: Stream, coming: pl.DataFrame, sizes: Sequence[int], *, sessions: int = 1) -> None:
    taken = [stream.session() for _ in range(sessions)]
    start = 0
    for number, size in enumerate(sizes):
        batch = FrameBatch(f"b{number}", "library", coming.slice(start, size))
        taken[number % sessions].commit([batch], now=now())
        start += size


def test_a_stream_with_refunds_decides_what_it_would_without_them(tmp_path: Path) -> None:
    coming = mixed(240)
    stream, without = Stream(tmp_path / "a").prepare(), Stream(tmp_path / "b").prepare()
    commit(stream, coming, [80, 80, 80])
    payments = coming.filter(pl.col("kind") == "payment")
    parts = [coming.slice(start, 80).filter(pl.col("kind") == "payment").height for start in (0, 80, 160)]
    commit(without, payments, parts)
    found, expected = results(stream), results(without)
    for table in ("streaming.transaction_features", "scoring.transaction_scores", "features.transaction_features"):
        if table in expected:
            assert_frame_equal(found[table], expected[table])
    columns = ["transaction_id", "decision", "score", "reason", "reason_codes"]
    decided = stream.decisions()
    assert_frame_equal(decided.select(columns), without.decisions().select(columns))
    assert set(decided["transaction_id"]) == set(payments["transaction_id"])
    query = "SELECT sum(accepted), sum(refunds), max(first_position) FROM streaming.processed_batches"
    assert stream.warehouse.read(query).row(0) == (240, 240 - payments.height, parts[0] + parts[1])
    assert stream.warehouse.read("SELECT count(*) FROM raw.transactions WHERE kind = 'refund'").item() == 80


def test_what_asks_for_refunds_is_the_same_in_any_batches_and_sessions_and_in_the_day(tmp_path: Path) -> None:
    coming = mixed(180)
    stream, other = Asking(tmp_path / "a").prepare(), Asking(tmp_path / "b").prepare()
    commit(stream, coming, [180])
    commit(other, coming, [1, 1, 1, 57, 60, 3, 57], sessions=2)
    query = "SELECT * EXCLUDE (batch_id) FROM streaming.transaction_features ORDER BY transaction_id"
    streamed = stream.warehouse.read(query)
    assert_frame_equal(streamed, other.warehouse.read(query))
    assert (streamed["refunds_7d"] > 1).any()
    derive_day(stream.warehouse, YESTERDAY, plan=compile_plan(stream.data_dir / "fraud.yaml"))
    derived = stream.warehouse.read("FROM features.transaction_features ORDER BY transaction_id")
    folded = ["transaction_id", "refunds_7d", "refunded", "tx_count_24h", "user_z"]
    assert_frame_equal(derived.select(folded), streamed.select(folded))


def test_a_stream_that_goes_on_from_a_derived_day_has_its_refunds_still(tmp_path: Path) -> None:
    coming = mixed(150, days=2).sort("timestamp", "transaction_id")
    midnight = pl.lit(YESTERDAY).cast(pl.Datetime("us"))
    first, later = coming.filter(pl.col("timestamp") < midnight), coming.filter(pl.col("timestamp") >= midnight)
    stream = Asking(tmp_path / "a").prepare()
    plan = compile_plan(stream.data_dir / "fraud.yaml")
    half = later.height // 2
    session = stream.session()
    session.commit([FrameBatch("one", "library", first), FrameBatch("two", "library", later.head(half))], now=now())
    derive_day(stream.warehouse, YESTERDAY - timedelta(days=1), plan=plan)
    session.commit([FrameBatch("three", "library", later[half:])], now=now())
    derive_day(stream.warehouse, YESTERDAY, plan=plan)
    names = ["transaction_id", "refunds_7d", "refunded", "tx_count_7d"]
    query = f"SELECT {', '.join(names)} FROM {{}} ORDER BY transaction_id"
    derived = stream.warehouse.read(query.format("features.transaction_features"))
    assert_frame_equal(stream.warehouse.read(query.format("streaming.transaction_features")), derived)
    assert (derived["refunds_7d"] > 1).any()


def test_a_refund_alone_is_not_screened(tmp_path: Path) -> None:
    screener = Stream(tmp_path / "a").prepare().session().open(YESTERDAY)
    row = {**traffic(1).to_dicts()[0], "kind": "refund"}
    with pytest.raises(InvalidInput, match="is a refund, which is not decided"):
        screener.screen_one(row)
    assert screener.screen(pl.DataFrame([row])).decisions.is_empty()


def test_batches_that_repeat_change_nothing(tmp_path: Path) -> None:
    coming = mixed(60)
    stream = Asking(tmp_path / "a").prepare()
    commit(stream, coming, [60])
    before = results(stream)
    commit(stream, coming, [60])
    assert_same_content(before, results(stream))
