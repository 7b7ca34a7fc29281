"""A derived feature is one declaration away from the table, the docs and the models."""

import json
import subprocess
import sys

import polars as pl
from polars.testing import assert_frame_equal

from fraud_pipelines.detection.schema import DEFAULT_SCHEMA
from fraud_pipelines.features.catalog import FEATURES
from fraud_pipelines.features.derived import derived
from fraud_pipelines.features.engine import add_derived, together

_ANALYST = """
import json, sys
import polars as pl
from fraud_pipelines.features import derived

derived.DERIVED += (
    derived.derived(
        "is_round_amount", pl.col("amount") % 10 == 0, "1 if the amount is a multiple of 10.",
        formula="amount mod 10 = 0", role="binary", daily=True,
    ),
    derived.derived(
        "smallest", pl.min_horizontal(pl.col("^amount_rolling_min_.*$")) + pl.col("is_round_amount"), "By a pattern.",
        formula="min",
    ),
)

from fraud_pipelines.detection.schema import DEFAULT_SCHEMA
from fraud_pipelines.features.docs import features_page
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.live import LiveHistories

rows = pl.DataFrame({"transaction_id": ["a", "b"], "user_id": ["u", "u"], "amount": [30.0, 31.5]}).with_columns(
    timestamp=pl.datetime(2026, 3, 1, time_unit="us")
)
batch = compute_features(rows)[0]
live = LiveHistories()
json.dump(
    {
        "values": batch["is_round_amount"].to_list(),
        "streamed": [live.fold_one(row) for row in rows.to_dicts()] == batch.to_dicts(),
        "documented": "is_round_amount" in features_page(),
        "role": DEFAULT_SCHEMA["is_round_amount"].role,
    },
    sys.stdout,
)
"""


def test_one_declaration_reaches_the_table_the_docs_the_models_and_the_stream() -> None:
    result = subprocess.run([sys.executable, "-c", _ANALYST], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == {"values": [1, 0], "streamed": True, "documented": True, "role": "binary"}


def test_a_single_row_gets_the_bits_it_would_get_among_others() -> None:
    shares = together([derived("share", pl.col("amount") / 1440, "A share.", formula="x / 1440")])
    rows = pl.DataFrame({"amount": [0.1 + k * 1.37 for k in range(300)]})
    one_by_one = pl.concat([add_derived(rows[k : k + 1], shares) for k in range(rows.height)])
    assert_frame_equal(
        add_derived(rows, shares).select(pl.col("share").reinterpret(signed=True)),
        one_by_one.select(pl.col("share").reinterpret(signed=True)),
    )


def test_the_daily_models_use_what_is_declared_daily() -> None:
    assert {name for name, feature in FEATURES.items() if feature.daily} == set(DEFAULT_SCHEMA)
