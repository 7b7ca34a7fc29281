"""The Fraud Detection Handbook's payments with our features, and the protocols that train and test on them."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.landing import land_transactions
from fraud_pipelines.transactions.mapping import ColumnMapping

FILES: Final = ("2018-04.parquet", "2018-05.parquet", "2018-06.parquet")
MAPPING: Final = Path(__file__).parents[1] / "data" / "mappings" / "handbook.yaml"

WEEK: Final = timedelta(days=7)
DELAY: Final = timedelta(days=7)
LONGEST_SPAN: Final = timedelta(days=30)
"""Of the feedback features; with the delay it is how much history they need."""

Score = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
"""(training rows, test rows) → ``score`` and ``raw_score`` of the test rows."""


@dataclass(frozen=True)
class Payments:
    """The handbook's payments.

    Attributes:
        transactions: as they are stored.
        labels: each known seven days after its transaction.
        features: of all transactions, with ``is_fraud`` and ``scenario`` beside them.
    """

    transactions: pl.DataFrame
    labels: pl.DataFrame
    features: pl.DataFrame


def read_payments(folder: Path) -> Payments:
    """Land the files, and compute the features."""
    mapping = ColumnMapping.load(MAPPING)
    with tempfile.TemporaryDirectory() as name:
        warehouse = Warehouse(Path(name) / "fraud.duckdb")
        warehouse.initialise()
        for file in FILES:
            land_transactions(warehouse, folder / file, mapping, now=datetime(2018, 7, 8))
        transactions = warehouse.read("SELECT * FROM raw.transactions")
        labels = warehouse.read("SELECT transaction_id, actual_fraud, source, known_at FROM feedback.labels")
    features, _ = compute_features(transactions, past=LabelEvents.of(shipped_plan().entities, transactions, labels))
    scenarios = pl.concat(
        pl.read_parquet(folder / file, columns=["transaction_id", "tx_fraud_scenario"]) for file in FILES
    ).select(pl.col("transaction_id").cast(pl.String), scenario="tx_fraud_scenario")
    frauds = labels.filter("actual_fraud").select("transaction_id", is_fraud=pl.lit(True))
    told = (
        features.join(scenarios, on="transaction_id", how="left")
        .join(frauds, on="transaction_id", how="left")
        .with_columns(pl.col("is_fraud").fill_null(False))
        .sort("timestamp", "transaction_id")
    )
    return Payments(transactions, labels, told)


def read_features(folder: Path) -> pl.DataFrame:
    """The features of `read_payments`."""
    return read_payments(folder).features


def test_weeks(features: pl.DataFrame) -> list[date]:
    """First days of the test weeks: back from the end of the data, as long as the features have their history."""
    days = features["event_date"].unique().sort()
    begin, end = days[0] + LONGEST_SPAN + DELAY, days[-1] + timedelta(days=1)
    count = (end - begin - WEEK - DELAY) // WEEK
    return [end - back * WEEK for back in range(count, 0, -1)]


def without_known_cards(features: pl.DataFrame, week: date) -> pl.DataFrame:
    """The transactions of a test week, but for cards whose fraud, in the training week or later, is known by then."""
    first_frauds = (
        _between(features, week - DELAY - WEEK, week + WEEK)
        .filter("is_fraud")
        .group_by("user_id")
        .agg(first_fraud=pl.col("event_date").min())
    )
    return (
        _between(features, week, week + WEEK)
        .join(first_frauds, on="user_id", how="left")
        .filter(pl.col("first_fraud").is_null() | (pl.col("first_fraud") >= pl.col("event_date") - DELAY))
        .drop("first_fraud")
        .sort("timestamp", "transaction_id")
    )


def by_handbook(
    features: pl.DataFrame, test: pl.DataFrame, week: date, score: Score, span: timedelta = WEEK
) -> pl.DataFrame:
    """Scores of a week by one model, trained on the ``span`` that ends `DELAY` before it."""
    return score(_between(features, week - DELAY - span, week - DELAY), test)


def by_day(
    features: pl.DataFrame, test: pl.DataFrame, _week: date, score: Score, span: timedelta = WEEK
) -> pl.DataFrame:
    """Scores of a week by a model for each day, trained on the ``span`` right before it."""
    days = test.partition_by("event_date", maintain_order=True)
    return pl.concat(
        [score(_between(features, day["event_date"][0] - span, day["event_date"][0]), day) for day in days]
    )


Protocol = Callable[[pl.DataFrame, pl.DataFrame, date, Score, timedelta], pl.DataFrame]

PROTOCOLS: Final[Mapping[str, Protocol]] = {"handbook": by_handbook, "daily": by_day}


def _between(features: pl.DataFrame, first: date, end: date) -> pl.DataFrame:
    return features.filter(pl.col("event_date").is_between(first, end, closed="left"))
