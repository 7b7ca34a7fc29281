"""Currencies: amounts are stored in the base currency, what came is kept, and nothing is mixed silently."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.cleaning import ChunkCleaner
from fraud_pipelines.transactions.currency import NO_BASE, NO_RATE, Money, RateFiles, read_rates, take_in_rates
from fraud_pipelines.transactions.landing import LandingReport, land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.plan.files import plan_of

NOW = datetime(2026, 6, 1)
DECLARED = "attributes: {currency: {type: text}}"
RATES = "date,currency,rate\n2026-05-01,USD,0.5\n2026-05-03,USD,0.25\n2026-05-02,GBP,2\n"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_of(tmp_path, DECLARED)


@pytest.fixture
def warehouse(tmp_path: Path, plan: Plan) -> Warehouse:
    return open_warehouse(tmp_path / "fraud.duckdb", plan=plan, wait_seconds=5)


def rates(warehouse: Warehouse, tmp_path: Path, *, base: str = "EUR", text: str = RATES) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(text)
    take_in_rates(warehouse, base=base, rates_file=file, landing=tmp_path / "landing" / "rates")


def land(warehouse: Warehouse, tmp_path: Path, mapping: ColumnMapping, *rows: str) -> LandingReport:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["transaction_id,user_id,timestamp,amount,currency", *rows]) + "\n")
    return land_transactions(warehouse, path, mapping, now=NOW)


def stored(warehouse: Warehouse) -> list[tuple[object, ...]]:
    query = "SELECT transaction_id, amount, source_amount, currency FROM raw.transactions ORDER BY 1"
    return warehouse.read(query).rows()


def refused(warehouse: Warehouse) -> list[str]:
    return warehouse.read("SELECT reason FROM raw.rejected_transactions ORDER BY row_number")["reason"].to_list()


def test_an_amount_is_converted_by_the_latest_rate_up_to_its_day(
    warehouse: Warehouse, tmp_path: Path, plan: Plan
) -> None:
    rates(warehouse, tmp_path)
    land(
        warehouse,
        tmp_path,
        ColumnMapping.identity(plan.attributes),
        "a,u,2026-05-01T10:00:00,10,USD",
        "b,u,2026-05-02T10:00:00,10,usd",
        "c,u,2026-05-03T00:00:00,10,USD",
        "d,u,2026-05-02T10:00:00,10,EUR",
        "e,u,2026-05-01T23:59:59,10,GBP",
        "f,u,2026-05-09T10:00:00,10,CHF",
        "g,u,2026-05-09T10:00:00,10,",
        "h,u,2026-05-09T10:00:00,10,euro",
    )
    assert stored(warehouse) == [
        ("a", 5.0, 10.0, "USD"),
        ("b", 5.0, 10.0, "USD"),
        ("c", 2.5, 10.0, "USD"),
        ("d", 10.0, 10.0, "EUR"),
    ]
    assert refused(warehouse) == [NO_RATE, NO_RATE, "currency is missing", "currency is no code of three letters"]


def test_what_had_no_rate_can_be_delivered_again(warehouse: Warehouse, tmp_path: Path, plan: Plan) -> None:
    mapping = ColumnMapping.identity(plan.attributes)
    rates(warehouse, tmp_path)
    rows = ("a,u,2026-05-04T10:00:00,10,CHF", "b,u,2026-05-04T10:00:00,10,EUR")
    first = land(warehouse, tmp_path, mapping, *rows)
    assert (first.rows_accepted, first.rows_waiting) == (1, 1)
    rates(warehouse, tmp_path, text="date,currency,rate\n2026-05-04,CHF,1.5\n")
    assert land(warehouse, tmp_path, mapping, *rows).rows_accepted == 1
    assert stored(warehouse) == [("a", 15.0, 10.0, "CHF"), ("b", 10.0, 10.0, "EUR")]
    assert refused(warehouse) == []


def test_one_currency_is_the_base_and_a_second_is_never_mixed_in(
    warehouse: Warehouse, tmp_path: Path, plan: Plan
) -> None:
    mapping = ColumnMapping.identity(plan.attributes)
    land(warehouse, tmp_path, mapping, "a,u,2026-05-04T10:00:00,10,SEK", "b,u,2026-05-04T11:00:00,7,SEK")
    land(warehouse, tmp_path, mapping, "c,u,2026-05-04T10:00:00,10,NOK", "d,u,2026-05-05T10:00:00,10,SEK")
    assert stored(warehouse) == [("a", 10.0, 10.0, "SEK"), ("b", 7.0, 7.0, "SEK"), ("d", 10.0, 10.0, "SEK")]
    assert refused(warehouse) == [NO_RATE]


def test_several_currencies_at_once_need_a_base(warehouse: Warehouse, tmp_path: Path, plan: Plan) -> None:
    mapping = ColumnMapping.identity(plan.attributes)
    rows = ("a,u,2026-05-04T10:00:00,10,SEK", "b,u,2026-05-04T11:00:00,7,USD")
    land(warehouse, tmp_path, mapping, *rows)
    assert refused(warehouse) == [NO_BASE, NO_BASE]
    rates(warehouse, tmp_path, base="SEK")
    land(warehouse, tmp_path, mapping, *rows)
    assert stored(warehouse) == [("a", 10.0, 10.0, "SEK"), ("b", 1.75, 7.0, "USD")]


def test_a_mapping_may_say_the_currency(tmp_path: Path) -> None:
    plain = open_warehouse(
        tmp_path / "plain.duckdb", plan=plan_of(tmp_path, "attributes:\nfeatures:\n"), wait_seconds=5
    )
    path = tmp_path / "mapping.yaml"
    path.write_text("constants: {currency: USD}")
    rates(plain, tmp_path)
    land(plain, tmp_path, ColumnMapping.load(path), "a,u,2026-05-01T10:00:00,10,ignored")
    assert stored(plain) == [("a", 5.0, 10.0, "USD")]


def test_without_a_declared_currency_all_is_as_it_came(tmp_path: Path) -> None:
    plain = open_warehouse(
        tmp_path / "plain.duckdb", plan=plan_of(tmp_path, "attributes:\nfeatures:\n"), wait_seconds=5
    )
    land(plain, tmp_path, ColumnMapping.identity(), "a,u,2026-05-01T10:00:00,10,USD", "b,u,2026-05-01T10:00:00,10,SEK")
    assert plain.read("SELECT amount FROM raw.transactions")["amount"].to_list() == [10.0, 10.0]
    assert "currency" not in plain.read("SELECT * FROM raw.transactions").columns


def test_another_base_than_that_of_the_stored_amounts_is_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    rates(warehouse, tmp_path, base="EUR")
    with pytest.raises(InvalidInput, match="FRAUD_BASE_CURRENCY is USD, and the stored amounts are in EUR"):
        rates(warehouse, tmp_path, base="USD")


def test_rates_that_wait_are_taken_in_and_moved_away(warehouse: Warehouse, tmp_path: Path) -> None:
    landing = tmp_path / "landing" / "rates"
    landing.mkdir(parents=True)
    (landing / "may.csv").write_text(RATES)
    take_in_rates(warehouse, base="EUR", rates_file=None, landing=landing)
    assert warehouse.read("SELECT count(*) FROM raw.exchange_rates").item() == 3
    assert list(landing.iterdir()) == []
    assert (tmp_path / "landing" / "_landed" / "rates" / "may.csv").exists()
    take_in_rates(warehouse, base="EUR", rates_file=None, landing=landing)
    assert warehouse.read("SELECT count(*) FROM raw.exchange_rates").item() == 3


def test_who_runs_for_long_reads_rates_again_once_they_have_changed(warehouse: Warehouse, tmp_path: Path) -> None:
    file, landing = tmp_path / "rates.csv", tmp_path / "landing" / "rates"
    file.write_text(RATES)
    files = RateFiles(warehouse, base="EUR", rates_file=file, landing=landing)

    def known(currency: str) -> list[float]:
        files.take_in()
        query = "SELECT rate FROM raw.exchange_rates WHERE currency = ? ORDER BY rate_date"
        return warehouse.read(query, [currency])["rate"].to_list()

    assert known("USD") == [0.5, 0.25]
    file.write_text("date,currency,rate\n2026-05-09,USD,0.75\n")
    assert known("USD") == [0.5, 0.25, 0.75]
    file.write_text("date,currency,rate\n2026-05-10,USD,none\n")
    assert known("USD") == [0.5, 0.25, 0.75]
    assert "row 1, rate: 'none'" in str(files.problem)
    landing.mkdir(parents=True)
    (landing / "chf.csv").write_text("date,currency,rate\n2026-05-01,CHF,1.5\n")
    file.write_text("date,currency,rate\n2026-05-10,USD,0.8\n")
    assert known("CHF") == [1.5]
    assert known("USD") == [0.5, 0.25, 0.75, 0.8]
    assert files.problem is None
    file.unlink()
    assert known("USD") == [0.5, 0.25, 0.75, 0.8]
    assert "can't be read" in str(files.problem)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("2026-13-01,USD,1", "row 2, date: '2026-13-01'"),
        ("2026-05-01,dollar,1", "row 2, currency: 'dollar'"),
        ("2026-05-01,USD,-1", "row 2, rate: '-1'"),
        ("2026-05-01,USD,", "row 2, rate: None"),
    ],
)
def test_a_rate_that_can_not_be_used_is_named(tmp_path: Path, row: str, named: str) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(f"date,currency,rate\n2026-05-01,GBP,1.1\n{row}\n")
    with pytest.raises(InvalidInput, match=named):
        read_rates(path)


_days = st.dates(min_value=datetime(2026, 1, 1).date(), max_value=datetime(2026, 3, 1).date())
_codes = st.sampled_from(["EUR", "USD", "GBP", "JPY"])


@examples(60)
@given(
    st.dictionaries(st.tuples(_days, _codes), st.floats(0.01, 100)),
    st.lists(st.tuples(_days, _codes, st.integers(0, 9_999)), min_size=1, max_size=20),
)
def test_each_row_has_the_rate_of_its_day(
    known: dict[tuple[object, str], float], rows: list[tuple[object, str, int]]
) -> None:
    money = Money(
        "EUR",
        pl.DataFrame(
            [(day, code, rate) for (day, code), rate in known.items()],
            schema={"rate_date": pl.Date, "currency": pl.String, "rate": pl.Float64},
            orient="row",
        ),
    )
    frame = pl.DataFrame(
        rows, schema={"timestamp": pl.Date, "currency": pl.String, "amount": pl.Float64}, orient="row", strict=False
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us")))
    cleaner = ChunkCleaner(RecordChunk.of(frame), {})
    found = money.convert(frame, cleaner)
    for place, (day, code, amount) in enumerate(rows):
        earlier = {each: rate for (each, of), rate in known.items() if of == code and each <= day}  # type: ignore[operator]
        rate = 1.0 if code == "EUR" else earlier[max(earlier)] if earlier else None  # type: ignore[type-var]
        assert found["amount"][place] == (None if rate is None else amount * rate)
        assert found["source_amount"][place] == amount
        assert (cleaner.reasons[place] is None) == (rate is not None)
