"""Column rules: numbers, ids, times and values as files have them, with the right value or a reason."""

import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.types import Attribute
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.numbers import BLANKS, NumberFormat, NumbersSoFar
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.row_ids import with_row_ids
from fraud_pipelines.transactions.validation import ValidatedChunk, validate_transactions
from fraud_pipelines_tests.examples import examples

NOW = datetime(2026, 12, 1)
FINE = {"transaction_id": "t", "user_id": "u", "timestamp": "2026-01-02T03:04:05", "amount": "12.50"}


def validated(rows: list[dict[str, object]], **mapping: object) -> ValidatedChunk:
    """Fine rows with changes, by a mapping of these keys; ids that aren't given are numbered."""
    complete = [FINE | {"transaction_id": f"t{number}"} | row for number, row in enumerate(rows)]
    return validated_frame(pl.DataFrame(complete, infer_schema_length=None), **mapping)


def validated_frame(frame: pl.DataFrame, **mapping: object) -> ValidatedChunk:
    return validate_transactions(
        RecordChunk.of(frame), ColumnMapping.model_validate(mapping), latest=NOW, source="x.csv"
    )


def column(outcome: ValidatedChunk, name: str) -> list[object]:
    """The column's value in each row, or the reason that it was rejected for."""
    found: dict[int, object] = dict(zip(outcome.positions + 1, outcome.accepted[name], strict=True))
    found |= dict(outcome.rejected.select("row_number", "reason").iter_rows())
    return [found[number] for number in sorted(found)]


def amounts(texts: list[str], rule: object = None) -> list[object]:
    columns = {"amount": {"column": "Betrag", **rule}} if isinstance(rule, dict) else {"amount": "Betrag"}
    return column(validated([{"Betrag": text} for text in texts], columns=columns), "amount")


def test_numbers_are_read_as_the_mapping_declares_them() -> None:
    german = {"decimal": ",", "thousands": "."}
    texts = ["12,50", "1.284", "1.284,50", "€ 12,50", "1 284,5", "1\u00a0284,5", "1\u202f284", "EUR 7", "0", ",5"]
    assert amounts(texts, german) == [12.5, 1284.0, 1284.5, 12.5, 1284.5, 1284.5, 1284.0, 7.0, 0.0, 0.5]
    assert amounts(["1'284.50", "1’284.50"], {"thousands": "'"}) == [1284.5, 1284.5]
    assert amounts(["$1,284.50", "12,34,567", "$134.09"], {"thousands": ","}) == [1284.5, 1234567.0, 134.09]
    assert amounts(["1.284", "1.284.000"], {"thousands": "."}) == [1284.0, 1284000.0]
    assert amounts(["1.284", "12.5"], {"decimal": "."}) == [1.284, 12.5]
    for text in ("12.50", "1.28", "1,2,3", "12,5.0", "--5", "5 5", "abc", "1.284,5 EUR USD"):
        (found,) = amounts([text], german)
        assert str(found).startswith("amount is not a number"), text


def test_cents_are_divided_exactly() -> None:
    assert amounts(["1999", "5", "29"], {"divide_by": 100}) == [19.99, 0.05, 0.29]
    frame = pl.DataFrame([FINE | {"cents": 1999}])
    assert column(validated_frame(frame, columns={"amount": {"column": "cents", "divide_by": 100}}), "amount") == [
        19.99
    ]


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=30))
def test_to_divide_by_a_hundred_is_to_shift_the_decimal_point(cents: list[int]) -> None:
    found = amounts([str(each) for each in cents], {"divide_by": 100})
    assert found == [float(f"{each // 100}.{each % 100:02d}") for each in cents]


