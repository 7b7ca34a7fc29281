"""Alert levels: at what review threshold a payment would just pass, of payments known by their day's summary."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.decisions.hard_rules import RULE_REASON
from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.decisions.stages import alert_level
from fraud_pipelines.evaluation.lateness import Reported
from fraud_pipelines.evaluation.levels import Levels, levels_of, merged
from fraud_pipelines.evaluation.windows import ScoredDay, stand_for

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Decided:
    """The payments that a policy decided, by day, at their alert levels.

    ``days`` has the levels of all payments of each day, ascending by day; of the known frauds ``fraud_levels`` are the
    levels, ``fraud_amounts`` the amounts, and ``fraud_weights`` for how many each stands.
    """

    days: Mapping[date, Levels]
    fraud_levels: Floats
    fraud_amounts: Floats
    fraud_weights: Floats
    labelled: int
    labelled_frauds: int

    @classmethod
    def of_days(cls, days: Mapping[date, Levels]) -> "Decided":
        """Payments of which nothing is known."""
        return cls(days, np.empty(0), np.empty(0), np.empty(0), 0, 0)

    @property
    def payments(self) -> int:
        return sum(levels.total for levels in self.days.values())

    @cached_property
    def levels(self) -> Levels:
        """Of all days."""
        return merged(list(self.days.values()))


def decided_of(outcomes: pl.DataFrame, policy: Policy, reported: Reported) -> Decided:
    """From a row a payment: ``event_date``, ``amount``, ``is_fraud``, ``labelled``, the scores of both stages and, if
    any, ``late``, ``reason``, ``decision`` and the columns of segments."""
    frauds = outcomes.filter("is_fraud")
    return Decided(
        days=levels_by_day(outcomes, policy),
        fraud_levels=alert_levels(frauds, policy),
        fraud_amounts=frauds["amount"].to_numpy(),
        fraud_weights=stand_for(frauds, reported),
        labelled=int(outcomes["labelled"].sum()),
        labelled_frauds=int(frauds["labelled"].sum()),
    )


def scored_days_of(outcomes: pl.DataFrame, policy: Policy, reported: Reported) -> list[ScoredDay]:
    """From the same rows, each at its alert level whatever a rule or a segment decided."""
    by_models = outcomes.drop("reason", strict=False)
    with_level = by_models.with_columns(level=pl.Series(alert_levels(by_models, policy), dtype=pl.Float64))
    found = []
    for of_day in with_level.sort("event_date").partition_by("event_date", maintain_order=True):
        frauds = of_day.filter("is_fraud")
        found.append(
            ScoredDay(
                day=of_day["event_date"][0],
                levels=single_levels(of_day["level"].to_numpy()),
                labelled=of_day.filter("labelled")["level"].to_numpy(),
                frauds=frauds["level"].to_numpy(),
                weights=stand_for(frauds, reported),
            )
        )
    return found


def alert_levels(frame: pl.DataFrame, policy: Policy) -> Floats:
    """The `alert_level` of each row; where no model's score is stored, the final score.

    What a hard rule or a segment's own threshold decided stays so whatever is tuned: its level is 1 or 0.
    """
    level = pl.coalesce(alert_level(policy), "score").cast(pl.Float64)
    if "reason" in frame.columns:
        alerted = (pl.col("decision") != "approve").cast(pl.Float64)
        level = pl.when(_settled(policy)).then(alerted).otherwise(level)
    levels: Floats = frame.select(level).to_series().to_numpy()
    return levels


def levels_by_day(frame: pl.DataFrame, policy: Policy) -> dict[date, Levels]:
    """The alert levels of the payments of each day, ascending by day."""
    with_level = frame.select("event_date", level=pl.Series(alert_levels(frame, policy)))
    return {
        rows["event_date"][0]: single_levels(rows["level"].to_numpy())
        for rows in with_level.sort("event_date").partition_by("event_date", maintain_order=True)
    }


def single_levels(levels: Floats) -> Levels:
    """Of numbers that nothing breaks the ties of."""
    return levels_of(levels, np.zeros(len(levels)))


def _settled(policy: Policy) -> pl.Expr:
    """Whether something other than the tuned threshold decided: a rule, or the first segment that fits."""
    by_segment = pl.lit(False)
    for segment in reversed(policy.segments):
        fits = pl.all_horizontal(pl.col(column).is_in(values).fill_null(False) for column, values in segment.selectors)
        by_segment = pl.when(fits).then(segment.review_threshold is not None).otherwise(by_segment)
    return pl.col("reason").str.starts_with(RULE_REASON) | by_segment
