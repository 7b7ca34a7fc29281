"""Lateness of chargebacks: told from those that have come, though the late ones of young payments are still missing."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.policies import Policy, initial_thresholds
from fraud_pipelines.evaluation.lateness import FEWEST_CHARGEBACKS, reported_share, reported_shares
from fraud_pipelines.evaluation.tuning import tune
from fraud_pipelines_tests.evaluation.samples import FIRST, random_outcomes

AS_OF = FIRST + timedelta(days=60)

CHARGEBACKS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=FEWEST_CHARGEBACKS, max_size=80)


def chargebacks(happened_and_delay: list[tuple[int, int]], as_of: date = AS_OF) -> pl.DataFrame:
    """Of chargebacks by day and delay, those known by then."""
    found = [(FIRST + timedelta(days=day), FIRST + timedelta(days=day + wait)) for day, wait in happened_and_delay]
    known = [row for row in found if row[1] <= as_of]
    return pl.DataFrame(known, schema={"event_date": pl.Date, "known_on": pl.Date}, orient="row")


@given(found=CHARGEBACKS)
def test_shares_rise_to_one(found: list[tuple[int, int]]) -> None:
    shares = reported_shares(chargebacks(found), AS_OF)
    if len(shares):
        assert (np.diff(shares) >= 0).all()
        assert shares.min() >= 0
        assert shares[-1] == 1.0


@given(found=CHARGEBACKS)
def test_where_all_payments_are_old_the_shares_are_those_that_were_counted(found: list[tuple[int, int]]) -> None:
    long_after = FIRST + timedelta(days=200)
    shares = reported_shares(chargebacks(found, long_after), long_after)
    delays = np.array([wait for _, wait in found])
    assert shares == pytest.approx([(delays <= age).mean() for age in range(delays.max() + 1)])


def test_the_true_shares_are_found_though_late_ones_are_missing() -> None:
    rng = np.random.default_rng(0)
    days, waits = rng.integers(0, 60, 4000), np.floor(7 + rng.exponential(7, 4000)).astype(int)
    known = chargebacks(list(zip(days.tolist(), waits.tolist(), strict=True)))
    shares = reported_shares(known, AS_OF)
    counted = (known["known_on"] - known["event_date"]).dt.total_days().to_numpy()
    for age in (10, 14, 20, 30):
        true = (waits <= age).mean()
        assert shares[age] == pytest.approx(true, abs=0.02)
        assert (counted <= age).mean() > true + 0.01
    window = pl.Series([AS_OF - timedelta(days=back) for back in range(7, 21)])
    expected = np.mean([(waits <= age).mean() for age in range(7, 21)])
    assert reported_share(known, AS_OF, window) == pytest.approx(expected, abs=0.02)


def test_of_few_chargebacks_or_no_days_nothing_is_said() -> None:
    few = chargebacks([(0, 7)] * (FEWEST_CHARGEBACKS - 1))
    assert not len(reported_shares(few, AS_OF))
    assert reported_share(few, AS_OF, pl.Series([FIRST])) == 1.0
    many = chargebacks([(0, 7)] * FEWEST_CHARGEBACKS)
    assert reported_share(many, AS_OF, pl.Series([], dtype=pl.Date)) == 1.0


def test_a_fraud_known_by_a_chargeback_stands_for_those_still_to_come() -> None:
    window = random_outcomes(0, rows=6000, days=14).with_columns(
        label_source=pl.when(pl.col("alert")).then(pl.lit("review")).otherwise(pl.lit("chargeback"))
    )
    policy = Policy(name="own", review_threshold=0.5, contamination=0.01, max_daily_change=1.0, min_labelled_frauds=1)
    current = initial_thresholds(policy, FIRST)

    def sweep(reported: float) -> dict[float, tuple[float, float]]:
        found = tune(window, window, current, policy, day=FIRST, objective="min_cost", reported=reported).sweep
        return {row["threshold"]: (row["recall"], row["cost"]) for row in found.iter_rows(named=True)}

    plain, corrected = sweep(1.0), sweep(0.25)
    frauds, caught = window["is_fraud"].sum(), window.filter("alert", "is_fraud").height
    missed = float(window.filter(~pl.col("alert"), "is_fraud")["amount"].sum())
    assert corrected[0.5][0] == pytest.approx(caught / (caught + 4 * (frauds - caught)))
    assert corrected[0.5][1] - plain[0.5][1] == pytest.approx(3 * missed / 14)
