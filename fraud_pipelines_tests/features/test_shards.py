"""A day in shards is the same day to the bit, however many shards there are, and its failures leave nothing."""

import errno
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine, Result, Work
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.errors import ShardFailed
from fraud_pipelines.features.derivation import DayReport, derive_day
from fraud_pipelines.features.program import programs
from fraud_pipelines.features.tables import history_table
from fraud_pipelines.plan.compile import compile_plan, shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features import random_declarations
from fraud_pipelines_tests.features.declared_oracle import Row
from fraud_pipelines_tests.features.random_declarations import ATTRIBUTES, START, bits
from fraud_pipelines_tests.features.random_transactions import label_frame, labels
from fraud_pipelines_tests.lakes import copied

FURTHER = (
    ATTRIBUTES
    + """
entities:
  card:
    key: card_id
    aggregates:
      - {how: count, over: [1h, 7d], where: "status = 'declined'", name: card_declines}
      - {how: speed, of: [latitude, longitude]}
      - {how: fraud_rate, over: 7d}
  customer_at_merchant:
    key: [user_id, merchant_id]
    aggregates:
      - {how: days_since_first}
      - {how: sum, of: amount, over: 3}
      - {how: fraud_count, over: 7d}
  place:
    key: [country, merchant_id]
    aggregates:
      - {how: z, of: amount}
      - {how: distinct, of: user_id, over: 24h}
      - {how: days_since_fraud}
      - {how: count, over: 24h, where: "kind = 'refund'", name: refunds_there}
  customer:
    key: user_id
    aggregates:
      - {how: sum, of: amount, over: 3, where: "kind = 'refund'", name: refunded}
"""
)
DAYS = [START.date() + timedelta(days=k) for k in range(2)]

Ready = Callable[[str], tuple[Warehouse, Plan]]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """A fresh warehouse for what ships, or for further declarations; to make one takes longer than to copy it."""
    folder = tmp_path_factory.mktemp("shards")
    (folder / "fraud.yaml").write_text(FURTHER)
    plans = {"shipped": shipped_plan(), "further": compile_plan(folder / "fraud.yaml")}
    for name, plan in plans.items():
        open_warehouse(folder / f"{name}.duckdb", plan=plan, wait_seconds=5)
    copies = iter(range(1_000))

    def fresh(name: str) -> tuple[Warehouse, Plan]:
        path = folder / f"copy-{next(copies)}.duckdb"
        copied(folder / f"{name}.duckdb", path)
        return warehouse_at(path), plans[name]

    return fresh


@st.composite
def crowded(draw: st.DrawFn) -> list[Row]:
    """Transactions and refunds of several users within two days, in order."""
    rows = draw(random_declarations.transactions(60))
    for row in rows:
        row["timestamp"] = START + (row["timestamp"] - START) % timedelta(days=len(DAYS))
        row["user_id"] = draw(st.sampled_from(["u1", "u2", "u3", "ü4", "", "u'5"]))
        row["device_fingerprint"] = draw(st.sampled_from(["d1", "d2", "d3", None]))
        row["card_id"] = draw(st.sampled_from(["c1", "c2", "c3", None]))
        row["kind"] = draw(st.sampled_from(["payment", "payment", None, "refund"]))
    return sorted(rows, key=lambda row: (row["timestamp"], row["transaction_id"]))


def stored(warehouse: Warehouse, plan: Plan, rows: list[Row], found: pl.DataFrame) -> list[date]:
    """Store rows and labels; the days that have payments."""
    transactions = random_declarations.frame(rows, plan).with_columns(
        event_date=pl.col("timestamp").dt.date(), source=pl.lit("test"), ingested_at=pl.lit(START)
    )
    with warehouse.transaction() as connection:
        insert(connection, "raw.transactions", transactions)
        insert(connection, "feedback.labels", found.with_columns(ingested_at=pl.lit(START)))
    paid = transactions.filter(pl.col("kind").ne_missing("refund"))
    return paid["event_date"].unique().sort().to_list()


def tables(warehouse: Warehouse, plan: Plan) -> dict[str, pl.DataFrame]:
    """All that is derived from transactions, in one order."""
    queries = {
        "features": "SELECT * FROM features.transaction_features ORDER BY transaction_id",
        "population": "SELECT * EXCLUDE (payments), sum(payments) AS payments FROM features.population "
        "GROUP BY ALL ORDER BY ALL",
        "starts": "SELECT * FROM features.entity_starts ORDER BY ALL",
        "stale": "SELECT event_date, reason FROM raw.stale_days ORDER BY ALL",
    }
    for each in programs(plan):
        queries[each.entity.name] = f"SELECT * FROM {history_table(each.entity)} ORDER BY ALL"
    return {name: bits(warehouse.read(query)) for name, query in queries.items()}


