"""A backtest of tuning: stored scores decided day by day, with labels that answer the decisions taken."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from fraud_pipelines.decisions.policies import Objective, Policy, Thresholds, initial_thresholds
from fraud_pipelines.decisions.stages import decide
from fraud_pipelines.evaluation.lateness import ReportingDelay
from fraud_pipelines.evaluation.outcomes import matured_window
from fraud_pipelines.evaluation.tuning import Proposal, tune
from fraud_pipelines.transactions.schema import LABEL_COLUMNS

Answers = Callable[[date, pl.DataFrame], pl.DataFrame]
"""(day, ``transaction_id`` and ``decision`` of all days before it) → the labels that become known on the day."""


@dataclass(frozen=True)
class DayOfBacktest:
    """One day: the thresholds that decided it, its decisions, and the proposal for the day after.

    ``decisions`` has ``transaction_id``, ``event_date``, ``decision``, ``score``.
    """

    day: date
    thresholds: Thresholds
    decisions: pl.DataFrame
    proposal: Proposal | None


def backtest(
    scores: pl.DataFrame,
    answers: Answers,
    policy: Policy,
    *,
    objective: Objective | None,
    label_delay_days: int = 7,
    evaluation_days: int = 14,
    recent_days: int = 7,
) -> list[DayOfBacktest]:
    """What a policy would have decided day by day, had its thresholds been tuned every evening.

    What a reviewer or a bank says depends on what was decided, so the labels are asked for, day by day. As in the
    daily run, the evening of a day knows the labels of that day and earlier ones, judges the matured window, and
    sets the thresholds of the next.

    Args:
        scores: ``transaction_id``, ``event_date``, ``amount``, ``screening_score``, ``second_stage_score``.
        answers: the reviewers and banks.
        policy: whose start thresholds decide the first day.
        objective: what tuning strives for; None leaves the thresholds as they start.
    """
    by_day = {key[0]: frame for key, frame in sorted(scores.partition_by("event_date", as_dict=True).items())}
    decided: dict[date, pl.DataFrame] = {}
    verdicts = pl.DataFrame(schema=LABEL_COLUMNS)
    found: list[DayOfBacktest] = []
    thresholds = initial_thresholds(policy, min(by_day))
    for day, today in by_day.items():
        taken = [frame.select("transaction_id", "decision") for frame in decided.values()]
        if taken:
            verdicts = pl.concat([verdicts, answers(day, pl.concat(taken))])
        decided[day] = today.join(decide(today, thresholds, policy), on="transaction_id", maintain_order="left")
        proposal = None
        if objective is not None:
            first, last = matured_window(day, label_delay_days=label_delay_days, evaluation_days=evaluation_days)
            outcomes = outcomes_of(_between(decided, first, last, like=decided[day]), verdicts)
            proposal = tune(
                outcomes,
                _between(decided, day - timedelta(days=recent_days - 1), day, like=decided[day]),
                thresholds,
                policy,
                day=day,
                objective=objective,
                reported=ReportingDelay(chargebacks_of(verdicts, scores), day).reported_of(outcomes),
            )
        found.append(DayOfBacktest(day, thresholds, decided[day], proposal))
        thresholds = proposal.thresholds if proposal else thresholds
    return found


def outcomes_of(decided: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """``decided`` with ``is_fraud``, ``labelled`` and ``late``: without a label a row counts as legitimate.

    A chargeback outranks a review, as in the warehouse's ``feedback.labels_before``.
    """
    by_review = labels.filter(pl.col("source") == "review", "actual_fraud")["transaction_id"]
    verdicts = (
        labels.sort(pl.col("source") == "chargeback", descending=True)
        .unique("transaction_id", keep="first", maintain_order=True)
        .select(
            "transaction_id",
            "actual_fraud",
            late=pl.col("actual_fraud") & ~pl.col("transaction_id").is_in(by_review.implode()),
        )
    )
    return decided.join(verdicts, on="transaction_id", how="left", maintain_order="left").with_columns(
        is_fraud=pl.col("actual_fraud").fill_null(False),
        labelled=pl.col("actual_fraud").is_not_null(),
        late=pl.col("late").fill_null(False),
    )


def chargebacks_of(labels: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """``event_date``, ``known_on`` and ``chargebacks``, how many, of the frauds that were charged back."""
    found = labels.filter(pl.col("source") == "chargeback", "actual_fraud")
    days = found.join(scores.select("transaction_id", "event_date"), on="transaction_id").select(
        "event_date", known_on=pl.col("known_at").dt.date()
    )
    return days.group_by("event_date", "known_on").agg(chargebacks=pl.len())


def _between(decided: dict[date, pl.DataFrame], first: date, last: date, *, like: pl.DataFrame) -> pl.DataFrame:
    frames: Iterable[pl.DataFrame] = (frame for day, frame in decided.items() if first <= day <= last)
    return pl.concat([like.clear(), *frames])