def test_an_undeclared_decimal_comma_is_never_read_as_something_else() -> None:
    assert amounts(["12.50", "1.284"]) == [12.5, 1.284]
    clear, unclear, other = amounts(["12,50", "1.284", "3.5"])
    assert "declare it as decimal" in str(clear)
    assert str(unclear).startswith("amount is ambiguous")
    assert "declare decimal" in str(unclear)
    assert other == 3.5
    assert str(amounts(["1,284.50"])[0]).startswith("amount is not a number")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-5", 5.0),
        ("5-", 5.0),
        ("(5.00)", 5.0),
        ("$-5", 5.0),
        ("-$5", 5.0),
        ("$(5)", 5.0),
        ("(5) EUR", 5.0),
        ("−5", 5.0),
    ],
)
def test_what_is_negative_is_rejected_a_refund_or_taken_without_its_sign(text: str, value: float) -> None:
    assert amounts([text]) == ["amount is negative"]
    assert amounts([text], {"negative": "reject"}) == ["amount is negative"]
    assert amounts([text], {"negative": "absolute"}) == [value]
    outcome = validated(
        [{"a": text}, {"a": "7"}, {"a": "0"}, {"a": "x"}], columns={"amount": {"column": "a", "negative": "refund"}}
    )
    assert outcome.accepted["amount"].to_list() == [value, 7.0, 0.0]
    assert outcome.accepted["kind"].to_list() == ["refund", "payment", "payment"]


def test_two_currencies_in_one_column_are_not_added_up() -> None:
    first, second, third = amounts(["€5", "5 EUR", "$5"])
    assert (first, second) == (5.0, 5.0)
    assert third == "amount is in another currency than the file's EUR: $"
    assert amounts(["$5", "5 USD"]) == [5.0, 5.0]
    assert "EUR" in str(amounts(["5 USD", "€5"])[1])
    constant = {"constants": {"currency": "EUR"}, "columns": {"amount": "a"}}
    outcome = validated([{"a": "€5"}, {"a": "5 USD"}], **constant)
    assert "amount is in another currency than the file's EUR: USD" in outcome.rejected["reason"].to_list()


FORMATS = st.sampled_from(
    [(".", None), (".", ","), (",", "."), (",", None), (",", " "), (".", "'"), (",", "\u202f"), (",", "\u00a0")]
)


@given(st.floats(0, 1e11), st.integers(0, 6), FORMATS, st.sampled_from(["", "€", "US$", "CHF", "kr"]), st.booleans())
def test_a_number_that_was_written_is_the_number_that_is_read(
    number: float, decimals: int, form: tuple[str, str | None], mark: str, negative: bool
) -> None:
    decimal, thousands = form
    text = f"{number:,.{decimals}f}".replace(",", "T").replace(".", decimal).replace("T", thousands or "")
    text = f"{mark} {text}" if mark != "kr" else f"{text} {mark}"
    read = NumberFormat(decimal, thousands if thousands and thousands not in BLANKS else None, declared=True)
    found, _ = read.parse(pl.Series([f"({text})" if negative else text.strip()]))
    assert found[0] == (-1 if negative else 1) * round(number, decimals)


def test_ids_are_joined_or_the_first_that_is_known() -> None:
    rows: list[dict[str, object]] = [
        {"User": "7", "Card": "0", "Time": "06:21", "Email": " a@x ", "Phone": "1"},
        {"User": "7", "Card": None, "Time": "06:21", "Email": "NULL", "Phone": "2"},
        {"User": "nan", "Card": "0", "Time": "06:21", "Email": "Guest", "Phone": "3"},
        {"User": "8", "Card": "1", "Time": "06:22", "Email": "", "Phone": "anonymous"},
    ]
    joined = validated(rows, columns={"transaction_id": {"join": ["User", "Card", "Time"]}})
    assert column(joined, "transaction_id") == [
        "7-0-06:21", "transaction_id is missing", "transaction_id is missing", "8-1-06:22",
    ]  # fmt: skip
    first = validated(rows, columns={"user_id": {"first_of": ["Email", "Phone"]}})
    assert column(first, "user_id") == ["a@x", "2", "3", "user_id is missing"]