def derive(warehouse: Warehouse, plan: Plan, days: list[date], engine: Engine | None = None) -> list[DayReport]:
    return [derive_day(warehouse, day, plan=plan, engine=engine) for day in days]


@pytest.mark.slow
@pytest.mark.parametrize("declared", ["shipped", "further"])
@examples(16, unchecked=list(HealthCheck))
@given(st.data())
def test_any_number_of_shards_gives_the_same_bits(
    ready: Ready, tmp_path: Path, declared: str, data: st.DataObject
) -> None:
    warehouse, plan = ready(declared)
    rows = data.draw(crowded())
    days = stored(warehouse, plan, rows, label_frame(data.draw(labels(rows))))  # type: ignore[arg-type]
    whole = derive(warehouse, plan, days)
    expected = tables(warehouse, plan)
    engine = InProcess(data.draw(st.sampled_from([2, 3, 8])), tmp_path / "work")
    assert derive(warehouse, plan, days, engine) == whole
    for name, table in tables(warehouse, plan).items():
        assert_frame_equal(table, expected[name])
    assert not (tmp_path / "work").exists()


def forty_users() -> list[Row]:
    """Two days of forty users who share few devices and merchants."""
    return [
        {
            "transaction_id": f"t{number:04d}",
            "user_id": f"u{number * 7 % 40}",
            "timestamp": START + number * timedelta(minutes=7),
            "amount": 1.0 + number * 37 % 101,
            "merchant_id": f"m{number % 9}",
            "device_fingerprint": f"d{number % 11}",
            "country": "DE" if number % 4 else "FR",
        }
        for number in range(400)
    ]


def some_days(ready: Ready) -> tuple[Warehouse, Plan]:
    """The days of `forty_users`, stored."""
    warehouse, plan = ready("shipped")
    stored(warehouse, plan, forty_users(), label_frame([]))
    return warehouse, plan


def test_processes_give_the_same_bits(ready: Ready, tmp_path: Path) -> None:
    warehouse, plan = some_days(ready)
    whole = derive(warehouse, plan, DAYS)
    expected = tables(warehouse, plan)
    with closing(Processes(3, tmp_path / "work")) as engine:
        assert derive(warehouse, plan, DAYS, engine) == whole
        assert {cost.step for cost in engine.taken_costs()} == {
            "cut by other keys",
            "fold other entities",
            "fold users of shard",
        }
    for name, table in tables(warehouse, plan).items():
        assert_frame_equal(table, expected[name])


@dataclass
class Failing(InProcess):
    """Fails at the step that it is told."""

    at: str = ""
    error: Exception = field(default_factory=lambda: ShardFailed("Shard 1 was killed"))

    def map(self, step: Callable[[Work], Result], works: Sequence[Work]) -> list[Result]:
        found = super().map(step, works)
        if step.__name__ == self.at:
            raise self.error
        return found


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("cut_by_other_keys", ShardFailed("Shard 1 was killed")),
        ("fold_other_entities", OSError(errno.ENOSPC, "No space left on device")),
        ("fold_users_of_shard", KeyboardInterrupt()),
    ],
)
def test_what_fails_leaves_all_tables_as_they_were(
    ready: Ready, tmp_path: Path, step: str, error: BaseException
) -> None:
    warehouse, plan = some_days(ready)
    derive(warehouse, plan, DAYS[:1])
    before = tables(warehouse, plan)
    engine = Failing(3, tmp_path / "work", at=step, error=error)  # type: ignore[arg-type]
    with pytest.raises(type(error) if not isinstance(error, OSError) else ShardFailed, match=re.escape(str(error))):
        derive(warehouse, plan, DAYS[1:], engine)
    for name, table in tables(warehouse, plan).items():
        assert_frame_equal(table, before[name])
    assert not (tmp_path / "work").exists()


def test_a_folder_that_cannot_be_written_to_is_told(ready: Ready, tmp_path: Path) -> None:
    warehouse, plan = some_days(ready)
    (tmp_path / "work").touch()
    with pytest.raises(ShardFailed, match=r"can't be kept in .*work.*FRAUD_WORK_DIR"):
        derive(warehouse, plan, DAYS[:1], InProcess(3, tmp_path / "work"))
