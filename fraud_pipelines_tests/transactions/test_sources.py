"""Sources: every format is read as it stands, a broken row harms no other, a broken file says so."""

import csv
import gzip
import io
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions import packing, text_lines
from fraud_pipelines.transactions.file_rule import FileRule
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.sources import content_hash, open_records
from fraud_pipelines_tests.examples import examples

FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=12)


def read(path: Path, *columns: str) -> tuple[list[dict[str, object]], list[tuple[int, str]]]:
    """The rows of a file with their numbers, and the numbers and reasons of those that can't be read."""
    rows: list[dict[str, object]] = []
    faults: list[tuple[int, str]] = []
    for chunk in open_records(path, columns).chunks():
        rows += chunk.fields.with_columns(n=chunk.row_number).to_dicts()
        faults += chunk.unreadable.select("row_number", "reason").rows()
    return rows, faults


def only_chunk(path: Path, *columns: str) -> RecordChunk:
    (chunk,) = open_records(path, columns).chunks()
    return chunk


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV", "gzipped-in-spite-of-its-name.csv"])
def test_csv_is_read_as_text_numbered_by_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = b"a,b\n1,x\n2,\n"
    path.write_bytes(gzip.compress(content) if "gz" in name else content)
    assert read(path) == ([{"a": "1", "b": "x", "n": 2}, {"a": "2", "b": "", "n": 3}], [])


def test_quoted_fields_windows_line_ends_and_a_byte_order_mark_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbf"a",b\r\n"1,5","say ""hi"""\r\nplain,row\r\n')
    assert read(path)[0] == [{"a": "1,5", "b": 'say "hi"', "n": 2}, {"a": "plain", "b": "row", "n": 3}]


def test_tabs_separate_the_fields_of_tsv_and_any_character_those_of_csv(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tb\n1\t2,3\n")
    assert read(tmp_path / "t.tsv")[0] == [{"a": "1", "b": "2,3", "n": 2}]
    (tmp_path / "t.csv").write_text("a;b\n1;2,3\n")
    (chunk,) = open_records(tmp_path / "t.csv", (), delimiter=";").chunks()
    assert chunk.fields.rows() == [("1", "2,3")]


def test_an_unclosed_quote_costs_its_own_line_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,x\n2,"never closed\n3,y\n4,"closed"\n')
    rows, faults = read(path)
    assert [row["a"] for row in rows] == ["1", "3", "4"]
    assert faults == [(3, "malformed line: a quote is opened and not closed in the line")]


def test_each_kind_of_unreadable_line_has_its_reason_and_its_raw_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\nok,1\n\nonly one\n1,2,3\n\xff\xfe,2\nnul\x00,2\n   \nok,2")
    chunk = only_chunk(path)
    assert chunk.fields["b"].to_list() == ["1", "2"]
    assert chunk.row_number.to_list() == [2, 9]
    assert chunk.unreadable.rows() == [
        (3, "empty line", ""),
        (4, "wrong number of fields: 1 instead of 2", "only one"),
        (5, "wrong number of fields: 3 instead of 2", "1,2,3"),
        (6, "not UTF-8 text", "\\xff\\xfe,2"),
        (7, "NUL byte in the line", "nul\\x00,2"),
        (8, "empty line", "   "),
    ]
    assert chunk.rows_read == 8


def test_a_line_without_end_is_cut_off_and_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(packing, "BLOCK_BYTES", 64)
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n1,x\n{'y' * 1000},z\n2,x\n")
    rows, faults = read(path)
    assert [row["a"] for row in rows] == ["1", "2"]
    assert faults == [(3, "line longer than 1 MiB")]
    assert len(only_chunk(path).unreadable["payload"][0]) < 200


@examples(60)
@given(st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=20))
def test_what_a_csv_writer_wrote_line_by_line_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(buffer.getvalue().encode())
    read_rows, faults = read(path)
    assert {row["n"]: (row["a"], row["b"], row["c"]) for row in read_rows} == {
        number: row for number, row in enumerate(rows, start=2) if number not in dict(faults)
    }
    # A row of blanks only is an empty line to us; nothing else may be turned away.
    assert all(not "".join(rows[number - 2]).strip(" \t\x0b\x0c") for number, _ in faults)


@examples(100)
@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=30))
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_any_bytes_give_one_row_a_line(tmp_path_factory: pytest.TempPathFactory, name: str, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("any") / name
    first = b"a,b" if name == "t.csv" else b'{"a": 1}'
    path.write_bytes(b"\n".join([first, *lines]) + b"\n")
    (chunk,) = open_records(path, ("a", "b"), rule=FileRule(encoding="utf-8", one_line_one_row=True)).chunks()
    assert chunk.rows_read == len(lines) + (name == "t.jsonl")
    numbers = sorted([*chunk.row_number, *chunk.unreadable["row_number"]])
    assert numbers == list(range(2 if name == "t.csv" else 1, len(lines) + 2))


def test_chunks_join_seamlessly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "CHUNK_ROWS", 7)
    monkeypatch.setattr(packing, "BLOCK_BYTES", 11)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{i},é{i}\n" for i in range(100)))
    chunks = list(open_records(path, ()).chunks())
    assert max(chunk.rows_read for chunk in chunks) == 7
    assert pl.concat([chunk.fields for chunk in chunks])["b"].to_list() == [f"é{i}" for i in range(100)]
    assert pl.concat([chunk.row_number for chunk in chunks]).to_list() == list(range(2, 102))


