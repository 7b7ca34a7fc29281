"""Formats: what people have opens, packed or not, in any encoding; what is recognised is said; a bomb is stopped."""

import bz2
import csv
import gzip
import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions import delimited, packing, text_lines
from fraud_pipelines.transactions.file_rule import FileRule
from fraud_pipelines.transactions.sources import content_hash, open_records
from fraud_pipelines_tests.examples import examples

ROWS: list[dict[str, Any]] = [
    {"id": "a1", "city": "Köln", "amount": "12.5"},
    {"id": "a2", "city": "São Paulo", "amount": "3"},
    {"id": "a3", "city": "", "amount": "4"},
]


def read(path: Path, *columns: str, **rule: Any) -> list[dict[str, Any]]:
    """The rows of a file with their numbers."""
    source = open_records(path, columns, rule=FileRule(**rule))
    chunks = list(source.chunks())
    assert sum(chunk.unreadable.height for chunk in chunks) == 0
    return [row for chunk in chunks for row in chunk.fields.with_columns(n=chunk.row_number).to_dicts()]


def faults(path: Path, **rule: Any) -> list[tuple[int, str]]:
    chunks = open_records(path, (), rule=FileRule(**rule)).chunks()
    return [fault for chunk in chunks for fault in chunk.unreadable.select("row_number", "reason").rows()]


def told(path: Path, *columns: str, **rule: Any) -> str:
    return "; ".join(open_records(path, columns, rule=FileRule(**rule)).told)


def as_csv(rows: list[dict[str, Any]], *, delimiter: str = ",") -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write_workbook(path: Path, rows: Sequence[Sequence[Any]], *, title: str = "Sheet", above: int = 0) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = title
    for _ in range(above):
        sheet.append(["Export of payments"])
    for row in rows:
        sheet.append(list(row))
    book.save(path)
    return path


def zipped(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return path


WITH_NUMBERS = [{**row, "n": number} for number, row in enumerate(ROWS, start=2)]


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, bz2.compress, zstandard.ZstdCompressor().compress, bytes],
    ids=["gzip", "bzip2", "zstandard", "none"],
)
@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".zst"])
def test_a_packed_file_is_known_by_its_content_whatever_its_name(
    tmp_path: Path, pack: Callable[[bytes], bytes], ending: str
) -> None:
    path = tmp_path / f"t.csv{ending}"
    path.write_bytes(pack(as_csv(ROWS).encode()))
    plain = tmp_path / "plain.csv"
    plain.write_text(as_csv(ROWS))
    assert read(path) == WITH_NUMBERS
    assert content_hash(path) == content_hash(plain)


def test_an_archive_is_read_file_by_file_with_the_rows_numbered_on(tmp_path: Path) -> None:
    path = zipped(tmp_path / "t.zip", b__csv=as_csv(ROWS[2:]), a__csv=as_csv(ROWS[:2]), **{"__MACOSX/._a__csv": "x"})
    assert [(row["id"], row["n"]) for row in read(path)] == [("a1", 2), ("a2", 3), ("a3", 5)]
    assert "2 files of the archive: a.csv, b.csv" in told(path)
    one = zipped(tmp_path / "one.zip", x__jsonl='{"id": "a"}\n')
    assert read(one, "id") == [{"id": "a", "n": 1}]


def test_an_archive_whose_files_differ_or_can_not_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"b\.csv has other columns than a\.csv"):
        read(zipped(tmp_path / "t.zip", a__csv="id\n1\n", b__csv="other\n1\n"))
    with pytest.raises(InvalidInput, match=r"unknown format, or of readme\.md in it"):
        read(zipped(tmp_path / "t.zip", readme__md="x"))
    with pytest.raises(InvalidInput, match="without files"):
        read(zipped(tmp_path / "t.zip"))
    (tmp_path / "cut.zip").write_bytes(zipped(tmp_path / "t.zip", a__csv=as_csv(ROWS * 100)).read_bytes()[:-40])
    with pytest.raises(InvalidInput, match="can't be read"):
        read(tmp_path / "cut.zip")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstandard.ZstdCompressor().compress])
def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]) -> None:
    monkeypatch.setattr(packing, "_FREE_BYTES", 1 << 20)
    monkeypatch.setattr(packing, "_MOST_TIMES", 100)
    monkeypatch.setattr(packing, "BLOCK_BYTES", 1 << 16)
    (tmp_path / "bomb.csv").write_bytes(pack(b"a,b\n" + b"1,2\n" * 2_000_000))
    with pytest.raises(InvalidInput, match="unpacks to more than 100 times its size"):
        list(open_records(tmp_path / "bomb.csv", ()).chunks())


