"""A feature is one declaration away from the table, the docs, the models and the stream."""

from datetime import datetime
from pathlib import Path

import polars as pl

from fraud_pipelines.detection.schema import DEFAULT_SCHEMA
from fraud_pipelines.features.docs import features_page
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines_tests.plan.files import plan_of

ANALYST = """
features:
  is_round_amount: {sql: amount % 10 = 0, role: binary, daily: true, description: 1 if the amount is a multiple of 10.}
"""


def test_one_declaration_reaches_the_table_the_docs_the_models_and_the_stream(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ANALYST)
    rows = pl.DataFrame({"transaction_id": ["a", "b"], "user_id": ["u", "u"], "amount": [30.0, 31.5]}).with_columns(
        timestamp=pl.lit(datetime(2026, 3, 1)).cast(pl.Datetime("us"))
    )
    batch, _ = compute_features(rows, plan=plan)
    live = LiveHistories(plan=plan)
    assert batch["is_round_amount"].to_list() == [1, 0]
    assert [live.fold_one(row) for row in rows.to_dicts()] == batch.to_dicts()
    assert "is_round_amount" in features_page(plan)
    assert plan.daily_schema["is_round_amount"].role == "binary"


def test_the_daily_models_use_what_is_declared_daily() -> None:
    assert set(shipped_plan().daily_schema) == set(DEFAULT_SCHEMA)
