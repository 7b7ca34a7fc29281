"""Training windows end before the day they are for; fingerprints tell apart whatever changes a model."""

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.detection.schema import FeatureRole, parse_schema
from fraud_pipelines.detection.training import TrainingWindow, training_fingerprint, training_window
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines_tests.detection.samples import MIXED_SCHEMA, mixed_rows

DAY = date(2026, 10, 10)
BEFORE = [DAY - timedelta(days=n) for n in range(1, 30)]


def window(available: list[date]) -> TrainingWindow:
    return training_window(DAY, available, training_days=7, min_training_days=3)


def test_a_model_is_trained_on_the_days_before_its_own() -> None:
    assert window([*BEFORE, DAY, DAY + timedelta(days=1)]) == TrainingWindow(tuple(sorted(BEFORE[:7])), bootstrap=False)


def test_days_without_data_are_skipped_not_replaced_by_older_ones() -> None:
    assert window([*BEFORE[:2], BEFORE[5], *BEFORE[7:], DAY]).days == (BEFORE[5], BEFORE[1], BEFORE[0])


def test_with_too_little_history_the_day_itself_is_learned_from() -> None:
    assert window([BEFORE[0], BEFORE[1], DAY]) == TrainingWindow((BEFORE[1], BEFORE[0], DAY), bootstrap=True)
    assert window([DAY]) == TrainingWindow((DAY,), bootstrap=True)


def test_without_any_data_nothing_is_trained() -> None:
    with pytest.raises(MissingData, match="2026-10-10"):
        window([BEFORE[20], DAY + timedelta(days=1)])


def fingerprint(rows: pl.DataFrame, **changes: object) -> str:
    arguments: dict[str, object] = {"backend": "isolation_forest", "schema": MIXED_SCHEMA, "contamination": 0.01}
    return training_fingerprint(rows, **(arguments | changes))  # type: ignore[arg-type]


def identified(rows: int = 50) -> pl.DataFrame:
    return mixed_rows(rows).with_columns(pl.int_range(rows).cast(pl.String).str.zfill(6).alias("transaction_id"))


def test_the_fingerprint_ignores_order_other_columns_and_spelled_out_defaults() -> None:
    rows = identified()
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=1).with_columns(pl.lit(1).alias("ignored"))
    defaults = {"n_estimators": 100, "max_samples": 1024}
    assert fingerprint(rows) == fingerprint(shuffled, parameters=defaults)
    assert fingerprint(rows) == fingerprint(pl.concat([rows[:20], rows[20:]], rechunk=False))


def test_the_fingerprint_is_the_same_in_another_process(tmp_path: Path) -> None:
    identified().write_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys, polars as pl; from fraud_pipelines.detection.training import training_fingerprint as f; "
        "rows = pl.read_parquet(sys.argv[1]); "
        f"print(f(rows, backend='isolation_forest', schema={MIXED_SCHEMA!r}, contamination=0.01))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "rows.parquet")], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == fingerprint(identified())


def test_the_fingerprint_changes_with_anything_that_changes_the_model() -> None:
    rows = identified()
    variants = [
        fingerprint(rows),
        fingerprint(rows[:-1]),
        fingerprint(rows.with_columns(pl.col("amount") + 1e-9)),
        fingerprint(rows.with_columns(pl.col("country").replace("DE", "ED"))),
        fingerprint(rows.with_columns(pl.col("country").replace("DE", None))),
        fingerprint(rows.with_columns(pl.col("minutes_since_last").fill_null(0.0))),
        fingerprint(rows, backend="suod"),
        fingerprint(rows, contamination=0.02),
        fingerprint(rows, parameters={"n_estimators": 50}),
        fingerprint(rows, seed=1),
        fingerprint(rows, normalization="raw"),
        fingerprint(rows, feature_version="2"),
        fingerprint(rows, schema={name: MIXED_SCHEMA[name] for name in reversed(MIXED_SCHEMA)}),
    ]
    assert len(set(variants)) == len(variants)


def test_the_fingerprint_ignores_groups_where_the_model_does() -> None:
    rows = identified()
    grouped = {**parse_schema(MIXED_SCHEMA), "amount": FeatureRole(role="numeric", group="amount")}
    plain = grouped | {"amount": FeatureRole(role="numeric")}
    assert fingerprint(rows, schema=grouped, backend="pyod.KNN") == fingerprint(rows, schema=plain, backend="pyod.KNN")
    assert fingerprint(rows, schema=grouped) != fingerprint(rows, schema=plain)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidInput, match="transaction_id"):
        fingerprint(mixed_rows(5))
