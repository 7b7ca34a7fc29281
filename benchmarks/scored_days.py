"""Days of payments scored as the daily run does, with the truth beside: for studies of what comes after scoring."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from handbook import FILES

from fraud_pipelines.decisions.policies import Policy, initial_thresholds
from fraud_pipelines.decisions.stages import decide
from fraud_pipelines.detection.default_schema import default_schema
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.training import training_window
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.history import History
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.transactions.schema import LABEL_COLUMNS, TIMESTAMP, TRANSACTION_COLUMNS
from fraud_pipelines.transactions.simulator import (
    TRUTH_COLUMNS,
    Simulation,
    labels_known_on,
)
from fraud_pipelines.transactions.simulator.simulation import chargeback_delays

TRAINING_DAYS: Final = 7
MIN_TRAINING_DAYS: Final = 3
MEMORY: Final = timedelta(days=40)
"""How far back feedback features look: the longest span and the labels' delay, with room to spare."""

SCORE_COLUMNS: Final = ("transaction_id", "event_date", "screening_score", "second_stage_score")


@dataclass(frozen=True)
class ScoredDays:
    """``scores`` have `SCORE_COLUMNS`, ``truth`` has ``TRUTH_COLUMNS``; a row a transaction in both."""

    name: str
    scores: pl.DataFrame
    truth: pl.DataFrame

    @property
    def days(self) -> list[date]:
        """The days, in order."""
        return list(self.scores["event_date"].unique().sort())

    @classmethod
    def read(cls, folder: Path | None, name: str) -> "ScoredDays | None":
        """What `kept_in` wrote; None where there is nothing of that name."""
        if folder is None or not (folder / f"{name}.truth.parquet").exists():
            return None
        return cls(
            name, pl.read_parquet(folder / f"{name}.scores.parquet"), pl.read_parquet(folder / f"{name}.truth.parquet")
        )

    def kept_in(self, folder: Path | None) -> "ScoredDays":
        """Itself, written to the folder if there is one."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.scores.write_parquet(folder / f"{self.name}.scores.parquet")
            self.truth.write_parquet(folder / f"{self.name}.truth.parquet")
        return self


def handbook(folder: Path, *, seed: int = 0) -> Simulation:
    """The handbook's payments, with chargebacks as late and as partial as the simulator's."""
    raw = pl.concat(pl.read_parquet(folder / name) for name in FILES).sort("tx_datetime", "transaction_id")
    known = raw.select(
        transaction_id=pl.col("transaction_id").cast(pl.String),
        user_id=pl.col("customer_id").cast(pl.String),
        timestamp=pl.col("tx_datetime").cast(TIMESTAMP),
        amount=pl.col("tx_amount").cast(pl.Float64),
        merchant_id=pl.col("terminal_id").cast(pl.String),
    )
    unknown = [
        pl.lit(None, dtype).alias(name) for name, dtype in TRANSACTION_COLUMNS.items() if name not in known.columns
    ]
    transactions = known.with_columns(unknown).select(list(TRANSACTION_COLUMNS))
    is_fraud = raw["tx_fraud"].cast(pl.Boolean)
    delays = chargeback_delays(np.random.default_rng(seed), is_fraud.to_numpy())
    truth = transactions.select(
        "transaction_id",
        "user_id",
        "timestamp",
        "amount",
        event_date=pl.col("timestamp").dt.date(),
        is_fraud=is_fraud,
        scenario=raw["tx_fraud_scenario"].cast(pl.String),
        charged_back_at=pl.col("timestamp") + delays,
    )
    return Simulation(transactions, truth.select(list(TRUTH_COLUMNS)).cast(pl.Schema(TRUTH_COLUMNS)))


def score_days(
    name: str, payments: Simulation, policy: Policy, *, track: Callable[[Iterable[date]], Iterable[date]] = iter
) -> ScoredDays:
    """Score every day by an isolation forest and an ensemble that learned from the days before it.

    Feedback features need labels, and what is reviewed depends on what was decided: they come from the decisions by
    the policy's start thresholds. So the scores are the same for every way of tuning that is compared on them.
    """
    transactions = payments.transactions.with_columns(event_date=pl.col("timestamp").dt.date())
    by_day = {key[0]: frame for key, frame in transactions.partition_by("event_date", as_dict=True).items()}
    histories: dict[str, History] = {}
    features: dict[date, pl.DataFrame] = {}
    labels = pl.DataFrame(schema=LABEL_COLUMNS)
    decisions = pl.DataFrame(schema={"transaction_id": pl.String, "decision": pl.String})
    scores: list[pl.DataFrame] = []
    for day in track(sorted(by_day)):
        labels = pl.concat([labels, labels_known_on(day, payments.truth, decisions)])
        recent = pl.concat([frame for at, frame in by_day.items() if day - MEMORY <= at <= day])
        past = LabelEvents.of(shipped_plan().entities, recent, labels.join(recent, on="transaction_id", how="semi"))
        features[day], histories = compute_features(by_day[day].drop("event_date"), histories, past)
        window = training_window(day, list(features), training_days=TRAINING_DAYS, min_training_days=MIN_TRAINING_DAYS)
        training = pl.concat([features[at] for at in window.days])
        schema, _ = default_schema(training)
        today = features[day]
        scored = today.select("transaction_id", "event_date").with_columns(
            **{
                column: FraudModel.fit(
                    training, backend=backend, schema=schema, contamination=policy.contamination
                ).score(today)["score"]
                for column, backend in (("screening_score", "isolation_forest"), ("second_stage_score", "suod"))
            }
        )
        scores.append(scored)
        decided = decide(scored, initial_thresholds(policy, day), policy)
        decisions = pl.concat([decisions, decided.select("transaction_id", "decision")])
        features.pop(day - timedelta(days=TRAINING_DAYS + 1), None)
    return ScoredDays(name, pl.concat(scores), payments.truth)
