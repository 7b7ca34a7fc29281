"""Column mappings: what they rename, what they refuse, and how timestamps become UTC."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.timestamps import TimestampRule
from fraud_pipelines_tests.examples import examples

HANDBOOK = Path(__file__).parents[2] / "data" / "mappings" / "handbook.yaml"


def load(tmp_path: Path, text: str) -> ColumnMapping:
    (tmp_path / "m.yaml").write_text(text)
    return ColumnMapping.load(tmp_path / "m.yaml")


def utc(rule: TimestampRule, *texts: str) -> list[datetime | None]:
    return rule.to_utc(pl.Series(texts))[0].to_list()


def test_a_mapping_file_is_read_whole(tmp_path: Path) -> None:
    mapping = load(
        tmp_path,
        """
        source: acquirer
        delimiter: ";"
        columns: {transaction_id: ID, user_id: card, country: null}
        constants: {device_type: terminal}
        timestamp: {format: "%d.%m.%Y %H:%M", zone: Europe/Berlin, ambiguous: earliest}
        label: {column: fraud, fraud_values: [Y, 2, true], delay_days: 30, source: review}
        """,
    )
    assert mapping.wanted_columns["user_id"] == "card"
    assert mapping.wanted_columns["amount"] == "amount"
    assert "country" not in mapping.wanted_columns
    assert "device_type" not in mapping.wanted_columns
    assert mapping.label is not None
    assert mapping.label.fraud_values == ("y", "2", "true")
    assert set(mapping.source_columns) >= {"ID", "card", "timestamp", "amount", "fraud"}


def test_the_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    documentation = (Path(__file__).parents[2] / "docs" / "mappings.md").read_text(encoding="utf-8")
    example = documentation.split("```yaml\n")[1].split("```")[0]
    mapping = load(tmp_path, example)
    assert set(mapping.model_dump(exclude_defaults=True)) == set(ColumnMapping.model_fields)


def test_a_file_that_was_taken_in_by_an_earlier_release_is_known_by_its_mapping_still() -> None:
    mapping = ColumnMapping.model_validate(
        {
            "source": "acquirer",
            "delimiter": ";",
            "columns": {"transaction_id": "TxnRef", "country": None},
            "constants": {"device_type": "terminal"},
            "timestamp": {"format": "%d.%m.%Y", "zone": "Europe/Berlin"},
            "label": {"column": "IsFraud", "fraud_values": ["Y"], "delay_days": 3},
        }
    )
    assert mapping.fingerprint == "32115a3ddaf711e00d6ca6123061c300e26f4e09dc6a9d4144259db837f90df9"
    assert ColumnMapping.identity().fingerprint == "2dfa990151f2b67988e1a373a673347ac21e2cb219cd177da6ce436b82937e0e"


@pytest.mark.parametrize(
    "keys",
    [
        {"columns": {"amount": {"column": "amount", "decimal": ","}}},
        {"columns": {"amount": {"column": "amount", "divide_by": 100}}},
        {"columns": {"user_id": {"first_of": ["a", "b"]}}},
        {"timestamp": {"zone_column": "tz"}},
        {"timestamp": {"origin": "2026-01-01", "unit": "day"}},
        {"timestamp": {"origin": "2026-01-02", "unit": "day"}},
        {"label": {"column": "y", "unlabelled_values": ["2"]}},
        {"label": {"column": "y"}},
        {"null_values": []},
        {"null_values": ["x"]},
    ],
)
def test_a_key_that_came_later_makes_another_mapping(keys: dict[str, object]) -> None:
    mapping = ColumnMapping.model_validate(keys)
    assert mapping.fingerprint != ColumnMapping.identity().fingerprint
    assert ColumnMapping.model_validate_json(mapping.model_dump_json()).fingerprint == mapping.fingerprint


def test_the_handbook_mapping_is_valid() -> None:
    mapping = ColumnMapping.load(HANDBOOK)
    assert mapping.wanted_columns["merchant_id"] == "terminal_id"
    assert mapping.label is not None
    assert mapping.label.delay_days == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colums: {}", "colums is no key"),
        ("columns: {card: x}", "'card' is none of transaction_id"),
        ("columns: {amount: null}", "'amount' is required"),
        ("constants: {amount: '5'}", "'amount' is none of merchant_id"),
        ("constants: {country: NO}", r"constants\.country.*put it in quotes"),
        ('constants: {country: "a\\0"}', "printable"),
        ("{columns: {city: c}, constants: {city: Oslo}}", "'city' is in columns and in constants"),
        ("timestamp: {zone: Mars/Olympus}", r"timestamp\.zone.*'Mars/Olympus' is no time zone"),
        ("timestamp: {format: '%H:%M'}", r"timestamp\.format.*doesn't tell year, month and day"),
        ("timestamp: {format: '%Q'}", r"timestamp\.format"),
        ("label: {delay_days: 7}", r"label\.column"),
        ("label: {column: x, delay_days: -1}", r"label\.delay_days"),
        ("label: {column: x, delay_days: .nan}", r"label\.delay_days"),
        ("label: {column: x, fraud_values: [0]}", "'0' can't mean both"),
        ("label: {column: x, source: police}", r"label\.source"),
        ("delimiter: '\"'", "delimiter"),
        ("- a list", "no table of keys"),
        ("", "empty"),
        ("a: [", "no YAML"),
    ],
)
def test_a_faulty_mapping_is_refused_by_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as raised:
        load(tmp_path, text)
    assert "m.yaml" in str(raised.value)


def test_a_missing_mapping_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml"):
        ColumnMapping.load(tmp_path / "nowhere.yaml")


def test_missing_columns_are_named_with_their_key_and_what_there_is() -> None:
    mapping = ColumnMapping.model_validate({"columns": {"user_id": "card", "city": "town"}, "label": {"column": "f"}})
    with pytest.raises(InvalidInput) as raised:
        mapping.require_columns(["id", "amount"], file=Path("x.csv"), sparse=False)
    message = str(raised.value)
    for expected in (
        "x.csv",
        "'card' (columns.user_id)",
        "'town' (columns.city)",
        "'f' (label.column)",
        "'id', 'amount'",
    ):
        assert expected in message
    assert "'timestamp' (columns.timestamp)" in message


def test_a_wrong_delimiter_is_suspected_where_the_header_is_one_column() -> None:
    with pytest.raises(InvalidInput, match="set `delimiter: ';'`"):
        ColumnMapping.identity().require_columns(["transaction_id;user_id"], file=Path("x.csv"), sparse=False)


def test_of_json_lines_only_required_columns_that_the_mapping_names_must_occur() -> None:
    file = Path("x.jsonl")
    ColumnMapping.identity().require_columns(["amount"], file=file, sparse=True)
    ColumnMapping(columns={"city": "town"}).require_columns(["amount"], file=file, sparse=True)
    with pytest.raises(InvalidInput, match="'card'"):
        ColumnMapping(columns={"user_id": "card"}).require_columns(["amount"], file=file, sparse=True)


def test_another_mapping_has_another_fingerprint() -> None:
    assert ColumnMapping.identity().fingerprint == ColumnMapping().fingerprint
    assert ColumnMapping.identity().fingerprint != ColumnMapping(source="x").fingerprint


@examples(150)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
)
def test_iso_timestamps_with_an_offset_become_utc(instant: datetime, offset: int, separator: str) -> None:
    aware = instant.replace(tzinfo=timezone(timedelta(minutes=offset)))
    expected = aware.astimezone(UTC).replace(tzinfo=None)
    assert utc(TimestampRule(), aware.isoformat(separator)) == [expected]
    assert utc(TimestampRule(zone="Asia/Tokyo"), aware.isoformat(separator), "broken") == [expected, None]


def test_iso_timestamps_may_be_short_and_have_any_fraction() -> None:
    texts = [
        "2026-01-02",
        "2026-01-02T03:04",
        "2026-01-02 03:04:05.5",
        "2026-01-02t03:04:05,123456789z",
        "2026-01-02T03:04-05",
    ]
    assert utc(TimestampRule(), *texts) == [
        datetime(2026, 1, 2),
        datetime(2026, 1, 2, 3, 4),
        datetime(2026, 1, 2, 3, 4, 5, 500_000),
        datetime(2026, 1, 2, 3, 4, 5, 123_456),
        datetime(2026, 1, 2, 8, 4),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026-13-01",
        "02/01/2026",
        "2026-01-02T24:00",
        "2026-01-02T03:04+19:00",
        "2026-01-02T",
        "now",
        "1700000000",
    ],
)
def test_what_is_no_iso_timestamp_is_null(text: str) -> None:
    assert utc(TimestampRule(), text) == [None]


def test_a_clock_change_is_told_apart_from_nonsense() -> None:
    texts = pl.Series(
        ["2026-03-29 02:30", "2026-10-25 02:30", "2026-07-01 12:00", "nonsense", "2026-10-25 02:30+01:00"]
    )
    value, clock_change = TimestampRule(zone="Europe/Paris").to_utc(texts)
    assert value.to_list() == [None, None, datetime(2026, 7, 1, 10), None, datetime(2026, 10, 25, 1, 30)]
    assert clock_change.to_list() == [True, True, False, False, False]


@pytest.mark.parametrize(("rule", "hour"), [("earliest", 0), ("latest", 1)])
def test_a_time_that_occurs_twice_can_be_decided(rule: str, hour: int) -> None:
    mapping = TimestampRule.model_validate({"zone": "Europe/Paris", "ambiguous": rule})
    assert utc(mapping, "2026-10-25 02:30", "2026-03-29 02:30") == [datetime(2026, 10, 25, hour, 30), None]


def test_patterns_and_epochs_are_read() -> None:
    assert utc(TimestampRule(format="%d/%m/%Y %H:%M", zone="Asia/Kolkata"), "02/01/2026 05:30") == [
        datetime(2026, 1, 2)
    ]
    assert utc(TimestampRule(format="%Y-%m-%d"), "2026-01-02", "x") == [datetime(2026, 1, 2), None]
    assert utc(TimestampRule(format="%Y-%m-%d %H:%M %z"), "2026-01-02 02:00 +0200") == [datetime(2026, 1, 2)]
    seconds = TimestampRule(format="epoch_seconds", zone="Asia/Tokyo")
    assert utc(seconds, "1700000000.123456", "1e300", "x") == [datetime(2023, 11, 14, 22, 13, 20, 123_456), None, None]
    millis, _ = TimestampRule(format="epoch_milliseconds").to_utc(pl.Series([1_700_000_000_123]))
    assert millis.to_list() == [datetime(2023, 11, 14, 22, 13, 20, 123_000)]


def test_stored_times_are_converted_from_their_own_type() -> None:
    rule = TimestampRule(zone="Europe/Paris")
    zoned = pl.Series([datetime(2026, 7, 1, 12)]).dt.cast_time_unit("ns").dt.replace_time_zone("America/New_York")
    assert rule.to_utc(zoned)[0].to_list() == [datetime(2026, 7, 1, 16)]
    assert rule.to_utc(pl.Series([datetime(2026, 7, 1, 12)]))[0].to_list() == [datetime(2026, 7, 1, 10)]
    assert rule.to_utc(pl.Series([date(2026, 7, 1)]))[0].to_list() == [datetime(2026, 7, 1)]  # a day


@pytest.mark.parametrize("zone", [None, "Europe/Paris"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_stored_times_beyond_the_calendar_are_null(unit: Literal["ms", "us", "ns"], zone: str | None) -> None:
    stored = pl.Series([2**63 - 1, -(2**63), 0], dtype=pl.Int64).cast(pl.Datetime(unit, zone))
    value, clock_change = TimestampRule(zone="Asia/Tokyo").to_utc(stored)
    assert (value.is_null().to_list() == [True, True, False]) == (unit != "ns")
    assert not clock_change.any()
    far_days = pl.Series([2**31 - 1, -(2**31)], dtype=pl.Int32).cast(pl.Date)
    assert TimestampRule().to_utc(far_days)[0].to_list() == [None, None]