def test_what_is_larger_than_the_mapping_allows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(as_csv(ROWS * 100))
    with pytest.raises(InvalidInput, match=r"file\.max_gigabytes"):
        read(tmp_path / "t.csv", max_gigabytes=1e-6)
    assert len(read(tmp_path / "t.csv", max_gigabytes=1e-3)) == 300


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        *(("utf-8", ""), ("utf-8-sig", ""), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16")),
        *(("latin-1", "Windows-1252"), ("cp1252", "Windows-1252")),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_are_recognised_and_said(
    tmp_path: Path, encoding: str, name: str, line_end: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(as_csv(ROWS).replace("\n", line_end).encode(encoding))
    assert read(path) == WITH_NUMBERS
    assert name in told(path)
    assert bool(told(path)) == bool(name)


def test_an_encoding_that_is_given_is_taken(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("id,city\n1,Łódź\n".encode("cp1250"))
    assert read(tmp_path / "t.csv", encoding="cp1250")[0]["city"] == "Łódź"
    with pytest.raises(ValueError, match="no encoding of text"):
        FileRule(encoding="klingon")


def test_bytes_that_are_no_text_in_the_encoding_cost_their_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(
        "id,city\n1,ok\n2,".encode("utf-16-le") + b"\x00\xdc" + "x\n3,ok\n".encode("utf-16-le")
    )
    assert faults(tmp_path / "t.csv", encoding="utf-16-le") == [(3, "not UTF-8 text")]
    (tmp_path / "u.csv").write_bytes("id,city\n1,Köln\n".encode() + b"2,K\xf6ln\n")
    assert faults(tmp_path / "u.csv") == [(3, "not UTF-8 text")]


def test_preambles_separator_lines_and_headers_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sep=;\nid;city\n1;a\n")
    assert read(path) == [{"id": "1", "city": "a", "n": 3}]
    path.write_text("Account 12\nfrom, to\n\nid,city\n1,a\n")
    assert read(path, header_line=4) == [{"id": "1", "city": "a", "n": 5}]
    path.write_text("1,a\n2,b\n")
    assert read(path, header=("id", "city"))[0] == {"id": "1", "city": "a", "n": 1}
    path.write_text("id,,note,note\n1,2,3,4\n")
    assert read(path)[0] == {"id": "1", "column 2": "2", "note": "3", "note.2": "4", "n": 2}
    with pytest.raises(InvalidInput, match="ends before line 9"):
        read(path, header_line=9)


def test_a_name_that_stands_twice_is_an_error_only_where_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Account,To,Account\n1,2,3\n")
    assert read(path, "To")[0] == {"Account": "1", "To": "2", "Account.2": "3", "n": 2}
    assert read(path, "Account", "Account.2")[0]["Account"] == "1"
    assert read(path, "Account.1")[0]["Account.1"] == "1"
    with pytest.raises(
        InvalidInput, match=r"names 'Account' twice\. Say which is meant, by 'Account\.1' or 'Account\.2'"
    ):
        read(path, "Account")


@pytest.mark.parametrize(
    ("delimiter", "ending"), [(";", "csv"), ("\t", "csv"), ("|", "csv"), (",", "tsv"), (";", "tsv")]
)
def test_a_delimiter_is_recognised_and_said(tmp_path: Path, delimiter: str, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    path.write_text(as_csv([{"id": "1", "amount": "12,5", "x": "y"}], delimiter=delimiter))
    assert read(path)[0]["id"] == "1"
    assert repr(delimiter) in told(path)


def test_a_quoted_field_may_hold_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,note,x\n1,"two\nlines, and\n\na blank one",9\n2,plain,8\n3,"a ""b""\n",7\n')
    assert read(path) == [
        {"id": "1", "note": "two\nlines, and\n\na blank one", "x": "9", "n": 2},
        {"id": "2", "note": "plain", "x": "8", "n": 6},
        {"id": "3", "note": 'a "b"\n', "x": "7", "n": 7},
    ]
    assert len(faults(path, one_line_one_row=True)) == 6


def test_a_quote_that_swallows_rows_is_noticed_and_costs_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,note,x\n1,"never closed,9\n2,b,8\n3,c,7\n4,"fine",6\n5,tail",5\n6,d,4\n')
    assert faults(path) == [(2, "malformed line: a quote is opened and not closed in the line")]
    rows = [row for chunk in open_records(path, ()).chunks() for row in chunk.fields["id"]]
    assert rows == ["2", "3", "4", "5", "6"]
    path.write_text('id,note,x\n1,"never closed,9\n2,b,8\n3,closed here",7\n')
    assert faults(path)[0][0] == 2
    assert "swallow the rows up to line 3" in faults(path)[0][1]


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\ufeff"), max_size=8)


@examples(100)
@given(
    rows=st.lists(st.tuples(FIELD, FIELD.filter(lambda text: "," not in text), FIELD), min_size=1, max_size=15),
    chunk_rows=st.integers(3, 40),
)
def test_what_a_csv_writer_wrote_comes_back_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], chunk_rows: int
) -> None:
    """Commas in texts of several lines are left out: a line of them can look like a whole row."""
    written = [(f"id{k}", a.replace(",", " "), b, c.replace(",", " ")) for k, (a, b, c) in enumerate(rows)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "a", "b", "c"])
    writer.writerows(written)
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(buffer.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "CHUNK_ROWS", chunk_rows)
        found = read(path, encoding="utf-8", delimiter=",")
    assert [(row["id"], row["a"], row["b"], row["c"]) for row in found] == written


@examples(150)
@given(lines=st.lists(st.text('ab," ', max_size=12), min_size=1, max_size=12), chunk_rows=st.integers(1, 13))
def test_every_line_belongs_to_one_row_and_cutting_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], chunk_rows: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "t.csv"
    path.write_text("\n".join(["x,y", *lines]) + "\n")

    def outcome() -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        chunks = list(open_records(path, (), rule=FileRule(delimiter=",")).chunks())
        rows = [row for chunk in chunks for row in chunk.fields.with_columns(n=chunk.row_number).rows()]
        return rows, [row for chunk in chunks for row in chunk.unreadable.rows()]

    rows, unreadable = outcome()
    taken = [*range(2, 2 + len(lines))]
    for x, y, number in rows:
        breaks = x.count("\n") + y.count("\n")
        for line in range(number, number + breaks + 1):
            taken.remove(line)
    for number, _, _ in unreadable:
        taken.remove(number)
    assert taken == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "CHUNK_ROWS", chunk_rows)
        assert outcome() == (rows, unreadable)


