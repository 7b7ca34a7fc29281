"""A warehouse with a queue: payments of the last days, some flagged, each by what a reviewer would see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from fraud_pipelines.storage.connection import insert, select
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse

NOW = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
AWKWARD = "<b>&\"' /..%2F?"


@dataclass(frozen=True)
class Decided:
    """A payment with the decision on it."""

    transaction_id: str
    amount: float = 10.0
    score: float = 0.1
    decision: str = "approve"
    user_id: str = "u1"
    days_ago: float = 2.0
    channel: str = "batch"
    reason_codes: Sequence[str] = ()
    reason: str = "flagged_for_review"
    model_versions: Sequence[str] = ()
    merchant_id: str = "m<1>"
    country: str = "DE"
    device_fingerprint: str | None = None
    audited: bool = False


def store(warehouse: Warehouse, rows: Sequence[Decided]) -> None:
    """Append payments, scores of fraud-daily and decisions; a payment that is known gets a further decision."""
    frame = pl.DataFrame(
        {
            "transaction_id": [row.transaction_id for row in rows],
            "user_id": [row.user_id for row in rows],
            "timestamp": [NOW - timedelta(days=row.days_ago) for row in rows],
            "amount": [row.amount for row in rows],
            "score": [row.score for row in rows],
            "decision": [row.decision for row in rows],
            "channel": [row.channel for row in rows],
            "reason": [row.reason for row in rows],
            "audited": [row.audited for row in rows],
            "merchant_id": [row.merchant_id for row in rows],
            "country": [row.country for row in rows],
            "device_fingerprint": pl.Series([row.device_fingerprint for row in rows], dtype=pl.String),
            **{
                name: pl.Series([list(getattr(row, name)) for row in rows], dtype=pl.List(pl.String))
                for name in ("reason_codes", "model_versions")
            },
        }
    ).with_columns(event_date=pl.col("timestamp").dt.date())
    keys = frame.select("transaction_id", "event_date", "channel", "score")
    with warehouse.transaction() as connection:
        known = select(connection, "SELECT transaction_id FROM raw.transactions")
        insert(
            connection,
            "raw.transactions",
            frame.join(known, on="transaction_id", how="anti").select(
                "transaction_id",
                "user_id",
                "timestamp",
                "event_date",
                "amount",
                "merchant_id",
                "country",
                "device_fingerprint",
                source=pl.lit("test"),
                ingested_at=pl.lit(NOW),
            ),
        )
        insert(
            connection,
            "scoring.transaction_scores",
            keys.with_columns(
                model_name=pl.lit("fraud-daily"),
                model_version=pl.lit(3),
                raw_score=pl.col("score"),
                is_anomaly=pl.col("score") > 0.5,
                scored_at=pl.lit(NOW),
            ),
        )
        insert(
            connection,
            "scoring.decisions",
            frame.select(
                "transaction_id",
                "channel",
                "event_date",
                "decision",
                "score",
                "reason_codes",
                "reason",
                "model_versions",
                "audited",
                policy=pl.lit("balanced"),
                review_threshold=pl.lit(0.5),
                block_threshold=pl.lit(0.8),
                decided_at=pl.lit(NOW),
            ),
        )


def queue_warehouse(folder: Path) -> Warehouse:
    """Forty plain payments of two users, and five flagged ones; by expected loss: big, block, awkward, small, tiny."""
    warehouse = warehouse_at(folder / "fraud.duckdb", wait_seconds=20)
    warehouse.initialise()
    plain = [
        Decided(f"t{n:02}", amount=5.0 + n, score=n / 100, user_id=f"u{n % 2 + 1}", days_ago=3 + n / 4)
        for n in range(40)
    ]
    flagged = [
        Decided("small", 20.0, 0.6, "review", days_ago=1.0, reason_codes=["amount is 3× this customer's median"]),
        Decided("tiny", 1.0, 0.6, "review", user_id="u2", days_ago=1.2),
        Decided("big", 900.0, 0.7, "review", days_ago=1.5, reason_codes=["amount is 40× this customer's median"]),
        Decided("block", 300.0, 0.95, "block", user_id="u2", days_ago=1.6),
        Decided(AWKWARD, 80.0, 0.55, "review", days_ago=1.7, reason_codes=["<script>alert(1)</script>"]),
    ]
    store(warehouse, [*plain, *flagged])
    return warehouse
