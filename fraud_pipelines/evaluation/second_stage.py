"""Which model is to decide a day: the one that ranks the matured days best, if any ranks them better than the amount.

What counts is the average precision of single days, each ranked by the versions that were in use on it, so that no row
is judged by a model that had seen it. Days are weighted by their age, and a day whose version lacked features or
labels that today's has doesn't count, if others do. Intervals are by days: frauds of a day aren't independent.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import polars as pl
from pydantic import JsonValue

from fraud_pipelines.detection.daily_models import AMOUNT_MODEL, DAILY_MODELS, ENSEMBLE_MODEL
from fraud_pipelines.evaluation.judged import JudgedDays
from fraud_pipelines.evaluation.lateness import Reported
from fraud_pipelines.evaluation.metrics import average_precision_of_days
from fraud_pipelines.evaluation.outcomes import matured_window
from fraud_pipelines.evaluation.paired import PairedDifference, paired_difference, weighted_mean
from fraud_pipelines.evaluation.summaries import AMOUNT, BATCH
from fraud_pipelines.evaluation.windows import Window
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

ByDay = Mapping[date, float]
"""Average precision of single days."""

LEAST_FRAUDS: Final = 50
"""Known frauds among the matured days; with fewer nothing is shown, and the ensemble decides."""
LEAST_DAYS: Final = 4
"""Days that a model must have been judged on."""
HALF_LIFE: Final = 7
"""Days after which a day counts half."""
LEAST_LABELS: Final = 500
"""A supervised model that had learned from so many frauds is past its cold start, however many there are today."""
_COLD_SHARE: Final = 0.5
"""With fewer frauds than this share of today's a version was in its cold start. On the handbook the versions of the
first week learned from a tenth to a third of what those of the third week did, and ranked worse by .2."""

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class TrainedOn:
    """What a version learned from, as far as it says so: its features, and how many frauds it was shown."""

    features: frozenset[str]
    frauds: int | None

    def lacked(self, today: "TrainedOn") -> bool:
        """Whether it lacked features of ``today``'s version, or was in its cold start when that no longer is."""
        few = self.frauds is not None and self.frauds < min(LEAST_LABELS, _COLD_SHARE * (today.frauds or 0))
        return (bool(self.features) and bool(today.features - self.features)) or few


class MaturedRankings:
    """How each model ranked the matured days, by what was known when ``day`` began. Read once for all questions."""

    def __init__(self, warehouse: Warehouse, settings: Settings, day: date) -> None:
        self.day = day
        self._warehouse = warehouse
        self._first, self._last = matured_window(
            day - _DAY,
            label_delay_days=settings.label_delay_days,
            evaluation_days=2 * settings.evaluation_days,
        )
        self._judged = JudgedDays(warehouse, day - _DAY, self._first, self._last)
        self._held_out: dict[str, ByDay] = {}

    @cached_property
    def frauds(self) -> int:
        """Known frauds among all payments of matured days."""
        found: int = self._warehouse.read(
            """
            SELECT count(*)
            FROM feedback.reported_before($instant::TIMESTAMP) l
            JOIN raw.payments t USING (transaction_id)
            WHERE l.actual_fraud AND t.event_date <= $last
            """,
            {"instant": self.day, "last": self._last},
        ).item()
        return found

    @cached_property
    def reported(self) -> Reported:
        """How many chargebacks on the payments of these days are in."""
        return self._judged.reported(self._amounts)

    @property
    def labelled(self) -> pl.DataFrame:
        """Every payment of these days with a label, as `JudgedDays.labelled`."""
        return self._judged.labelled

    @property
    def payments(self) -> dict[date, int]:
        """How many payments of each day are judged."""
        return {day.event_date: day.transactions for day in self._amounts.days}

    @cached_property
    def _amounts(self) -> Window:
        return self._judged.window(AMOUNT, BATCH, self._first, self._last)

    def by_day(self, model: str) -> ByDay:
        """Average precision of each day that it scored and that has a known fraud; of the amount for `AMOUNT_MODEL`."""
        return self._by_day.get(model, {})

    @cached_property
    def _by_day(self) -> dict[str, ByDay]:
        with self._warehouse.connect(read_only=True):
            scored = {
                name for name, channel in self._judged.summaries.names(self._first, self._last) if channel == BATCH
            }
            names = {name: name for name in DAILY_MODELS if name in scored} | {AMOUNT_MODEL: AMOUNT}
            return {
                model: average_precision_of_days(
                    self._judged.window(name, BATCH, self._first, self._last), self.reported
                )
                for model, name in names.items()
            }

    def in_cold_start(self, model: str, today: TrainedOn) -> bool:
        """Whether fewer than `LEAST_DAYS` were scored by versions that had what ``today``'s has."""
        return len(self._past_cold_start(model, today)) < LEAST_DAYS

    def judge_by_held_out(self, model: str, days: ByDay) -> None:
        """Let a model in its cold start be judged by days that were held out from today's version."""
        self._held_out[model] = days

    def is_held_out(self, model: str, today: TrainedOn) -> bool:
        """Whether `counted` are held-out days."""
        return self.in_cold_start(model, today) and len(self._held_out.get(model, {})) >= LEAST_DAYS

    def counted(self, model: str, today: TrainedOn) -> ByDay:
        """`by_day` without the days whose version lacked what ``today``'s has.

        In its cold start a model is judged by the days held out from today's version, if they are enough, else by all
        days, since what a version without it could do, today's should be able to.
        """
        if self.is_held_out(model, today):
            return self._held_out[model]
        return self.by_day(model) if self.in_cold_start(model, today) else self._past_cold_start(model, today)

    def _past_cold_start(self, model: str, today: TrainedOn) -> ByDay:
        then = self._trained.get(model, {})
        days = self.by_day(model).items()
        return {day: value for day, value in days if day not in then or not then[day].lacked(today)}

    def weights(self) -> dict[date, float]:
        """How much each day counts: half as much for every `HALF_LIFE` that it is older than the youngest."""
        days = (self._last - self._first).days + 1
        return weights_by_age([self._last - timedelta(days=age) for age in range(days)])

    def compared(self, one: ByDay, other: ByDay) -> PairedDifference | None:
        """The difference of two rankings on the days that both have; None where they are too few."""
        difference = paired_difference(one, other, weights=self.weights())
        return difference if difference and difference.days >= LEAST_DAYS else None

    @cached_property
    def _trained(self) -> dict[str, dict[date, TrainedOn]]:
        """Model → day → what the version that scored it had learned from."""
        rows = self._warehouse.read(
            """
            SELECT model_name, as_of, trained_features, trained_frauds FROM monitoring.model_promotions
            WHERE as_of BETWEEN $first AND $last AND trained_features IS NOT NULL
            """,
            {"first": self._first, "last": self._last},
        )
        found: dict[str, dict[date, TrainedOn]] = {}
        for model, day, features, frauds in rows.iter_rows():
            found.setdefault(model, {})[day] = TrainedOn(frozenset(features.split(",")), frauds)
        return found


