"""What is judged of a range of days, as it was known at the end of a day: read once, for every model and policy."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.detection.daily_models import ENSEMBLE_MODEL
from fraud_pipelines.evaluation.alert_levels import Decided, alert_levels
from fraud_pipelines.evaluation.audited import Approved, AuditSample, Caught
from fraud_pipelines.evaluation.lateness import Reported, ReportingDelay
from fraud_pipelines.evaluation.levels import payments_above
from fraud_pipelines.evaluation.outcomes import reporting_delay, screening_model, with_segments
from fraud_pipelines.evaluation.summaries import AMOUNT, POLICY_PREFIX, Summaries, read_summaries
from fraud_pipelines.evaluation.windows import FRAUD_COLUMNS, DaySummary, ScoredDay, Window, stand_for
from fraud_pipelines.storage.connection import registered, select
from fraud_pipelines.storage.warehouse import Warehouse

_HERE: Final = Path(__file__).parent
_ONE_DAY: Final = timedelta(days=1)


class JudgedDays:
    """The days from ``first`` to ``last``, by the labels known at the end of ``as_of``.

    Nothing later than ``as_of`` is looked at, so that the answer stays the same whatever comes after.

    Args:
        models: whose scores are judged; by default those of every model, and the amounts alone.
        policy: judge the decisions of this policy; without it none.
        detailed_to: of later days only the counts are needed, of decisions their alert levels too.
        every: count payments of which only a verdict tells the outcome before they have one, for how many there are.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        as_of: date,
        first: date,
        last: date,
        *,
        models: Sequence[str] | None = None,
        policy: Policy | None = None,
        detailed_to: date | None = None,
        every: bool = False,
    ) -> None:
        self.as_of = as_of
        self._warehouse = warehouse
        self._days = {"first": first, "last": last}
        self._models = models
        self._policy = policy
        self._detailed_to = detailed_to
        self._every = every
        self._of: dict[tuple[str, str], pl.DataFrame] = {}
        self._audited: dict[str, tuple[pl.DataFrame, pl.DataFrame]] = {}

    @cached_property
    def summaries(self) -> Summaries:
        return read_summaries(
            self._warehouse,
            **self._days,
            known_before=None if self._every else self.as_of + _ONE_DAY,
            models=self._models,
            policy=self._policy,
            detailed_to=self._detailed_to,
        )

    @cached_property
    def chargebacks(self) -> ReportingDelay:
        return reporting_delay(self._warehouse, self.as_of)

    @cached_property
    def labelled(self) -> pl.DataFrame:
        """Every payment with a label: ``transaction_id``, ``event_date``, ``user_id``, ``amount``,
        ``merchant_category``, ``country``, ``is_fraud``, ``late``."""
        segments = self._policy.segment_columns if self._policy else ()
        query = with_segments(_query("labelled_payments"), segments)
        return self._warehouse.read(query, self._days | {"known_before": self.as_of + _ONE_DAY})

    def reported(self, window: Window) -> Reported:
        """How many of the window's chargebacks are in."""
        return self.chargebacks.reported(window.payments, complete=0 < window.labelled == window.transactions)

    def window(self, name: str, channel: str, first: date, last: date, *, alert_share: float = 0.0) -> Window:
        """The days of a model, of a policy (`POLICY_PREFIX`), or of the `AMOUNT` alone.

        Args:
            alert_share: share of a day's payments that the amount alone would alert.
        """
        days = self.summaries.days(name, channel, first, last)
        labelled = self._judged(name, channel).filter(pl.col("event_date").is_between(first, last))
        if name == AMOUNT:
            days, labelled = _alerted_by_amount(days, labelled, alert_share)
        return Window(
            days=days,
            frauds=labelled.filter("is_fraud").select("transaction_id", *FRAUD_COLUMNS),
            labelled=labelled.height,
            alerts_labelled=int(labelled["alert"].sum()),
        )

    def scored_days(self, name: str, channel: str, first: date, last: date, reported: Reported) -> list[ScoredDay]:
        """The days at the scores of a model, whatever was decided; none of a day that only the counts are read of."""
        by_day = self._judged(name, channel).partition_by("event_date", as_dict=True)
        nothing = self._judged(name, channel).clear()
        found = []
        detailed = min(last, self._detailed_to or last)
        for day in self.summaries.days(name, channel, first, detailed):
            labelled = by_day.get((day.event_date,), nothing)
            frauds = labelled.filter("is_fraud")
            scores = (labelled["score"].to_numpy(), frauds["score"].to_numpy())
            found.append(ScoredDay(day.event_date, day.levels, *scores, stand_for(frauds, reported)))
        return found

    def decided(
        self, channel: str, first: date, last: date, reported: Reported, *, sample: AuditSample | None = None
    ) -> Decided:
        """The payments that the policy decided, at their alert levels.

        Args:
            reported: how many of the chargebacks on them are in; those that aren't are stood for by those that are.
            sample: tells them, and the frauds that nobody ever reports, in their place.
        """
        assert self._policy
        name = POLICY_PREFIX + self._policy.name
        days = self.summaries.days(name, channel, first, last)
        labelled = self._judged(name, channel).filter(pl.col("event_date").is_between(first, last))
        frauds = labelled.filter("is_fraud")
        decided = Decided(
            days={day.event_date: day.alert_levels for day in days if day.alert_levels},
            fraud_levels=alert_levels(frauds, self._policy),
            fraud_amounts=frauds["amount"].to_numpy(),
            fraud_weights=stand_for(frauds, reported),
            labelled=labelled.height,
            labelled_frauds=frauds.height,
        )
        return _told_by(sample, decided) if sample else decided

    def audit_sample(self, channel: str, first: date, last: date) -> AuditSample | None:
        """What the audit sample of the policy's decisions tells; None where none was drawn."""
        assert self._policy
        within = pl.col("event_date").is_between(first, last)
        if channel not in self._audited:
            self._audited[channel] = self._drawn(channel), self._approved(channel)
        drawn, days = (rows.filter(within) for rows in self._audited[channel])
        if drawn.is_empty():
            return None
        approved = Approved(*days.select(pl.col("payments", "sampled", "amount").sum()).row(0))
        judged = self._judged(POLICY_PREFIX + self._policy.name, channel)
        reported = judged.filter(within, "is_fraud", ~pl.col("alert"))["amount"]
        unreported = drawn.filter(pl.col("is_fraud").fill_null(value=False), ~pl.col("reported"))["amount"]
        known = (len(reported) + len(unreported), math.fsum([*reported, *unreported]))
        return AuditSample(drawn, approved, known)

    def caught(self, channel: str, first: date, last: date) -> Caught:
        """The alerts of the policy, and the frauds known among them."""
        assert self._policy
        name = POLICY_PREFIX + self._policy.name
        alerts = self._judged(name, channel).filter(pl.col("event_date").is_between(first, last), "alert")
        frauds = alerts.filter("is_fraud")
        return Caught(
            alerts=sum(day.alerts for day in self.summaries.days(name, channel, first, last)),
            labelled=alerts.height,
            levels=alert_levels(frauds, self._policy),
            amounts=frauds["amount"].to_numpy(),
        )

    def _drawn(self, channel: str) -> pl.DataFrame:
        """The audited payments as ``audited_payments.sql`` reads them, with ``level``."""
        assert self._policy
        query = with_segments(_query("audited_payments"), self._policy.segment_columns)
        drawn = self._warehouse.read(query, self._of_policy(channel) | {"known_before": self.as_of + _ONE_DAY})
        if drawn.is_empty():
            return drawn
        decisions = self._decisions_on(drawn, self._scores_of(drawn), channel)
        found = drawn.join(decisions, on="transaction_id", maintain_order="left")
        return found.with_columns(level=pl.Series(alert_levels(found, self._policy), dtype=pl.Float64))

    def _approved(self, channel: str) -> pl.DataFrame:
        return self._warehouse.read(_query("audited_days"), self._of_policy(channel))

    def _of_policy(self, channel: str) -> dict[str, object]:
        assert self._policy
        return {**self._days, "channel": channel, "policy": self._policy.name}

    def _judged(self, name: str, channel: str) -> pl.DataFrame:
        if (name, channel) not in self._of:
            self._of[name, channel] = self._read(name, channel)
        return self._of[name, channel]

    def _read(self, name: str, channel: str) -> pl.DataFrame:
        """Every labelled payment that it judged: the columns of `labelled`, ``score``, ``raw_score``, ``alert``."""
        if name == AMOUNT:
            return self.labelled.with_columns(
                score=pl.col("amount"), raw_score=pl.col("amount"), alert=pl.lit(value=False)
            )
        if name.startswith(POLICY_PREFIX):
            decisions = self._decisions_on(self.labelled, self._scores, channel)
            return self.labelled.join(decisions, on="transaction_id", maintain_order="left")
        scores = self._scores.filter(model_name=name, channel=channel).drop("event_date")
        return self.labelled.join(scores, on="transaction_id", maintain_order="left")

    @cached_property
    def _scores(self) -> pl.DataFrame:
        """Of the labelled payments, by every model."""
        return self._scores_of(self.labelled)

    def _scores_of(self, payments: pl.DataFrame) -> pl.DataFrame:
        ids = payments.select("transaction_id")
        with self._warehouse.connect(read_only=True) as connection, registered(connection, _labelled=ids):
            return select(connection, _query("labelled_scores"), self._days)

    def _decisions_on(self, payments: pl.DataFrame, scores: pl.DataFrame, channel: str) -> pl.DataFrame:
        assert self._policy
        parameters: dict[str, object] = {
            **self._of_policy(channel),
            "screening_model": screening_model(channel),
            "second_stage": self._policy.second_stage,
            "ensemble_model": ENSEMBLE_MODEL,
        }
        frames = {"_labelled": payments.select("transaction_id"), "_labelled_scores": scores}
        with self._warehouse.connect(read_only=True) as connection, registered(connection, **frames):
            return select(connection, _query("labelled_decisions"), parameters)


