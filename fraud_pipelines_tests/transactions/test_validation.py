"""Validation: every row is accepted or rejected with a reason, and what is accepted keeps the schema."""

import json
import math
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.null_words import is_identity
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.schema import FURTHER_COLUMNS, TRANSACTION_COLUMNS
from fraud_pipelines.transactions.sources import open_records
from fraud_pipelines.transactions.validation import ValidatedChunk, validate_transactions
from fraud_pipelines_tests.examples import examples

NOW = datetime(2026, 6, 1)
FINE = {"transaction_id": "t1", "user_id": "u1", "timestamp": "2026-01-02T03:04:05", "amount": "12.50"}


def validate(chunk: RecordChunk, mapping: ColumnMapping | None = None) -> ValidatedChunk:
    return validate_transactions(chunk, mapping or ColumnMapping.identity(), latest=NOW, source="x.csv")


def reason(**changes: str | None) -> str | None:
    """Why a fine row is rejected once some of its fields are changed; None if it is accepted."""
    outcome = validate(
        RecordChunk.of(pl.DataFrame([FINE | changes], schema_overrides=dict.fromkeys(changes, pl.String)))
    )
    assert outcome.accepted.height + outcome.rejected.height == 1
    return outcome.rejected["reason"][0] if outcome.rejected.height else None


def assert_schema_holds(accepted: pl.DataFrame) -> None:
    assert accepted.schema == pl.Schema(TRANSACTION_COLUMNS | FURTHER_COLUMNS)
    for name, dtype in TRANSACTION_COLUMNS.items():
        if dtype == pl.String:
            for text in accepted[name].drop_nulls():
                assert 0 < len(text) <= 256
                assert text == text.strip()
                kept = "" if is_identity(name) else "\t\n\r"
                assert not any((ord(c) < 32 and c not in kept) or 127 <= ord(c) < 160 for c in text)
    required = accepted.select("transaction_id", "user_id", "timestamp", "amount")
    assert sum(required.null_count().row(0)) == 0
    assert all(datetime(2006, 6, 1) <= value <= NOW for value in accepted["timestamp"])
    assert all(0 <= value <= 1e12 and math.copysign(1, value) > 0 for value in accepted["amount"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"transaction_id": None}, "transaction_id is missing"),
        ({"transaction_id": "   "}, "transaction_id is missing"),
        ({"transaction_id": "a\x07b"}, "transaction_id has control characters"),
        ({"transaction_id": "x" * 257}, "transaction_id is longer than 256 characters"),
        ({"transaction_id": "x" * 256}, None),
        ({"user_id": ""}, "user_id is missing"),
        ({"user_id": "u\x85"}, "user_id has control characters"),
        ({"timestamp": None}, "timestamp is missing"),
        ({"timestamp": "yesterday"}, "timestamp is unreadable as iso8601"),
        ({"timestamp": "2026-06-01T00:00:00"}, None),
        ({"timestamp": "2026-06-01T00:00:00.000001"}, "timestamp is in the future"),
        ({"timestamp": "9999-12-31T23:59:59"}, "timestamp is unreadable as iso8601"),
        ({"timestamp": "2006-06-01T00:00:00"}, None),
        ({"timestamp": "2006-05-31T23:59:59.999999"}, "timestamp is more than 20 years old"),
        ({"timestamp": "1969-12-31T23:59:59"}, "timestamp is more than 20 years old"),
        ({"timestamp": "0000-01-01"}, "timestamp is unreadable as iso8601"),
        ({"amount": None}, "amount is missing"),
        ({"amount": " "}, "amount is missing"),
        ({"amount": "12,50"}, "amount is not a number: a comma; declare it as decimal or thousands in the mapping"),
        ({"amount": "0x10"}, "amount is not a number"),
        ({"amount": "true"}, "amount is not a number"),
        ({"amount": "-0.01"}, "amount is negative"),
        ({"amount": "nan"}, "amount is not finite"),
        ({"amount": "-inf"}, "amount is not finite"),
        ({"amount": "1e999"}, "amount is not finite"),
        ({"amount": "1000000000000.01"}, "amount is above 1e+12"),
        ({"amount": "1e12"}, None),
        ({"amount": "0"}, None),
        ({"amount": "-0"}, None),
        ({"country": "F\x00R"}, "country has control characters"),
        ({"city": ""}, None),
        ({"city": "Saint-Étienne 東京 🏙"}, None),
        ({"transaction_id": None, "amount": "-1"}, "transaction_id is missing"),
    ],
)
def test_a_row_is_rejected_for_the_first_thing_wrong_with_it(
    changes: dict[str, str | None], expected: str | None
) -> None:
    assert reason(**changes) == expected


