"""Labels: each is stored once for its transaction and source, or quarantined with the reason."""

import json
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.labels import land_labels, land_pending_labels
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.landing import LandingReport
from fraud_pipelines.transactions.landing_zone import Landed
from fraud_pipelines_tests.examples import examples

NOW = datetime(2026, 6, 1)
COLUMNS = ("transaction_id", "actual_fraud", "source", "known_at")


def new_warehouse(path: Path) -> Warehouse:
    """A warehouse with the transactions a, b and c, of 2026-01-02 12:00."""
    warehouse = warehouse_at(path)
    warehouse.initialise()
    happened = datetime(2026, 1, 2, 12)
    rows = pl.DataFrame({"transaction_id": ["a", "b", "c"]}).with_columns(
        user_id=pl.lit("u"),
        timestamp=pl.lit(happened),
        event_date=pl.lit(happened.date()),
        amount=pl.lit(5.0),
        source=pl.lit("x.csv"),
        ingested_at=pl.lit(NOW),
    )
    with warehouse.transaction() as connection:
        insert(connection, "raw.transactions", rows)
    return warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return new_warehouse(tmp_path / "fraud.duckdb")


def write(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return path


def stored(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.read(f"SELECT {', '.join(COLUMNS)} FROM feedback.labels ORDER BY ALL").rows()


def reasons(warehouse: Warehouse) -> dict[int, str]:
    return dict(warehouse.read("SELECT row_number, reason FROM feedback.rejected_labels ORDER BY ALL").rows())


def test_labels_are_stored_with_the_time_they_became_known(warehouse: Warehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", "a,true,review,2026-01-03T00:00:00Z", "b,0,Chargeback,2026-02-03 01:00:00+02:00")
    report = land_labels(warehouse, path, now=NOW)
    assert report == LandingReport(
        source="l.csv", rows_read=2, rows_accepted=2, days=(date(2026, 1, 3), date(2026, 2, 2)), kind="labels"
    )
    assert stored(warehouse) == [
        ("a", True, "review", datetime(2026, 1, 3)),
        ("b", False, "chargeback", datetime(2026, 2, 2, 23)),
    ]
    assert warehouse.read("SELECT DISTINCT ingested_at FROM feedback.labels").item() == NOW
    assert land_labels(warehouse, path, now=NOW).already_landed


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("nobody,true,review,2026-01-03", "transaction is unknown"),
        (",true,review,2026-01-03", "transaction_id is missing"),
        ("a,,review,2026-01-03", "actual_fraud is missing"),
        ("a,perhaps,review,2026-01-03", "actual_fraud is none of true, 1, yes, false, 0, no"),
        ("a,true,,2026-01-03", "source is missing"),
        ("a,true,police,2026-01-03", "source is none of review, chargeback"),
        ("a,true,review,", "known_at is missing"),
        ("a,true,review,soon", "known_at is unreadable as iso8601"),
        ("a,true,review,2026-06-01T00:02:01", "known_at is in the future"),
        ("a,true,review,2026-01-02T11:57:59", "known_at is before the transaction"),
        ("a,true,review", "wrong number of fields: 3 instead of 4"),
    ],
)
def test_a_label_that_can_not_be_used_is_quarantined_with_its_reason(
    warehouse: Warehouse, tmp_path: Path, row: str, reason: str
) -> None:
    report = land_labels(warehouse, write(tmp_path / "l.csv", row, "b,yes,review,2026-01-03"), now=NOW)
    assert (report.rows_read, report.rows_accepted, report.rows_rejected) == (2, 1, 1)
    assert reasons(warehouse) == {2: reason}
    assert [transaction_id for transaction_id, *_ in stored(warehouse)] == ["b"]


def test_a_label_may_be_known_at_the_instant_of_its_transaction(warehouse: Warehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", "a,true,review,2026-01-02T12:00:00")
    assert land_labels(warehouse, path, now=NOW).rows_accepted == 1


def test_the_first_verdict_of_a_source_stays_and_each_source_has_its_own(warehouse: Warehouse, tmp_path: Path) -> None:
    first = write(
        tmp_path / "1.csv", "a,true,review,2026-01-03", "a,true,review,2026-01-04", "a,false,chargeback,2026-01-05"
    )
    assert land_labels(warehouse, first, now=NOW).rows_duplicate == 1
    second = write(tmp_path / "2.csv", "a,false,review,2026-01-03", "a,false,chargeback,2026-02-01")
    report = land_labels(warehouse, second, now=NOW)
    assert report.rejected_by_reason == {"conflict": 1, "duplicate": 1}
    assert stored(warehouse) == [
        ("a", False, "chargeback", datetime(2026, 1, 5)),
        ("a", True, "review", datetime(2026, 1, 3)),
    ]
    payload = warehouse.read("SELECT payload FROM feedback.rejected_labels WHERE reason LIKE 'conflict%'").item()
    assert json.loads(payload)["known_at"] == "2026-01-03"


def verdict_before(warehouse: Warehouse, instant: datetime) -> tuple[object, ...] | None:
    found = warehouse.read(
        "SELECT actual_fraud, source FROM feedback.labels_before($instant::TIMESTAMP)", {"instant": instant}
    )
    return found.row(0) if found.height else None


def test_a_later_verdict_corrects_its_source_and_leaves_what_was_known_before(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    rows = ("a,false,review,2026-01-09", "a,true,chargeback,2026-01-20", "a,true,review,2026-01-03")
    report = land_labels(warehouse, write(tmp_path / "1.csv", *rows), now=NOW)
    assert report.rows_accepted == 3
    assert land_labels(warehouse, write(tmp_path / "2.csv", "a,false,chargeback,2026-02-01"), now=NOW).rows_accepted

    assert stored(warehouse) == [
        ("a", False, "chargeback", datetime(2026, 2, 1)),
        ("a", False, "review", datetime(2026, 1, 9)),
    ]
    assert warehouse.read("FROM feedback.label_history").height == 4
    midnight = [datetime(2026, 1, 3), datetime(2026, 1, 4), datetime(2026, 1, 10), datetime(2026, 1, 21)]
    assert [verdict_before(warehouse, each) for each in midnight] == [
        None,
        (True, "review"),
        (False, "review"),
        (True, "chargeback"),
    ]
    assert verdict_before(warehouse, NOW) == (False, "chargeback")
    again = land_labels(warehouse, write(tmp_path / "3.csv", *rows, "a,true,review,2026-01-08"), now=NOW)
    assert again.rejected_by_reason == {"duplicate": 3, "conflict": 1}


def test_who_gave_a_label_and_what_was_noted_comes_along(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("transaction_id,actual_fraud,source,known_at,reviewer,comment\na,1,review,2026-01-03,anna,ring\n")
    land_labels(warehouse, path, now=NOW)
    assert warehouse.read("SELECT reviewer, comment FROM feedback.labels").rows() == [("anna", "ring")]


def test_a_warehouse_from_before_corrections_is_opened_with_its_labels(tmp_path: Path) -> None:
    warehouse = new_warehouse(tmp_path / "fraud.duckdb")
    with warehouse.connect() as connection:
        connection.execute("DROP VIEW feedback.label_history; DROP TABLE feedback.superseded_labels")
        connection.execute("DROP VIEW feedback.decision_log; DROP VIEW scoring.review_queue")
        connection.execute("DROP VIEW scoring.alert_precision; DROP TABLE feedback.labels; DROP TABLE schema_version")
        connection.execute(
            "CREATE TABLE feedback.labels AS SELECT 'a' AS transaction_id, 'review' AS source, true AS actual_fraud, "
            "TIMESTAMP '2026-01-03' AS known_at, TIMESTAMP '2026-01-03' AS ingested_at"
        )
    warehouse.initialise()
    land_labels(warehouse, write(tmp_path / "l.csv", "a,false,review,2026-01-09"), now=NOW)
    assert verdict_before(warehouse, datetime(2026, 1, 4)) == (True, "review")
    assert verdict_before(warehouse, NOW) == (False, "review")


def test_a_day_that_was_processed_becomes_stale_by_labels_that_arrive_late(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    land_labels(warehouse, write(tmp_path / "1.csv", "a,true,chargeback,2026-01-03T23:59:59"), now=NOW)
    assert warehouse.read("FROM raw.stale_days").is_empty()
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE features.transaction_features AS SELECT DATE '2026-01-03' AS event_date")
    rows = ("a,true,review,2026-01-03", "b,true,review,2026-01-03T23:59:59", "c,true,review,2026-01-04")
    report = land_labels(warehouse, write(tmp_path / "2.csv", *rows, "a,true,chargeback,2026-01-03"), now=NOW)
    assert report.late_days == (date(2026, 1, 3),)
    assert warehouse.read("FROM raw.stale_days").rows() == [(date(2026, 1, 3), "2 labels arrived late from 2.csv", NOW)]
    again = write(tmp_path / "3.csv", "b,true,review,2026-01-03", "nobody,true,review,2026-01-03")
    assert land_labels(warehouse, again, now=NOW).late_days == ()


def test_json_lines_and_parquet_carry_labels_too(warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text(
        '{"transaction_id": "a", "actual_fraud": true, "source": "review", "known_at": "2026-01-03"}\n'
        '{"transaction_id": "b", "actual_fraud": {}, "source": "review", "known_at": "2026-01-03"}\n'
    )
    land_labels(warehouse, tmp_path / "l.jsonl", now=NOW)
    assert reasons(warehouse) == {2: "actual_fraud is not text: object"}
    frame = pl.DataFrame(
        {"transaction_id": ["b"], "actual_fraud": [True], "source": ["review"], "known_at": [datetime(2026, 1, 3)]}
    )
    frame.write_parquet(tmp_path / "l.parquet")
    land_labels(warehouse, tmp_path / "l.parquet", now=NOW)
    assert [row[:2] for row in stored(warehouse)] == [("a", True), ("b", True)]


def test_a_label_file_without_its_columns_is_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("transaction_id,fraud\na,1\n")
    with pytest.raises(InvalidInput, match=r"l\.csv lacks the column actual_fraud, source, known_at"):
        land_labels(warehouse, tmp_path / "l.csv", now=NOW)
    assert warehouse.read("SELECT * FROM raw.landed_files").is_empty()


def test_what_waits_is_taken_in_and_moved(warehouse: Warehouse, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    write(folder / "day" / "1.csv", "a,true,review,2026-01-03")
    write(folder / "2.csv.part", "b,true,review,2026-01-03")
    (report,) = land_pending_labels(warehouse, folder, clock=lambda: NOW).reports
    assert (report.source, report.rows_accepted) == ("day/1.csv", 1)
    assert (folder / "_landed" / "day" / "1.csv").is_file()
    assert land_pending_labels(warehouse, folder, clock=lambda: NOW) == Landed()


@examples(15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", "d", ""]),
            st.sampled_from(["true", "false", "1", "x"]),
            st.sampled_from(["review", "chargeback", "y"]),
            st.sampled_from(["2026-01-03", "2026-02-03", "2026-01-01", "2027-01-01", "z"]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_accepted_and_rejected_make_what_was_read_and_keys_stay_unique(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    warehouse = new_warehouse(folder / "fraud.duckdb")
    report = land_labels(warehouse, write(folder / "l.csv", *map(",".join, rows)), now=NOW)
    labels = stored(warehouse)
    kept = warehouse.read("FROM feedback.label_history").height
    assert report.rows_read == len(rows) == kept + len(reasons(warehouse))
    assert (report.rows_accepted, report.rows_rejected) == (kept, len(reasons(warehouse)))
    assert len({(transaction_id, source) for transaction_id, _, source, _ in labels}) == len(labels)
