"""The evening's look at drift in a warehouse: chance at any volume, weekly patterns, what models leave out."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.errors import MissingData
from fraud_pipelines.evaluation.daily_drift import measure_drift, store_drift
from fraud_pipelines.evaluation.drift import population_stability_index
from fraud_pipelines.features.derivation import derive_day
from fraud_pipelines.plan.compile import plan_in_force, shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.plan.files import written

MONDAY = date(2026, 9, 7)
KEYS = ("transaction_id", "user_id", "timestamp", "event_date")
Values = Mapping[str, object]
MakeDay = Callable[[np.random.Generator, date], Values]


def day(number: int) -> date:
    return MONDAY + timedelta(days=number)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return open_warehouse(tmp_path / "fraud.duckdb", plan=shipped_plan(), wait_seconds=10)


def store_days(warehouse: Warehouse, days: int, rows: int, make: MakeDay, *, first: int = 0) -> None:
    """Features of days: what ``make`` gives, and 0 for every other number."""
    rng = np.random.default_rng(7)
    frames = []
    for number in range(first, first + days):
        keys = {
            "transaction_id": [f"t{number}-{row}" for row in range(rows)],
            "user_id": ["u"] * rows,
            "timestamp": [datetime.combine(day(number), time())] * rows,
            "event_date": [day(number)] * rows,
        }
        columns = {name: 0 if dtype.is_numeric() else None for name, dtype in shipped_plan().feature_types.items()}
        given = keys | dict(make(rng, day(number)))
        frame = pl.DataFrame(given).with_columns(pl.lit(columns[name]).alias(name) for name in columns.keys() - given)
        frames.append(frame.select(pl.col(name).cast(dtype) for name, dtype in shipped_plan().feature_types.items()))
    with warehouse.transaction() as connection:
        insert(connection, "features.transaction_features", pl.concat(frames))


def run(warehouse: Warehouse, number: int) -> dict[str, dict[str, object]]:
    """What is stored of a day, by feature, after it was measured."""
    settings = Settings(data_dir=warehouse.path.parent)
    store_drift(warehouse, measure_drift(warehouse, settings, day(number)), day(number))
    rows = warehouse.read("FROM monitoring.feature_drift WHERE event_date = ?", [day(number)])
    return {row["feature"]: row for row in rows.iter_rows(named=True)}


def drifted(found: Mapping[str, Mapping[str, object]]) -> set[str]:
    return {name for name, row in found.items() if row["drifted"]}


def test_ten_payments_a_day_are_too_few_to_cry_wolf_and_enough_for_a_true_shift(warehouse: Warehouse) -> None:
    def ten(location: float) -> MakeDay:
        return lambda rng, _: {"amount": rng.lognormal(location, 0.5, 10), "user_z": rng.normal(0, 1, 10)}

    store_days(warehouse, 11, 10, ten(3))
    found = [run(warehouse, number) for number in range(11)]
    assert [drifted(each) for each in found] == [set()] * 11
    assert found[0] == {}
    assert any(row["psi"] > 0.25 for each in found for row in each.values())  # type: ignore[operator]

    store_days(warehouse, 1, 10, ten(7), first=11)
    last = run(warehouse, 11)
    assert drifted(last) == {"amount"}
    assert (last["amount"]["rows"], last["amount"]["reference_rows"]) == (10, 70)
    assert last["amount"]["compared_with"] == "the 7 days before"


def test_a_weekly_pattern_is_no_drift_once_it_is_known_and_breaking_it_is(warehouse: Warehouse) -> None:
    def week(rng: np.random.Generator, of: date) -> Values:
        return {"amount": rng.lognormal(5 if of.weekday() == 6 else 3, 1, 400)}

    store_days(warehouse, 37, 400, week)
    sunday, monday, tuesday = (run(warehouse, number) for number in (34, 35, 36))
    assert sunday["amount"]["compared_with"] == "the 7 days before and the last 4 Sundays"
    assert sunday["amount"]["psi"] > 0.25  # type: ignore[operator]
    assert sunday["amount"]["weekday_psi"] < 0.1  # type: ignore[operator]
    assert drifted(sunday) | drifted(monday) | drifted(tuesday) == set()

    store_days(warehouse, 1, 400, lambda rng, _: {"amount": rng.lognormal(6, 1, 400)}, first=37)
    assert drifted(run(warehouse, 37)) == {"amount"}


def test_what_the_models_leave_out_is_not_judged(warehouse: Warehouse) -> None:
    def begun(rng: np.random.Generator, of: date) -> Values:
        labels_arrive = of >= day(5)
        return {
            "amount": rng.lognormal(3, 1, 300),
            "merchant_risk_1d": rng.random(300) * labels_arrive,
            "user_rz": rng.normal(0, 1, 300) if of >= day(5) else [None] * 300,
        }

    store_days(warehouse, 8, 300, begun)
    found = run(warehouse, 7)
    assert found["merchant_risk_1d"]["psi"] > 0.25  # type: ignore[operator]
    assert found["merchant_risk_1d"]["p_value"] is None
    assert "labels have only begun to arrive" in str(found["merchant_risk_1d"]["compared_with"])
    assert "declared or delivered only lately" in str(found["user_rz"]["compared_with"])
    assert found["amount"]["p_value"] is not None
    assert drifted(found) == set()


def test_a_feed_that_breaks_off_has_drifted(warehouse: Warehouse) -> None:
    def breaks(rng: np.random.Generator, of: date) -> Values:
        return {"user_z": rng.normal(0, 1, 300) if of < day(7) else [None] * 300}

    store_days(warehouse, 8, 300, breaks)
    assert drifted(run(warehouse, 7)) == {"user_z"}


def test_a_day_is_summed_up_once_and_its_rows_are_read_no_more(warehouse: Warehouse) -> None:
    store_days(warehouse, 9, 3000, lambda rng, _: {"amount": rng.lognormal(3, 1, 3000)})
    run(warehouse, 7)
    rows = warehouse.read("SELECT event_date, amount FROM features.transaction_features WHERE event_date > ?", [day(0)])
    before, today = (
        rows.filter(of_day)["amount"] for of_day in (pl.col("event_date") < day(8), pl.col("event_date") == day(8))
    )
    with warehouse.transaction() as connection:
        connection.execute("UPDATE features.transaction_features SET amount = 1e9 WHERE event_date < ?", [day(8)])
    found = run(warehouse, 8)["amount"]
    assert found["psi"] == pytest.approx(population_stability_index(before, today), abs=0.001)
    kept = warehouse.read("SELECT count(*), count(DISTINCT (event_date, feature)) FROM features.daily_distributions")
    assert kept.row(0)[0] == kept.row(0)[1]


def test_a_day_that_is_derived_anew_is_summed_up_anew(warehouse: Warehouse) -> None:
    store_days(warehouse, 2, 20, lambda rng, _: {"amount": rng.lognormal(3, 1, 20)})
    run(warehouse, 1)
    payment = {"transaction_id": "t", "user_id": "u", "timestamp": datetime.combine(day(1), time()), "amount": 5.0}
    with warehouse.transaction() as connection:
        rows = pl.DataFrame([payment]).with_columns(
            event_date=pl.lit(day(1)), source=pl.lit("test"), ingested_at=pl.lit(datetime(2026, 9, 9))
        )
        insert(connection, "raw.transactions", rows)
    derive_day(warehouse, day(1), plan=shipped_plan())
    assert warehouse.read("SELECT DISTINCT event_date FROM features.daily_distributions").rows() == [(day(0),)]
    assert run(warehouse, 1)["amount"]["rows"] == 1


def test_declared_columns_that_models_use_are_judged_as_features_are(tmp_path: Path) -> None:
    declared = """
        attributes:
          v1: {type: number, daily: true}
          status: {type: text, role: label, daily: true}
          card: {type: text, role: hash, daily: true}
          v2: {type: number, role: numeric}
    """
    settings = Settings(data_dir=tmp_path, declarations_file=written(tmp_path, declared))
    plan = plan_in_force(settings)
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", plan=plan, wait_seconds=10)
    rng = np.random.default_rng(3)
    for number in range(9):
        last = number == 8
        with warehouse.transaction() as connection:
            payments = pl.DataFrame(
                {
                    "transaction_id": [f"t{number}-{row}" for row in range(200)],
                    "v1": rng.normal(5 if last else 0, 1, 200),
                    "status": rng.choice(["declined", "ok"], 200, p=[0.9, 0.1] if last else [0.2, 0.8]),
                }
            ).with_columns(
                user_id=pl.lit("u"),
                timestamp=datetime.combine(day(number), time()),
                event_date=day(number),
                amount=5.0,
                source=pl.lit("test"),
                ingested_at=datetime(2026, 10, 1),
            )
            insert(connection, "raw.transactions", payments)
            insert(connection, "features.transaction_features", payments.select(*KEYS, "amount"))
    store_drift(warehouse, measure_drift(warehouse, settings, day(8)), day(8))
    found = {row["feature"]: row for row in warehouse.read("FROM monitoring.feature_drift").iter_rows(named=True)}
    assert drifted(found) == {"v1", "status"}
    assert not {"v2", "card"} & found.keys()


def test_a_day_without_features_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(MissingData, match="no features are stored for 2026-09-07"):
        run(warehouse, 0)
