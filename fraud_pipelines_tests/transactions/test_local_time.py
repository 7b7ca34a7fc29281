"""Days and clocks: a date without a time keeps the day it says, and the hour is that of a declared zone."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.transactions.landing import land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.validation import ValidatedChunk, validate_transactions
from fraud_pipelines_tests.plan.files import plan_of, problems_of

NOW = datetime(2026, 12, 1)
PLAN = shipped_plan()


def validated(times: pl.Series | list[Any], *, plan: Plan = PLAN, zones: Any = None, **mapping: Any) -> ValidatedChunk:
    column = times if isinstance(times, pl.Series) else pl.Series(times)
    rows = pl.DataFrame({"timestamp": column}).with_columns(
        transaction_id=pl.int_range(pl.len()).cast(pl.String).str.zfill(3), user_id=pl.lit("u"), amount=pl.lit(1.0)
    )
    if zones is not None:
        rows = rows.with_columns(pl.Series("tz", zones, dtype=pl.String))
    by = ColumnMapping.model_validate(mapping, context={"attributes": plan.attributes})
    return validate_transactions(RecordChunk.of(rows), by, latest=NOW, source="x.csv")


def clocks(outcome: ValidatedChunk, plan: Plan = PLAN) -> list[tuple[int | None, int, int, int | None]]:
    """Hour, weekday, weekend and night of each row, which are the same in batch, in a stream and for single rows."""
    names = ["hour_of_day", "day_of_week", "is_weekend", "is_night"]
    rows = outcome.accepted
    batch, _ = compute_features(rows, plan=plan)
    streamed = LiveHistories(plan=plan).fold(rows)
    live = LiveHistories(plan=plan)
    single = [live.fold_one(row) for row in rows.sort("timestamp", "transaction_id").iter_rows(named=True)]
    found = batch.sort("transaction_id").select(names)
    assert found.equals(streamed.sort("transaction_id").select(names))
    assert found.rows() == [
        tuple(row[name] for name in names) for row in sorted(single, key=lambda row: str(row["transaction_id"]))
    ]
    return found.rows()


@pytest.mark.parametrize(
    ("times", "timestamp"),
    [
        (["2026-01-15", "2026-07-15"], {"zone": "Europe/Berlin"}),
        (["2026-1-15", "2026/7/15"], {"zone": "America/Los_Angeles"}),
        (["2026-01-15+02:00", "2026-07-15Z"], {"zone": "Asia/Tokyo"}),
        (["15.01.2026", "15.07.2026"], {"zone": "Europe/Berlin", "format": "%d.%m.%Y"}),
        ([date(2026, 1, 15), date(2026, 7, 15)], {"zone": "Pacific/Auckland"}),
        ([14, 195], {"origin": "2026-01-01", "unit": "day", "zone": "Europe/Berlin"}),
        (["2026-01-15", "2026-07-15"], {}),
    ],
)
def test_a_date_without_a_time_keeps_its_day_and_has_no_hour(times: list[Any], timestamp: dict[str, Any]) -> None:
    outcome = validated(times, timestamp=timestamp, local_zone="Europe/Berlin")
    assert outcome.rejected.is_empty()
    assert outcome.accepted["timestamp"].to_list() == [datetime(2026, 1, 15), datetime(2026, 7, 15)]
    assert outcome.accepted["date_only"].to_list() == [True, True]
    assert outcome.accepted["local_time"].null_count() == 2
    assert clocks(outcome) == [(None, 3, 0, None), (None, 2, 0, None)]


def test_a_time_of_that_zone_is_an_instant_still_beside_dates() -> None:
    outcome = validated(
        ["2026-01-15", "2026-01-15 00:00", "2026-01-15T12:00+01:00"], timestamp={"zone": "Europe/Berlin"}
    )
    assert outcome.accepted["timestamp"].to_list() == [
        datetime(2026, 1, 15),
        datetime(2026, 1, 14, 23),
        datetime(2026, 1, 15, 11),
    ]
    assert outcome.accepted["date_only"].to_list() == [True, None, None]


def test_a_date_on_which_midnight_never_was_is_a_day_all_the_same() -> None:
    outcome = validated(["2026-09-06"], timestamp={"zone": "America/Santiago"})  # clocks go forward at midnight
    assert outcome.accepted["timestamp"].to_list() == [datetime(2026, 9, 6)]


FRIDAY = "2026-01-16T18:30:00-08:00"


def test_the_hour_and_the_weekday_are_those_of_the_declared_zone() -> None:
    assert clocks(validated([FRIDAY])) == [(2, 5, 1, 1)]  # an offset declares no zone: Saturday, 2 h, UTC
    outcome = validated([FRIDAY], local_zone="America/Los_Angeles")
    assert outcome.accepted["timestamp"].to_list() == [datetime(2026, 1, 17, 2, 30)]
    assert outcome.accepted["local_time"].to_list() == [datetime(2026, 1, 16, 18, 30)]
    assert clocks(outcome) == [(18, 4, 0, 0)]


def test_each_row_may_say_its_zone(tmp_path: Path) -> None:
    zones = ["America/Los_Angeles", "Asia/Tokyo", None, "+05:30", "Mars/Olympus", "utc"]
    outcome = validated([FRIDAY] * 6, zones=zones, local_zone="tz")
    assert outcome.rejected["reason"].to_list() == ["local_zone is no time zone: Mars/Olympus"]
    assert [row[0] for row in clocks(outcome)] == [18, 11, 2, 8, 2]
    plan = plan_of(tmp_path, "local_zone: Europe/Berlin")
    outcome = validated([FRIDAY] * 6, zones=zones, local_zone="tz", plan=plan)
    assert [row[0] for row in clocks(outcome, plan)] == [18, 11, 3, 8, 2]


def test_a_zone_of_fraud_yaml_is_that_of_every_source_that_declares_none(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "local_zone: America/Los_Angeles")
    assert clocks(validated([FRIDAY], plan=plan), plan) == [(18, 4, 0, 0)]
    assert clocks(validated([FRIDAY], plan=plan, local_zone="Asia/Tokyo"), plan) == [(11, 5, 1, 0)]
    hours = ["hour_of_day", "is_night", "is_weekend", "day_of_week", "user_hour_share"]
    for name in hours:
        assert plan.version_of([name]) != shipped_plan().version_of([name])
    others = [name for name in plan.features if name not in hours]
    assert plan.version_of(others) == shipped_plan().version_of(others)
    [(line, key, message)] = problems_of(tmp_path, "local_zone: Europe/Atlantis")
    assert (line, key) == (1, "local_zone")
    assert "no IANA time zone" in message


def test_a_stream_of_rows_that_say_local_zone_follows_it(tmp_path: Path) -> None:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    row = {"transaction_id": "a", "user_id": "u", "timestamp": FRIDAY, "amount": 1, "local_zone": "America/Los_Angeles"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    report = land_transactions(warehouse, tmp_path / "x.jsonl", ColumnMapping.identity(), now=NOW)
    assert (report.rows_accepted, report.unused_columns) == (1, ())
    stored = warehouse.read("SELECT local_time, date_only, event_date FROM raw.transactions").row(0)
    assert stored == (datetime(2026, 1, 16, 18, 30), None, date(2026, 1, 17))


def test_a_payment_that_comes_again_with_its_zone_is_the_same_payment(tmp_path: Path) -> None:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    path = tmp_path / "x.csv"
    path.write_text(f"transaction_id,user_id,timestamp,amount\na,u,{FRIDAY},1\n")
    land_transactions(warehouse, path, ColumnMapping.identity(), now=NOW)
    zoned = ColumnMapping.model_validate({"local_zone": "America/Los_Angeles"})
    assert land_transactions(warehouse, path, zoned, now=NOW).rows_duplicate == 1


def test_a_zone_that_is_neither_a_name_nor_a_column_is_refused(tmp_path: Path) -> None:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    path = tmp_path / "x.csv"
    path.write_text("transaction_id,user_id,timestamp,amount\na,u,2026-01-01,1\n")
    zone = ColumnMapping.model_validate({"local_zone": "Europe/Atlantis"})
    with pytest.raises(InvalidInput, match=r"lacks the column 'Europe/Atlantis' \(local_zone\)"):
        land_transactions(warehouse, path, zone, now=NOW)


@given(
    st.lists(st.datetimes(datetime(2020, 1, 1), datetime(2026, 11, 1)), min_size=1, max_size=30),
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "-03:30", "Pacific/Apia"]),
)
def test_local_times_are_those_of_the_zone_database(times: list[datetime], zone: str) -> None:
    outcome = validated(pl.Series(times, dtype=pl.Datetime("us")), local_zone=zone)
    clock = timezone(-timedelta(hours=3, minutes=30)) if zone == "-03:30" else ZoneInfo(zone)
    expected = [moment.replace(tzinfo=UTC).astimezone(clock).replace(tzinfo=None) for moment in times]
    assert outcome.accepted["local_time"].to_list() == expected
    assert [row[0] for row in clocks(outcome)] == [moment.hour for moment in expected]