DOCUMENTS = {
    "list": json.dumps(ROWS),
    "pretty list": json.dumps(ROWS, indent=2),
    "within": json.dumps({"page": {"n": 1}, "tags": ["x"], "none": [], "data": ROWS, "next": None}),
    "deep": json.dumps({"result": {"payments": {"data": ROWS}}}, indent=1),
    "lines": "\n".join(map(json.dumps, ROWS)),
    "a row a line": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]",
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_json_is_read_as_a_list_a_document_with_a_list_or_lines(tmp_path: Path, kind: str) -> None:
    (tmp_path / "t.json").write_text(DOCUMENTS[kind])
    assert read(tmp_path / "t.json", "id", "city", "amount") == [{**row, "n": k} for k, row in enumerate(ROWS, start=1)]


def test_one_object_with_the_wanted_members_is_a_record_whatever_lists_it_holds(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps({"id": "a", "items": [{"sku": "x"}]}))
    assert read(tmp_path / "t.json", "id") == [{"id": "a", "n": 1}]
    assert read(tmp_path / "t.json", "sku") == [{"sku": "x", "n": 1}]


def test_of_several_lists_the_mapping_says_which(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"payments": ROWS, "refunds": ROWS[:1]}))
    with pytest.raises(InvalidInput, match=r"several lists of objects, at 'payments' and 'refunds'.*file\.records"):
        read(path, "id")
    assert len(read(path, "id", records="refunds")) == 1
    with pytest.raises(InvalidInput, match="no list of records at 'x'"):
        read(path, "id", records="x")
    path.write_text('[{"id": 1}, {"id": ')
    with pytest.raises(InvalidInput, match="can't be read as JSON"):
        read(path, "id")


def test_nested_values_are_reached_by_a_path_in_json_and_parquet(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "billing": {"address": {"country": "DE"}}, "items": [{"sku": "a"}, {"sku": "b"}], "a.b": "x"},
        {"id": "2", "billing": {"address": {"country": None}}, "items": [], "a.b": "y"},
    ]
    paths = ("id", "billing.address.country", "items.1.sku", "a.b")
    expected = [("1", "DE", "b", "x"), ("2", None, None, "y")]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    for name in ("t.jsonl", "t.parquet"):
        source = open_records(tmp_path / name, paths)
        assert set(paths) <= set(source.columns)
        assert [row for chunk in source.chunks() for row in chunk.fields.select(paths).rows()] == expected
        assert source.absent == ()