def test_parts_of_an_id_may_be_of_any_type() -> None:
    frame = pl.DataFrame(
        [FINE | {"a": 7, "b": 8.0, "c": datetime(2026, 1, 2, 3, 4, 5).date(), "d": b"\xff\x01", "e": 1.5}]
    )
    outcome = validated_frame(frame, columns={"transaction_id": {"join": ["a", "b", "c", "d", "e"]}})
    assert column(outcome, "transaction_id") == ["7-8-2026-01-02-ff01-1.5"]
    listed = validated_frame(
        frame.with_columns(pl.lit(pl.Series([[1]])).alias("a")), columns={"transaction_id": {"join": ["a", "b"]}}
    )
    assert column(listed, "transaction_id") == ["transaction_id is not text: a is list"]


@pytest.mark.parametrize("text", ["2.70319E+15", "4,5E+12", "1E+15", "2.70319e+15"])
def test_an_id_that_a_spreadsheet_damaged_is_rejected(text: str) -> None:
    for name in ("user_id", "transaction_id", "merchant_id"):
        assert str(column(validated([{name: text}]), name)[0]).startswith(f"{name} was damaged by a spreadsheet")


@pytest.mark.parametrize("text", ["9E10", "2.5", "1E5AB", "A+1", "270319000000000", "e+15"])
def test_an_id_that_only_looks_a_little_like_it_is_kept(text: str) -> None:
    assert column(validated([{"user_id": text}]), "user_id") == [text]


def test_an_id_of_more_digits_than_a_floating_point_number_has_is_rejected() -> None:
    frame = pl.DataFrame([FINE, FINE]).with_columns(pl.Series("user_id", [4_111_111_111_111_111.0, 4.111e18]))
    kept, lost = column(validated_frame(frame), "user_id")
    assert kept == "4111111111111111"
    assert str(lost).startswith("user_id has lost digits")


def test_strangers_are_never_merged() -> None:
    words = ["nan", "NULL", "None", "guest", "GUEST", "Anonymous", "unknown", "N/A", "\\N", "n/a", "-", "NaT", "Na"]
    words.append("00000000-0000-0000-0000-000000000000")
    outcome = validated([{"user_id": word} for word in words])
    assert column(outcome, "user_id") == ["user_id is missing"] * len(words)
    assert outcome.null_words["user_id", "guest"] == 1
    assert sum(outcome.null_words.values()) == len(words)


def test_a_null_word_is_a_value_where_it_may_be_one() -> None:
    outcome = validated(
        [
            {"country": "NA", "city": "Nan", "device_type": "unknown"},
            {"country": "nan", "city": "NULL", "device_type": "None"},
        ]
    )
    assert outcome.accepted.select("country", "city", "device_type").rows() == [("NA", "Nan", "unknown"), (None,) * 3]


def test_the_mapping_says_which_words_stand_for_no_value() -> None:
    rows: list[dict[str, object]] = [{"user_id": word, "city": word} for word in ("guest", "Walk-In", "0")]
    missing = "user_id is missing"
    assert column(validated(rows, null_values=["walk-in"]), "user_id") == [missing, missing, "0"]
    assert column(validated(rows, null_values=[]), "user_id") == ["guest", "Walk-In", "0"]
    own = validated(rows, null_values={"user_id": ["0"], "city": ["guest"]})
    assert column(own, "user_id") == ["guest", "Walk-In", missing]
    assert own.accepted["city"].to_list() == [None, "Walk-In"]


def test_times_may_stand_in_several_columns() -> None:
    rows: list[dict[str, object]] = [
        {"Date": "1/5/2026", "Time": "9:05"}, {"Date": "01/05/2026", "Time": "21:05"},
        {"Date": "1/5/2026", "Time": None},
    ]  # fmt: skip
    outcome = validated(rows, timestamp={"columns": ["Date", "Time"], "format": "%m/%d/%Y %H:%M"})
    assert column(outcome, "timestamp") == [
        datetime(2026, 1, 5, 9, 5), datetime(2026, 1, 5, 21, 5), "timestamp is missing",
    ]  # fmt: skip
    parts: list[dict[str, object]] = [{"Year": "2012", "Month": "9", "Day": "1", "Time": "06:21"}]
    found = validated(parts, timestamp={"columns": ["Year", "Month", "Day", "Time"], "format": "%Y %m %d %H:%M"})
    assert column(found, "timestamp") == [datetime(2012, 9, 1, 6, 21)]
    typed = pl.DataFrame([FINE | {"d": datetime(2026, 1, 5).date(), "t": datetime(2026, 1, 5, 9, 5).time()}])
    assert column(validated_frame(typed, timestamp={"columns": ["d", "t"]}), "timestamp") == [
        datetime(2026, 1, 5, 9, 5)
    ]


