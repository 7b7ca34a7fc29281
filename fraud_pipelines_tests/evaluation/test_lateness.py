"""Lateness of chargebacks: told from those that have come, though the late ones of young payments are still missing."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.evaluation.lateness import (
    ALL_REPORTED,
    FEWEST_CHARGEBACKS,
    UNKNOWN,
    Reported,
    ReportingDelay,
    frauds_stood_for,
)
from fraud_pipelines_tests.evaluation.samples import FIRST, known_by_chargeback, random_outcomes, reported_share

AS_OF = FIRST + timedelta(days=60)

CHARGEBACKS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=FEWEST_CHARGEBACKS, max_size=80)


def delay_of(happened_and_delay: list[tuple[int, int]], as_of: date = AS_OF) -> ReportingDelay:
    """What is learned of chargebacks by day and delay, from those known by then."""
    day, wait = np.array(happened_and_delay).T
    return ReportingDelay(known_by_chargeback(day, wait, as_of), as_of)


def window(as_of: date, youngest: int = 7, days: int = 14) -> dict[date, int]:
    """A thousand payments a day, on the days so old."""
    return {as_of - timedelta(days=youngest + back): 1000 for back in range(days)}


@given(found=CHARGEBACKS, age=st.integers(0, 90))
def test_shares_are_shares_and_rise_with_age(found: list[tuple[int, int]], age: int) -> None:
    delay = delay_of(found)
    younger, older = (delay.reported({AS_OF - timedelta(days=days): 1}) for days in (age, age + 5))
    if delay.chargebacks < FEWEST_CHARGEBACKS:
        assert younger is UNKNOWN
        return
    assert younger.expected is not None
    assert older.expected is not None
    assert 0 <= younger.draws.min() <= younger.expected <= younger.draws.max() <= 1
    assert (younger.draws <= older.draws).all()


def test_the_order_of_the_chargebacks_does_not_matter_and_their_number_does() -> None:
    found = [(day, 7 + day % 5) for day in range(40)]
    one, other = (delay_of(each).reported(window(AS_OF)) for each in (found, found[::-1]))
    assert one.expected == other.expected
    many = delay_of(found * 20).reported(window(AS_OF))
    assert np.ptp(many.draws) < np.ptp(one.draws)


def test_the_true_shares_are_found_though_late_ones_are_missing() -> None:
    rng = np.random.default_rng(0)
    days, waits = rng.integers(0, 60, 4000), np.floor(7 + rng.exponential(7, 4000)).astype(int)
    known = known_by_chargeback(days, waits, AS_OF)
    counted = np.repeat((known["known_on"] - known["event_date"]).dt.total_days(), known["chargebacks"])
    delay = ReportingDelay(known, AS_OF)
    for age in (10, 14, 20, 30):
        true = (waits <= age).mean()
        assert delay.reported({AS_OF - timedelta(days=age): 1}).expected == pytest.approx(true, abs=0.03)
        assert (counted <= age).mean() > true + 0.01
    expected = np.mean([(waits <= age).mean() for age in range(7, 21)])
    assert delay.reported(window(AS_OF)).expected == pytest.approx(expected, abs=0.03)


def test_days_weigh_by_their_payments() -> None:
    delay = delay_of([(day, wait) for day in range(50) for wait in (5, 10, 20)])
    young, old = AS_OF - timedelta(days=7), AS_OF - timedelta(days=20)
    by_day = [delay.reported({day: 1}).expected or 0.0 for day in (young, old)]
    assert delay.reported({young: 300, old: 100}).expected == pytest.approx(0.75 * by_day[0] + 0.25 * by_day[1])


def test_labels_that_take_a_set_time_are_all_in_after_it() -> None:
    """As of data sets whose labels are known after a week."""
    for days in (14, 30):
        as_of = FIRST + timedelta(days=days)
        delay = delay_of([(day, 7) for day in range(days) for _ in range(20)], as_of)
        found = delay.reported(window(as_of, days=min(14, days - 7)))
        assert found.half_in
        assert found.expected == pytest.approx(1.0, abs=0.03)


def test_of_few_chargebacks_or_no_days_nothing_is_said() -> None:
    few = delay_of([(0, 7)] * (FEWEST_CHARGEBACKS - 1)).reported(window(AS_OF))
    assert few is UNKNOWN
    assert delay_of([(0, 7)] * FEWEST_CHARGEBACKS).reported({}) is UNKNOWN
    assert not few.half_in
    assert few.frauds_per_chargeback == 1.0


def test_an_expectation_of_a_half_must_itself_be_known() -> None:
    sure, unsure = (Reported(0.55, np.linspace(0.55 - spread, 0.55 + spread, 400)) for spread in (0.1, 0.4))
    assert sure.half_in
    assert sure.frauds_per_chargeback == pytest.approx(1 / 0.55)
    assert not unsure.half_in
    assert unsure.frauds_per_chargeback == 1.0


def test_where_every_payment_has_a_label_nothing_is_still_to_come() -> None:
    outcomes = random_outcomes(0, rows=100, days=2)
    nothing = ReportingDelay(known_by_chargeback([], [], AS_OF), AS_OF)
    assert nothing.reported_of(outcomes) is UNKNOWN
    assert nothing.reported_of(outcomes.with_columns(labelled=pl.lit(True))) is ALL_REPORTED


def test_a_fraud_known_by_its_chargeback_alone_stands_for_those_still_to_come() -> None:
    frame = pl.DataFrame({"is_fraud": [True, True, False], "late": [True, False, False]})
    assert frauds_stood_for(frame, reported_share(0.625)).tolist() == [1.6, 1.0, 0.0]
    assert frauds_stood_for(frame.drop("late"), reported_share(0.625)).tolist() == [1.0, 1.0, 0.0]
