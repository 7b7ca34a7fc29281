"""Chargebacks as processors export them: found columns, days without a time, reasons that are not fraud."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.decisions.chargebacks import ChargebackColumns, at_the_latest, land_chargebacks
from fraud_pipelines.decisions.dispute_words import meaning_of
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
    land(warehouse, tmp_path, "payment_id", "a", any_reason=True)
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
        *((code, True) for code in ("10", "10.1", "4837", "4870", "F29", "UA02", "Card Stolen", "unauthorised")),
        *(
            (code, False)
            for code in ("100", "13.1", "4853", "F30x", "product_not_received", "duplicate", "Non-fraud", "")
        ),
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


PAYMENTS = (
    "id,Created date (UTC),Amount,Currency,Status,Disputed Amount,Dispute Date (UTC),Dispute Reason,Dispute Status",
    "a,2026-01-02 12:00,10.50,eur,Paid,10.50,2026-01-10 08:00,fraudulent,needs_response",
    "b,2026-01-02 12:00,20.00,eur,Paid,,,,",
    "c,2026-01-02 12:00,20.00,eur,Paid,20.00,2026-01-11 08:00,product_not_received,lost",
)


def verdicts(warehouse: Warehouse) -> list[tuple[object, ...]]:
    """All that was ever said, in the order in which it became known."""
    return warehouse.read(
        "SELECT transaction_id, actual_fraud, known_at FROM feedback.label_history ORDER BY transaction_id, known_at"
    ).rows()


def test_of_a_list_of_payments_only_the_disputes_for_fraud_are_taken(warehouse: Warehouse, tmp_path: Path) -> None:
    report = land(warehouse, tmp_path, *PAYMENTS, transaction_id="id")
    assert verdicts(warehouse) == [("a", True, datetime(2026, 1, 10, 8))]
    assert report.rejected_by_reason == {"no dispute": 1, "reason is not fraud": 1}
    assert report.rows_accepted + report.rows_rejected == report.rows_read == 3
    told = "transaction_id from id, date from Dispute Date (UTC), reason from Dispute Reason, state from Dispute Status"
    assert told in report.told[0]


def test_a_flag_that_says_no_is_no_dispute(warehouse: Warehouse, tmp_path: Path) -> None:
    header = "TransactionID,TransactionDate,Amount,ChargebackStatus,ChargebackReason"
    rows = ("a,2026-01-02,5,No,", "b,2026-01-02,5,Yes,Product damaged", "c,2026-01-02,5,Yes,Fraudulent transaction")
    report = land(warehouse, tmp_path, header, *rows)
    assert verdicts(warehouse) == [("c", True, NOW)]
    assert report.rejected_by_reason == {"no chargeback": 1, "reason is not fraud": 1}
    assert "no date: known now" in report.told[0]


def test_records_of_events_give_each_its_verdict_in_its_own_zone(warehouse: Warehouse, tmp_path: Path) -> None:
    header = "Merchant Reference,Record Date,Record Date TimeZone,Record Type,Dispute Reason"
    rows = (
        "a,2026-01-15 08:00,CET,ChargebackReversed,Fraud",
        "a,2026-01-10 08:00,CET,NotificationOfChargeback,Fraud",
        "b,2026-01-10 08:00,CET,RequestForInformation,Fraud",
        "c,2026-01-10 08:00,CET,ChargebackReversed,",
        "b,2026-01-10 08:00,CST,NotificationOfChargeback,Fraud",
        "b,2026-01-10 08:00,CET,Wondering,Fraud",
    )
    report = land(warehouse, tmp_path, header, *rows)
    assert verdicts(warehouse) == [("a", True, datetime(2026, 1, 10, 7)), ("a", False, datetime(2026, 1, 15, 7))]
    assert report.rejected_by_reason == {
        "date is in an unknown zone": 1,
        "no chargeback": 1,
        "record type is not understood": 1,
        "takes back a chargeback that is not known": 1,
    }
    assert report.rows_accepted == 2


def test_a_dispute_that_was_won_is_taken_back_and_an_inquiry_is_none(warehouse: Warehouse, tmp_path: Path) -> None:
    header = "Charge ID,Created (UTC),Reason,Status"
    rows = ("a,2026-01-10 08:00,fraudulent,lost", "b,2026-01-10 08:00,fraudulent,won", "c,2026-01-10,,warning_closed")
    report = land(warehouse, tmp_path, header, *rows)
    at = datetime(2026, 1, 10, 8)
    assert verdicts(warehouse) == [("a", True, at), ("b", True, at), ("b", False, NOW)]
    assert report.rejected_by_reason == {"no chargeback": 1}
    later = land(warehouse, tmp_path, header, "a,2026-01-10 08:00,fraudulent,won")
    assert later.rows_accepted == 1
    assert verdicts(warehouse)[:2] == [("a", True, at), ("a", False, NOW)]


def test_a_dispute_that_was_won_ends_when_the_file_says(warehouse: Warehouse, tmp_path: Path) -> None:
    header = "charge_id,created,reason,status,closed_at"
    land(warehouse, tmp_path, header, "a,2026-01-10 08:00,fraudulent,won,2026-02-01 09:00")
    assert verdicts(warehouse) == [("a", True, datetime(2026, 1, 10, 8)), ("a", False, datetime(2026, 2, 1, 9))]


def test_the_id_is_the_column_whose_values_are_known(warehouse: Warehouse, tmp_path: Path) -> None:
    lines = ("Psp Reference,Merchant Reference,Record Date,Reason", "881,a,2026-01-05,Fraud")
    assert land(warehouse, tmp_path, *lines).rows_accepted == 1
    assert [row[0] for row in stored(warehouse)] == ["a"]


@pytest.mark.parametrize(
    "lines",
    [
        ("transaction_id,amount", "a,5"),
        ("transaction_id,created,amount,status", "a,2026-01-02,5,Paid"),
        ("payment", "a"),
    ],
)
def test_a_list_of_payments_is_no_list_of_chargebacks(
    warehouse: Warehouse, tmp_path: Path, lines: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInput, match=r"--reason-column or --date-column, or say with --any-reason"):
        land(warehouse, tmp_path, *lines)
    assert stored(warehouse) == []
    assert land(warehouse, tmp_path, *lines, any_reason=True).rows_accepted == 1


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        *((text, "disputed") for text in ("Chargeback", "SecondChargeback", "lost", "under_review", "Yes", "TRUE")),
        *((text, "disputed") for text in ("Resolved - Buyer Favour", "Waiting for Seller's Response", "accepted")),
        *((text, "taken_back") for text in ("won", "ChargebackReversed", "Resolved in your favor", "withdrawn")),
        *((text, "nothing") for text in ("warning_needs_response", "Request for Information", "no", "0", "inquiry")),
        *((text, "unknown") for text in ("Closed", "???", "resolved")),
    ],
)
def test_what_states_and_records_mean(text: str, meaning: str) -> None:
    assert meaning_of(text) == meaning


def test_a_second_chargeback_makes_it_fraud_again_in_whatever_order_the_rows_come(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    header = "Merchant Reference;Record Date;Record Date TimeZone;Record Type;Dispute Reason"
    rows = (
        "a;2026-01-20 08:00;CET;SecondChargeback;Fraud - Card Absent Environment",
        "a;2026-01-15 08:00;CET;ChargebackReversed;",
        "a;2026-01-10 08:00;CET;Chargeback;Fraud - Card Absent Environment",
    )
    assert land(warehouse, tmp_path, header, *rows).rows_accepted == 3
    assert verdicts(warehouse) == [("a", day != 15, datetime(2026, 1, day, 7)) for day in (10, 15, 20)]


def test_cases_are_read_by_when_they_were_filed_and_closed_and_retrievals_are_no_disputes(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    header = "Case ID,Case type,Reason,Original transaction ID,Disputed amount,Currency,Status,Date filed,Date closed"
    rows = (
        "1,Chargeback,Unauthorized activity,a,10.00,EUR,Resolved - Seller favour,2026-01-10 08:00,2026-01-20 08:00",
        "2,Retrieval,No_knowledge,b,10.00,EUR,Open,2026-01-10,",
        "3,Chargeback,NO_KNOWLEDGE,c,10.00,EUR,Open,2026-01-10 08:00,",
    )
    report = land(warehouse, tmp_path, header, *rows)
    assert report.rejected_by_reason == {"no chargeback": 1}
    assert verdicts(warehouse) == [
        ("a", True, datetime(2026, 1, 10, 8)),
        ("a", False, datetime(2026, 1, 20, 8)),
        ("c", True, datetime(2026, 1, 10, 8)),
    ]


def test_dates_that_cannot_be_read_are_told_with_the_option_that_says_how(warehouse: Warehouse, tmp_path: Path) -> None:
    report = land(warehouse, tmp_path, "payment_id,chargeback_date,reason", "a,10/01/2026,fraud")
    assert report.rejected_by_reason == {"date is unreadable as iso8601": 1}
    assert "--date-format" in report.told[1]
