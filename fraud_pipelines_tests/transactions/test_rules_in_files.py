"""Column rules on whole files: what is stored, delivered again, waits, and is told of the words that were no values."""

import gzip
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.landing import LandingReport, land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping

NOW = datetime(2026, 6, 1, 12)
BANK = "\n".join(
    [
        "Buchungstag;Uhrzeit;Karte;Betrag;Text;Kunde;Telefon",
        '5.1.2026;9:05;4111;"1.284,50";Kaffee;nan;+49 1',
        "5.1.2026;9:06;4111;12,50;Kaffee;k2;",
        "5.1.2026;9:06;4111;12,50;Kaffee;k2;",
        "5.1.2026;9:07;4111;-3,00;Kaffee;NULL;guest",
        "",
    ]
)
BANK_COLUMNS: dict[str, object] = {
    "transaction_id": {"row": True},
    "user_id": {"first_of": ["Kunde", "Telefon"]},
    "amount": {"column": "Betrag", "decimal": ",", "thousands": ".", "negative": "absolute"},
}
BANK_MAPPING: dict[str, object] = {
    "delimiter": ";",
    "columns": BANK_COLUMNS,
    "timestamp": {"columns": ["Buchungstag", "Uhrzeit"], "format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"},
}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    return warehouse


def land(warehouse: Warehouse, path: Path, keys: dict[str, object], **options: object) -> LandingReport:
    mapping = ColumnMapping.model_validate(keys)
    now = options.pop("now", NOW)
    assert isinstance(now, datetime)
    report = land_transactions(warehouse, path, mapping, now=now, **options)  # type: ignore[arg-type]
    assert report.rows_accepted + report.rows_rejected == report.rows_read
    return report