def test_what_no_object_has_is_known_once_all_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"id": 1}\n{"id": 2, "late": 1}\n')
    source = open_records(tmp_path / "t.jsonl", ("id", "late", "never"))
    list(source.chunks())
    assert source.absent == ("never",)


def test_a_workbook_gives_the_values_of_its_cells(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        ["id", "when", "amount", "ok", "mixed"],
        [17, datetime(2026, 1, 2, 3, 4), 1.5, True, 1],
        [18, None, 2, False, "x"],
    ]
    path = write_workbook(tmp_path / "t.xlsx", rows)
    (chunk,) = open_records(path, ()).chunks()
    assert chunk.fields.rows() == [(17, datetime(2026, 1, 2, 3, 4), 1.5, True, "1"), (18, None, 2.0, False, "x")]
    assert chunk.row_number.to_list() == [2, 3]


def test_the_sheet_and_the_header_of_a_workbook_can_be_named(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "t.xlsx", [["id"], ["a"]], title="Payments", above=2)
    assert read(path, header_line=3, sheet="Payments") == [{"id": "a", "n": 4}]
    assert read(path, header_line=3, sheet=1) == [{"id": "a", "n": 4}]
    with pytest.raises(InvalidInput, match="no sheet 'x'; it has 'Payments'"):
        read(path, sheet="x")
    (tmp_path / "t.xlsx").write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InvalidInput):
        read(tmp_path / "t.xlsx")


def samples(folder: Path) -> dict[str, bytes]:
    """A small file of each format."""
    rows = [{"id": f"a{k}", "city": f"Köln {k}", "amount": k + 0.5} for k in range(40)]
    write_workbook(folder / "t.xlsx", [list(rows[0]), *[list(row.values()) for row in rows]])
    pl.DataFrame(rows).write_parquet(folder / "t.parquet")
    text = as_csv(rows)
    quoted = "id,city,amount\n" + "".join(f'"{row["id"]}","{row["city"]}\nx",{row["amount"]}\n' for row in rows)
    return {
        "t.csv": text.encode(),
        "quoted.csv": quoted.encode(),
        "wide.csv": text.encode("utf-16"),
        "t.tsv": text.replace(",", "\t").encode(),
        "t.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "t.json": json.dumps({"data": rows}, indent=1).encode(),
        "t.csv.gz": gzip.compress(text.encode()),
        "t.csv.bz2": bz2.compress(text.encode()),
        "t.csv.zst": zstandard.ZstdCompressor().compress(text.encode()),
        "t.zip": zipped(folder / "t.zip", a__csv=text, b__csv=text).read_bytes(),
        "t.parquet": (folder / "t.parquet").read_bytes(),
        "t.xlsx": (folder / "t.xlsx").read_bytes(),
    }


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with some bytes changed, cut out, put in or moved."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 30))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.randrange(1, 40)]
            case 2:
                data[at:at] = chance.choice((b'"', b"\n", b"\r", b",", b"\x00", b"[", b"{", b"\xff", b"\\u", b"1e999"))
            case 3:
                data[at:at] = data[chance.randrange(len(data) + 1) :][:50]
            case _:
                del data[at:]
    return bytes(data)


@pytest.mark.parametrize(
    "name",
    [
        *("t.csv", "quoted.csv", "wide.csv", "t.tsv", "t.jsonl", "t.json", "t.csv.gz", "t.csv.bz2", "t.csv.zst"),
        *("t.zip", "t.parquet", "t.xlsx"),
    ],
)
def test_no_mutation_of_a_file_crashes_or_loses_a_row(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``FRAUD_MUTATIONS`` says how many times each file is damaged."""
    monkeypatch.setattr(delimited, "MAX_RECORD_LINES", 50)
    content = samples(tmp_path)[name]
    chance = random.Random(name)
    path = tmp_path / name
    for _ in range(int(os.environ.get("FRAUD_MUTATIONS", "60"))):
        path.write_bytes(mutated(content, chance))
        columns: Collection[str] = ("id", "city", "amount")
        try:
            source = open_records(path, columns)
            chunks = list(source.chunks())
        except InvalidInput:
            continue
        numbers = [n for chunk in chunks for n in (*chunk.row_number, *chunk.unreadable["row_number"])]
        assert len(numbers) == len(set(numbers)) == sum(chunk.rows_read for chunk in chunks)