def test_json_lines_keep_numbers_and_text_apart_from_what_is_neither(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    values = ["x", 5, 2**70, 1.5, True, None, {"k": 1}, [1], "\ud800"]
    path.write_text("".join(json.dumps({"a": value, "other": 1}) + "\n" for value in values))
    chunk = only_chunk(path, "a", "missing")
    texts = chunk.fields["a"].to_list()
    assert texts[:6] == ["x", "5", str(2**70), "1.5", "true", None]
    assert chunk.wrong_types["a"].to_list() == [
        None, None, None, None, "boolean", None, "object", "array", "broken Unicode escape",
    ]  # fmt: skip
    assert chunk.fields["missing"].null_count() == len(values)
    assert json.loads(chunk.payloads(pl.Series([6]))[0]) == {"a": {"k": 1}, "other": 1}


def test_each_kind_of_malformed_json_has_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "t.ndjson"
    lines = [
        '{"a": 1}',
        "{",
        "[1]",
        "NaN",
        '{"a": NaN}',
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        '"text"',
        '{"a": 1} {"a": 2}',
    ]
    path.write_text("\n".join(lines))
    rows, faults = read(path, "a")
    assert [row["a"] for row in rows] == [1]
    assert [number for number, _ in faults] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert all(reason.startswith("malformed JSON: ") for _, reason in faults)
    assert faults[4][1] == "malformed JSON: nested too deeply"


@pytest.mark.parametrize("gzipped", [False, True])
def test_parquet_keeps_its_types_and_counts_rows_from_one(tmp_path: Path, gzipped: bool) -> None:
    frame = pl.DataFrame({"id": [1, 2], "when": [1_000_000, 2_000_000]}).cast({"when": pl.Datetime("us")})
    path = tmp_path / ("t.parquet.gz" if gzipped else "t.parquet")
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    path.write_bytes(gzip.compress(buffer.getvalue()) if gzipped else buffer.getvalue())
    chunk = only_chunk(path)
    assert chunk.fields.equals(frame)
    assert chunk.row_number.to_list() == [1, 2]


def test_parquet_rows_with_text_that_is_not_utf8_are_set_aside(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"\xff\xfe", None], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pq.write_table(pa.table({"id": pa.array([1, 2, 3]), "city": text}), tmp_path / "t.parquet")
    chunk = only_chunk(tmp_path / "t.parquet")
    assert chunk.fields.rows() == [(1, "fine"), (3, None)]
    assert chunk.row_number.to_list() == [1, 3]
    assert chunk.unreadable.rows() == [(2, "not UTF-8 text", '{"id": 2, "city": "\\\\xff\\\\xfe"}')]


def test_the_payload_of_any_parquet_row_is_valid_json() -> None:
    frame = pl.DataFrame(
        {
            "nan": [float("nan")],
            "beyond": pl.Series([2**62], dtype=pl.Int64).cast(pl.Datetime("us")),
            "zoned beyond": pl.Series([2**62], dtype=pl.Int64).cast(pl.Datetime("us", "Europe/Paris")),
            "day beyond": pl.Series([2**31 - 1], dtype=pl.Int32).cast(pl.Date),
            "zoned": pl.Series([0], dtype=pl.Int64).cast(pl.Datetime("ns", "Europe/Paris")),
            "bytes": [b"\xff"],
            "nested": [{"x": [float("inf"), None]}],
            "text": ['a\x00\n"b'],
            "span": pl.Series([2**62], dtype=pl.Int64).cast(pl.Duration("us")),
        }
    )
    payload = RecordChunk.of(frame).payloads(pl.Series([0]))[0]
    content = json.loads(payload, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert content["text"] == 'a\x00\n"b'
    assert content["beyond"] == str(2**62)
    assert content["zoned"].startswith("1970-01-01 01:00:00")
    assert "\x00" not in payload


def write_cut_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b"a,b\n1,2\n" * 10_000)[:-50])


UNREADABLE = {
    "missing.csv": (lambda path: None, "does not exist"),
    "folder.csv": (lambda path: path.mkdir(), "is not a file"),
    "empty.csv": (lambda path: path.touch(), "is empty"),
    "empty.jsonl.gz": (lambda path: path.write_bytes(gzip.compress(b"")), "is empty"),
    "cut.csv.gz": (write_cut_gzip, "can't be read"),
    "no.parquet": (lambda path: path.write_text("a,b\n1,2\n"), "can't be read as Parquet"),
    "table.xlsx": (lambda path: path.write_text("x"), "unknown format"),
    "header.csv": (lambda path: path.write_text('a,"b\n1,2\n'), "CSV header"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_file_is_named_with_its_cause(tmp_path: Path, name: str) -> None:
    write, cause = UNREADABLE[name]
    write(tmp_path / name)  # type: ignore[no-untyped-call]
    with pytest.raises(InvalidInput, match=cause) as raised:
        list(open_records(tmp_path / name, ()).chunks())
    assert name in str(raised.value)


def test_damage_in_the_middle_of_a_parquet_file_is_an_error_of_that_file(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": [f"text {i}" for i in range(50_000)]}).write_parquet(path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[100:2000] = bytes(1900)
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"t\.parquet"):
        list(open_records(path, ()).chunks())


def test_the_hash_is_of_the_content_not_of_its_packing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"a\n1\n", mtime=7))
    (tmp_path / "c.csv").write_bytes(b"a\n2\n")
    assert content_hash(tmp_path / "a.csv") == content_hash(tmp_path / "b.csv.gz") != content_hash(tmp_path / "c.csv")
