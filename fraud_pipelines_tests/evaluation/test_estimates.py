"""Estimates of recall and average precision against a truth that the labels only tell in part, and late."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.evaluation.estimates import Estimates, estimate
from fraud_pipelines.evaluation.intervals import KnownFrauds
from fraud_pipelines.evaluation.lateness import ALL_REPORTED, UNKNOWN, Reported, ReportingDelay
from fraud_pipelines.evaluation.metrics import Performance, performance
from fraud_pipelines_tests.evaluation.samples import FIRST, known_by_chargeback, reported_share

Floats = npt.NDArray[np.float64]
Delays = Callable[[np.random.Generator, int], Floats]

MATURES, WINDOW = 7, 14
A_WEEK_AND_MORE: Delays = lambda rng, frauds: 7 + rng.exponential(7, frauds)  # noqa: E731
SKEWED: Delays = lambda rng, frauds: rng.lognormal(np.log(9), 0.7, frauds)  # noqa: E731
EVEN: Delays = lambda rng, frauds: 2 + rng.uniform(0, 20, frauds)  # noqa: E731


@dataclass(frozen=True)
class Evening:
    """What is estimated of a window, and what is true of the frauds that are ever reported."""

    reported: Reported
    estimates: Estimates
    true_recall: float
    true_share: float


def evening(seed: int, delays: Delays, *, days: int, missed_a_day: float, caught_a_day: float) -> Evening:
    """So many days of frauds, some caught and known at once, the others charged back sooner or later."""
    rng = np.random.default_rng(seed)
    as_of = FIRST + timedelta(days=days - 1)
    missed = np.repeat(np.arange(days), rng.poisson(missed_a_day, days))
    waits = np.floor(rng.random(len(missed)) + delays(rng, len(missed))).astype(int)
    first, last = max(0, days - MATURES - WINDOW), days - MATURES - 1
    payments = {FIRST + timedelta(days=day): 1000 for day in range(first, last + 1)}
    reported = ReportingDelay(known_by_chargeback(missed, waits, as_of), as_of).reported(payments)
    in_window = (missed >= first) & (missed <= last)
    in_time = in_window & (missed + waits < days)
    caught = int(rng.poisson(caught_a_day * len(payments)))
    late = np.arange(caught + in_time.sum()) >= caught
    frauds = KnownFrauds(np.arange(len(late)), np.full(len(late), 50.0), ~late, late)
    ages = days - 1 - np.arange(first, last + 1)
    patience = np.floor(np.random.default_rng(1).random(20_000) + delays(np.random.default_rng(2), 20_000))
    return Evening(
        reported,
        estimated(frauds, reported, alerts=4 * caught + 1),
        true_recall=caught / max(caught + int(in_window.sum()), 1),
        true_share=float(np.mean([(patience <= age).mean() for age in ages])),
    )


def estimated(frauds: KnownFrauds, reported: Reported, *, alerts: int = 100, unreported: float = 0.3) -> Estimates:
    return estimate(
        frauds,
        alerts=alerts,
        labelled=alerts,
        reported=reported,
        review_cost=5.0,
        loss_share=1.0,
        unreported_share=unreported,
    )


@pytest.mark.parametrize("delays", [A_WEEK_AND_MORE, SKEWED, EVEN], ids=["a week and more", "skewed", "even"])
@pytest.mark.parametrize("missed_a_day", [7.0, 60.0])
def test_the_interval_of_recall_holds_the_truth_and_is_narrow_once_half_is_in(
    delays: Delays, missed_a_day: float
) -> None:
    evenings = [
        evening(seed, delays, days=days, missed_a_day=missed_a_day, caught_a_day=0.7 * missed_a_day)
        for days in (21, 26, 34)
        for seed in range(14)
    ]
    shown = [each for each in evenings if each.estimates.recall.value is not None]
    assert len(shown) >= 0.2 * len(evenings)
    held = [
        each.estimates.recall.low <= each.true_recall <= each.estimates.recall.high  # type: ignore[operator]
        for each in shown
    ]
    assert np.mean(held) >= 0.9
    widths = [each.estimates.recall.high - each.estimates.recall.low for each in shown]  # type: ignore[operator]
    assert np.quantile(widths, 0.95) <= 0.4
    errors = [each.estimates.recall.value - each.true_recall for each in shown]  # type: ignore[operator]
    assert abs(np.mean(errors)) < 0.05


def test_recall_is_null_until_half_of_the_chargebacks_are_in() -> None:
    evenings = [
        evening(seed, A_WEEK_AND_MORE, days=days, missed_a_day=7, caught_a_day=5)
        for days in range(9, 34)
        for seed in range(3)
    ]
    for each in evenings:
        assert (each.estimates.recall.value is None) == (not each.reported.half_in)
    early = [each for each in evenings if each.true_share < 0.3]
    late = [each for each in evenings if each.true_share > 0.5]
    assert not any(each.reported.half_in for each in early)
    assert np.mean([each.reported.half_in for each in late]) > 0.7


FRAUDS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 500), st.booleans(), st.booleans()), min_size=1, max_size=30
)


def known(rows: list[tuple[int, int, bool, bool]]) -> KnownFrauds:
    """(user, amount, alert, late) of each."""
    user, amount, alert, late = (np.array(column) for column in zip(*rows, strict=True))
    return KnownFrauds(user, amount.astype(float), alert, late)


@given(rows=FRAUDS, share=st.floats(0.5, 1.0))
def test_a_late_fraud_counts_for_those_still_to_come_in_every_figure(
    rows: list[tuple[int, int, bool, bool]], share: float
) -> None:
    found = estimated(known(rows), reported_share(share))
    counts = [1 / share if late else 1.0 for *_, late in rows]
    caught = sum(count for count, row in zip(counts, rows, strict=True) if row[2])
    missed_amount = sum(count * row[1] for count, row in zip(counts, rows, strict=True) if not row[2])
    amount = sum(count * row[1] for count, row in zip(counts, rows, strict=True))
    assert found.precision.value == pytest.approx(min(caught / 100, 1))
    assert found.recall.value == pytest.approx(caught / sum(counts))
    assert found.f1.value == pytest.approx(2 * caught / (100 + sum(counts)))
    assert found.value_detection_rate.value == pytest.approx(1 - missed_amount / amount)
    assert found.cost.value == pytest.approx(500 + missed_amount)
    for figure in (found.precision, found.recall, found.f1, found.value_detection_rate, found.cost):
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high  # type: ignore[operator]


@given(rows=FRAUDS)
def test_before_half_is_in_only_precision_is_told(rows: list[tuple[int, int, bool, bool]]) -> None:
    for reported in (reported_share(0.49), UNKNOWN):
        found = estimated(known(rows), reported)
        assert found.precision.value == pytest.approx(sum(alert for *_, alert, _ in rows) / 100)
        assert {found.recall.value, found.f1.value, found.value_detection_rate.value, found.cost.value} == {None}
        assert found.recall_lower_bound is None
        assert found.recall.low is None


def test_what_nobody_reports_gives_a_lower_bound() -> None:
    frauds = known([(0, 10, True, False), (1, 10, True, False), (2, 10, False, True)])
    found = estimated(frauds, ALL_REPORTED, unreported=0.5)
    assert found.recall.value == pytest.approx(2 / 3)
    assert found.recall_lower_bound == pytest.approx(2 / 4)
    assert estimated(frauds, ALL_REPORTED, unreported=0.0).recall_lower_bound == pytest.approx(2 / 3)


def test_of_few_frauds_little_is_claimed() -> None:
    found = estimated(known([(0, 10, True, False), (1, 10, True, False)]), ALL_REPORTED)
    assert found.recall.value == found.recall.high == 1.0
    assert found.recall.low is not None
    assert found.recall.low < 0.6


def test_frauds_of_one_user_tell_less_than_those_of_many() -> None:
    rows = [(0, 10, number % 2 == 0, False) for number in range(40)]
    one, many = (
        estimated(known([(number // 20, *row[1:]) for number, row in enumerate(rows)]), ALL_REPORTED),
        estimated(known([(number, *row[1:]) for number, row in enumerate(rows)]), ALL_REPORTED),
    )
    widths = [each.f1.high - each.f1.low for each in (one, many)]  # type: ignore[operator]
    assert widths[0] > 1.5 * widths[1]


ROWS = 10_000
DECIDES, RIVAL, WORSE = 0.7, 0.7, 1.6
"""The noise of each ranking."""


def judged(seed: int, noises: tuple[float, ...], reported: Reported | None, *, resamples: int = 0) -> list[Performance]:
    """Rankings of the same payments, of which the first decides, by the frauds known when six tenths of the chargebacks
    are in; by all frauds that are ever reported without ``reported``."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(ROWS) < 0.02
    signal = rng.normal(size=ROWS) + 2.3 * fraud
    scores = [signal + rng.normal(0, noise, ROWS) for noise in noises]
    alerts = [score > np.quantile(score, 0.98) for score in scores]
    known_now = fraud & (alerts[0] | (rng.random(ROWS) < 0.6)) if reported else fraud
    frame = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(ROWS)],
            "event_date": [FIRST + timedelta(days=number % 14) for number in range(ROWS)],
            "amount": rng.lognormal(3, 1, ROWS),
            "is_fraud": known_now,
            "labelled": alerts[0] | known_now,
            "late": known_now & ~alerts[0],
        }
    )
    return [
        performance(
            frame.with_columns(score=pl.Series(score), raw_score=pl.Series(score), alert=pl.Series(alert)),
            review_cost=5.0,
            reported=reported or ALL_REPORTED,
            resamples=resamples,
        )
        for score, alert in zip(scores, alerts, strict=True)
    ]


