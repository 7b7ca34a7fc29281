"""How well the audit sample tells the frauds let through, on a simulated run whose truth is known.

    FRAUD_DATA_DIR=sixty fraud-pipelines demo --days 60
    FRAUD_DATA_DIR=sixty python -m benchmarks.audit_sample

As of each day from the 20th on, the frauds that were approved in the trailing 14 days are estimated from a sample of so
many a day, drawn from the scores that were stored, with reviews that take a day; once as the product draws it, and once
with the same probability for every payment. Printed are the share of days whose interval contains the truth, and the
median width. Many seeds are tried, since the windows of one run overlap. Where the run drew a sample of its own, what
it stored of it is judged too.
"""

import argparse
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.decisions.audit_sample import RISK_MODELS, draw_sample, place_of
from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.evaluation.audited import Approved, AuditSample, Bounded
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.simulator import read_truth

Floats = npt.NDArray[np.float64]

FIRST_DAY = 20
TRAILING = 14


@dataclass(frozen=True)
class Judged:
    """Intervals beside the truth, one for each day and seed."""

    truth: Floats
    value: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, pairs: list[tuple[float, Bounded]]) -> "Judged":
        bounds = (np.array([getattr(each, name) for _, each in pairs]) for name in ("value", "low", "high"))
        return cls(np.array([truth for truth, _ in pairs]), *bounds)

    def line(self, name: str) -> str:
        covered = ((self.low <= self.truth) & (self.truth <= self.high)).mean()
        bias = (self.value.mean() - self.truth.mean()) / self.truth.mean()
        return (
            f"{name:28} contains the truth {covered:6.1%}   median width {np.median(self.width):7.0f}   "
            f"mean error {bias:+6.1%}   truth {np.median(self.truth):5.0f}   ({len(self.truth):,} intervals)"
        )

    @property
    def width(self) -> Floats:
        return self.high - self.low


def approved_payments(warehouse: Warehouse, truth: pl.DataFrame) -> pl.DataFrame:
    """Of each approved payment ``transaction_id``, ``event_date``, ``score`` (its risk's), ``amount``, ``is_fraud``."""
    rows = warehouse.read(
        """
        WITH risk AS (
            SELECT transaction_id, event_date, arg_min(score, list_position($models, model_name)) AS risk
            FROM scoring.transaction_scores
            WHERE channel = 'batch' AND list_contains($models, model_name)
            GROUP BY ALL
        )
        SELECT d.transaction_id, d.event_date, coalesce(r.risk, d.score) AS score
        FROM scoring.decisions d LEFT JOIN risk r USING (transaction_id, event_date)
        WHERE d.channel = 'batch' AND d.decision = 'approve'
        ORDER BY d.event_date, d.transaction_id
        """,
        {"models": list(RISK_MODELS)},
    )
    return rows.join(truth.select("transaction_id", "amount", "is_fraud"), on="transaction_id", maintain_order="left")


def with_probabilities(approved: pl.DataFrame, per_day: float, *, uniform: bool) -> pl.DataFrame:
    """The payments with the probability of each to be drawn."""
    found = []
    for of_day in approved.partition_by("event_date", maintain_order=True):
        scores = np.ones(of_day.height) if uniform else of_day["score"].to_numpy()
        draw = draw_sample(scores, per_day, seed=0, model="")
        assert draw is not None
        found.append(of_day.with_columns(audit_probability=pl.Series(draw.probability(scores))))
    return pl.concat(found)


def estimates(payments: pl.DataFrame, seeds: int) -> list[tuple[float, Bounded]]:
    """The truth and the estimate as of each day, for each seed."""
    days = payments["event_date"].unique().sort().to_list()
    pairs = []
    for seed in range(seeds):
        drawn = payments.filter(pl.Series(place_of(payments["transaction_id"], seed)) < pl.col("audit_probability"))
        for as_of in days[FIRST_DAY - 1 :]:
            pairs.append(estimate(payments, drawn, as_of))
    return pairs


def estimate(payments: pl.DataFrame, drawn: pl.DataFrame, as_of: date) -> tuple[float, Bounded]:
    """Of the trailing days, with the reviews that are done by the end of ``as_of``."""
    within = pl.col("event_date").is_between(as_of - timedelta(days=TRAILING - 1), as_of)
    window = payments.filter(within)
    rows = drawn.filter(within).select(
        "audit_probability",
        "amount",
        is_fraud=pl.when(pl.col("event_date") < as_of).then(pl.col("is_fraud")),
        reported=pl.lit(value=False),
        level=pl.col("score"),
    )
    approved = Approved(payments=window.height, sampled=window.height, amount=float(window["amount"].sum()))
    return float(window["is_fraud"].sum()), AuditSample(rows, approved).let_through()


def stored(warehouse: Warehouse, payments: pl.DataFrame) -> list[tuple[float, Bounded]]:
    """What the run itself stored, as of each day from the 20th on."""
    days = payments["event_date"].unique().sort().to_list()
    rows = warehouse.read(
        """
        SELECT window_start, window_end, frauds_let_through, frauds_let_through_low, frauds_let_through_high
        FROM monitoring.audit_performance WHERE frauds_let_through IS NOT NULL AND as_of >= $first ORDER BY as_of
        """,
        {"first": days[FIRST_DAY - 1]},
    )
    return [
        (float(payments.filter(pl.col("event_date").is_between(first, last))["is_fraud"].sum()), Bounded(*bounds))
        for first, last, *bounds in rows.iter_rows()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-day", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    settings = Settings.from_environment()
    warehouse = live_warehouse(settings)
    payments = approved_payments(warehouse, read_truth(settings.simulation_dir))
    days = payments["event_date"].n_unique()
    print(
        f"{payments.height:,} approved payments of {days} days, {payments['is_fraud'].sum():,} of them frauds; ", end=""
    )
    print(f"{options.per_day:g} a day drawn, {options.seeds} seeds")
    by_risk, uniform = (
        Judged.of(estimates(with_probabilities(payments, options.per_day, uniform=each), options.seeds))
        for each in (False, True)
    )
    print(by_risk.line("drawn by risk"))
    print(uniform.line("every payment alike"))
    print(f"{'':28} width, by risk over alike: {np.median(by_risk.width) / np.median(uniform.width):.2f}")
    if policy_in_force(settings).audit_per_day and (pairs := stored(warehouse, payments)):
        print(Judged.of(pairs).line("as the run stored it"))


if __name__ == "__main__":
    main()
