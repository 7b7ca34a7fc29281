"""Mapping drafts: what can be told of a file loads and takes it in; what can't be told is asked, and never guessed."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import compile_plan, shipped_plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.transactions.landing import LandingReport, land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.mapping_draft import draft_mapping
from fraud_pipelines.transactions.recognition import known_sources, mapping_for
from fraud_pipelines.transactions.time_guesses import guess_times
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.transactions.known_files import KNOWN_DISPUTES, KNOWN_FILES

NOW = datetime(2026, 6, 1)
ATTRIBUTES = shipped_plan().attributes


def drafted(path: Path) -> tuple[str, ColumnMapping]:
    text = draft_mapping(path, ATTRIBUTES)
    mapping = path.with_name("mapping.yaml")
    mapping.write_text(text, encoding="utf-8")
    return text, ColumnMapping.load(mapping)


def landed(folder: Path, path: Path, mapping: ColumnMapping) -> tuple[LandingReport, list[dict[str, Any]]]:
    warehouse = warehouse_at(folder / "fraud.duckdb")
    warehouse.initialise()
    report = land_transactions(warehouse, path, mapping, now=NOW)
    return report, warehouse.read("SELECT * FROM raw.transactions ORDER BY timestamp").to_dicts()


def test_a_german_export_is_told_whole(tmp_path: Path) -> None:
    path = tmp_path / "umsaetze.csv"
    text = (
        "Umsätze des Kontos\nStand: 1.2.2026\n\n"
        "Buchungstag;Uhrzeit;Buchungsnummer;Kundennummer;Händler;Betrag;Waehrung;Betrug\n"
        "13.01.2026;10:30;B1;17;Bäcker;1.234,56;EUR;nein\n14.01.2026;09:05;B2;17;Café;12,50;EUR;nein\n"
    )
    path.write_bytes(text.encode("cp1252"))
    written, mapping = drafted(path)
    report, rows = landed(tmp_path, path, mapping)
    assert (report.rows_accepted, report.rows_read) == (2, 2)
    assert [(row["transaction_id"], row["user_id"], row["timestamp"], row["amount"]) for row in rows] == [
        ("B1", "17", datetime(2026, 1, 13, 10, 30), 1234.56),
        ("B2", "17", datetime(2026, 1, 14, 9, 5), 12.5),
    ]
    assert [row["source_amount"] for row in rows] == [1234.56, 12.5]
    assert "# Recognised as Windows-1252" in written
    assert "#   Händler: text" in written


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["2026-01-05 10:00:00"], datetime(2026, 1, 5, 10)),
        (["2026-01-05T10:00:00+02:00"], datetime(2026, 1, 5, 8)),
        (["13/01/2026 1:05 PM"], datetime(2026, 1, 13, 13, 5)),
        (["01/13/2026"], datetime(2026, 1, 13)),
        (["13.01.26 07:00"], datetime(2026, 1, 13, 7)),
        (["5-Jan-2026"], datetime(2026, 1, 5)),
        (["20260105"], datetime(2026, 1, 5)),
        (["1767607200"], datetime(2026, 1, 5, 10)),
        (["1767607200000"], datetime(2026, 1, 5, 10)),
        (["46027.5"], datetime(2026, 1, 5, 12)),
        # One row tells the order for all.
        (["02/01/2026", "13/02/2026"], datetime(2026, 1, 2)),
    ],
)
def test_a_time_that_reads_in_one_way_is_read(tmp_path: Path, times: list[str], expected: datetime) -> None:
    path = tmp_path / "t.csv"
    rows = [f't{number},u,"{time}",1.5' for number, time in enumerate(times)]
    path.write_text("\n".join(["txn_id,customer,created,amount", *rows]) + "\n")
    report, stored = landed(tmp_path, path, drafted(path)[1])
    assert report.rows_accepted == len(times)
    assert stored[0]["timestamp"] == expected


@pytest.mark.parametrize("times", [["01/02/2026 10:00", "03/04/2026 9:05"], ["1-2-26"]])
def test_a_time_that_reads_in_two_ways_is_asked_and_not_guessed(tmp_path: Path, times: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,user,when_date,amount\n" + "".join(f"{time},u,{time},1.5\n" for time in times))
    text, mapping = drafted(path)
    assert "# the day first" in text
    assert "# the month first" in text
    assert landed(tmp_path, path, mapping)[0].rows_accepted == 0


@pytest.mark.parametrize(
    ("amounts", "expected", "asked"),
    [
        (["12,50", "3,00"], [12.5, 3.0], None),
        (["1,234.50", "3.00"], [1234.5, 3.0], None),
        (["$5.10", "$7.00"], [5.1, 7.0], None),
        (["1.234", "2.000"], [1.234, 2.0], "three digits after each point"),
        (["1999", "500"], [1999.0, 500.0], "if they are cents"),
        (["-5.5", "7.5"], [7.5], "1 of 2 are negative"),
    ],
)
def test_how_amounts_are_written_is_told_and_what_is_open_is_asked(
    tmp_path: Path, amounts: list[str], expected: list[float], asked: str | None
) -> None:
    path = tmp_path / "t.csv"
    rows = [f't{n},u,2026-01-0{n + 1},"{amount}"' for n, amount in enumerate(amounts)]
    path.write_text("\n".join(["id,user,date,amount", *rows]) + "\n")
    text, mapping = drafted(path)
    assert [row["amount"] for row in landed(tmp_path, path, mapping)[1]] == expected
    assert asked is None or asked in text


def test_verdicts_and_states_are_told_by_their_words(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [
        {"id": n, "user": "u", "time": 1767607200 + n, "amount": 1.5, "Is Fraud?": v, "status": s, "card": {"no": 1}}
        for n, (v, s) in enumerate([("Yes", "paid"), ("No", "paid"), ("?", "declined")])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text, mapping = drafted(path)
    assert mapping.label is not None
    assert mapping.label.column == "Is Fraud?"
    assert (mapping.label.fraud_values, mapping.label.legitimate_values) == (("yes",), ("no",))
    assert mapping.label.unlabelled_values == ("?",)
    assert "status says paid, declined" in text
    assert "#   card: " in text


def test_a_column_without_a_likely_name_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n1,2\n")
    text, mapping = drafted(path)
    for required in ("user_id", "timestamp", "amount"):
        assert f"# {required} is required" in text
        assert required not in mapping.columns
    assert mapping.needs_row_ids
    (tmp_path / "empty.csv").write_text("a,b\n")
    with pytest.raises(InvalidInput, match="has no rows"):
        draft_mapping(tmp_path / "empty.csv", ATTRIBUTES)


def test_no_value_of_a_person_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "id,email,iban,date,amount\n1,ann@example.org,DE99,2026-01-01,1\n2,bob@example.org,DE98,2026-01-01,2\n"
    )
    assert not {"ann", "bob", "DE99"} & set(draft_mapping(path, ATTRIBUTES).replace("@", " ").split())


def test_a_workbook_with_lines_above_its_header_is_told(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["Payments"], [], ["id", "user", "date", "amount"], ["t1", "u", datetime(2026, 1, 5, 10), 12.5]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    text, mapping = drafted(tmp_path / "t.xlsx")
    assert "header_line: " in text
    assert landed(tmp_path, tmp_path / "t.xlsx", mapping)[1][0]["timestamp"] == datetime(2026, 1, 5, 10)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    [
        "id",
        "user",
        "Date",
        "amount",
        "Time",
        "Is Fraud?",
        "status",
        "currency",
        "timestamp",
        "y",
        "null",
        'a"b',
        "a: b",
        "#x",
    ]
)
values = st.sampled_from(
    ["1", "0", "2026-01-05", "10:00", "01/02/2026", "12,50", "EUR", "yes", "", "nan", "'", '"', "# : {"]
) | (st.text(st.characters(exclude_categories=["Cs"]), max_size=8))


@given(st.data())
def test_whatever_a_file_holds_its_draft_loads(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    header = data.draw(st.lists(names, min_size=1, max_size=6, unique=True))
    rows = data.draw(st.lists(st.lists(values, min_size=len(header), max_size=len(header)), min_size=1, max_size=4))
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    path = tmp_path_factory.mktemp("draft") / "t.csv"
    path.write_bytes(buffer.getvalue().encode())
    try:
        text = draft_mapping(path, ATTRIBUTES)
    except InvalidInput:
        return
    assert isinstance(yaml.safe_load(text), dict)
    path.with_name("m.yaml").write_text(text, encoding="utf-8")
    ColumnMapping.load(path.with_name("m.yaml"))


def test_zoned_and_typed_times_need_no_zone() -> None:
    zoned = guess_times(pl.Series([datetime(2026, 1, 5, tzinfo=UTC)]))
    naive = guess_times(pl.Series([datetime(2026, 1, 5)]))
    assert zoned is not None
    assert zoned.has_offset
    assert naive is not None
    assert not naive.has_offset
    assert guess_times(pl.Series([None, ""])) is None
    assert guess_times(pl.Series(["a", "b"])) is None


def test_the_command_prints_or_writes_and_never_overwrites(installation: Installation, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("txn,customer,created,amount\na,u,2026-05-01 10:00,5.50\n")
    printed = installation.invoke("mapping", "draft", str(path))
    assert yaml.safe_load(printed)["columns"]["user_id"] == "customer"
    output = tmp_path / "m.yaml"
    installation.invoke("mapping", "draft", str(path), "--output", str(output))
    assert output.read_text() == printed
    assert "can't be written" in installation.invoke(
        "mapping", "draft", str(path), "--output", str(output), succeeds=False
    )
    shown = installation.invoke("import", str(path), "--mapping", str(output), "--dry-run")
    assert "Nothing was stored" in shown


@pytest.mark.parametrize("name", [*KNOWN_FILES])
def test_the_draft_of_a_recognised_file_is_the_mapping_that_ships(tmp_path: Path, name: str) -> None:
    declared = known_sources()[name].declarations
    (tmp_path / "fraud.yaml").write_text(yaml.safe_dump(declared or {"attributes": {}}))
    plan = compile_plan(tmp_path / "fraud.yaml") if declared else shipped_plan()
    path = tmp_path / "export.csv"
    path.write_text(KNOWN_FILES[name].text)
    mapping = tmp_path / "m.yaml"
    mapping.write_text(draft_mapping(path, plan.attributes), encoding="utf-8")
    recognised = mapping_for(path, tmp_path, plan.attributes)
    assert ColumnMapping.load(mapping, plan.attributes).fingerprint == recognised.fingerprint
    mapping.write_text(draft_mapping(path, ATTRIBUTES), encoding="utf-8")
    ColumnMapping.load(mapping)  # without the declarations, what they declare is left out


def test_a_file_of_disputes_needs_none(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(next(iter(KNOWN_DISPUTES.values())))
    with pytest.raises(InvalidInput, match="holds disputes"):
        draft_mapping(tmp_path / "d.csv", ATTRIBUTES)
