"""The truth of simulated payments beside what was decided: what estimates are to be measured by."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from fraud_pipelines.storage.warehouse import Warehouse


@dataclass(frozen=True)
class Truth:
    """What became of simulated frauds, the end-of-day decisions taken as they were.

    ``frauds`` has a row for each that was decided: ``event_date``, ``scenario``, ``caught`` (it was not approved) and
    ``reported`` (caught, or charged back sooner or later).
    """

    frauds: pl.DataFrame

    def recall(self, first: date, last: date, *, reported_only: bool = True) -> float | None:
        """Share that was caught of the frauds of these days, both included; without those that are never reported,
        or of all. Null without a fraud."""
        found = self.frauds.filter(pl.col("event_date").is_between(first, last))
        caught = (found.filter("reported") if reported_only else found)["caught"]
        return int(caught.sum()) / caught.len() if caught.len() else None

    def let_through(self, first: date, last: date) -> int:
        """Frauds of these days, both included, that were approved."""
        return self.frauds.filter(pl.col("event_date").is_between(first, last), ~pl.col("caught")).height

    def by_kind(self) -> pl.DataFrame:
        """``scenario``, ``caught``, ``frauds``, of all that there were; the most frequent first."""
        return (
            self.frauds.group_by("scenario")
            .agg(caught=pl.col("caught").sum(), frauds=pl.len())
            .sort(["frauds", "scenario"], descending=[True, False])
        )


def truth_of_decisions(warehouse: Warehouse, truth: pl.DataFrame) -> Truth:
    """Join the decisions to the ``truth`` that a simulation wrote."""
    frauds = truth.filter("is_fraud").select("transaction_id", "scenario", "charged_back_at")
    decided = warehouse.read(
        """
        SELECT transaction_id, event_date, decision <> 'approve' AS caught FROM scoring.decisions
        WHERE channel = 'batch' AND event_date BETWEEN $first AND $last ORDER BY transaction_id
        """,
        {"first": truth["event_date"].min(), "last": truth["event_date"].max()},
    )
    return Truth(
        decided.join(frauds, on="transaction_id").select(
            "event_date",
            "scenario",
            "caught",
            reported=pl.col("caught") | pl.col("charged_back_at").is_not_null(),
        )
    )