def test_values_are_trimmed_and_empty_text_is_null() -> None:
    row = {
        "transaction_id": " t ",
        "user_id": "u",
        "timestamp": " 2026-01-01 ",
        "amount": " 5 ",
        "city": "  ",
        "country": "FR ",
    }
    accepted = validate(RecordChunk.of(pl.DataFrame([row]))).accepted
    assert accepted.select("transaction_id", "amount", "city", "country").row(0) == ("t", 5.0, None, "FR")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pl.Series([7, 2**40]), ["7", str(2**40)]),
        (pl.Series([2**64 - 1, 7], dtype=pl.UInt64), [str(2**64 - 1), "7"]),
        (pl.Series([7.0, 8.0]), ["7", "8"]),
        (pl.Series([Decimal("7.00"), Decimal("8.00")]), ["7", "8"]),
        (pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"]),
        (pl.Series([7.5, 8.0]), [None, "8"]),
        (pl.Series([float("nan"), 8.0]), [None, "8"]),
        (pl.Series([True, False]), [None, None]),
        (pl.Series([[1], [2]]), [None, None]),
        (pl.Series([{"a": 1}, {"a": 2}]), [None, None]),
        (pl.Series([b"a", b"\xff\x00"]), ["61", "ff00"]),
        (pl.Series([None, None]), [None, None]),
        (pl.Series([datetime(2026, 1, 1)] * 2), [None, None]),
    ],
)
def test_ids_are_text_or_whole_numbers_whatever_type_they_are_stored_in(
    column: pl.Series, expected: list[str | None]
) -> None:
    frame = pl.DataFrame([FINE, FINE]).with_columns(column.alias("user_id"))
    outcome = validate(RecordChunk.of(frame))
    found = dict(zip(outcome.positions, outcome.accepted["user_id"], strict=True))
    assert [found.get(position) for position in range(2)] == expected
    assert outcome.rejected.height == expected.count(None)


@pytest.mark.parametrize(
    ("column", "accepted"),
    [
        (pl.Series([5]), [5.0]),
        (pl.Series([Decimal("5.25")]), [5.25]),
        (pl.Series([5.25], dtype=pl.Float32), [5.25]),
        (pl.Series([-0.0]), [0.0]),
        (pl.Series([True]), []),
        (pl.Series([[5.0]]), []),
        (pl.Series([timedelta(seconds=5)]), []),
        (pl.Series([float("nan")]), []),
        (pl.Series([None], dtype=pl.Float64), []),
        (pl.Series([None]), []),
    ],
)
def test_amounts_are_numbers_of_any_type(column: pl.Series, accepted: list[float]) -> None:
    outcome = validate(RecordChunk.of(pl.DataFrame([FINE]).with_columns(column.alias("amount"))))
    assert outcome.accepted["amount"].to_list() == accepted
    assert_schema_holds(outcome.accepted)


def test_a_number_as_timestamp_needs_a_format_and_the_reason_says_so() -> None:
    chunk = RecordChunk.of(pl.DataFrame([FINE]).with_columns(pl.lit(1_700_000_000).alias("timestamp")))
    assert "epoch_seconds" in validate(chunk).rejected["reason"][0]
    mapping = ColumnMapping.model_validate({"timestamp": {"format": "epoch_seconds"}})
    assert validate(chunk, mapping).accepted["timestamp"].to_list() == [datetime(2023, 11, 14, 22, 13, 20)]


def test_a_clock_change_is_the_reason_where_it_is() -> None:
    mapping = ColumnMapping.model_validate({"timestamp": {"zone": "Europe/Paris"}})
    chunk = RecordChunk.of(pl.DataFrame([FINE | {"timestamp": "2026-03-29T02:30"}]))
    assert validate(chunk, mapping).rejected["reason"][0] == (
        "timestamp never was or occurred twice in Europe/Paris (clock change)"
    )


