"""A day on Spark is the same day, to the bit."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.engines.spark import Spark
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines_tests.engines.spark import spark_engine
from fraud_pipelines_tests.features.random_transactions import label_frame
from fraud_pipelines_tests.features.test_shards import DAYS, derive, forty_users, stored, tables


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    yield from spark_engine(tmp_path_factory.mktemp("spark"), 2)


def test_local_sharded_and_spark_give_the_same_bits(spark: Spark, tmp_path: Path) -> None:
    plan = shipped_plan()
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", plan=plan, wait_seconds=5)
    rows = forty_users()
    labels = [
        {
            "transaction_id": row["transaction_id"],
            "actual_fraud": True,
            "source": "chargeback",
            "known_at": row["timestamp"] + timedelta(hours=3),
        }
        for row in rows[::17]
    ]
    stored(warehouse, plan, rows, label_frame(labels))  # type: ignore[arg-type]
    whole = derive(warehouse, plan, DAYS)
    expected = tables(warehouse, plan)
    engines: list[Engine] = [spark, InProcess(2, tmp_path / "work"), Processes(8, tmp_path / "work")]
    for engine in engines:
        assert derive(warehouse, plan, DAYS, engine) == whole
        for name, table in tables(warehouse, plan).items():
            assert_frame_equal(table, expected[name])
    spark.shards = 8
    assert derive(warehouse, plan, DAYS[1:], spark) == whole[1:]
    for engine in engines:
        engine.close()
