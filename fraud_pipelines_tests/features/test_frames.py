"""A sample of stored features: drawn by the ids alone, so that the same transactions are drawn wherever it is drawn."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.errors import MissingData
from fraud_pipelines.features.frames import features_digest, read_features, sample_features
from fraud_pipelines.storage.connection import select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.stored_days import ROWS, day, make_warehouse

DAYS = 6


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return make_warehouse(Path(tmp_path_factory.mktemp("frames")) / "fraud.duckdb", days=DAYS)


def _ids(warehouse: Warehouse, first: int, last: int, most: int, always: list[str] | None = None) -> list[str]:
    sample = sample_features(
        warehouse, day(first), day(last), most=most, always=pl.Series(always or [], dtype=pl.String)
    )
    assert sample.total == ROWS * (last - first + 1)
    return sample.rows["transaction_id"].to_list()


def test_days_with_no_more_rows_than_wanted_are_read_whole(warehouse: Warehouse) -> None:
    whole = read_features(warehouse, day(0), day(2))
    assert_frame_equal(sample_features(warehouse, day(0), day(2), most=whole.height).rows, whole)


def test_a_sample_has_about_as_many_rows_as_wanted_of_every_day_alike_in_the_order_of_all(warehouse: Warehouse) -> None:
    whole = read_features(warehouse, day(0), day(DAYS - 1))
    sample = sample_features(warehouse, day(0), day(DAYS - 1), most=ROWS * DAYS // 3)
    assert sample.total == whole.height
    assert_frame_equal(
        sample.rows, whole.filter(pl.col("transaction_id").is_in(sample.rows["transaction_id"].implode()))
    )
    by_day = sample.rows["event_date"].value_counts()["count"]
    assert by_day.len() == DAYS
    assert by_day.is_between(ROWS // 3 - 30, ROWS // 3 + 30).all()


def test_whether_a_transaction_is_drawn_depends_on_its_id_and_the_share_alone(warehouse: Warehouse) -> None:
    of_two_days, of_six = _ids(warehouse, 0, 1, ROWS), _ids(warehouse, 0, 5, 3 * ROWS)
    ends = read_features(warehouse, day(0), day(1))["transaction_id"]
    assert of_two_days == [each for each in of_six if each in set(ends)]
    assert set(_ids(warehouse, 0, 5, ROWS)) < set(of_six)


def test_what_is_asked_for_by_id_is_in_every_sample(warehouse: Warehouse) -> None:
    wanted = read_features(warehouse, day(3), day(3))["transaction_id"].head(50).to_list()
    drawn = _ids(warehouse, 0, 5, 40)
    assert set(_ids(warehouse, 0, 5, 40, wanted)) == {*drawn, *wanted}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE features.transaction_features SET user_z = user_z + 1e-9 WHERE event_date = $day",
        "UPDATE features.transaction_features SET amount_lag_1 = NULL WHERE event_date = $day",
        "DELETE FROM features.transaction_features WHERE event_date = $day AND transaction_id LIKE '%7'",
        "UPDATE features.transaction_features SET is_night = 1 - is_night WHERE event_date = $day",
        "UPDATE raw.transactions SET merchant_category = 'other' WHERE event_date = $day",
    ],
)
def test_the_digest_of_days_changes_with_any_value_that_is_read_of_them(warehouse: Warehouse, change: str) -> None:
    def digests() -> list[str]:
        with warehouse.connect(read_only=True) as connection:
            return [features_digest(connection, day(first), day(first + 1)) for first in (0, 1, 3)]

    before = digests()
    assert len(set(before)) == len(before)
    assert digests() == before
    with warehouse.connect() as connection:
        connection.execute("BEGIN")
        connection.execute(change, {"day": day(2)})
        after = digests()
        connection.execute("ROLLBACK")
    assert [then == now for then, now in zip(before, after, strict=True)] == [True, False, True]


def test_the_digest_of_days_does_not_change_when_the_same_rows_are_stored_again(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        before = features_digest(connection, day(0), day(3))
        rows = select(connection, "SELECT * FROM features.transaction_features WHERE event_date = ?", [day(1)])
        warehouse.overwrite("features.transaction_features", rows.sample(fraction=1, shuffle=True), event_date=day(1))
        assert features_digest(connection, day(0), day(3)) == before


def test_days_without_features_are_named(warehouse: Warehouse) -> None:
    with pytest.raises(MissingData, match=str(day(40))):
        sample_features(warehouse, day(40), day(41), most=10)
