"""What the audit sample tells: frauds let through, recall, value lost, and precision at other thresholds.

A payment that was drawn with the probability p, and whose outcome is known, stands for 1/p payments: the sum over the
frauds found is unbiased for all frauds let through, reported or not (Horvitz and Thompson, JASA 47, 1952). Recall and
precision are ratios of such sums and of what is known of the alerts (Hájek). Where some that were drawn are not judged
yet, the others of a like probability stand for them, in `CLASSES` classes.

The frauds found are few, and stand for unequal numbers, so intervals are those of a weighted sum of Poisson counts: a
gamma distribution with the mean and the variance of the sum, and for the upper bound with those after one more fraud of
the weight that the next one is expected to have (Fay and Feuer, Confidence intervals for directly standardized rates,
Statistics in Medicine 16, 1997; with the mean weight as in Tiwari, Clegg and Zou, Statistical Methods in Medical
Research 15, 2006). Fraud being as frequent as the draw took it to be, the next weighs Σp² / Σp³ over what was approved,
which Σp / Σp² over what was drawn tells. They contain the truth somewhat more often than 95 % of the time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import JsonValue

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CLASSES: Final = 4
"""Of equally many payments drawn, by their probability."""
FEWEST_SAMPLED: Final = 0.5
"""Share of the approved payments that a sample must have been drawn from, for it to speak of all."""
ENOUGH_FOUND: Final = 5
"""Frauds that the sample must have found to be tuned by."""

_LEVEL: Final = (0.005, 0.975)
"""A find of great weight is rare and makes the sum large, so that the gamma lies too high more often than too low. With
0.025 below, 94.6 % of the intervals of 16 samples contained the truth, with 0.005 97.9 %, 2 % wider."""


@dataclass(frozen=True)
class Bounded:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def each(self, change: Callable[[float], float]) -> "Bounded":
        """The estimate and its bounds, changed alike by what keeps their order."""
        return Bounded(change(self.value), change(self.low), change(self.high))


@dataclass(frozen=True)
class Approved:
    """What was approved over some days.

    ``payments`` and ``amount`` are of all, ``sampled`` counts those of days on which a sample was drawn.
    """

    payments: int
    sampled: int
    amount: float


@dataclass(frozen=True)
class Caught:
    """The alerts of the same days: how many, how many of them with a label, and of their known frauds the alert levels
    and the amounts, both (frauds,)."""

    alerts: int
    labelled: int
    levels: Floats
    amounts: Floats

    @property
    def stand_for(self) -> float:
        """How many frauds a known one stands for, while alerts wait for their verdict."""
        return self.alerts / self.labelled if self.labelled else 1.0


@dataclass(frozen=True)
class AuditedFigures:
    """What the performance tables have of the sample; null where it can't tell.

    ``audited`` are the payments drawn whose outcome is known, ``audited_frauds`` those of them that are frauds.
    ``frauds_let_through`` counts all frauds that were approved, ``recall_audited`` is the share of all frauds that was
    alerted, ``value_lost_audited`` what the frauds let through cost, in currency units over the days.
    """

    audited: int | None = None
    audited_frauds: int | None = None
    frauds_let_through: float | None = None
    frauds_let_through_low: float | None = None
    frauds_let_through_high: float | None = None
    recall_audited: float | None = None
    recall_audited_low: float | None = None
    recall_audited_high: float | None = None
    value_lost_audited: float | None = None
    value_lost_audited_low: float | None = None
    value_lost_audited_high: float | None = None

    @property
    def row(self) -> dict[str, float | int | None]:
        return asdict(self)


class AuditSample:
    """The sample of some days, with what is known of it.

    Args:
        drawn: a row for each payment drawn: ``audit_probability``, ``amount``, ``is_fraud`` (null while its outcome is
            unknown), ``reported`` (whether it would be known as fraud without the sample) and ``level``, its alert
            level.
        approved: what it was drawn from.
        known: frauds among the approved that are known, drawn or not: how many, and what they amount to.
    """

    def __init__(self, drawn: pl.DataFrame, approved: Approved, known: tuple[int, float] = (0, 0.0)) -> None:
        self._drawn = drawn.sort("audit_probability", "level", "amount")
        self._approved = approved
        self._known = known

    @property
    def answered(self) -> int:
        """Payments drawn whose outcome is known."""
        return self._drawn.height - self._drawn["is_fraud"].null_count()

    @property
    def found(self) -> int:
        """Those that are frauds."""
        return int(self._drawn["is_fraud"].sum())

    @property
    def tells(self) -> bool:
        """Whether it says anything of all that was approved."""
        return self.answered > 0 and self._approved.sampled >= FEWEST_SAMPLED * self._approved.payments

    @property
    def is_enough(self) -> bool:
        """Whether it tells enough to tune thresholds by."""
        return self.tells and self.found >= ENOUGH_FOUND

    @property
    def evidence(self) -> dict[str, JsonValue]:
        """For the evidence of thresholds."""
        return {"audited": self.answered, "audited_frauds": self.found, "tuned_by_audit": self.is_enough}

    @cached_property
    def frauds(self) -> pl.DataFrame:
        """A row for each fraud found: ``amount``, ``level``, ``reported``, ``weight``, for how many it stands."""
        weights = self._responding() * self._coverage / self._drawn["audit_probability"].to_numpy()
        weighted = self._drawn.with_columns(weight=pl.Series(weights, dtype=pl.Float64))
        return weighted.filter(pl.col("is_fraud").fill_null(value=False)).select(
            "amount", "level", "reported", "weight"
        )

    def sum_of(self, values: Floats, which: Mask | None = None, *, typical: float) -> Bounded:
        """The sum of a value over all frauds that were approved.

        Args:
            values: of each fraud found, shape (frauds,).
            which: those that are summed over; by default all.
            typical: the value of a fraud that wasn't found.
        """
        from scipy.special import gammaincinv

        taken = np.ones(len(values), dtype=bool) if which is None else which
        terms = (self.frauds["weight"].to_numpy() * values)[taken]
        total, variance = float(terms.sum()), float((terms**2).sum())
        low = float(gammaincinv(total**2 / variance, _LEVEL[0]) * variance / total) if total else 0.0
        following = self.next_weight * typical
        if not following:
            return Bounded(total, low, total)
        total_after, variance_after = total + following, variance + following**2
        high = float(gammaincinv(total_after**2 / variance_after, _LEVEL[1]) * variance_after / total_after)
        return Bounded(total, low, max(high, total))

    @property
    def next_weight(self) -> float:
        """For how many payments the next fraud found is expected to stand."""
        answered = self._drawn.height / self.answered if self.answered else 1.0
        probability = self._drawn["audit_probability"].to_numpy()
        return answered * self._coverage * math.fsum(probability) / math.fsum(probability**2)

    def let_through(self) -> Bounded:
        """All frauds that were approved; no fewer than are known."""
        found = self.sum_of(np.ones(self.frauds.height), typical=1.0)
        return _at_least(found, float(self._known[0]))

    def value_lost(self, loss_share: float) -> Bounded:
        """What they cost."""
        found = self.sum_of(self.frauds["amount"].to_numpy(), typical=self._typical_amount)
        bounded = _at_least(found, self._known[1])
        return bounded.each(lambda amount: loss_share * amount)

    def figures(self, caught: Caught, *, loss_share: float) -> AuditedFigures:
        """What the performance tables have of it."""
        if not self.tells:
            return AuditedFigures(audited=self.answered, audited_frauds=self.found)
        missed, lost = self.let_through(), self.value_lost(loss_share)
        recall = share_of(caught.stand_for * len(caught.levels), missed)
        return AuditedFigures(
            audited=self.answered,
            audited_frauds=self.found,
            frauds_let_through=missed.value,
            frauds_let_through_low=missed.low,
            frauds_let_through_high=missed.high,
            recall_audited=recall.value if recall else None,
            recall_audited_low=recall.low if recall else None,
            recall_audited_high=recall.high if recall else None,
            value_lost_audited=lost.value,
            value_lost_audited_low=lost.low,
            value_lost_audited_high=lost.high,
        )

    def at_thresholds(
        self, thresholds: Sequence[float], alerts: Floats, caught: Caught, *, loss_share: float
    ) -> list[dict[str, float | None]]:
        """What each review threshold would have meant: alerts, frauds among them, precision, recall and value lost.

        Args:
            thresholds: ascending.
            alerts: payments over the days whose alert level lies above each.
            caught: of the days as they were decided.
        """
        levels, amounts = (self.frauds[name].to_numpy() for name in ("level", "amount"))
        typical = self._typical_amount
        rows: list[dict[str, float | None]] = []
        for threshold, payments in zip(thresholds, alerts.tolist(), strict=True):
            above, caught_above = levels > threshold, caught.levels > threshold
            more, fewer = (self.sum_of(np.ones(len(levels)), which, typical=1.0) for which in (above, ~above))
            frauds = _plus(more, caught.stand_for * float(caught_above.sum()))
            missed = _plus(fewer, caught.stand_for * float((~caught_above).sum()))
            lost = _plus(
                self.sum_of(amounts, ~above, typical=typical),
                caught.stand_for * float(caught.amounts[~caught_above].sum()),
            )
            frauds = frauds.each(partial(min, payments))
            every = frauds.value + missed.value
            recall = (
                Bounded(
                    frauds.value / every,
                    frauds.low / max(frauds.low + missed.high, 1e-12),
                    frauds.high / max(frauds.high + missed.low, 1e-12),
                )
                if every
                else None
            )
            precision = frauds.each(partial(_share, of=payments)) if payments else None
            rows.append(
                {"review_threshold": threshold, "alerts": payments}
                | _columns("frauds", frauds)
                | _columns("precision", precision)
                | _columns("recall", recall)
                | _columns("value_lost", lost.each(lambda amount: loss_share * amount))
            )
        return rows

    @property
    def _coverage(self) -> float:
        """For how many approved payments one stands that might have been drawn."""
        return self._approved.payments / self._approved.sampled if self._approved.sampled else 1.0

    @property
    def _typical_amount(self) -> float:
        """Of a fraud that was let through: the mean of those found, of those known, or of all that was approved."""
        frauds = self.frauds
        if frauds.height:
            return float(np.average(frauds["amount"].to_numpy(), weights=frauds["weight"].to_numpy()))
        number, amount = self._known if self._known[0] else (self._approved.payments, self._approved.amount)
        # Payments are added up in any order.
        return float(f"{amount / number:.9g}") if number else 0.0

    def _responding(self) -> Floats:
        """For how many that were drawn one stands whose outcome is known, by its class of probabilities."""
        known = self._drawn["is_fraud"].is_not_null().to_numpy()
        factors = np.ones(len(known))
        begin = 0
        for end in np.unique(np.linspace(0, len(known), CLASSES + 1).round().astype(int))[1:].tolist():
            # A class of which nothing is known goes with the next, the last one with all before.
            answered = int(known[begin:end].sum())
            if not answered and end == len(known):
                begin, answered = 0, int(known.sum())
            if answered:
                factors[begin:end] = (end - begin) / answered
                begin = end
        return factors


def share_of(caught: float, missed: Bounded) -> Bounded | None:
    """Of all frauds the share that was caught; None where there are none."""
    if not caught + missed.value:
        return None
    return Bounded(*(caught / (caught + each) if caught else 0.0 for each in (missed.value, missed.high, missed.low)))


def _at_least(found: Bounded, known: float) -> Bounded:
    return found.each(partial(max, known))


def _plus(bounded: Bounded, certain: float) -> Bounded:
    return bounded.each(lambda number: number + certain)


def _share(number: float, *, of: float) -> float:
    return number / of


def _columns(name: str, bounded: Bounded | None) -> dict[str, float | None]:
    value, low, high = (bounded.value, bounded.low, bounded.high) if bounded else (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
