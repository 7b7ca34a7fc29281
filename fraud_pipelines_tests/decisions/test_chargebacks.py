"""Chargebacks as processors export them: found columns, days without a time, reasons that are not fraud."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.decisions.chargebacks import ChargebackColumns, at_the_latest, land_chargebacks
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.landing import LandingReport
from fraud_pipelines_tests.decisions.test_labels import NOW, new_warehouse

END_OF_JANUARY_5 = datetime(2026, 1, 6) - timedelta(microseconds=1)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return new_warehouse(tmp_path / "fraud.duckdb")


def land(warehouse: Warehouse, folder: Path, *lines: str, **columns: object) -> LandingReport:
    path = folder / "disputes.csv"
    path.write_text("\n".join(lines) + "\n")
    return land_chargebacks(warehouse, path, now=NOW, columns=ChargebackColumns(**columns))  # type: ignore[arg-type]


def stored(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.read(
        "SELECT transaction_id, actual_fraud, source, known_at, comment FROM feedback.labels ORDER BY ALL"
    ).rows()


@pytest.mark.parametrize(
    "lines",
    [
        ("transaction_id,date", "a,2026-01-05"),
        ("Dispute ID,Transaction ID,Chargeback Date,Amount", "77,a,2026-01-05,5.00"),
        ("charge;dispute_created", "a;2026-01-05"),
    ],
)
def test_an_id_and_a_date_are_enough_and_a_day_is_known_at_its_end(
    warehouse: Warehouse, tmp_path: Path, lines: tuple[str, ...]
) -> None:
    assert land(warehouse, tmp_path, *lines).rows_accepted == 1
    assert stored(warehouse) == [("a", True, "chargeback", END_OF_JANUARY_5, None)]
    assert land(warehouse, tmp_path, *lines).already_landed


def test_a_chargeback_of_the_day_of_the_payment_is_not_before_it(warehouse: Warehouse, tmp_path: Path) -> None:
    assert land(warehouse, tmp_path, "transaction_id,date", "a,2026-01-02").rows_accepted == 1


def test_a_time_is_taken_as_it_stands_and_today_ends_now() -> None:
    instants = pl.Series([datetime(2026, 1, 5, 8), datetime(2026, 1, 5), datetime(2026, 1, 6), None])
    assert at_the_latest(instants, datetime(2026, 1, 6, 12)).to_list() == [
        datetime(2026, 1, 5, 8),
        END_OF_JANUARY_5,
        datetime(2026, 1, 6, 12),
        None,
    ]


def test_without_a_date_it_is_known_now_or_when_one_says(warehouse: Warehouse, tmp_path: Path) -> None:
    land(warehouse, tmp_path, "payment_id", "a")
    land(warehouse, tmp_path, "payment_id,date", "b,2026-05-05", known_at=datetime(2026, 2, 1))
    assert [row[3] for row in stored(warehouse)] == [NOW, datetime(2026, 2, 1)]


def test_a_dispute_about_something_else_says_nothing_about_fraud(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = ("a,2026-01-05,10.4", "b,2026-01-05,13.1", "c,2026-01-05,Fraudulent")
    report = land(warehouse, tmp_path, "transaction_id,date,Reason Code", *rows)
    assert report.rejected_by_reason == {"reason is not fraud": 1}
    assert [(row[0], row[4]) for row in stored(warehouse)] == [("a", "10.4"), ("c", "Fraudulent")]
    assert land(warehouse, tmp_path, "transaction_id,date,Reason Code", *rows, any_reason=True).rows_accepted == 1


@pytest.mark.parametrize(
    ("reason", "is_fraud"),
    [
        *((code, True) for code in ("10", "10.1", "4837", "4870", "F29", "UA02", "Card Stolen", "unauthorised", "")),
        *((code, False) for code in ("100", "13.1", "4853", "F30x", "product_not_received", "duplicate")),
    ],
)
def test_reasons_that_mean_fraud(warehouse: Warehouse, tmp_path: Path, reason: str, is_fraud: bool) -> None:
    assert land(warehouse, tmp_path, "transaction_id,reason", f"a,{reason}").rows_accepted == is_fraud


def test_columns_and_dates_of_any_kind_can_be_named(warehouse: Warehouse, tmp_path: Path) -> None:
    lines = ("ref,on,why", "a,05/01/2026,x", "nobody,05/01/2026,x", "b,2026-01-05,x")
    named = {"transaction_id": "ref", "date": "on", "date_format": "%d/%m/%Y"}
    report = land(warehouse, tmp_path, *lines, **named)
    assert report.rejected_by_reason == {"transaction is unknown": 1, "date is unreadable as %d/%m/%Y": 1}
    assert stored(warehouse) == [("a", True, "chargeback", END_OF_JANUARY_5, None)]


def test_a_file_that_can_not_be_understood_is_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none of the columns ref, on looks like the id .* --id-column"):
        land(warehouse, tmp_path, "ref,on", "a,2026-01-05")
    with pytest.raises(InvalidInput, match="has no column 'id'; it has ref, on"):
        land(warehouse, tmp_path, "ref,on", "a,2026-01-05", transaction_id="id")
    with pytest.raises(InvalidInput, match=r"--date-format: .*doesn't tell year, month and day"):
        land(warehouse, tmp_path, "transaction_id,date", "a,2026-01-05", date_format="%d")
    assert stored(warehouse) == []


def test_a_chargeback_overrules_the_reviewer_and_parquet_is_read_too(warehouse: Warehouse, tmp_path: Path) -> None:
    from fraud_pipelines.decisions.review import record_verdict

    record_verdict(warehouse, "a", actual_fraud=False, now=NOW, known_at=datetime(2026, 1, 3))
    path = tmp_path / "disputes.parquet"
    pl.DataFrame({"Payment ID": ["a"], "created": [datetime(2026, 1, 9)]}).write_parquet(path)
    assert land_chargebacks(warehouse, path, now=NOW).rows_accepted == 1
    assert warehouse.read("SELECT actual_fraud, source FROM feedback.labels_before(TIMESTAMP '2026-02-01')").rows() == [
        (True, "chargeback")
    ]