def stored(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.read("SELECT * FROM raw.transactions ORDER BY timestamp, transaction_id")


def test_a_bank_export_with_semicolons_comes_in_by_its_mapping(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "bank.csv"
    path.write_text(BANK)
    report = land(warehouse, path, BANK_MAPPING)
    assert (report.rows_accepted, report.rejected_by_reason) == (3, {"user_id is missing": 1})
    assert report.null_words == {("user_id", "NULL"): 1, ("user_id", "guest"): 1, ("user_id", "nan"): 1}
    assert report.unused_columns == ("Karte", "Text")
    rows = stored(warehouse)
    assert rows["amount"].to_list() == [1284.5, 12.5, 12.5]
    assert rows["user_id"].to_list() == ["+49 1", "k2", "k2"]
    assert rows["timestamp"][0] == datetime(2026, 1, 5, 8, 5)


@pytest.mark.parametrize("form", ["csv", "gz", "parquet", "jsonl"])
def test_a_longer_delivery_gives_its_rows_the_ids_that_they_had(
    warehouse: Warehouse, tmp_path: Path, form: str
) -> None:
    rows = pl.DataFrame({"user_id": "u", "timestamp": "2026-01-02T10:00:00", "amount": [1.5, 2.5, 1.5, 1.5]})

    def write(name: str, frame: pl.DataFrame) -> Path:
        path = tmp_path / f"{name}.{'csv.gz' if form == 'gz' else form}"
        if form == "parquet":
            frame.write_parquet(path)
        elif form == "jsonl":
            frame.write_ndjson(path)
        else:
            text = frame.write_csv().encode()
            path.write_bytes(gzip.compress(text) if form == "gz" else text)
        return path

    keys: dict[str, object] = {"columns": {"transaction_id": {"row": True}}}
    assert land(warehouse, write("first", rows), keys).rows_accepted == 4
    before = set(stored(warehouse)["transaction_id"])
    longer = pl.concat([rows, rows[:2]])
    report = land(warehouse, write("second", longer), keys)
    assert (report.rows_accepted, report.rows_duplicate) == (2, 4)
    after = set(stored(warehouse)["transaction_id"])
    assert before < after
    assert len(after) == 6


@pytest.mark.parametrize(
    "rule",
    [{"row": True}, {"join": ["user_id", "amount"]}, {"first_of": ["none", "amount"]}, {"sql": "user_id || amount"}],
)
def test_a_row_that_waits_comes_in_later_under_the_id_that_its_rule_gives(
    warehouse: Warehouse, tmp_path: Path, rule: dict[str, object]
) -> None:
    def write(name: str, hours: list[int]) -> Path:
        path = tmp_path / name
        rows = {
            "user_id": ["u"] * len(hours),
            "timestamp": [(NOW + timedelta(hours=each)).isoformat() for each in hours],
            "amount": [f"{each + 50}" for each in hours],
            "none": [""] * len(hours),
        }
        pl.DataFrame(rows).write_csv(path)
        return path

    keys: dict[str, object] = {"columns": {"transaction_id": rule}}
    path = write("first.csv", [-2, 1, -1, 1 if rule == {"row": True} else 2])
    report = land(warehouse, path, keys)
    assert (report.rows_accepted, report.rows_waiting) == (2, 2)
    later = NOW + timedelta(hours=3)
    assert land(warehouse, write("other.csv", [1, 3]), keys, now=later).rows_accepted == 2
    reasons = warehouse.read("SELECT split_part(reason, ':', 1) AS reason FROM raw.rejected_transactions")["reason"]
    assert "duplicate" in reasons.to_list()
    land(warehouse, path, keys, now=later)
    assert stored(warehouse).height == 5
    assert stored(warehouse)["transaction_id"].is_unique().all()


def test_labels_say_when_they_became_known_and_what_is_unlabelled_is_none(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        "transaction_id,user_id,timestamp,amount,y,known\n"
        "a,u,2026-01-02 10:00,5,1,2026-01-20\n"
        "b,u,2026-01-02 10:00,5,2,\n"
        "c,u,2026-01-02 10:00,5,0,2026-01-10\n"
        "d,u,2026-01-02 10:00,5,1,\n"
        "e,u,2026-01-02 10:00,5,1,soon\n"
    )
    label = {"column": "y", "unlabelled_values": [2], "known_at_column": "known"}
    assert land(warehouse, path, {"label": label}).rows_accepted == 5
    labels = warehouse.read("SELECT transaction_id, actual_fraud, known_at FROM feedback.labels ORDER BY 1")
    assert labels.rows() == [
        ("a", True, datetime(2026, 1, 20)),
        ("c", False, datetime(2026, 1, 10)),
        ("d", True, datetime(2026, 1, 9, 10)),
    ]
    rejected = warehouse.read("SELECT row_number, reason FROM feedback.rejected_labels").rows()
    assert rejected == [(6, "known_at is unreadable as iso8601")]
    # Of this source no payment becomes legitimate by waiting; of one that doesn't say what is unlabelled, each does.
    assert stored(warehouse)["judged_only"].to_list() == [True] * 5
    other = tmp_path / "other.csv"
    other.write_text("transaction_id,user_id,timestamp,amount,y\nf,u,2026-01-02 10:00,5,0\n")
    land(warehouse, other, {"label": {"column": "y"}})
    unjudged = "SELECT transaction_id FROM feedback.unjudged(DATE '2026-01-02', DATE '2026-01-02', TIMESTAMP '{}')"
    for known_before, expected in (("2026-01-10", "abce"), ("2026-01-31", "be")):
        assert sorted(warehouse.read(unjudged.format(known_before))["transaction_id"]) == list(expected)


def test_how_old_a_transaction_may_be_is_a_setting(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("transaction_id,user_id,timestamp,amount\na,u,1991-01-02 06:21,5\nb,u,1975-01-02 06:21,5\n")
    report = land(warehouse, path, {}, max_age_years=40)
    assert report.rejected_by_reason == {"timestamp is more than 40 years old": 1}
    assert stored(warehouse)["transaction_id"].to_list() == ["a"]


def test_binary_ids_of_parquet_are_hexadecimal(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    frame = pl.DataFrame({"transaction_id": [b"\x00\xff", b"\x01\x02"], "user_id": [b"\xaa", b"\xbb"], "amount": 5.0})
    frame.with_columns(timestamp=pl.lit(NOW - timedelta(days=1))).write_parquet(path)
    assert land(warehouse, path, {}).rows_accepted == 2
    assert stored(warehouse)["transaction_id"].to_list() == ["00ff", "0102"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"columns": {"user_id": {"first_of": ["Kunde", "Mail"]}}}, r"'Mail' \(columns.user_id.first_of.2\)"),
        ({"columns": {"user_id": {"sql": "lower(Mail)"}}}, r"'Mail' \(columns.user_id.sql, Mail\)"),
        ({"columns": {"amount": {"column": "Brutto"}}}, r"'Brutto' \(columns.amount\)"),
        ({"timestamp": {"columns": ["Buchungstag", "Zeit"]}}, r"'Zeit' \(timestamp.columns.2\)"),
        ({"timestamp": {"zone_column": "Zone"}}, r"'Zone' \(timestamp.zone_column\)"),
        ({"label": {"column": "Text", "known_at_column": "Am"}}, r"'Am' \(label.known_at_column\)"),
    ],
)
def test_a_column_that_a_rule_needs_and_the_file_lacks_is_named_with_its_key(
    warehouse: Warehouse, tmp_path: Path, keys: dict[str, object], message: str
) -> None:
    path = tmp_path / "bank.csv"
    path.write_text(BANK)
    columns = keys.get("columns", {})
    assert isinstance(columns, dict)
    with pytest.raises(InvalidInput, match=message):
        land(warehouse, path, {**BANK_MAPPING, **keys, "columns": {**BANK_COLUMNS, **columns}})
