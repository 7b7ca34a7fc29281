"""Stream and day: equal features where rows came in order, and a day that goes on from what the stream took in."""

import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.streaming.agreement import compare_day
from fraud_pipelines.streaming.tables import read_base
from fraud_pipelines.transactions.landing import land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines_tests.streaming.samples import YESTERDAY, Stream, drop, now, traffic

DAY_BEFORE = YESTERDAY - timedelta(days=1)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return traffic(240, days=2, users=12)


@pytest.fixture(scope="module")
def day_before(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The day before came half by the stream and half by file, and was derived."""
    stream = Stream(tmp_path_factory.mktemp("before") / "data").prepare()
    earlier = rows.filter(pl.col("timestamp").dt.date() == DAY_BEFORE)
    drop(stream.folder, "first.jsonl", earlier.gather_every(2))
    stream.drain()
    file = stream.data_dir / "rest.parquet"
    earlier.gather_every(2, offset=1).write_parquet(file)
    land_transactions(stream.warehouse, file, ColumnMapping.identity(), now=now())
    derive_day(stream.warehouse, DAY_BEFORE, plan=shipped_plan())
    return stream.data_dir


@pytest.fixture
def stream(day_before: Path, tmp_path: Path) -> Stream:
    shutil.copytree(day_before, tmp_path / "data")
    return Stream(tmp_path / "data")


def of_yesterday(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("timestamp").dt.date() == YESTERDAY)


def differing(stream: Stream) -> dict[str, int]:
    found = compare_day(stream.warehouse, YESTERDAY).differences
    return dict(found.filter(pl.col("differing") > 0).select("feature", "differing").iter_rows())


def test_in_order_the_stream_gives_the_features_of_the_day_to_the_bit(stream: Stream, rows: pl.DataFrame) -> None:
    coming = of_yesterday(rows)
    for number, start in enumerate(range(0, coming.height, 7)):
        drop(stream.folder, f"{number:03}.jsonl", coming[start : start + 7])
        if number % 3 == 0:
            stream.drain()
    stream.drain()
    derive_day(stream.warehouse, YESTERDAY, plan=shipped_plan())

    found = compare_day(stream.warehouse, YESTERDAY)

    assert found.differences["feature"].to_list() == list(shipped_plan().features)
    assert (found.differences["compared"] == coming.height).all()
    assert differing(stream) == {}
    assert found.day.row(0, named=True) == {
        "event_date": YESTERDAY,
        "transactions": coming.height,
        "streamed": coming.height,
        "compared": 0,
        "agreeing": 0,
        "alerts_batch": 0,
        "alerts_stream": 0,
        "alerts_both": 0,
        "collecting": 0,
        "differing_features": 0,
    }
    assert found.agreement is None
    with stream.warehouse.connect(read_only=True) as connection:
        assert read_base(connection) == DAY_BEFORE


def test_what_comes_out_of_order_is_seen_in_the_differences_and_both_are_kept(
    stream: Stream, rows: pl.DataFrame
) -> None:
    coming = of_yesterday(rows)
    user = coming["user_id"].value_counts(sort=True)["user_id"][0]
    late = coming.filter(user_id=user).head(1)
    drop(stream.folder, "in-time.parquet", coming.join(late, on="transaction_id", how="anti"))
    stream.drain()
    drop(stream.folder, "late.parquet", late)
    stream.drain()
    derive_day(stream.warehouse, YESTERDAY, plan=shipped_plan())

    found = differing(stream)

    assert found["tx_count_24h"] >= 1
    assert found["amount_lag_1"] >= 1
    assert "amount" not in found
    assert "hour_of_day" not in found
    ours, theirs = (
        stream.warehouse.read(
            f"SELECT tx_count_24h FROM {schema}.transaction_features WHERE user_id = $user AND event_date = $day "
            "ORDER BY timestamp",
            {"user": user, "day": YESTERDAY},
        )
        for schema in ("streaming", "features")
    )
    assert ours.height == theirs.height
    assert not ours.equals(theirs)


def test_once_a_day_is_derived_the_stream_goes_on_from_it(stream: Stream, rows: pl.DataFrame) -> None:
    """The rows of the day before that came by file were unknown to the stream, until the day was derived."""
    coming = of_yesterday(rows)
    half = coming.height // 2
    drop(stream.folder, "a.parquet", coming[:half])
    stream.drain()
    derive_day(stream.warehouse, YESTERDAY, plan=shipped_plan())  # too early: the other half is late, and marks it
    assert stream.warehouse.read("FROM raw.stale_days").is_empty()

    drop(stream.folder, "b.parquet", coming[half:])
    stream.drain()

    with stream.warehouse.connect(read_only=True) as connection:
        assert read_base(connection) == YESTERDAY
    stale = stream.warehouse.read("SELECT event_date, reason FROM raw.stale_days")
    assert stale.rows() == [(YESTERDAY, f"{coming.height - half} transactions arrived late from the stream")]
    derive_day(stream.warehouse, YESTERDAY, plan=shipped_plan())
    assert differing(stream) == {}


def test_the_stream_of_a_later_day_is_folded_onto_the_day_derived_meanwhile(
    day_before: Path, rows: pl.DataFrame, tmp_path: Path
) -> None:
    """Rows of yesterday stream before the day before is derived, as happens every night."""
    stream = Stream(tmp_path / "data").prepare()
    earlier, coming = rows.filter(pl.col("timestamp").dt.date() == DAY_BEFORE), of_yesterday(rows)
    drop(stream.folder, "a.parquet", earlier.gather_every(2))
    stream.drain()
    drop(stream.folder, "b.parquet", coming[:40])
    stream.drain()
    file = tmp_path / "rest.parquet"
    earlier.gather_every(2, offset=1).write_parquet(file)
    land_transactions(stream.warehouse, file, ColumnMapping.identity(), now=now())
    derive_day(stream.warehouse, DAY_BEFORE, plan=shipped_plan())
    drop(stream.folder, "c.parquet", coming[40:])
    stream.drain()
    derive_day(stream.warehouse, YESTERDAY, plan=shipped_plan())

    compare_day(stream.warehouse, YESTERDAY)

    # The first forty lacked what had come by file; the others saw all of it, and the forty besides.
    compared = stream.warehouse.read(
        "SELECT s.position, s.amount_vs_avg IS DISTINCT FROM d.amount_vs_avg AS differs, s.tx_count_7d = d.tx_count_7d "
        "AS counts FROM streaming.transaction_features s JOIN features.transaction_features d "
        "USING (transaction_id, event_date) WHERE event_date = ? ORDER BY s.position",
        [YESTERDAY],
    )
    assert compared["differs"].head(40).any()
    assert not compared["differs"].slice(40).any()
    assert compared["counts"].slice(40).all()


def test_without_streamed_rows_it_is_one_row_of_zeros(stream: Stream) -> None:
    found = compare_day(stream.warehouse, YESTERDAY)

    assert found.differences.is_empty()
    assert found.day["streamed"].item() == 0
    assert stream.warehouse.read("SELECT count(*) FROM streaming.stream_agreement").item() == 1
    compare_day(stream.warehouse, YESTERDAY)
    assert stream.warehouse.read("SELECT count(*) FROM streaming.stream_agreement").item() == 1