def weights_by_age(days: Collection[date]) -> dict[date, float]:
    """How much each of some days counts: half as much for every `HALF_LIFE` that it is older than the youngest."""
    youngest = max(days)
    return {day: 0.5 ** ((youngest - day).days / HALF_LIFE) for day in days}


@dataclass(frozen=True)
class Choice:
    """The model that decides a day, and what that rests on.

    Attributes:
        model: the registered model.
        previous: the one that decided the day before; None where nothing was chosen yet.
        rule: ``few_frauds``, ``too_early`` (no model was judged on enough days: what decided goes on), ``amount`` (none
            is shown to be better than the amount), ``best`` (it ranks best), ``kept`` (another ranks better, but not
            surely).
        evidence: as JSON: of each contestant its days, average precision and gain over the amount with its interval.
    """

    model: str
    previous: str | None
    rule: str
    evidence: Mapping[str, JsonValue]


def choose(rankings: MaturedRankings, in_use: Mapping[str, TrainedOn], previous: str | None) -> Choice:
    """The model that decides the day of ``rankings``.

    A model may decide if the lower bound of its mean gain over the amount, in daily average precision, lies above 0.
    Of those the best decides; but it takes the place of another only if the lower bound of its gain over that one lies
    above 0 as well. While fewer than `LEAST_FRAUDS` are known it is the ensemble.

    While chargebacks are still to come, the frauds that are known are rather those that were alerted: that speaks for
    what decided, so that a newcomer is shown to be better later than it could be, and not too early.

    Args:
        in_use: every model with a version in use, and what that learned from.
        previous: the model that decided the day before.
    """
    standing = previous or ENSEMBLE_MODEL
    goes_on = standing if standing in in_use or standing == AMOUNT_MODEL else ENSEMBLE_MODEL
    known: dict[str, JsonValue] = {"frauds": rankings.frauds, "least_frauds": LEAST_FRAUDS}
    if rankings.frauds < LEAST_FRAUDS:
        return Choice(ENSEMBLE_MODEL, previous, "few_frauds", known)
    amount, weights = rankings.by_day(AMOUNT_MODEL), rankings.weights()
    days = {name: rankings.counted(name, today) for name, today in in_use.items() if name != AMOUNT_MODEL}
    gains = {name: gain for name, of_model in days.items() if (gain := rankings.compared(of_model, amount)) is not None}
    if not gains:
        return Choice(goes_on, previous, "too_early", known)
    evidence = known | {
        "first_day": min(amount).isoformat(),
        "last_day": max(amount).isoformat(),
        "chargebacks_reported": _rounded(rankings.reported.expected),
        "amount": _rounded(weighted_mean(amount, weights)),
        "contestants": {
            name: {
                "average_precision": _rounded(weighted_mean(days[name], weights)),
                "gain_over_amount": dict(gain.json()),
                "beats_amount": gain.low > 0,
            }
            for name, gain in gains.items()
        },
    }
    proven = {name: days[name] for name, gain in gains.items() if gain.low > 0}
    if not proven:
        return Choice(AMOUNT_MODEL, previous, "amount", evidence)
    best = _best(proven, gains, weights)
    if standing not in proven or standing == best:
        return Choice(best, previous, "best", evidence)
    lead = rankings.compared(proven[best], proven[standing])
    sure = lead is not None and lead.low > 0
    return Choice(
        best if sure else standing,
        previous,
        "best" if sure else "kept",
        evidence | {"rival": best, "gain_of_rival": None if lead is None else dict(lead.json())},
    )


def _best(proven: Mapping[str, ByDay], gains: Mapping[str, PairedDifference], weights: Mapping[date, float]) -> str:
    """The model with the highest mean on the days that all of them have, or, where those are too few, the highest gain
    over the amount."""
    common = set.intersection(*(set(days) for days in proven.values()))
    if len(common) < LEAST_DAYS:
        return max(proven, key=lambda name: (gains[name].mean, name))
    means = {
        name: weighted_mean({day: value for day, value in days.items() if day in common}, weights) or 0.0
        for name, days in proven.items()
    }
    return max(means, key=lambda name: (means[name], name))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
