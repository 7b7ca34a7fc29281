"""What the features of a stream cost: one transaction at a time, and micro-batches, with many users known."""

import time
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.features.engine import fold_rows, prepare
from fraud_pipelines.features.feature_plan import feature_plan
from fraud_pipelines.features.history import empty_histories
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.plan.compile import shipped_plan

USERS: Final = 100_000
HISTORY_ROWS: Final = 10 * USERS
SINGLE: Final = 5_000
BATCH: Final = 1_000
BATCHES: Final = 50
WARM_UP: Final = 100
ROWS: Final = HISTORY_ROWS + WARM_UP + SINGLE + (BATCHES + 1) * BATCH


def stream(transactions: pl.DataFrame) -> dict[str, float]:
    """Seconds a single transaction takes (median and 99th percentile), and transactions per second in batches.

    Args:
        transactions: `ROWS` of them, in order of time; the first `HISTORY_ROWS` are known beforehand. A tenth of
            these have been found fraudulent.
    """
    earlier = transactions.head(HISTORY_ROWS)
    compiled = feature_plan(shipped_plan())
    _, histories = fold_rows(
        prepare(earlier, compiled), empty_histories(compiled.programs), LabelEvents.nothing(shipped_plan().entities)
    )
    live = LiveHistories(histories, _past(earlier))
    single = transactions.slice(HISTORY_ROWS, WARM_UP + SINGLE).to_dicts()
    took = []
    for row in single:
        begun = time.perf_counter()
        live.fold_one(row)
        took.append(time.perf_counter() - begun)
    coming = transactions.slice(HISTORY_ROWS + len(single))
    batches = [coming.slice(k * BATCH, BATCH) for k in range(BATCHES + 1)]
    live.fold(batches[0])
    begun = time.perf_counter()
    for batch in batches[1:]:
        live.fold(batch)
    rate = BATCH * BATCHES / (time.perf_counter() - begun)
    median, late = np.percentile(took[WARM_UP:], (50, 99))
    return {"median": float(median), "p99": float(late), "rate": rate, "users": float(len(histories["user"]))}


def _past(transactions: pl.DataFrame) -> LabelEvents:
    labels = transactions.gather_every(10).select(
        "transaction_id",
        actual_fraud=pl.lit(True),
        source=pl.lit("review"),
        known_at=pl.col("timestamp").dt.offset_by("3d"),
    )
    return LabelEvents.of(shipped_plan().entities, transactions, labels)
