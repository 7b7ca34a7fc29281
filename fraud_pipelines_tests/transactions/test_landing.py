"""Landing: rows are stored once or quarantined, whole files or nothing, and late days are marked."""

import gzip
import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions import text_lines
from fraud_pipelines.transactions.landing import (
    LandingReport,
    days_with_transactions,
    first_transaction_day,
    land_transactions,
)
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.null_words import is_identity
from fraud_pipelines.transactions.schema import TRANSACTION_COLUMNS
from fraud_pipelines.transactions.sources import content_hash

NOW = datetime(2026, 6, 1)
IDENTITY = ColumnMapping.identity()
HEADER = "transaction_id,user_id,timestamp,amount,city"
HANDBOOK = Path(__file__).parents[2] / "data" / "mappings" / "handbook.yaml"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    return warehouse


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def write(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def land(warehouse: Warehouse, path: Path, mapping: ColumnMapping = IDENTITY) -> LandingReport:
    return land_transactions(warehouse, path, mapping, now=NOW)


def content(warehouse: Warehouse) -> list[pl.DataFrame]:
    tables = ("raw.transactions", "raw.rejected_transactions", "raw.landed_files", "raw.stale_days", "feedback.labels")
    return [warehouse.read(f"SELECT * FROM {table} ORDER BY ALL") for table in tables]


def assert_unchanged(warehouse: Warehouse, before: list[pl.DataFrame]) -> None:
    for old, new in zip(before, content(warehouse), strict=True):
        assert old.equals(new)


def test_a_file_is_stored_with_its_day_source_and_time_of_ingestion(warehouse: Warehouse, folder: Path) -> None:
    path = write(
        folder / "x.csv", "t1,u1,2026-01-02T23:59:59Z,5,Oslo", "t2,u1,2026-01-03T00:30:00+01:00,0,", "t3,,2026-01-04,1,"
    )
    report = land(warehouse, path)
    assert report == LandingReport(
        source="x.csv",
        rows_read=3,
        rows_accepted=2,
        rows_rejected=1,
        rejected_by_reason={"user_id is missing": 1},
        days=(date(2026, 1, 2),),
    )
    stored = warehouse.read("SELECT * FROM raw.transactions ORDER BY transaction_id")
    assert stored.columns == [*("transaction_id", "user_id", "timestamp", "event_date", "amount"), *stored.columns[5:]]
    assert stored.row(1, named=True) == dict.fromkeys(stored.columns) | {
        "transaction_id": "t2",
        "user_id": "u1",
        "timestamp": datetime(2026, 1, 2, 23, 30),
        "event_date": date(2026, 1, 2),
        "amount": 0.0,
        "source": "x.csv",
        "ingested_at": NOW,
        "kind": "payment",
    }
    rejected = warehouse.read("SELECT * FROM raw.rejected_transactions").row(0, named=True)
    assert json.loads(rejected.pop("payload"))["transaction_id"] == "t3"
    assert rejected == {"source": "x.csv", "row_number": 4, "reason": "user_id is missing", "rejected_at": NOW}
    assert warehouse.read("SELECT rows_read, rows_accepted, rows_rejected FROM raw.landed_files").row(0) == (3, 2, 1)
    assert first_transaction_day(warehouse) == date(2026, 1, 2)
    assert days_with_transactions(warehouse) == [date(2026, 1, 2)]


def test_an_empty_warehouse_has_no_days(warehouse: Warehouse) -> None:
    assert first_transaction_day(warehouse) is None
    assert days_with_transactions(warehouse) == []


def test_now_may_have_a_zone(warehouse: Warehouse, folder: Path) -> None:
    path = write(folder / "x.csv", "t1,u1,2026-01-02T10:00:00Z,5,", "t2,u1,2026-01-02T10:02:01Z,5,")
    now = datetime(2026, 1, 2, 12, tzinfo=timezone(timedelta(hours=2)))
    assert land_transactions(warehouse, path, IDENTITY, now=now).rows_accepted == 1
    assert warehouse.read("SELECT ingested_at FROM raw.transactions").item() == now.astimezone(UTC).replace(tzinfo=None)


def test_the_same_content_is_skipped_under_any_name_and_packing(warehouse: Warehouse, folder: Path) -> None:
    path = write(folder / "x.csv", "t1,u1,2026-01-02,5,")
    land(warehouse, path)
    before = content(warehouse)
    (folder / "again.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    report = land(warehouse, folder / "again.csv.gz")
    assert report == LandingReport(source="again.csv.gz", already_landed=True)
    assert_unchanged(warehouse, before)


def test_the_same_content_through_a_mended_mapping_is_read_again(warehouse: Warehouse, folder: Path) -> None:
    path = write(folder / "x.csv", "t1,u1,1767312000,5,")
    assert land(warehouse, path).rows_accepted == 0
    mended = ColumnMapping.model_validate({"timestamp": {"format": "epoch_seconds"}})
    assert land(warehouse, path, mended).rows_accepted == 1


@pytest.mark.parametrize("chunk_rows", [1, 2, 1000])
def test_repeats_count_once_and_contradictions_go_to_the_quarantine(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    monkeypatch.setattr(text_lines, "CHUNK_ROWS", chunk_rows)
    first = write(
        folder / "1.csv",
        "a,u,2026-01-02,5,Oslo",
        "b,u,2026-01-02,5,",
        "a,u,2026-01-02,5.0,Oslo",
        "b,u,2026-01-02,5,Oslo",
    )
    report = land(warehouse, first)
    assert (report.rows_accepted, report.rows_duplicate, report.rows_rejected) == (2, 1, 2)
    second = write(
        folder / "2.csv",
        "a,u,2026-01-02T00:00,5,Oslo",
        "a,v,2026-01-02,6,",
        "b,u,2026-01-02,5,",
        "c,u,2026-01-02,-0,",
        "c,u,2026-01-02,0,",
    )
    report = land(warehouse, second)
    assert (report.rows_accepted, report.rows_duplicate, report.rows_rejected) == (1, 3, 4)
    assert report.rejected_by_reason == {"duplicate": 3, "conflict": 1}
    reasons = warehouse.read("SELECT source, row_number, reason FROM raw.rejected_transactions ORDER BY ALL").rows()
    assert [(source, number, reason.split(" than ")[0]) for source, number, reason in reasons] == [
        ("1.csv", 4, "duplicate: identical to the transaction stored first"),
        ("1.csv", 5, "conflict: another city"),
        ("2.csv", 2, "duplicate: identical to the transaction stored first"),
        ("2.csv", 3, "conflict: another user_id, amount, city"),
        ("2.csv", 4, "duplicate: identical to the transaction stored first"),
        ("2.csv", 6, "duplicate: identical to the transaction stored first"),
    ]
    stored = warehouse.read("SELECT transaction_id, city FROM raw.transactions ORDER BY ALL").rows()
    assert stored == [("a", "Oslo"), ("b", None), ("c", None)]


def test_a_day_that_was_processed_becomes_stale_by_what_arrives_late(warehouse: Warehouse, folder: Path) -> None:
    land(warehouse, write(folder / "1.csv", "a,u,2026-01-02,5,"))
    assert warehouse.read("SELECT * FROM raw.stale_days").is_empty()
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE features.transaction_features AS SELECT DATE '2026-01-02' AS event_date")
    late = write(folder / "2.csv", "b,u,2026-01-02,5,", "c,u,2026-01-02,5,", "d,u,2026-01-03,5,", "a,u,2026-01-02,5,")
    report = land(warehouse, late)
    assert report.days == (date(2026, 1, 2), date(2026, 1, 3))
    assert report.late_days == (date(2026, 1, 2),)
    assert warehouse.read("SELECT * FROM raw.stale_days").rows() == [
        (date(2026, 1, 2), "2 transactions arrived late from 2.csv", NOW)
    ]
    assert land(warehouse, write(folder / "3.csv", "a,u,2026-01-02,5,", "e,,2026-01-02,5,")).late_days == ()


def test_labels_come_with_the_transactions_and_are_known_later(warehouse: Warehouse, folder: Path) -> None:
    path = folder / "x.csv"
    path.write_text(
        f"{HEADER},fraud\n"
        + "".join(f"t{i},u,2026-01-0{i + 1}T12:00,5,,{text}\n" for i, text in enumerate("Yn?Y"))
        + "t0,u,2026-01-01T12:00,6,,Y\n"
    )
    rule = {"column": "fraud", "fraud_values": ["y"], "legitimate_values": ["N"], "delay_days": 1.5, "source": "review"}
    report = land(warehouse, path, ColumnMapping.model_validate({"label": rule}))
    assert (report.rows_accepted, report.rows_rejected) == (4, 1)
    labels = "SELECT transaction_id, source, actual_fraud, known_at, ingested_at FROM feedback.labels ORDER BY ALL"
    frauds = [
        ("t0", "review", True, datetime(2026, 1, 3), NOW),
        ("t3", "review", True, datetime(2026, 1, 6), NOW),
    ]
    assert warehouse.read(labels).rows() == frauds
    rejected = warehouse.read("SELECT row_number, reason FROM feedback.rejected_labels").rows()
    assert rejected == [(4, "label is none of y, n")]
    # Delivered again, with the verdicts on legitimate payments asked for: the payments repeat, the labels are new.
    both = ColumnMapping.model_validate({"label": rule | {"include_legitimate": True}})
    assert land(warehouse, path, both).rows_accepted == 0
    assert warehouse.read(labels).rows() == [
        frauds[0],
        ("t1", "review", False, datetime(2026, 1, 4), NOW),
        frauds[1],
    ]


def test_labels_that_come_with_transactions_make_the_days_stale_on_which_they_became_known(
    warehouse: Warehouse, folder: Path
) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "CREATE TABLE features.transaction_features AS SELECT unnest([DATE '2026-01-09', DATE '2026-01-10']) "
            "AS event_date"
        )
    path = folder / "x.csv"
    rows = ("a,u,2026-01-02T12:00,5,,1", "b,u,2026-01-03T12:00,5,,0", "c,u,2026-01-10T12:00,5,,1")
    path.write_text("\n".join([f"{HEADER},fraud", *rows]) + "\n")
    report = land(warehouse, path, ColumnMapping.model_validate({"label": {"column": "fraud"}}))
    transaction, label = (f"1 {noun} arrived late from x.csv" for noun in ("transaction", "label"))
    marks = {2: transaction, 3: transaction, 9: label, 10: transaction}
    assert warehouse.read("SELECT event_date, reason FROM raw.stale_days ORDER BY ALL").rows() == [
        (date(2026, 1, day), reason) for day, reason in marks.items()
    ]
    assert report.late_days == tuple(date(2026, 1, day) for day in marks)


def test_a_day_without_features_becomes_stale_by_transactions_that_arrive_after_a_later_one_was_processed(
    warehouse: Warehouse, folder: Path
) -> None:
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE features.transaction_features AS SELECT DATE '2026-01-03' AS event_date")
    report = land(warehouse, write(folder / "1.csv", "a,u,2026-01-02,5,", "b,u,2026-01-04,5,"))
    assert report.late_days == (date(2026, 1, 2),)


def test_a_file_that_breaks_in_the_middle_leaves_the_tables_as_they_were(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(warehouse, write(folder / "1.csv", "a,u,2026-01-02,5,"))
    before = content(warehouse)
    monkeypatch.setattr(text_lines, "CHUNK_ROWS", 10)
    whole = write(folder / "2.csv", *(f"t{i},u,2026-01-02,{i},x{random.random()}" for i in range(5000)))
    (folder / "cut.csv.gz").write_bytes(gzip.compress(whole.read_bytes())[:-100])
    with pytest.raises(InvalidInput, match=r"cut\.csv\.gz"):
        land(warehouse, folder / "cut.csv.gz")
    assert_unchanged(warehouse, before)
    with pytest.raises(InvalidInput, match=r"2\.csv lacks the column 'nope'"):
        land(warehouse, whole, ColumnMapping(columns={"user_id": "nope"}))
    assert_unchanged(warehouse, before)


def test_a_file_that_grows_while_it_is_read_is_not_stored(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder / "x.csv", "a,u,2026-01-02,5,")

    def grow(path: Path) -> str:
        digest = content_hash(path)
        with path.open("a") as file:
            file.write("b,u,2026-01-02,5,\n")
        return digest

    monkeypatch.setattr("fraud_pipelines.transactions.intake.content_hash", grow)
    before = content(warehouse)
    with pytest.raises(InvalidInput, match="changed while it was read"):
        land(warehouse, path)
    assert_unchanged(warehouse, before)


ROWS = 10_000


def clean_row(number: int) -> dict[str, object]:
    return {
        "transaction_id": f"tx{number:05d}",
        "user_id": f"u{number % 97}",
        "timestamp": (datetime(2026, 1, 1) + timedelta(minutes=number)).isoformat() + "Z",
        "amount": round(number % 500 + 0.25, 2),
        "merchant_id": f"m{number % 31}",
        "country": "FR",
        "city": "Saint-Étienne",
    }


WEIRD_VALUES = (
    "", " ", "null", "NaN", "-inf", "1e999", "9" * 400, "-5", "0x1F", "١٢", "true", "2026-13-45", "9999-12-31", "1e308",
    "1969-12-31T23:59:59Z", "2030-01-01", "a\tb", "\x07", "\x1b[31m", "\x85", "\ufeff", "\u202e", "'; DROP TABLE x; --",
    "=1+1", '"', '""', 'a"b', '"x', "x" * 300, "😀", "tx00001", "\r", ",", ",,,", "\\", "\\N", "{}", "[1]",
)  # fmt: skip


def mutate_bytes(line: bytes, chance: random.Random) -> bytes:
    """A line damaged as a text; it stays one line."""
    at = chance.randrange(len(line) + 1)
    damages: list[Callable[[], bytes]] = [
        lambda: line[:at] + chance.randbytes(chance.randint(1, 4)) + line[at:],
        lambda: line[:at] + b'"' + line[at:],
        lambda: line[:at] + b"\x00" + line[at:],
        lambda: line[:at] + bytes([chance.randrange(32)]) + line[at:],
        lambda: line[:at],
        lambda: line[at:],
        lambda: line + line,
        lambda: b"",
        lambda: line.decode().encode("utf-16-le"),
        lambda: line.decode().encode("latin-1", "replace"),
        lambda: b'"' + line + b'"',
        lambda: line.replace(b",", b";"),
    ]
    return chance.choice(damages)().replace(b"\n", b" ")


def mutate_fields(row: dict[str, object], values: tuple[object, ...], chance: random.Random) -> dict[str, object]:
    changed = dict(row)
    for name in chance.sample(list(row), chance.randint(1, 3)):
        if chance.random() < 0.2:
            del changed[name]
        else:
            changed[name] = chance.choice(values)
    return changed


def mutated_csv(chance: random.Random) -> bytes:
    names = list(clean_row(0))
    lines = [",".join(names).encode()]
    for number in range(ROWS):
        row = clean_row(number)
        kind = chance.random()
        if kind < 0.4:
            row = mutate_fields(row, WEIRD_VALUES, chance)
        fields = (
            [str(row[name]) for name in names if name in row]
            if kind < 0.1
            else [str(row.get(name, "")) for name in names]
        )
        line = ",".join(fields).encode()
        lines.append(mutate_bytes(line, chance) if kind > 0.7 else line)
    return b"\n".join(lines) + b"\n"


def mutated_json(chance: random.Random) -> bytes:
    values: tuple[object, ...] = (
        *WEIRD_VALUES,
        None,
        True,
        False,
        0,
        -1,
        2**80,
        1.5,
        -0.0,
        float("inf"),
        float("nan"),
        [],
        [1],
        {},
        {"a": {}},
        "\ud800",
        "\x00",
    )
    lines = []
    for number in range(ROWS):
        row: object = clean_row(number)
        kind = chance.random()
        if kind < 0.4:
            assert isinstance(row, dict)
            row = mutate_fields(row, values, chance)
        elif kind < 0.45:
            row = chance.choice([*values, [row], {"row": row}])
        line = json.dumps(row, ensure_ascii=chance.random() < 0.5 or "\\ud800" in json.dumps(row)).encode()
        lines.append(mutate_bytes(line, chance) if kind > 0.7 else line)
    return b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("name", "mutated"), [("x.csv", mutated_csv), ("x.jsonl", mutated_json)])
def test_of_ten_thousand_mutated_rows_each_is_accepted_or_rejected(
    warehouse: Warehouse, folder: Path, name: str, mutated: Callable[[random.Random], bytes], seed: int
) -> None:
    (folder / name).write_bytes(mutated(random.Random(seed)))
    report = land(warehouse, folder / name)
    assert report.rows_read == report.rows_accepted + report.rows_rejected
    # Two broken lines of CSV may happen to be one row with a line break in it.
    assert ROWS - (5 if name == "x.csv" else 0) <= report.rows_read <= ROWS
    accepted = warehouse.read("SELECT * FROM raw.transactions")
    rejected = warehouse.read("SELECT * FROM raw.rejected_transactions")
    assert (accepted.height, rejected.height) == (report.rows_accepted, report.rows_rejected)
    assert sum(report.rejected_by_reason.values()) == rejected.height
    assert accepted.height > ROWS * 0.3
    assert rejected.height > ROWS * 0.3
    assert len(report.rejected_by_reason) > 15

    assert accepted.select(*TRANSACTION_COLUMNS).schema == pl.Schema(TRANSACTION_COLUMNS)
    assert accepted["transaction_id"].is_unique().all()
    assert sum(accepted.select("transaction_id", "user_id", "timestamp", "amount").null_count().row(0)) == 0
    assert accepted["amount"].is_between(0, 1e12).all()
    assert accepted["timestamp"].is_between(datetime(2006, 6, 1), NOW).all()
    for column in accepted.select(pl.col(pl.String)):
        breaks = "" if is_identity(column.name) else r"\t\n\r"
        assert not column.str.replace_all(f"[{breaks} ]", "").str.contains(r"[\x00-\x1f\x7f-\x{9f}]").any()
        assert not (column.str.len_chars() > 256).any()
        assert not (column == "").any()
    # A clean row is never turned away for its neighbour's sake.
    first_line = 2 if name == "x.csv" else 1
    lines = (folder / name).read_bytes().split(b"\n")
    clean = {number for number in range(ROWS) if is_clean(lines[number + first_line - 1], number, name)}
    reasons = rejected.filter(~pl.col("reason").str.contains("^(duplicate|conflict)"))
    assert len(clean) > ROWS * 0.25
    assert not clean & {number - first_line for number in reasons["row_number"]}
    assert rejected["row_number"].is_unique().all()


def is_clean(line: bytes, number: int, name: str) -> bool:
    row = clean_row(number)
    if name == "x.csv":
        return line == ",".join(map(str, row.values())).encode()
    return line in {json.dumps(row).encode(), json.dumps(row, ensure_ascii=False).encode()}


def test_the_handbook_month_comes_in_whole(warehouse: Warehouse) -> None:
    reference = Path(os.environ.get("FRAUD_REFERENCE_DATA", "nowhere")) / "2018-04.parquet"
    if not reference.is_file():
        pytest.skip("FRAUD_REFERENCE_DATA doesn't point to the handbook's data")
    report = land(warehouse, reference, ColumnMapping.load(HANDBOOK))
    assert replace(report, days=()) == LandingReport(
        source="handbook: 2018-04.parquet",
        rows_read=288_062,
        rows_accepted=288_062,
        unused_columns=("tx_time_seconds", "tx_time_days", "tx_fraud_scenario"),
    )
    assert report.days == tuple(date(2018, 4, 1) + timedelta(days=day) for day in range(30))
    labels = warehouse.read(
        "SELECT count(*), bool_and(l.actual_fraud), bool_and(l.source = 'chargeback'), "
        'bool_and(l.known_at = t."timestamp" + INTERVAL 7 DAY) '
        "FROM feedback.labels l JOIN raw.transactions t USING (transaction_id)"
    )
    assert labels.row(0) == (1_702, True, True, True)


def test_a_mapped_column_that_no_line_has_is_told_and_refused_where_it_is_required(
    warehouse: Warehouse, folder: Path
) -> None:
    rows = [{"id": f"t{k}", "user": "u", "at": "2026-01-05T10:00:00Z", "sum": 5, "shop": {"id": "m"}} for k in range(3)]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"transaction_id": "id", "user_id": "user", "timestamp": "at", "amount": "sum", "merchant_id": "shop.id"}
    typo = ColumnMapping.model_validate({"columns": {**columns, "amount": "total"}})
    with pytest.raises(InvalidInput, match=r"'total' \(columns\.amount\)"):
        land_transactions(warehouse, folder / "t.jsonl", typo, now=NOW)
    assert warehouse.read("SELECT count(*) FROM raw.rejected_transactions").item() == 0
    mapping = ColumnMapping.model_validate({"columns": {**columns, "city": "shop.city"}})
    report = land_transactions(warehouse, folder / "t.jsonl", mapping, now=NOW)
    assert report.told == ("No row has 'shop.city' (columns.city): null throughout",)
    assert warehouse.read("SELECT DISTINCT merchant_id, city FROM raw.transactions").rows() == [("m", None)]
