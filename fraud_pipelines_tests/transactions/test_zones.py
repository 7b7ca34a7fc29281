"""Time zones as exports write them."""

from datetime import datetime

import polars as pl
import pytest

from fraud_pipelines.transactions.timestamps import TimestampRule
from fraud_pipelines.transactions.zones import zone_of


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        *(("utc", "UTC"), ("Z", "UTC"), ("GMT", "UTC"), ("europe/berlin", "Europe/Berlin"), (" CET ", "CET")),
        *(("CEST", "+02:00"), ("PDT", "-07:00"), ("+0530", "+05:30"), ("UTC+1", "+01:00"), ("GMT-03:30", "-03:30")),
        *(("CST", None), ("IST", None), ("+25:00", None), ("local", None), ("", None), ("Europe", None)),
    ],
)
def test_a_zone_is_told_by_name_by_offset_or_by_an_abbreviation_that_means_one(text: str, zone: str | None) -> None:
    assert zone_of(text) == zone


def test_each_row_has_the_zone_that_it_says_and_else_that_of_the_rule() -> None:
    texts = pl.Series(["2026-07-10 08:00"] * 5 + ["2026-11-10 08:00", "2026-07-10T08:00Z", "x"])
    zones = pl.Series(["CET", "CEST", "-03:30", None, "CST", "CET", "CEST", "CET"])
    utc, changed, unknown = TimestampRule(zone="Asia/Tokyo").to_utc_by_zone(texts, zones)
    assert utc.to_list() == [
        datetime(2026, 7, 10, 6),
        datetime(2026, 7, 10, 6),
        datetime(2026, 7, 10, 11, 30),
        datetime(2026, 7, 9, 23),
        datetime(2026, 7, 9, 23),
        datetime(2026, 11, 10, 7),
        datetime(2026, 7, 10, 8),
        None,
    ]
    assert unknown.to_list() == [None, None, None, None, "CST", None, None, None]
    assert not changed.any()