def test_a_column_says_the_zone_of_each_row() -> None:
    rows: list[dict[str, object]] = [
        {"timestamp": "2026-07-01 08:00", "tz": zone}
        for zone in ("CET", "PDT", "America/New_York", "UTC", "+05:30", None, "Mars")
    ]
    found = column(validated(rows, timestamp={"zone_column": "tz", "zone": "Europe/Berlin"}), "timestamp")
    hours = [each.hour + each.minute / 60 for each in found if isinstance(each, datetime)]
    assert hours == [6, 15, 12, 8, 2.5, 6]
    assert found[-1] == "timestamp is in an unknown zone: Mars"


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ({"origin": "2013-09-01", "unit": "second"}, "172792", datetime(2013, 9, 2, 23, 59, 52)),
        ({"origin": "2026-01-01", "unit": "hour"}, "743", datetime(2026, 1, 31, 23)),
        ({"origin": "2026-01-01 00:30", "unit": "minute"}, "1.5", datetime(2026, 1, 1, 0, 31, 30)),
        ({"origin": "1899-12-30", "unit": "day"}, "46027.5", datetime(2026, 1, 5, 12)),
        ({"origin": "2026-07-01", "unit": "day", "zone": "Europe/Berlin"}, "0", datetime(2026, 7, 1)),
        ({"origin": "2026-07-01", "unit": "day", "zone": "Europe/Berlin"}, "0.5", datetime(2026, 7, 1, 10)),
        ({"origin": "2026-07-01T00:00:00+02:00", "unit": "day"}, "1", datetime(2026, 7, 1, 22)),
        ({"format": "epoch_seconds"}, "1700000000.0", datetime(2023, 11, 14, 22, 13, 20)),
        ({"format": "epoch_microseconds"}, "1700000000123457", datetime(2023, 11, 14, 22, 13, 20, 123457)),
        ({"format": "epoch_nanoseconds"}, "1700000000123457999", datetime(2023, 11, 14, 22, 13, 20, 123457)),
        ({"format": "%d.%m.%Y %H:%M"}, "5.1.2026 9:05", datetime(2026, 1, 5, 9, 5)),
        ({"format": "%m/%d/%Y %I:%M %p"}, "1/5/2026 9:05 PM", datetime(2026, 1, 5, 21, 5)),
        ({}, "2026-1-5 9:05", datetime(2026, 1, 5, 9, 5)),
        ({}, "2026/01/05 09:05:06.5", datetime(2026, 1, 5, 9, 5, 6, 500_000)),
        ({}, "2026-1-5T9:05:00+02:00", datetime(2026, 1, 5, 7, 5)),
    ],
)
def test_a_time_is_read_as_the_mapping_says(rule: dict[str, object], text: str, expected: datetime) -> None:
    assert column(validated([{"timestamp": text}], timestamp=rule), "timestamp") == [expected]
    try:
        number = int(text)
    except ValueError:
        return
    frame = pl.DataFrame([FINE | {"timestamp": number}])
    assert column(validated_frame(frame, timestamp=rule), "timestamp") == [expected]


