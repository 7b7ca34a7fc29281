"""The frauds that are known when a day begins: what tells a detector of groups which of them frauds show in."""

import hashlib
from datetime import date, timedelta
from typing import Final

import duckdb
import polars as pl

from fraud_pipelines.features.frames import read_features_of
from fraud_pipelines.features.tables import FEATURE_TABLE
from fraud_pipelines.storage.connection import Connection, select
from fraud_pipelines.storage.warehouse import Warehouse

EVIDENCE_DAYS: Final = 28
"""So many matured days are looked at."""
MOST_FRAUDS: Final = 2_000
"""Of more, those whose ids hash lowest stand for all: they say no more together than these."""

_KNOWN_SQL: Final = f"""
    SELECT transaction_id
    FROM feedback.labels_between($first::TIMESTAMP, $instant::TIMESTAMP) l
    JOIN raw.payments t USING (transaction_id)
    WHERE l.actual_fraud AND t.event_date BETWEEN $first AND $last
    ORDER BY md5_number_lower(transaction_id), transaction_id
    LIMIT {MOST_FRAUDS}
"""


def known_frauds(warehouse: Warehouse, day: date, *, label_delay_days: int) -> pl.DataFrame:
    """Features of the frauds known before ``day`` on the `EVIDENCE_DAYS` latest days whose labels have had time to
    arrive; those of days without features aren't among them."""
    parameters = _parameters(day, label_delay_days)
    with warehouse.connect(read_only=True) as connection:
        ids = select(connection, _KNOWN_SQL, parameters)["transaction_id"]
        return read_features_of(warehouse, parameters["first"], ids, last=parameters["last"])


def known_frauds_digest(connection: Connection, day: date, *, label_delay_days: int) -> str:
    """Equal as long as `known_frauds` gives the same rows."""
    query = f"""
        SELECT count(*), sum(hash(hash(f))::HUGEINT) FROM {FEATURE_TABLE} f
        WHERE event_date BETWEEN $first AND $last AND transaction_id IN ({_KNOWN_SQL})
    """
    found = select(connection, query, _parameters(day, label_delay_days)).row(0)
    return hashlib.sha256(repr((duckdb.__version__, found)).encode()).hexdigest()


def _parameters(day: date, label_delay_days: int) -> dict[str, date]:
    last = day - timedelta(days=1 + label_delay_days)
    return {"first": last - timedelta(days=EVIDENCE_DAYS - 1), "last": last, "instant": day}