def test_average_precision_is_that_of_all_frauds_and_fair_to_a_ranking_that_does_not_decide() -> None:
    noises = (DECIDES, RIVAL, WORSE)
    true, told, plain = (
        [judged(seed, noises, reported) for seed in range(12)] for reported in (None, reported_share(0.6), ALL_REPORTED)
    )

    def mean(of: list[list[Performance]], who: int, figure: str) -> float:
        return float(np.mean([getattr(each[who], figure) for each in of]))

    for figure in ("average_precision", "recall", "precision", "roc_auc"):
        for who in range(3):
            assert mean(told, who, figure) == pytest.approx(mean(true, who, figure), abs=0.02), (figure, who)
    # Counted as they come, the known frauds flatter the ranking that decided, and more than the others.
    assert mean(plain, 0, "average_precision") > mean(true, 0, "average_precision") + 0.03
    assert mean(plain, 0, "recall") - mean(plain, 1, "recall") > 0.05
    assert abs(mean(told, 0, "recall") - mean(told, 1, "recall")) < 0.02


def test_the_interval_of_average_precision_holds_that_of_all_frauds() -> None:
    rng = np.random.default_rng(0)
    held = []
    for seed in range(25):
        share = float(np.clip(rng.normal(0.6, 0.05), 0.5, 1))
        [truth] = judged(seed, (DECIDES,), None)
        [found] = judged(seed, (DECIDES,), Reported(share, rng.normal(share, 0.05, 400)), resamples=200)
        assert truth.average_precision is not None
        assert found.average_precision_low is not None
        assert found.average_precision_high is not None
        held.append(found.average_precision_low <= truth.average_precision <= found.average_precision_high)
    assert np.mean(held) >= 0.9