def _told_by(sample: AuditSample, decided: Decided) -> Decided:
    """Each known fraud stands for itself, and those that the sample found beside them for the unknown ones."""
    found = sample.frauds.filter(~pl.col("reported"))
    return replace(
        decided,
        fraud_levels=np.append(decided.fraud_levels, found["level"].to_numpy()),
        fraud_amounts=np.append(decided.fraud_amounts, found["amount"].to_numpy()),
        fraud_weights=np.append(np.ones(len(decided.fraud_weights)), found["weight"].to_numpy()),
        labelled=decided.labelled + found.height,
        labelled_frauds=decided.labelled_frauds + found.height,
    )


def _alerted_by_amount(
    days: list[DaySummary], labelled: pl.DataFrame, share: float
) -> tuple[list[DaySummary], pl.DataFrame]:
    """The largest amounts of a day are alerts: those that at most this share of its payments reaches."""
    alert = np.zeros(labelled.height, dtype=bool)
    found = []
    for day in days:
        most, reached = share * day.transactions, np.cumsum(day.levels.payments)
        found.append(replace(day, alerts=int(reached[reached <= most].max(initial=0))))
        of_day = (labelled["event_date"] == day.event_date).to_numpy()
        amounts = labelled["amount"].to_numpy()[of_day]
        above, at = payments_above([day.levels], amounts, amounts)
        alert[of_day] = above + at <= most
    return found, labelled.with_columns(alert=pl.Series(alert))


def _query(name: str) -> str:
    return (_HERE / f"{name}.sql").read_text()
