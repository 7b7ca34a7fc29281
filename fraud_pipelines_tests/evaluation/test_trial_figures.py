"""A trial's figures: those of the field on each day, and a difference that chance alone seldom makes look real."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud_pipelines.evaluation.metrics import performance
from fraud_pipelines.evaluation.trial_figures import FIGURES, Day, Ratio, compare, day_figures, window_figures


def a_day(seed: int, *, rows: int = 60, users: int = 12) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < 0.15
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in rng.integers(0, users, rows)],
            "event_date": [date(2026, 9, 1) + timedelta(days=seed % 50)] * rows,
            "raw_score": np.round(rng.normal(size=rows) + fraud, 1),
            "is_fraud": fraud,
            "frauds": fraud.astype(np.float64),
        }
    )


@given(st.integers(0, 10_000))
def test_the_figures_of_a_day_are_those_of_the_field(seed: int) -> None:
    rows = a_day(seed)
    found = day_figures(rows, alerts=10, cards=3, blocked=set())
    fraud, score = rows["is_fraud"].to_numpy(), rows["raw_score"].to_numpy()
    if not fraud.any():
        assert found["average_precision"] == found["roc_auc"] == Ratio(0, 0)
        return
    alerts = int(rows.sort("raw_score", descending=True, maintain_order=True).head(10)["is_fraud"].sum())
    assert list(found["average_precision"]) == pytest.approx([average_precision_score(fraud, score), 1])
    assert list(found["roc_auc"]) == pytest.approx([roc_auc_score(fraud, score), 1])
    assert found["precision"] == Ratio(alerts, 10)
    assert found["recall"] == Ratio(alerts, fraud.sum())


@given(st.lists(st.integers(0, 49), min_size=1, max_size=5, unique=True))
def test_a_card_found_on_one_day_counts_no_more_on_the_next(seeds: list[int]) -> None:
    # Scores without ties: of equal ones the two definitions may look at different cards.
    days = [
        a_day(seed).with_columns(raw_score=pl.Series(np.random.default_rng(seed).permutation(60) / 60))
        for seed in sorted(seeds)
    ]
    blocked: set[str] = set()
    found = window_figures([day_figures(day, alerts=5, cards=3, blocked=blocked) for day in days])
    every = pl.concat(days)
    outcomes = every.with_columns(score="raw_score", amount=pl.lit(1.0), alert=pl.lit(False), labelled=pl.lit(True))
    expected = performance(outcomes, review_cost=0.0, k=3, resamples=0).card_precision_at_k
    assert found["card_precision_at_k"] == pytest.approx(expected)


def test_a_fraud_that_stands_for_others_counts_so_often_among_all_frauds() -> None:
    rows = pl.DataFrame(
        {
            "user_id": list("abcd"),
            "raw_score": [4.0, 3.0, 2.0, 1.0],
            "is_fraud": [True, False, True, False],
            "frauds": [1.0, 0.0, 3.0, 0.0],
        }
    )
    found = day_figures(rows, alerts=2, cards=1, blocked=set())
    assert found["recall"] == Ratio(1, 4)
    assert found["precision"] == Ratio(1, 2)


def days_of(values: np.ndarray) -> list[list[Day]]:
    """Days whose every figure is the mean of a daily value, shape (days, repeats)."""
    return [[dict.fromkeys(FIGURES, Ratio(float(value), 1.0)) for value in repeats] for repeats in values]


@given(st.integers(0, 10_000), st.integers(5, 20), st.integers(1, 3))
def test_the_interval_of_a_mean_is_that_of_students_paired_test(seed: int, days: int, repeats: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.normal(0.4, 0.1, (days, repeats)), rng.normal(0.42, 0.1, (days, repeats))
    found = compare(days_of(before), days_of(after))["average_precision"]
    expected = ttest_rel(after.mean(axis=1), before.mean(axis=1)).confidence_interval(0.95)
    assert found.difference == pytest.approx(after.mean() - before.mean())
    # The bootstrap counts draws, and Student's interval doesn't.
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.high, abs=0.06 * width)


def test_seeds_alone_look_like_a_help_or_a_harm_in_one_trial_of_twenty() -> None:
    rng = np.random.default_rng(3)
    trials = 200
    hard = rng.normal(0.4, 0.15, (trials, 14, 1))  # what makes a day hard is the same for both
    arms = hard + rng.normal(0, 0.02, (2, trials, 14, 2))
    verdicts = [compare(days_of(arms[0, k]), days_of(arms[1, k]))["average_precision"].verdict for k in range(trials)]
    chance = sum(verdict != "can't be told" for verdict in verdicts) / trials
    assert 0.01 <= chance <= 0.10
    better = compare(days_of(arms[0, 0]), days_of(arms[1, 0] + 0.05))["average_precision"]
    worse = compare(days_of(arms[0, 0]), days_of(arms[1, 0] - 0.05))["average_precision"]
    assert (better.verdict, worse.verdict) == ("helped", "hurt")


def test_a_few_days_tell_nothing_and_a_figure_without_frauds_is_none() -> None:
    two = days_of(np.array([[0.1], [0.2]]))
    found = compare(two, days_of(np.array([[0.9], [0.8]])))["recall"]
    assert (found.low, found.verdict) == (None, "can't be told")
    nothing = [[dict.fromkeys(FIGURES, Ratio(0.0, 0.0))]] * 5
    found = compare(nothing, nothing)["recall"]
    assert (found.present, found.difference, found.verdict) == (None, None, "can't be told")
