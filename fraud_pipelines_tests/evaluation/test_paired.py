"""Paired comparison by day: scikit-learn's average precision, an honest interval, a sample that is the same again."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from fraud_pipelines.evaluation.paired import average_precision_by_day, paired_difference, sample_weights

DAY = date(2026, 10, 1)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.booleans(), st.integers(1, 3)), min_size=1, max_size=60)
)
def test_each_days_average_precision_is_scikit_learns_ties_and_weights_included(
    rows: list[tuple[int, int, bool, int]],
) -> None:
    day, score, fraud, weight = (np.array(column) for column in zip(*rows, strict=True))
    days = np.datetime64(DAY) + day
    weight = np.where(fraud, 1, weight)
    found = average_precision_by_day(days, score.astype(float), fraud.astype(float), weight.astype(float))
    for number in range(3):
        of_day = day == number
        if not fraud[of_day].any():
            assert DAY + timedelta(days=number) not in found
            continue
        expected = average_precision_score(fraud[of_day], score[of_day], sample_weight=weight[of_day])
        assert found[DAY + timedelta(days=number)] == pytest.approx(expected, abs=1e-12)


def test_no_rows_have_no_days() -> None:
    nothing = np.empty(0)
    assert average_precision_by_day(nothing.astype("datetime64[D]"), nothing, nothing) == {}


def test_a_difference_is_over_the_days_that_both_have_and_its_interval_holds_its_mean() -> None:
    days = [DAY + timedelta(days=number) for number in range(14)]
    one = {day: 0.5 + 0.01 * (number % 3) for number, day in enumerate(days)}
    other = dict.fromkeys(days[2:], 0.4) | {DAY - timedelta(days=1): 0.0}
    found = paired_difference(one, other)
    assert found is not None
    assert found.days == 12
    assert found.mean == pytest.approx(np.mean([one[day] - 0.4 for day in days[2:]]))
    assert 0.1 <= found.low <= found.mean <= found.high <= 0.12
    assert paired_difference(one, other) == found
    assert paired_difference(one, {}) is None


def test_a_sample_stands_for_all_payments_of_its_day() -> None:
    rows = pl.DataFrame(
        {
            "event_date": [DAY] * 5 + [DAY + timedelta(days=1)] * 3,
            "is_fraud": [True, True, False, False, False, False, False, True],
        }
    )
    weighted = sample_weights(rows, {DAY: 500, DAY + timedelta(days=1): 3})
    assert weighted["weight"].to_list() == [1, 1, 166, 166, 166, 1, 1, 1]
    assert weighted.group_by("event_date").agg(pl.col("weight").sum()).sort("event_date")["weight"].to_list() == [
        500,
        3,
    ]
