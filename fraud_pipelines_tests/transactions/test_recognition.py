"""Recognition: public data sets and exports come in without a mapping, as what they are."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.transactions.landing import land_pending_transactions, land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.recognition import KnownSource, known_sources, mapping_for, recognise
from fraud_pipelines_tests.transactions.known_files import KNOWN_DISPUTES, KNOWN_FILES

NOW = datetime(2026, 6, 1)


def written(folder: Path, text: str, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def plan_of(source: KnownSource, folder: Path) -> Plan:
    if not source.declarations:
        return compile_plan()
    path = folder / "fraud.yaml"
    path.write_text(yaml.safe_dump(source.declarations))
    return compile_plan(path)


def test_each_known_source_has_a_file_of_its_form() -> None:
    assert {*KNOWN_FILES, *KNOWN_DISPUTES} == {*known_sources()}


@pytest.mark.parametrize("name", [*KNOWN_FILES])
def test_a_known_file_comes_in_as_it_is(tmp_path: Path, name: str) -> None:
    known = KNOWN_FILES[name]
    path = written(tmp_path, known.text)
    plan = plan_of(known_sources()[name], tmp_path)
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", plan=plan, wait_seconds=0)
    mapping = mapping_for(path, tmp_path, plan.attributes)
    report = land_transactions(warehouse, path, mapping, now=NOW, max_age_years=40)
    assert report.rejected_by_reason == {}
    assert report.rows_left_out == known.left_out
    assert any(known_sources()[name].title in told for told in report.told)
    assert not any("Not taken" in told for told in report.told)
    rows = warehouse.read("SELECT * FROM raw.transactions ORDER BY timestamp")
    told = [
        (user if known.rows[0][0] else "", str(at), amount)
        for user, at, amount in rows.select("user_id", "timestamp", "amount").rows()
    ]
    assert told == known.rows
    assert rows["kind"].to_list().count("refund") == known.refunds
    for column, values in known.attributes.items():
        assert rows[column].to_list() == values
    assert warehouse.read("SELECT count(*) FROM feedback.labels WHERE actual_fraud").item() == known.frauds
    assert warehouse.read("SELECT count(*) FROM feedback.rejected_labels").item() == 0


@pytest.mark.parametrize("name", [*KNOWN_FILES])
def test_without_its_declarations_the_rest_comes_in_and_what_does_not_is_told(tmp_path: Path, name: str) -> None:
    known, source = KNOWN_FILES[name], known_sources()[name]
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    path = written(tmp_path, known.text)
    report = land_transactions(warehouse, path, mapping_for(path, tmp_path), now=NOW, max_age_years=40)
    assert report.rows_accepted == len(known.rows)
    assert any("Not taken" in told for told in report.told) == bool(source.declarations)


def test_names_are_compared_without_case_and_separators(tmp_path: Path) -> None:
    text = KNOWN_FILES["saml_d"].text.replace("Sender_account", "sender account").replace("Time,", "TIME,", 1)
    found = recognise(written(tmp_path, text))
    assert found is not None
    assert found.name == "saml_d"
    assert found.mapping().columns["user_id"] == "sender account"


@pytest.mark.parametrize(
    ("days", "pattern", "unsure"),
    [
        (("11/26/2025", "11/27/2025"), "%m/%d/%Y", False),
        (("26/11/2025", "01/11/2025"), "%d/%m/%Y", False),
        (("01/11/2025", "02/11/2025"), "%m/%d/%Y", True),
        (("26.11.2025", "27.11.2025"), "%d.%m.%Y", False),
    ],
)
def test_how_dates_are_written_follows_from_the_file_and_is_told(
    tmp_path: Path, days: tuple[str, str], pattern: str, unsure: bool
) -> None:
    text = KNOWN_FILES["paypal_activity"].text
    for before, day in zip(("11/26/2025", "11/27/2025"), days, strict=True):
        text = text.replace(before, day)
    found = recognise(written(tmp_path, text))
    assert found is not None
    assert found.mapping().timestamp.format == f"{pattern} %H:%M:%S"
    assert ("may be" in found.told[-1]) == unsure


def test_values_that_are_no_texts_stop_no_recognition(tmp_path: Path) -> None:
    names = KNOWN_FILES["paypal_activity"].text.partition("\n")[0].replace('"', "").split(",")
    pl.DataFrame({name: [[1, 2]] for name in names}).write_parquet(tmp_path / "x.parquet")
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    path = tmp_path / "x.parquet"
    report = land_transactions(warehouse, path, mapping_for(path, tmp_path), now=NOW)
    assert (report.rows_read, report.rows_accepted) == (1, 0)


def test_a_year_of_two_digits_is_no_year_of_antiquity(tmp_path: Path) -> None:
    found = recognise(written(tmp_path, KNOWN_FILES["german_bank"].text))
    assert found is not None
    assert found.told[-1] == "Times are read as %d.%m.%y"


def landed(folder: Path, text: str) -> list[tuple[str, str, float]]:
    warehouse = warehouse_at(folder / "fraud.duckdb")
    warehouse.initialise()
    path = written(folder, text)
    report = land_transactions(warehouse, path, mapping_for(path, folder), now=NOW)
    assert report.rejected_by_reason == {}
    rows = warehouse.read("SELECT user_id, timestamp, amount FROM raw.transactions ORDER BY timestamp")
    return [(user, str(at), amount) for user, at, amount in rows.rows()]


def test_decimal_commas_and_other_names_of_a_bank_are_recognised(tmp_path: Path) -> None:
    text = "Umsatz-ID;Datum;Uhrzeit;Kunde;Händler;Betrag;Währung\n1;26.11.2025;09:30;K1;Markt;1.284,50;EUR\n"
    assert landed(tmp_path, text + "2;27.11.2025;10:00;K2;Markt;3,00;EUR\n") == [
        ("K1", "2025-11-26 08:30:00", 1284.5),
        ("K2", "2025-11-27 09:00:00", 3.0),
    ]


def test_decimal_commas_of_an_account_abroad_are_recognised(tmp_path: Path) -> None:
    text = KNOWN_FILES["paypal_activity"].text.replace("1,234.50", "1.234,50").replace("-34.50", "-34,50")
    rows = landed(tmp_path, text.replace("-500.00", "-500,00").replace("5.00", "5,00"))
    assert [amount for *_, amount in rows] == [1234.5, 34.5]


def test_without_labels_and_customers_a_known_file_comes_in_all_the_same(tmp_path: Path) -> None:
    lines = [line.rpartition(",")[0] for line in KNOWN_FILES["sparkov"].text.splitlines()]
    assert [amount for *_, amount in landed(tmp_path, "\n".join(lines) + "\n")] == [4.97]
    text = (
        "id,Created (UTC),Amount,Currency,Status\na,2025-11-01 10:00,5.00,eur,Paid\nb,2025-11-01 11:00,6.00,eur,Paid\n"
    )
    path = written(tmp_path, text, "stripe.csv")
    assert "No column tells customers apart, so each row is a customer of its own" in mapping_for(path, tmp_path).told
    (one, *_), (other, *_) = landed(tmp_path, text)[-2:]
    assert one != other


def test_a_mapping_beside_the_file_and_our_own_names_come_first(tmp_path: Path) -> None:
    ours = written(tmp_path, "transaction_id,user_id,timestamp,amount,step,customer\n", "ours.csv")
    assert recognise(ours) is None
    assert recognise(written(tmp_path, "step,customer,amount\n1,c,2\n", "other.csv")) is None
    path = written(tmp_path, KNOWN_FILES["paysim"].text)
    written(tmp_path, "source: mine\ncolumns: {transaction_id: nameDest}\n", "mapping.yaml")
    assert mapping_for(path, tmp_path).source == "mine"


def test_the_landing_zone_recognises_and_refuses_disputes(tmp_path: Path) -> None:
    folder = tmp_path / "landing"
    folder.mkdir()
    written(folder, KNOWN_FILES["banksim"].text)
    disputes = written(folder, KNOWN_DISPUTES["adyen_disputes"], "y.csv")
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    landed = land_pending_transactions(warehouse, folder, clock=lambda: NOW)
    assert [report.rows_accepted for report in landed.reports] == [2]
    assert disputes.exists()
    with pytest.raises(InvalidInput, match=r"holds disputes .Adyen, disputes.*review chargebacks y\.csv"):
        mapping_for(disputes, folder)


def test_the_simulated_cards_are_read_as_by_the_mapping_in_the_data_folder(tmp_path: Path) -> None:
    path = written(tmp_path, KNOWN_FILES["simulated_cards"].text.replace("TX_", "tx_").lower())
    theirs = ColumnMapping.load(Path(__file__).parents[2] / "data" / "mappings" / "handbook.yaml")
    assert mapping_for(path, tmp_path).fingerprint == theirs.fingerprint
