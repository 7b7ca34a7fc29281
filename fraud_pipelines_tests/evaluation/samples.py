"""Frames and a warehouse with known contents for the evaluation tests."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from hypothesis import strategies as st

from fraud_pipelines.evaluation.lateness import Reported
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse

FIRST = date(2024, 3, 1)

# (day, user, score, raw score, amount, alert, label): a label of None is unlabelled.
Row = tuple[int, int, float, float, float, bool, bool | None]

# Tenths, so that ties are common.
ROWS: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 5),
        st.integers(0, 10).map(lambda n: n / 10),
        st.integers(0, 2).map(float),
        st.integers(0, 500).map(float),
        st.booleans(),
        st.none() | st.booleans(),
    ),
    max_size=60,
)


def outcomes(rows: Sequence[Row]) -> pl.DataFrame:
    """Outcomes as `matured_decisions` reads them; both stages gave the final score."""
    return pl.DataFrame(
        {
            "transaction_id": [f"t{n}" for n in range(len(rows))],
            "user_id": [f"u{user}" for _, user, *_ in rows],
            "event_date": pl.Series([FIRST + timedelta(days=day) for day, *_ in rows], dtype=pl.Date),
            "amount": pl.Series([row[4] for row in rows], dtype=pl.Float64),
            "score": pl.Series([row[2] for row in rows], dtype=pl.Float64),
            "raw_score": pl.Series([row[3] for row in rows], dtype=pl.Float64),
            "screening_score": pl.Series([row[2] for row in rows], dtype=pl.Float64),
            "second_stage_score": pl.Series([row[2] for row in rows], dtype=pl.Float64),
            "alert": pl.Series([row[5] for row in rows], dtype=pl.Boolean),
            "is_fraud": pl.Series([bool(row[6]) for row in rows], dtype=pl.Boolean),
            "labelled": pl.Series([row[6] is not None for row in rows], dtype=pl.Boolean),
        }
    )


def random_outcomes(seed: int, *, rows: int, days: int, first: date = FIRST, fraud_rate: float = 0.02) -> pl.DataFrame:
    """Anchored scores with a signal, saturated at the top as those beyond the training tail are."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < fraud_rate
    raw = rng.normal(size=rows) + 2.0 * fraud
    tail = (np.argsort(np.argsort(-raw)) + 1) / rows
    score = np.where(tail > 0.01, 0.01 / (2 * tail), 1 - tail / 0.02)
    score = np.minimum(score, 0.9975)
    alert = score > 0.5
    return pl.DataFrame(
        {
            "transaction_id": [f"t{n}" for n in range(rows)],
            "user_id": [f"u{n}" for n in rng.integers(0, max(2, rows // 20), rows)],
            "event_date": [first + timedelta(days=n % days) for n in range(rows)],
            "amount": rng.lognormal(3.5, 0.8, rows) * np.where(fraud, 3.0, 1.0),
            "score": score,
            "raw_score": raw,
            "screening_score": score,
            "second_stage_score": score,
            "alert": alert,
            "is_fraud": fraud,
            "labelled": fraud | alert,
        }
    )


def reported_share(share: float) -> Reported:
    """So much is known to be in."""
    return Reported(share, np.full(10, share))


def known_by_chargeback(days: npt.ArrayLike, waits: npt.ArrayLike, as_of: date) -> pl.DataFrame:
    """Chargebacks as `ReportingDelay` takes them: of payments on these days after `FIRST`, those known by then."""
    found = pl.DataFrame({"day": np.asarray(days, dtype=np.int64), "wait": np.asarray(waits, dtype=np.int64)}).select(
        event_date=pl.lit(FIRST) + pl.duration(days="day"),
        known_on=pl.lit(FIRST) + pl.duration(days=pl.col("day") + pl.col("wait")),
    )
    return (
        found.cast(pl.Date)
        .filter(pl.col("known_on") <= as_of)
        .group_by("event_date", "known_on", maintain_order=True)
        .agg(chargebacks=pl.len())
    )


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12)


def filled_warehouse(folder: Path, *, days: int = 30, a_day: int = 40, seed: int = 0) -> Warehouse:
    """``days`` days of decided and scored transactions, each fraud labelled after 1 to 12 days by review or bank."""
    rng = np.random.default_rng(seed)
    rows = days * a_day
    day = np.repeat(np.arange(days), a_day)
    event_date = [FIRST + timedelta(days=int(n)) for n in day]
    fraud = rng.random(rows) < 0.1
    score = np.round(np.clip(rng.beta(1, 6, rows) + 0.5 * fraud * rng.random(rows), 0, 1), 4)
    ensemble = np.round(np.clip(score + rng.normal(0, 0.05, rows), 0, 1), 4)
    flagged = score > 0.4
    final = np.where(flagged, ensemble, score)
    keys = pl.DataFrame({"transaction_id": [f"t{n:05}" for n in range(rows)], "event_date": event_date})
    at = [noon(on) for on in event_date]
    transactions = keys.with_columns(
        user_id=pl.Series([f"u{n}" for n in rng.integers(0, 25, rows)]),
        timestamp=pl.Series(at),
        amount=pl.Series(np.round(rng.lognormal(3.5, 1, rows), 2)),
        source=pl.lit("test"),
        ingested_at=pl.Series(at),
    )
    scored = keys.with_columns(
        model_name=pl.lit("fraud-daily"),
        channel=pl.lit("batch"),
        model_version=pl.lit(1),
        raw_score=pl.Series(score * 10),
        score=pl.Series(score),
        is_anomaly=pl.Series(score > 0.5),
        scored_at=pl.Series(at),
    )
    by_ensemble = scored.with_columns(
        model_name=pl.lit("fraud-ensemble"), score=pl.Series(ensemble), raw_score=pl.Series(ensemble * 7)
    ).filter(pl.Series(flagged))
    decided = keys.with_columns(
        channel=pl.lit("batch"),
        decision=pl.Series(
            np.where(flagged & (final > 0.8), "block", np.where(flagged & (final > 0.5), "review", "approve"))
        ),
        score=pl.Series(final),
        reason=pl.lit("test"),
        reason_codes=pl.lit([], dtype=pl.List(pl.String)),
        policy=pl.lit("balanced"),
        review_threshold=pl.lit(0.5),
        block_threshold=pl.lit(0.8),
        model_versions=pl.lit([], dtype=pl.List(pl.String)),
        decided_at=pl.Series(at),
    )
    known = [
        noon(on) + timedelta(days=int(wait)) for on, wait in zip(event_date, rng.integers(1, 13, rows), strict=True)
    ]
    labels = keys.select(
        "transaction_id",
        source=pl.Series(np.where(flagged, "review", "chargeback")),
        actual_fraud=pl.Series(fraud),
        known_at=pl.Series(known),
        ingested_at=pl.Series(known),
    ).filter(pl.Series(fraud | (flagged & (final > 0.5))))
    warehouse = warehouse_at(folder / "fraud.duckdb")
    warehouse.initialise()
    with warehouse.transaction() as connection:
        insert(connection, "raw.transactions", transactions)
        insert(connection, "scoring.transaction_scores", pl.concat([scored, by_ensemble]))
        insert(connection, "scoring.decisions", decided)
        insert(connection, "feedback.labels", labels)
    return warehouse


def forget_after(warehouse: Warehouse, day: date) -> None:
    """Delete all that happened or became known after ``day``."""
    with warehouse.transaction() as connection:
        for table in ("raw.transactions", "scoring.transaction_scores", "scoring.decisions"):
            connection.execute(f"DELETE FROM {table} WHERE event_date > ?", [day])
        connection.execute("DELETE FROM feedback.labels WHERE known_at >= ?", [noon(day) + timedelta(hours=12)])
