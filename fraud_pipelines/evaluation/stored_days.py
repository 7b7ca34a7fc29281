"""Stored decisions of some days, and what labels say of any payments among them: what a backtest is judged by.

A payment's decision is the stored one; labels are read as known then, at the end of the last day, and as known now.
Nothing is written.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.errors import MissingData
from fraud_pipelines.evaluation.frauds_among import FraudDraws, KnownOutcomes, Range, draw_frauds
from fraud_pipelines.evaluation.lateness import ReportingDelay
from fraud_pipelines.evaluation.outcomes import reporting_delay
from fraud_pipelines.features.frames import scan_columns
from fraud_pipelines.features.tables import FEATURE_TABLE
from fraud_pipelines.storage.connection import registered, select
from fraud_pipelines.storage.warehouse import Warehouse

CHANNELS: Final[Mapping[str, str]] = {"batch": FEATURE_TABLE, "stream": "streaming.transaction_features"}
"""Channel → the table of the features that its decisions saw."""

_HERE: Final = Path(__file__).parent
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Payments:
    """Some payments of the days: how many, what labels know of them, and how many frauds there probably are.

    Attributes:
        amount: their sum, in the base currency.
        known_frauds: by the labels known now.
        known_frauds_then: by those known at the end of the last day.
        known_legitimate: payments that a label calls legitimate.
        frauds: an estimate of all frauds among them; None while nothing is known of how late chargebacks are.
        precision: those as a share of the payments; None without any.
    """

    number: int
    amount: float
    known_frauds: int
    known_frauds_then: int
    known_legitimate: int
    frauds: Range | None
    precision: Range | None


class StoredDays:
    """The stored decisions of a range of days in one channel, with the labels known then and now.

    Raises:
        MissingData: nothing was decided on these days.
    """

    def __init__(
        self, warehouse: Warehouse, first: date, last: date, *, channel: str, policy: Policy, unreported_share: float
    ) -> None:
        self.first, self.last, self.channel, self.policy = first, last, channel, policy
        self.warehouse = warehouse
        self._unreported = unreported_share
        if not self.payments:
            raise MissingData(
                f"nothing was decided from {first} to {last} in the channel {channel}: there is nothing to try a rule "
                "on. fraud-pipelines status shows the days there are."
            )

    @cached_property
    def by_day(self) -> pl.DataFrame:
        """``event_date``, ``payments``, ``alerts``."""
        return self.warehouse.read(
            """
            SELECT event_date, count(*) AS payments, count(*) FILTER (decision <> 'approve') AS alerts
            FROM scoring.decisions WHERE channel = $channel AND event_date BETWEEN $first AND $last
            GROUP BY event_date ORDER BY event_date
            """,
            self._days,
        )

    @property
    def payments(self) -> int:
        return int(self.by_day["payments"].sum())

    @property
    def alerts(self) -> int:
        return int(self.by_day["alerts"].sum())

    @property
    def days(self) -> int:
        return self.by_day.height

    @cached_property
    def labels(self) -> pl.DataFrame:
        """``transaction_id``, ``event_date``, ``amount``, ``is_fraud``, ``late``, ``then`` (fraud by what was known at
        the end of the last day) of each decided payment with a label."""
        return self.warehouse.read(
            (_HERE / "backtest_labels.sql").read_text(), self._days | {"then": self.last + _DAY, "now": self._now}
        )

    @property
    def every(self) -> Payments:
        """All payments of the days."""
        return self._of(dict(self.by_day.select("event_date", "payments").iter_rows()), self.labels, amount=0.0)

    def described(self, rows: pl.DataFrame) -> Payments:
        """What is known of ``rows``, with ``transaction_id``, ``event_date`` and ``amount``."""
        return self._of(*self._known(rows), amount=math.fsum(rows["amount"]))

    def recall(self, rows: pl.DataFrame) -> Range | None:
        """The share of all frauds of the days that are among ``rows``."""
        own = self._draws_of(*self._known(rows))
        rest = self._draws_of(*self._known_beside(rows), seed=1)
        return None if own is None or rest is None else own.share_of_draws(rest)

    def cost_change(self, caught: pl.DataFrame, missed: pl.DataFrame, alerts: int) -> Range | None:
        """What more ``alerts``, frauds ``caught`` and others ``missed`` cost by the policy; below zero it saves.

        A fraud that isn't known yet counts with the mean amount of the known ones, or else of the payments.
        """
        reviews = self.policy.review_cost * alerts
        caught_value, missed_value = self._value(caught), self._value(missed)
        if caught_value is None or missed_value is None:
            return None
        return Range(
            reviews + missed_value.value - caught_value.value,
            reviews + missed_value.low - caught_value.high,
            reviews + missed_value.high - caught_value.low,
        )

    def decisions(self, ids: pl.DataFrame | None = None) -> pl.DataFrame:
        """The stored decisions of the days, a row each; with ``ids`` (``transaction_id``) of these and of
        whatever a rule decided.

        Returns:
            ``transaction_id``, ``event_date``, ``user_id``, ``amount``, ``before`` (the decision), ``score``,
            ``reason``, ``review_threshold``, ``block_threshold``; in no order.
        """
        asked = pl.DataFrame(schema={"transaction_id": pl.String}) if ids is None else ids
        with self.warehouse.connect(read_only=True) as connection, registered(connection, _asked=asked):
            query = (_HERE / "backtest_decisions.sql").read_text()
            return select(connection, query, self._days | {"every": ids is None})

    def in_shadow(self, kind: str, name: str) -> tuple[str | None, pl.DataFrame]:
        """What a rule or policy that was in shadow would have done: of a rule the verdict, and the columns of
        `decisions` with ``after`` of each payment that it hit or changed.

        Raises:
            MissingData: it was not in shadow on these days.
        """
        of = self._days | {"kind": kind, "name": name}
        told = self.warehouse.read(
            """
            SELECT arg_max(content ->> '$.decision', event_date) AS verdict FROM scoring.shadow_days
            WHERE channel = $channel AND event_date BETWEEN $first AND $last AND kind = $kind AND name = $name
            HAVING count(*) > 0
            """,
            of,
        )
        if told.is_empty():
            raise MissingData(
                f"the {kind} {name} was not in shadow from {self.first} to {self.last} in the channel {self.channel}"
            )
        after = self.warehouse.read(
            """
            SELECT transaction_id, decision AS after FROM scoring.shadow_decisions
            WHERE channel = $channel AND event_date BETWEEN $first AND $last AND kind = $kind AND name = $name
            """,
            of,
        )
        rows = self.decisions(after.select("transaction_id")).join(after, on="transaction_id", how="inner")
        return told.item(), rows

    def alert_cuts(self) -> pl.DataFrame:
        """``event_date``, ``cut_score``, ``cut_transaction_id`` of each day whose alerts were cut."""
        return self.warehouse.read((_HERE / "backtest_cuts.sql").read_text(), self._days)

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """``transaction_id`` and columns of the payments of the days, as the channel's decisions saw them."""
        return scan_columns(self.warehouse, self.first, self.last, names, table=CHANNELS[self.channel])

    @property
    def _days(self) -> dict[str, object]:
        return {"channel": self.channel, "first": self.first, "last": self.last}

    @cached_property
    def _now(self) -> date:
        """The day after the last that labels can be known of: transactions may be delivered ahead of it."""
        known = self.warehouse.read(
            "SELECT greatest((SELECT max(known_at)::DATE FROM feedback.labels), max(event_date)) FROM scoring.decisions"
        ).item()
        return (known if isinstance(known, date) else self.last) + _DAY

    @cached_property
    def _delay(self) -> ReportingDelay:
        return reporting_delay(self.warehouse, self._now - _DAY)

    def _of(self, payments: Mapping[date, int], labels: pl.DataFrame, *, amount: float) -> Payments:
        number = sum(payments.values())
        draws = self._draws_of(payments, labels)
        return Payments(
            number=number,
            amount=amount,
            known_frauds=int(labels["is_fraud"].sum()),
            known_frauds_then=int(labels["then"].sum()),
            known_legitimate=int((~labels["is_fraud"]).sum()),
            frauds=draws.range if draws else None,
            precision=draws.share_of(number) if draws else None,
        )

    def _known(self, rows: pl.DataFrame) -> tuple[dict[date, int], pl.DataFrame]:
        """How many payments of each day ``rows`` are, and their labels."""
        labels = self.labels.join(rows.select("transaction_id"), on="transaction_id", how="semi")
        return dict(rows.group_by("event_date").len().sort("event_date").iter_rows()), labels

    def _draws_of(self, payments: Mapping[date, int], labels: pl.DataFrame, *, seed: int = 0) -> FraudDraws | None:
        reviewed = labels.filter(~pl.col("late")).group_by("event_date").len().sort("event_date")
        known = KnownOutcomes(
            payments=payments,
            reviewed=dict(reviewed.iter_rows()),
            frauds=int(labels["is_fraud"].sum()),
            late=int(labels["late"].sum()),
        )
        return draw_frauds(known, self._delay, unreported_share=self._unreported, seed=seed)

    def _known_beside(self, rows: pl.DataFrame) -> tuple[dict[date, int], pl.DataFrame]:
        own = dict(rows.group_by("event_date").len().iter_rows())
        payments = {day: number - own.get(day, 0) for day, number, _ in self.by_day.iter_rows()}
        return payments, self.labels.join(rows.select("transaction_id"), on="transaction_id", how="anti")

    def _value(self, rows: pl.DataFrame) -> Range | None:
        """The amount lost to the frauds among ``rows`` if they are approved."""
        if rows.is_empty():
            return Range(0.0, 0.0, 0.0)
        payments, labels = self._known(rows)
        draws = self._draws_of(payments, labels)
        if draws is None:
            return None
        frauds = labels.filter("is_fraud")
        known = math.fsum(frauds["amount"])
        mean = known / frauds.height if frauds.height else math.fsum(rows["amount"]) / rows.height
        found = draws.range
        share = self.policy.loss_share
        numbers = (found.value, found.low, found.high)
        return Range(*(share * (known + mean * max(number - frauds.height, 0.0)) for number in numbers))