def test_steps_that_are_no_number_say_what_they_should_be(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("timestamp: {origin: 2026-01-01, unit: hour}\n")
    (found,) = column(
        validate_transactions(
            RecordChunk.of(pl.DataFrame([FINE | {"timestamp": "x"}])), ColumnMapping.load(path), latest=NOW, source="x"
        ),
        "timestamp",
    )
    assert found == "timestamp is unreadable as hours since 2026-01-01 00:00:00"


def test_an_expression_computes_a_column_and_costs_only_the_rows_on_which_it_fails() -> None:
    rows: list[dict[str, object]] = [
        {"Gross": "10.50", "Fee": "0.5", "Kind": "sale"},
        {"Gross": "abc", "Fee": "1", "Kind": "sale"},
        {"Gross": "4", "Fee": None, "Kind": "return"},
    ]
    computed = validated(
        rows,
        columns={
            "amount": {"sql": "CASE WHEN Kind = 'return' THEN -Gross ELSE Gross - Fee END", "negative": "absolute"},
            "merchant_id": {"sql": "upper(Kind) || '/' || coalesce(Fee, 'none given')"},
        },
    )
    assert computed.accepted.select("amount", "merchant_id").rows() == [(10.0, "SALE/0.5"), (4.0, "RETURN/none given")]
    assert computed.rejected["reason"][0] == 'amount can\'t be computed: number is needed of "Gross"'
    cast = validated(rows, columns={"amount": {"sql": "CAST(Gross AS DECIMAL(10, 2)) * 2"}})
    assert column(cast, "amount") == [21.0, "amount can't be computed: it fails on the row", 8.0]


def test_an_expression_gives_times_and_reads_names_that_are_no_words() -> None:
    rows: list[dict[str, object]] = [
        {"User": "7", "Merchant Name": "x", "card.last4": "1", "d": "20260105", "user": "no"}
    ]
    outcome = validated(
        [rows[0]],
        columns={
            "user_id": {"sql": '"User" || \'-\' || "card.last4" || "Merchant Name"'},
            "timestamp": {"sql": "strptime(d, '%Y%m%d')"},
        },
    )
    assert outcome.accepted.select("user_id", "timestamp").row(0) == ("7-1x", datetime(2026, 1, 5))


def test_text_keeps_line_breaks_and_an_id_does_not() -> None:
    outcome = validated(
        [{"city": "Bad\nHomburg\tv.d.H.", "country": "D\x07"}, {"city": "a\r\nb"}, {"merchant_id": "a\tb"}]
    )
    assert column(outcome, "city") == [
        "country has control characters", "a\r\nb", "merchant_id has control characters",
    ]  # fmt: skip


def test_rules_fit_the_types_of_declared_columns() -> None:
    attributes = (
        *shipped_plan().attributes,
        Attribute("fee", "number"), Attribute("items", "integer"), Attribute("opened", "timestamp"),
    )  # fmt: skip
    mapping = ColumnMapping.model_validate(
        {
            "columns": {
                "fee": {"column": "fee", "decimal": ",", "negative": "reject"},
                "items": {"column": "items", "thousands": "."},
                "opened": {"sql": "strptime(o, '%d.%m.%Y')"},
            }
        },
        context={"attributes": attributes},
    )
    rows = [FINE | {"fee": "1,5", "items": "1.200", "o": "5.1.2026"}, FINE | {"fee": "-1,5", "items": "1", "o": None}]
    outcome = validate_transactions(RecordChunk.of(pl.DataFrame(rows)), mapping, latest=NOW, source="x")
    assert outcome.accepted.select("fee", "items", "opened").rows() == [(1.5, 1200, datetime(2026, 1, 5))]
    assert outcome.rejected["reason"].to_list() == ["fee is negative"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{}", "columns.amount: says not where"),
        ("{column: a, sql: b}", "exclude each other"),
        ("{column: a, decimal: ';'}", "columns.amount.decimal"),
        ("{column: a, decimal: '.', thousands: '.'}", "can't both be"),
        ("{column: a, divide_by: 0}", "columns.amount.divide_by"),
        ("{column: a, negative: keep}", "columns.amount.negative"),
        ("{colum: a}", "columns.amount.colum is no key"),
        ("{join: [a, b], decimal: ','}", "decimal is for numbers"),
        ("{join: [a, b]}", "columns.amount: join and row give a text"),
        ("{row: false}", "columns.amount.row"),
        ("{sql: 'sum(a)'}", "columns.amount.sql: sum\\(\\) looks at other rows"),
        ("{sql: '(SELECT 1)'}", "subquery"),
        ("{sql: \"read_text('/etc/passwd')\"}", "read_text"),
        ("{sql: 'a +'}", "is no SQL"),
        ("{sql: 'a < b'}", "compares 'a' and 'b' as text"),
        ("{sql: 'a * now()'}", "differs from run to run"),
        ("5", "columns.amount"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_its_key(tmp_path: Path, rule: str, message: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"columns:\n  amount: {rule}\n")
    with pytest.raises(InvalidInput, match=message):
        ColumnMapping.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{columns: {country: {column: c, divide_by: 10}}}",
            "divide_by is for numbers, and the column is of type text",
        ),
        ("{timestamp: {origin: 2026-01-01}}", "origin and unit"),
        ("{timestamp: {origin: soon, unit: day}}", "'soon' is no date or time"),
        ("{timestamp: {origin: 2026-01-01, unit: week}}", "timestamp.unit"),
        ("{timestamp: {origin: 2026-01-01, unit: day, format: epoch_seconds}}", "leave format out"),
        ("{timestamp: {columns: [a, b]}, columns: {timestamp: c}}", "columns.timestamp and timestamp.columns"),
        ("{timestamp: {columns: []}}", "timestamp.columns"),
        ("{null_values: {card: [x]}}", "null_values: 'card' is none of"),
        ("{label: {column: x, unlabelled_values: [1]}}", "'1' can't mean both fraud and no label"),
        ("{label: {column: x, known_at_format: iso8601}}", "known_at_column"),
        ("{label: {column: x, known_at_column: y, known_at_format: '%Q'}}", "label.known_at_format"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        ColumnMapping.load(path)


def test_a_label_may_be_none_or_say_when_it_became_known() -> None:
    rows: list[dict[str, object]] = [
        {"y": "1", "known": "5.1.2026"}, {"y": "2", "known": "x"}, {"y": "0", "known": None},
        {"y": "1", "known": "1.1.2026"}, {"y": "1", "known": "soon"}, {"y": "1", "known": "1.1.2027"},
        {"y": "3", "known": ""},
    ]  # fmt: skip
    label = {"column": "y", "unlabelled_values": [2], "known_at_column": "known", "known_at_format": "%d.%m.%Y"}
    outcome = validated(rows, label=label)
    assert outcome.accepted.height == 7
    assert outcome.verdicts.to_list() == [True, None, False, None, None, None, None]
    assert outcome.known_at.to_list()[:3] == [datetime(2026, 1, 5), None, None]
    assert outcome.verdict_problems.to_list() == [
        None, None, None, "known_at is before the transaction", "known_at is unreadable as %d.%m.%Y",
        "known_at is in the future", "label is none of 1, true, yes, 0, false, no",
    ]  # fmt: skip


ROWS = st.lists(st.sampled_from(["a", "b", "c,d", 'e"f', ""]), min_size=1, max_size=25)


@given(ROWS, st.lists(st.integers(1, 9), min_size=1, max_size=25), ROWS)
def test_ids_of_rows_follow_from_the_rows_and_not_from_how_they_are_cut(
    values: list[str], sizes: list[int], more: list[str]
) -> None:
    def ids(rows: list[str], cuts: list[int]) -> list[str]:
        frame, chunks, start = pl.DataFrame({"x": rows, "y": "z"}), [], 0
        for size in [*cuts, len(rows)]:
            if start < len(rows):
                chunks.append(RecordChunk.of(frame[start : start + size], first_row=start + 1))
            start += size
        return [each for chunk in with_row_ids(chunks) for each in (chunk.row_ids if chunk.row_ids is not None else ())]

    whole = ids(values, [])
    assert len(set(whole)) == len(values)
    assert ids(values, sizes) == whole
    assert ids(values + more, sizes)[: len(values)] == whole
    assert [one.rpartition("-")[0] == whole[0].rpartition("-")[0] for one in whole] == [v == values[0] for v in values]


def test_the_payload_of_a_rejected_row_is_that_of_the_source() -> None:
    outcome = validated([{"Betrag": "x", "A": "1"}], columns={"amount": {"column": "Betrag", "decimal": ","}})
    assert json.loads(outcome.rejected["payload"][0])["Betrag"] == "x"


def test_a_decimal_comma_that_shows_late_refuses_the_file_if_it_must() -> None:
    mapping = ColumnMapping.identity()

    def judge(so_far: NumbersSoFar, *texts: str) -> list[object]:
        frame = pl.DataFrame([FINE | {"transaction_id": f"t{n}", "amount": text} for n, text in enumerate(texts)])
        chunk = RecordChunk.of(frame)
        outcome = validate_transactions(chunk, mapping, latest=NOW, source="x", numbers_so_far=so_far)
        return column(outcome, "amount")

    so_far = NumbersSoFar()
    assert judge(so_far, "1.28", "5") == [1.28, 5.0]
    assert "declare it as decimal" in str(judge(so_far, "12,50")[0])
    assert str(judge(so_far, "1.284")[0]).startswith("amount is ambiguous")
    so_far = NumbersSoFar()
    assert judge(so_far, "1.284") == [1.284]
    with pytest.raises(InvalidInput, match=r"amount: '1\.284' may be one or a thousand.*'12,50'.*Declare decimal"):
        judge(so_far, "12,50")


MESSY = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.text("0123456789.,-+()'€$ EUeu\u00a0\u202f:/", max_size=12),
    st.sampled_from(
        ["nan", "guest", "1e400", "-0", "2.70319E+15", "9" * 25, "-" + "9" * 20, "0000-00-00", "\x00", "1.284"]
    ),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(str),
)
RULES: tuple[dict[str, object], ...] = (
    {
        "columns": {
            "transaction_id": {"join": ["a", "b"]}, "user_id": {"first_of": ["b", "c"]},
            "amount": {"column": "c", "decimal": ",", "thousands": ".", "divide_by": 3, "negative": "refund"},
        },
        "timestamp": {"columns": ["a", "b"], "zone_column": "c"},
    },
    {
        "columns": {
            "transaction_id": {"row": True}, "user_id": "a", "timestamp": "b",
            "amount": {"sql": "CASE WHEN a > 1 THEN c * 2 ELSE abs(b) END"}, "city": {"sql": "substr(a, 2, 3)"},
        },
        "timestamp": {"origin": "2026-01-01", "unit": "day"},
        "label": {"column": "a", "known_at_column": "b", "unlabelled_values": ["2"]},
    },
    {
        "columns": {"transaction_id": "a", "user_id": "b", "timestamp": "c", "amount": "a"},
        "timestamp": {"format": "epoch_nanoseconds"},
    },
    {
        "columns": {"transaction_id": "a", "user_id": "b", "timestamp": "c", "amount": "a"},
        "timestamp": {"format": "epoch_microseconds"},
    },
)  # fmt: skip


@examples(60)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys("abc", MESSY)), min_size=1, max_size=8), st.sampled_from(RULES))
def test_whatever_stands_in_the_columns_of_a_rule_each_row_is_judged_once(
    rows: list[dict[str, str | None]], rules: dict[str, object]
) -> None:
    outcome = validated_frame(pl.DataFrame(rows, schema=dict.fromkeys("abc", pl.String())), **rules)
    assert sorted([*(outcome.positions + 1), *outcome.rejected["row_number"]]) == list(range(1, len(rows) + 1))
    assert outcome.accepted["amount"].is_between(0, 1e12).all()
    assert (
        outcome.accepted.select("transaction_id", "user_id", "timestamp", "amount").null_count().sum_horizontal()[0]
        == 0
    )
    assert outcome.known_at.len() == outcome.verdicts.len() == outcome.accepted.height


def test_a_day_that_is_stored_as_a_time_is_joined_with_its_time() -> None:
    frame = pl.DataFrame([FINE | {"d": datetime(2026, 1, 5), "t": "9:05"}])
    assert column(validated_frame(frame, timestamp={"columns": ["d", "t"]}), "timestamp") == [
        datetime(2026, 1, 5, 9, 5)
    ]
