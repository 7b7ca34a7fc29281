"""Estimates: what known frauds say of all that are ever reported, in shares and in money."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fraud_pipelines.evaluation.intervals import RESAMPLES, Interval, KnownFrauds, intervals
from fraud_pipelines.evaluation.lateness import Reported
from fraud_pipelines.evaluation.ranked import average_precision

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """An estimate and its 95 % interval, which holds it; null where it isn't defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimates:
    """The figures of a window that frauds decide.

    Null is what depends on missed frauds, until half of the chargebacks are expected to be in; ``precision`` counts
    the known frauds as they are until then. ``recall_lower_bound`` is the recall if so many missed frauds are never
    reported as the setting says.
    """

    precision: Figure
    recall: Figure
    recall_lower_bound: float | None
    f1: Figure
    average_precision: Figure
    value_detection_rate: Figure
    cost: Figure


def estimate(
    frauds: KnownFrauds,
    *,
    alerts: int,
    labelled: int,
    reported: Reported,
    review_cost: float,
    loss_share: float,
    unreported_share: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimates:
    """The figures of a window.

    What is alerted is reviewed and labelled within days; what was let through is known only by its chargeback, weeks
    later. So counted as they come, the known frauds flatter whatever alerted them. Here each that is known by its
    chargeback alone stands for 1 / (share of chargebacks that is in) frauds: inverse probability weighting, after
    Horvitz and Thompson (A generalization of sampling without replacement from a finite universe, JASA 47, 1952). The
    figures are of all frauds that are ever reported, and comparable between the model that decided and others.

    Args:
        alerts: of all rows.
        labelled: rows with a label; without any, nothing can be said about precision.
        reported: how many of the window's chargebacks are in.
        review_cost: currency units for each alert.
        loss_share: share of a missed fraud's amount that is lost.
        unreported_share: share, below 1, of the missed frauds that nobody ever reports.
        resamples: draws for the intervals; 0 for none.
        seed: of the draws; the same seed gives the same intervals.
    """
    stand_for = np.where(frauds.late, reported.frauds_per_chargeback, 1.0)
    caught, everything = math.fsum(stand_for[frauds.alert]), math.fsum(stand_for)
    fraud_amount = math.fsum(stand_for * frauds.amount)
    missed_amount = math.fsum((stand_for * frauds.amount)[~frauds.alert])
    bounds = intervals(
        frauds,
        alerts - int(frauds.alert.sum()),
        reported,
        review_cost=review_cost,
        loss_share=loss_share,
        resamples=resamples,
        seed=seed,
    )
    told = reported.half_in
    known = told and len(stand_for) > 0
    return Estimates(
        precision=_figure(min(caught / alerts, 1.0) if alerts and labelled else None, bounds.precision),
        recall=_figure(caught / everything if known else None, bounds.recall),
        recall_lower_bound=_lower_bound(frauds, stand_for, unreported_share) if known else None,
        f1=_figure(2 * caught / (alerts + everything) if known else None, bounds.f1),
        average_precision=_figure(
            average_precision(frauds.places, stand_for) if told and frauds.places is not None else None,
            bounds.average_precision,
        ),
        value_detection_rate=_figure(
            1 - missed_amount / fraud_amount if told and fraud_amount else None, bounds.value_detection_rate
        ),
        cost=_figure(review_cost * alerts + loss_share * missed_amount if told else None, bounds.cost),
    )


def _lower_bound(frauds: KnownFrauds, stand_for: Floats, unreported: float) -> float:
    of_all = np.where(frauds.late, stand_for / (1 - unreported), stand_for)
    return math.fsum(of_all[frauds.alert]) / math.fsum(of_all)


def _figure(value: float | None, bounds: Interval) -> Figure:
    if value is None or bounds.low is None or bounds.high is None:
        return Figure(value, None, None)
    return Figure(value, min(bounds.low, value), max(bounds.high, value))
