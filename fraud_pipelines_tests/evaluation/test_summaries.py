"""Daily summaries: a day is read once, windows add up, and what a summary was made from may not change unseen."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.policies import POLICIES, Policy
from fraud_pipelines.evaluation import levels as levels_module
from fraud_pipelines.evaluation import summaries as summaries_module
from fraud_pipelines.evaluation.daily_performance import measure_performance, store_performance, tune_thresholds
from fraud_pipelines.evaluation.levels import Levels, levels_of, payments_above
from fraud_pipelines.evaluation.metrics import measure
from fraud_pipelines.evaluation.summaries import Key, read_summaries
from fraud_pipelines.evaluation.windows import DaySummary, window_of
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.samples import FIRST, filled_warehouse, random_outcomes, reported_share

BALANCED = POLICIES["balanced"].model_copy(update={"second_stage": "fraud-ensemble"})
# Not the working directory's data: a demo there has policies of its own.
SETTINGS = Settings(data_dir=Path("nowhere"), label_delay_days=7, evaluation_days=10)
DAY = FIRST + timedelta(days=24)
TENTHS = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 2)), max_size=40)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return filled_warehouse(tmp_path)


def evening(warehouse: Warehouse, day: date) -> pl.DataFrame:
    """What is measured as of a day, and kept."""
    measured = measure_performance(warehouse, SETTINGS, day)
    store_performance(warehouse, measured, day)
    return measured.rows


@given(days=st.lists(TENTHS, min_size=1, max_size=3), wanted=TENTHS)
def test_how_many_lie_above_a_score_is_what_counting_says(
    days: list[list[tuple[int, int]]], wanted: list[tuple[int, int]]
) -> None:
    def columns(rows: list[tuple[int, int]]) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
        return tuple(np.array([row[place] for row in rows], dtype=float) for place in (0, 1))

    above, at = payments_above([levels_of(*columns(rows)) for rows in days], *columns(wanted))
    everything = [row for rows in days for row in rows]
    assert above.tolist() == [sum(row > score for row in everything) for score in wanted]
    assert at.tolist() == [sum(row == score for row in everything) for score in wanted]


def test_each_evening_reads_its_own_day_alone(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    evening(warehouse, DAY)
    computed: list[Key] = []
    compute = summaries_module._computed

    def noted(warehouse: Warehouse, key: Key, policy: Policy | None, known_before: date) -> DaySummary:
        computed.append(key)
        return compute(warehouse, key, policy, known_before)

    monkeypatch.setattr(summaries_module, "_computed", noted)

    for _ in range(2):
        evening(warehouse, DAY + timedelta(days=1))
        tune_thresholds(warehouse, SETTINGS, DAY + timedelta(days=1))

    assert {key.event_date for key in computed} == {DAY + timedelta(days=1)}
    assert len(computed) == len({*computed}) == 4, "two models, the policy and the amounts, each once"


def test_what_is_stored_comes_back_as_it_was_made(warehouse: Warehouse) -> None:
    before = read_summaries(warehouse, FIRST, DAY, known_before=DAY + timedelta(days=1), policy=BALANCED)
    assert set(before.computed) == before.of.keys()
    rows = evening(warehouse, DAY)
    after = read_summaries(
        warehouse, DAY - timedelta(days=16), DAY, known_before=DAY + timedelta(days=1), policy=BALANCED
    )
    assert after.computed == []
    for key, summary in after.of.items():
        computed = before.of[key]
        assert list(summary.cards) == list(computed.cards)
        assert (
            replace(summary, levels=computed.levels, alert_levels=computed.alert_levels, cards=computed.cards)
            == computed
        )
        for of_stored, of_computed in (
            (summary.levels, computed.levels),
            (summary.alert_levels, computed.alert_levels),
        ):
            assert (of_stored is None) == (of_computed is None)
            if of_stored and of_computed:
                assert of_stored.score.tolist() == of_computed.score.tolist()
                assert of_stored.raw_score.tolist() == of_computed.raw_score.tolist()
                assert of_stored.payments.tolist() == of_computed.payments.tolist()
    assert evening(warehouse, DAY).equals(rows)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE scoring.transaction_scores SET score = score / 2, raw_score = raw_score / 2 WHERE event_date = $day",
        "DELETE FROM scoring.transaction_scores WHERE event_date = $day AND transaction_id LIKE '%1'",
        "UPDATE scoring.decisions SET decision = 'review' WHERE event_date = $day",
        "UPDATE raw.transactions SET amount = amount + 1 WHERE event_date = $day",
        # An even number of equal values becomes another one.
        "UPDATE raw.transactions SET amount = 7 WHERE event_date = $day",
    ],
)
def test_a_day_that_was_rewritten_is_read_again(warehouse: Warehouse, change: str) -> None:
    day = DAY - timedelta(days=10)
    evening(warehouse, DAY)
    with warehouse.transaction() as connection:
        connection.execute(change, {"day": day})

    again = read_summaries(
        warehouse, DAY - timedelta(days=16), DAY, known_before=DAY + timedelta(days=1), policy=BALANCED
    )

    assert {key.event_date for key in again.computed} == {day}
    rows = evening(warehouse, DAY)
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM monitoring.score_summaries")
    assert evening(warehouse, DAY).equals(rows)


def test_a_policy_that_changes_is_judged_anew(warehouse: Warehouse) -> None:
    evening(warehouse, DAY)
    other = BALANCED.model_copy(update={"screening_threshold": 0.2})
    computed = read_summaries(warehouse, DAY, DAY, known_before=DAY + timedelta(days=1), policy=other).computed
    assert [key.model_name for key in computed] == ["policy:balanced"]


def test_of_very_many_payments_the_figures_are_right_to_a_thousandth_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes = random_outcomes(0, rows=150_000, days=3, fraud_rate=0.004).with_columns(
        late=pl.col("is_fraud") & ~pl.col("alert")
    )
    taken_together = measure(window_of(outcomes), review_cost=5.0, reported=reported_share(0.7))
    monkeypatch.setattr(levels_module, "MOST_LEVELS", 1_000_000)
    one_by_one = measure(window_of(outcomes), review_cost=5.0, reported=reported_share(0.7))

    assert (taken_together.exact, one_by_one.exact) == (False, True)
    for name, value in one_by_one.figures.items():
        assert taken_together.figures[name] == pytest.approx(value, abs=0.001), name
    assert len(levels_of(outcomes["score"].to_numpy(), outcomes["raw_score"].to_numpy()).payments) > 4_096


def test_levels_of_very_many_payments_stay_few_and_count_all() -> None:
    raw = np.random.default_rng(0).normal(size=200_000)
    found: Levels = levels_of(raw, raw)
    assert found.total == 200_000
    assert len(found.payments) < 4_096
    assert (np.diff(found.score) < 0).all()
