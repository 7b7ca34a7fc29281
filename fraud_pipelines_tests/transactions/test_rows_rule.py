"""Rows that are no transactions: a mapping leaves them out by a condition on their columns, and they are kept."""

import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.intake import LandingReport
from fraud_pipelines.transactions.landing import land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.rows_rule import RowsRule, kept_rows

NOW = datetime(2026, 6, 1)
COLUMNS = {"transaction_id": "Txn Id", "user_id": "Card", "timestamp": "At", "amount": "Amount"}
EXPORT = """Txn Id,Card,At,Amount,Payment Status
a1,c1,2026-01-02 10:00,10.00,Paid
a2,c1,2026-01-02 11:00,20.00,Voided
a3,c2,2026-01-02 12:00,30.00,pending
a4,c2,2026-01-02 13:00,,Declined
a5,c3,2026-01-02 14:00,-5.00,PAID
a6,c3,2026-01-02 15:00,6.00,
"""


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    return warehouse


def mapping(keep: str, **further: object) -> ColumnMapping:
    return ColumnMapping.model_validate({"columns": COLUMNS, "rows": {"keep": keep}, **further})


def land(warehouse: Warehouse, path: Path, by: ColumnMapping, content: str = EXPORT) -> LandingReport:
    path.write_text(content)
    return land_transactions(warehouse, path, by, now=NOW)


def ids(warehouse: Warehouse) -> list[str]:
    return warehouse.read("SELECT transaction_id FROM raw.transactions ORDER BY ALL").to_series().to_list()


def test_what_is_left_out_is_kept_and_counted(warehouse: Warehouse, tmp_path: Path) -> None:
    keep = "lower(\"Payment Status\") = 'paid'"
    report = land(warehouse, tmp_path / "x.csv", mapping(keep))
    assert (report.rows_read, report.rows_accepted, report.rows_rejected, report.rows_left_out) == (6, 1, 1, 4)
    assert report.rejected_by_reason == {"amount is negative": 1}
    assert report.told == (f"Left out, and kept in raw.left_out_rows: rows.keep does not hold: {keep}",)
    assert ids(warehouse) == ["a1"]
    left_out = warehouse.read("FROM raw.left_out_rows ORDER BY row_number")
    assert [json.loads(payload)["Txn Id"] for payload in left_out["payload"]] == ["a2", "a3", "a4", "a6"]
    assert left_out.drop("payload").rows()[0] == ("x.csv", 3, f"rows.keep does not hold: {keep}", NOW)
    counts = "SELECT rows_read, rows_accepted, rows_rejected, rows_left_out FROM raw.landed_files"
    assert warehouse.read(counts).rows() == [(6, 1, 1, 4)]


def test_the_same_delivery_is_known_and_another_condition_brings_in_what_it_keeps(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    land(warehouse, path, mapping("\"Payment Status\" = 'Paid'"))
    assert land(warehouse, path, mapping("\"Payment Status\" = 'Paid'")).already_landed
    later = land(warehouse, path, mapping("\"Payment Status\" IN ('Paid', 'pending')"))
    assert (later.rows_accepted, later.rows_duplicate, later.rows_left_out) == (1, 1, 4)
    assert ids(warehouse) == ["a1", "a3"]


def test_a_row_on_which_the_condition_fails_is_rejected_with_that_reason(warehouse: Warehouse, tmp_path: Path) -> None:
    content = "Txn Id,Card,At,Amount,Fee\na1,c,2026-01-02,1,0.5\na2,c,2026-01-02,1,much\na3,c,2026-01-02,1,\n"
    report = land(warehouse, tmp_path / "x.csv", mapping("Fee < 1"), content)
    assert (report.rows_read, report.rows_accepted, report.rows_rejected, report.rows_left_out) == (3, 1, 1, 1)
    assert report.rejected_by_reason == {"rows.keep fails on this row": 1}
    rejected = warehouse.read("SELECT row_number, reason FROM raw.rejected_transactions").row(0)
    assert rejected[0] == 3
    assert rejected[1].startswith("rows.keep fails on this row: ")


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("status = ", "no SQL"),
        ("count(*) > 1", "looks at other rows"),
        ("row_number() OVER () = 1", "looks at other rows"),
        ("random() < 0.5", "differs from run to run"),
        ("(SELECT true)", "looks at other rows"),
        ("read_text('/etc/passwd') = status", "table"),
        ("true", "reads no column"),
        ('"Payment Status"', "must be true or false of a row"),
        ("amount + 1", "must be true or false of a row"),
    ],
)
def test_a_condition_that_is_none_over_a_row_is_refused(tmp_path: Path, keep: str, message: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(json.dumps({"rows": {"keep": keep}}))
    with pytest.raises(InvalidInput, match=rf"(?s)mapping\.yaml: rows\.keep: .*{message}"):
        ColumnMapping.load(path)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("Captured = 'yes'", r"lacks the column 'Captured' \(rows.keep, Captured\)"),
    ],
)
def test_a_condition_that_does_not_fit_the_file_is_refused_and_nothing_stored(
    warehouse: Warehouse, tmp_path: Path, keep: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        land(warehouse, tmp_path / "x.csv", mapping(keep))
    assert ids(warehouse) == []


def test_rows_that_could_not_be_read_stay_rejected(warehouse: Warehouse, tmp_path: Path) -> None:
    report = land(warehouse, tmp_path / "x.csv", mapping("\"Payment Status\" = 'Paid'"), EXPORT + "a7,too,few\n")
    assert report.rows_accepted + report.rows_rejected + report.rows_left_out == report.rows_read == 7
    assert report.rejected_by_reason == {"wrong number of fields": 1}


def test_typed_columns_and_json_lines_without_the_column_are_told(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = pl.DataFrame({"transaction_id": ["a", "b"], "user_id": "u", "timestamp": [NOW, NOW], "amount": [1.0, 2.0]})
    rows.with_columns(captured=pl.Series([True, None])).write_parquet(tmp_path / "x.parquet")
    keep = ColumnMapping.model_validate({"rows": {"keep": "captured = 'true'"}})
    assert land_transactions(warehouse, tmp_path / "x.parquet", keep, now=NOW).rows_left_out == 1
    lines = [{"transaction_id": "c", "user_id": "u", "timestamp": "2026-01-01", "amount": 1}]
    lines.append({**lines[0], "transaction_id": "d", "state": "void"})
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    keep = ColumnMapping.model_validate({"rows": {"keep": "state IS NULL OR state <> 'void'"}})
    report = land_transactions(warehouse, tmp_path / "x.jsonl", keep, now=NOW)
    assert (report.rows_accepted, report.rows_left_out) == (1, 1)


def test_a_mapping_without_the_key_knows_its_earlier_deliveries() -> None:
    assert ColumnMapping.identity().fingerprint.startswith("2dfa990151f2b679")


@given(st.lists(st.sampled_from(["1", "2.5", "-3", "x", "", None]), max_size=30))
def test_each_row_is_kept_left_out_or_failed(values: list[str | None]) -> None:
    chunk = RecordChunk.of(pl.DataFrame({"n": values}, schema={"n": pl.String}))
    told = kept_rows(chunk, RowsRule(keep="CAST(n AS DOUBLE) > 0"))
    kept = told.chunk.fields["n"].to_list()
    assert kept == [value for value in values if value in ("1", "2.5")]
    assert [values[k] for k in told.left_out] == [value for value in values if value in ("-3", "", None)]
    assert [values[k] for k in told.failed] == [value for value in values if value == "x"]
    assert told.reasons.len() == told.failed.len()