def test_columns_a_source_lacks_are_null_or_constant() -> None:
    mapping = ColumnMapping.model_validate({"columns": {"city": None}, "constants": {"country": "FR"}})
    accepted = validate(RecordChunk.of(pl.DataFrame([FINE | {"city": "x", "device_type": "phone"}])), mapping).accepted
    assert accepted.select("country", "city", "merchant_id", "device_type").row(0) == ("FR", None, None, "phone")


def test_the_payload_is_the_row_as_the_source_had_it() -> None:
    row = FINE | {"amount": "-1", "note": 'a "quote"\x01', "other": None}
    rejected = validate(
        RecordChunk.of(pl.DataFrame([FINE, row | {"other": None}], schema_overrides={"other": pl.String}), first_row=2)
    ).rejected
    assert rejected.select("source", "row_number").row(0) == ("x.csv", 3)
    assert json.loads(rejected["payload"][0]) == row
    assert "\x01" not in rejected["payload"][0]


def test_verdicts_are_read_and_never_cost_the_transaction() -> None:
    mapping = ColumnMapping.model_validate({"label": {"column": "fraud"}})
    frame = pl.DataFrame([FINE | {"fraud": text} for text in ("1", "TRUE", "0", "", "maybe")])
    outcome = validate(RecordChunk.of(frame), mapping)
    assert outcome.accepted.height == 5
    assert outcome.verdicts.to_list() == [True, True, False, None, None]
    assert outcome.verdict_problems.is_not_null().to_list() == [False] * 4 + [True]


MESSY_TEXT = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.sampled_from(["t1", "2026-01-01", "2026-01-01T10:00:00Z", "5", "1e400", "-0.0", "nan", " ", "x" * 300, "\x00"]),
    st.floats().map(str),
    st.datetimes().map(str),
    st.integers().map(str),
)


@examples(150)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(TRANSACTION_COLUMNS, MESSY_TEXT)), min_size=1, max_size=12))
def test_whatever_text_comes_each_row_is_judged_once_and_the_schema_holds(rows: list[dict[str, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(TRANSACTION_COLUMNS, pl.String()))
    outcome = validate(RecordChunk.of(frame))
    numbers = [*(outcome.positions + 1), *outcome.rejected["row_number"]]
    assert sorted(numbers) == list(range(1, len(rows) + 1))
    assert_schema_holds(outcome.accepted)
    assert outcome.rejected.null_count().sum_horizontal().item() == 0
    for number, payload in outcome.rejected.select("row_number", "payload").rows():
        assert json.loads(payload) == rows[number - 1]


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), MESSY_TEXT,
        st.text(st.characters(categories=["Cs", "Cc", "L"]), max_size=5),
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@examples(150)
@given(
    st.lists(
        st.one_of(
            JSON_VALUES,
            st.dictionaries(st.sampled_from([*TRANSACTION_COLUMNS]), JSON_VALUES, max_size=11),
            st.fixed_dictionaries(
                {name: st.just(value) for name, value in FINE.items()}, optional={"city": JSON_VALUES}
            ),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_json_comes_each_line_is_judged_once_and_the_schema_holds(
    tmp_path_factory: pytest.TempPathFactory, values: list[object]
) -> None:
    path: Path = tmp_path_factory.mktemp("json") / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, values)) + "\n")
    (chunk,) = open_records(path, ColumnMapping.identity().source_columns).chunks()
    outcome = validate(chunk)
    numbers = [*chunk.row_number.gather(outcome.positions), *outcome.rejected["row_number"]]
    assert sorted(numbers) == list(range(1, len(values) + 1))
    assert_schema_holds(outcome.accepted)


def test_an_empty_chunk_gives_empty_frames_of_the_right_shape() -> None:
    outcome = validate(RecordChunk.of(pl.DataFrame(schema=dict.fromkeys(FINE, pl.String()))))
    assert outcome.accepted.schema == pl.Schema(TRANSACTION_COLUMNS | FURTHER_COLUMNS)
    assert outcome.accepted.height == outcome.rejected.height == 0
