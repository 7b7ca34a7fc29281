"""Redelivery: what the clock alone had turned away comes in when it is delivered again, once, and all adds up."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from fraud_pipelines.decisions.labels import land_labels
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.landing import LandingReport, land_pending_transactions, land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.lakes import copied

NOW = datetime(2026, 6, 1, 12)
HOUR = timedelta(hours=1)
MAPPING = ColumnMapping.model_validate({"columns": {"transaction_id": "Tx/Ref ~1"}})


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = warehouse_at(tmp_path_factory.mktemp("empty") / "fraud.duckdb")
    warehouse.initialise()
    return warehouse.path


@pytest.fixture
def warehouse(empty: Path, tmp_path: Path) -> Warehouse:
    return warehouse_at(copied(empty, tmp_path / "fraud.duckdb"))


def write(path: Path, ahead: dict[str, timedelta | None], amount: float = 5.0) -> Path:
    """A file with payments that happen so long after NOW, and a broken row for each None."""
    rows = pl.DataFrame(
        {
            "Tx/Ref ~1": list(ahead),
            "user_id": [None if by is None else "u" for by in ahead.values()],
            "timestamp": [NOW + (by or timedelta(0)) for by in ahead.values()],
            "amount": [amount] * len(ahead),
        },
        schema_overrides={"user_id": pl.String},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".csv":
            rows.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S")
        case ".parquet":
            rows.write_parquet(path)
        case _:
            rows.write_ndjson(path)
    return path


def land(warehouse: Warehouse, path: Path, at: datetime) -> LandingReport:
    report = land_transactions(warehouse, path, MAPPING, now=at)
    assert report.rows_accepted + report.rows_rejected == report.rows_read
    return report


def stored(warehouse: Warehouse) -> list[str]:
    return warehouse.read("SELECT transaction_id FROM raw.transactions ORDER BY 1").to_series().to_list()


def quarantined(warehouse: Warehouse) -> dict[str, int]:
    query = "SELECT split_part(reason, ':', 1), count(*) FROM raw.rejected_transactions GROUP BY ALL"
    return dict(warehouse.read(query).rows())


def assert_it_adds_up(warehouse: Warehouse) -> None:
    files = warehouse.read("SELECT rows_read, rows_accepted, rows_rejected FROM raw.landed_files")
    assert (files["rows_accepted"] + files["rows_rejected"]).to_list() == files["rows_read"].to_list()
    ids = stored(warehouse)
    assert len(ids) == len(set(ids)) == files["rows_accepted"].sum()
    assert sum(quarantined(warehouse).values()) == files["rows_rejected"].sum()


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.jsonl"])
def test_a_file_comes_in_row_by_row_as_the_clock_allows(warehouse: Warehouse, tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, {"past": -HOUR, "soon": HOUR, "broken": None, "late": 3 * HOUR})
    first = land(warehouse, path, NOW)
    assert (first.rows_read, first.rows_accepted, first.rows_rejected, first.rows_waiting) == (4, 1, 3, 2)
    tables = ("raw.transactions", "raw.rejected_transactions", "raw.landed_files")
    before = [warehouse.read(f"FROM {table} ORDER BY ALL") for table in tables]

    early = land(warehouse, path, NOW + HOUR / 2)
    assert (early.already_landed, early.rows_read, early.rows_waiting) == (True, 0, 2)
    for table, rows in zip(tables, before, strict=True):
        assert warehouse.read(f"FROM {table} ORDER BY ALL").equals(rows)

    again = land(warehouse, path.rename(tmp_path / f"again-{name}"), NOW + HOUR)
    assert (again.already_landed, again.rows_read, again.rows_accepted, again.rows_waiting) == (True, 1, 1, 1)
    assert again.days == (NOW.date(),)
    assert quarantined(warehouse) == {"timestamp is in the future": 1, "user_id is missing": 1}
    assert_it_adds_up(warehouse)
    assert land(warehouse, tmp_path / f"again-{name}", NOW + HOUR).rows_read == 0

    assert land(warehouse, tmp_path / f"again-{name}", NOW + 3 * HOUR).rows_accepted == 1
    assert stored(warehouse) == ["late", "past", "soon"]
    assert quarantined(warehouse) == {"user_id is missing": 1}
    assert warehouse.read("FROM raw.landed_files").height == 1
    assert_it_adds_up(warehouse)
    assert land(warehouse, tmp_path / f"again-{name}", NOW + 9 * HOUR) == LandingReport(
        f"again-{name}", already_landed=True
    )


def test_what_an_earlier_release_turned_away_can_be_delivered_again(warehouse: Warehouse, tmp_path: Path) -> None:
    """Its quarantine says what ours says: the name of the delivery, its time, the row and the reason."""
    path = write(tmp_path / "x.csv", {"past": -HOUR, "soon": HOUR})
    land(warehouse, path, NOW)
    described = warehouse.read("DESCRIBE raw.rejected_transactions")["column_name"].to_list()
    assert described == ["source", "row_number", "reason", "payload", "rejected_at"]
    assert land(warehouse, path, NOW + 2 * HOUR).rows_accepted == 1


@pytest.mark.parametrize(("amount", "reason"), [(5.0, "duplicate"), (6.0, "conflict")])
def test_a_row_that_another_file_brings_is_no_open_reject(
    warehouse: Warehouse, tmp_path: Path, amount: float, reason: str
) -> None:
    first = write(tmp_path / "x.parquet", {"past": -HOUR, "soon": HOUR, "late": 9 * HOUR})
    land(warehouse, first, NOW)
    report = land(warehouse, write(tmp_path / "other.csv", {"soon": HOUR}, amount), NOW + 2 * HOUR)
    assert (report.rows_accepted, report.rows_rejected) == (1, 0)
    assert quarantined(warehouse) == {reason: 1, "timestamp is in the future": 1}
    assert_it_adds_up(warehouse)
    # Only what still waits is read again.
    assert land(warehouse, first, NOW + 9 * HOUR).rows_read == 1
    assert quarantined(warehouse) == {reason: 1}
    assert_it_adds_up(warehouse)


def test_the_landing_zone_takes_in_a_file_that_is_dropped_again(warehouse: Warehouse, tmp_path: Path) -> None:
    folder = tmp_path / "landing"
    folder.mkdir()
    (folder / "mapping.yaml").write_text('columns: {transaction_id: "Tx/Ref ~1"}')
    times = iter([NOW, NOW + HOUR])
    for _ in range(2):
        write(folder / "x.csv", {"past": -HOUR, "soon": HOUR})
        land_pending_transactions(warehouse, folder, clock=lambda: next(times))
    assert stored(warehouse) == ["past", "soon"]
    assert len(list((folder / "_landed").iterdir())) == 2
    assert_it_adds_up(warehouse)


def test_labels_that_came_too_early_can_be_delivered_again(warehouse: Warehouse, tmp_path: Path) -> None:
    """Known in the future, or before their transaction was there: both pass."""
    land(warehouse, write(tmp_path / "1.csv", {"a": -HOUR}), NOW)
    path = tmp_path / "labels.jsonl"
    labels = [("a", NOW + HOUR), ("b", NOW), ("a", None)]
    rows = [
        {"transaction_id": name, "actual_fraud": True, "source": "review", "known_at": at and at.isoformat()}
        for name, at in labels
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    first = land_labels(warehouse, path, now=NOW)
    assert (first.rows_accepted, first.rows_rejected, first.rows_waiting) == (0, 3, 2)
    assert land_labels(warehouse, path, now=NOW).rows_waiting == 2
    land(warehouse, write(tmp_path / "2.csv", {"b": -HOUR}), NOW)
    assert land_labels(warehouse, path, now=NOW).rows_accepted == 1
    last = land_labels(warehouse, path, now=NOW + HOUR)
    assert (last.rows_read, last.rows_accepted, last.rows_waiting) == (1, 1, 0)
    assert warehouse.read("SELECT transaction_id FROM feedback.labels ORDER BY 1").to_series().to_list() == ["a", "b"]
    assert warehouse.read("SELECT reason FROM feedback.rejected_labels").to_series().to_list() == [
        "known_at is missing"
    ]
    file = warehouse.read("SELECT rows_read, rows_accepted, rows_rejected FROM raw.landed_files WHERE kind = 'labels'")
    assert file.rows() == [(3, 2, 1)]


@examples(8, unchecked=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_delivered_when_counts_once(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("deliveries")
    warehouse = warehouse_at(copied(empty, folder / "fraud.duckdb"))
    happens = {f"t{hour}": hour * HOUR for hour in range(6)}
    contents = data.draw(
        st.lists(st.lists(st.sampled_from(sorted(happens)), min_size=1, max_size=4), max_size=3, min_size=1)
    )
    endings = [data.draw(st.sampled_from([".csv", ".jsonl", ".parquet"])) for _ in contents]
    files = [
        write(folder / f"{number}{ending}", {name: happens[name] for name in names})
        for number, (names, ending) in enumerate(zip(contents, endings, strict=True))
    ]
    hours = sorted(data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=6)))
    expected: set[str] = set()
    with warehouse.connect():  # to open it for every step takes most of the time
        for step, hour in enumerate(hours):
            number = data.draw(st.integers(0, len(files) - 1))
            expected |= {name for name in contents[number] if happens[name] <= hour * HOUR}
            land(warehouse, files[number], NOW + hour * HOUR + timedelta(microseconds=step))
            assert stored(warehouse) == sorted(expected)
            assert_it_adds_up(warehouse)
        waiting = warehouse.read(
            "SELECT payload FROM raw.rejected_transactions WHERE reason = 'timestamp is in the future'"
        )
        assert not {json.loads(payload)["Tx/Ref ~1"] for payload in waiting["payload"]} & expected
