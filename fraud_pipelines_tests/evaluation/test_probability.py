"""Probabilities: monotone whatever the scores, right on days that weren't looked at, in SQL as in Python."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.probabilities import ProbabilityCurve, curves_in_force
from fraud_pipelines.decisions.review_queue import place_in_queue, read_queue
from fraud_pipelines.evaluation.bands import bands_of
from fraud_pipelines.evaluation.daily_performance import measure_performance, store_performance
from fraud_pipelines.evaluation.lateness import ALL_REPORTED
from fraud_pipelines.evaluation.levels import levels_of
from fraud_pipelines.evaluation.probability import (
    FEWEST_FRAUDS,
    FRAUDS_A_BAND,
    MOST_BANDS,
    Bands,
    calibrate,
    fit_bands,
    reliability,
)
from fraud_pipelines.evaluation.windows import window_of
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.samples import (
    FIRST,
    filled_warehouse,
    forget_after,
    random_outcomes,
    reported_share,
)
from fraud_pipelines_tests.review.samples import NOW, Decided, queue_warehouse, store

Floats = npt.NDArray[np.float64]
SCORES = np.linspace(0, 1, 201)

# Tenths beside other numbers, so that ties are common; enough frauds to say something.
PAYMENTS = st.lists(
    st.tuples(st.one_of(st.integers(0, 10).map(lambda n: n / 10), st.floats(0, 1)), st.booleans(), st.floats(1, 4)),
    min_size=60,
    max_size=200,
)


def fitted(scores: Floats, frauds: npt.NDArray[np.bool_], weights: Floats) -> Bands | None:
    return fit_bands(levels_of(scores, np.zeros(len(scores))), scores[frauds], weights[frauds])


@given(PAYMENTS, st.randoms(use_true_random=False))
def test_a_probability_ascends_with_the_score_and_does_not_depend_on_the_order_of_rows(
    payments: list[tuple[float, bool, float]], shuffled: object
) -> None:
    scores, frauds, weights = (np.array(each) for each in zip(*payments, strict=True))
    bands = fitted(scores, frauds, weights)
    if bands is None:
        assert frauds.sum() < FEWEST_FRAUDS
        return
    assert 1 <= len(bands.score) <= MOST_BANDS + 1
    assert (np.diff(bands.score) > 0).all()
    assert (np.diff(bands.probability) > 0).all()
    assert (bands.probability[0] > 0) & (bands.probability[-1] < 1)
    assert bands.payments.sum() == len(scores)
    of_scores = bands.curve.of(SCORES)
    assert (np.diff(of_scores) >= 0).all()
    order = list(range(len(scores)))
    shuffled.shuffle(order)  # type: ignore[attr-defined]
    again = fitted(scores[order], frauds[order], weights[order])
    assert again is not None
    np.testing.assert_array_equal(again.curve.of(SCORES), of_scores)


@given(st.floats(1e-6, 1 - 1e-6))
def test_a_threshold_for_a_probability_is_the_score_that_has_it(probability: float) -> None:
    curve = ProbabilityCurve(np.array([0.05, 0.4, 0.9]), np.array([-7.0, -2.0, 2.0]))
    threshold = curve.threshold(probability)
    assert 0 <= threshold <= 1
    if 0 < threshold < 1:
        assert curve.of(threshold) == pytest.approx(probability)
    else:
        lowest, highest = curve.of([0.0, 1.0])
        assert probability <= lowest if threshold == 0 else probability > highest


def test_probabilities_are_right_on_days_that_were_not_looked_at() -> None:
    learned = random_outcomes(1, rows=30_000, days=14)
    window = window_of(learned)
    bands = calibrate(window, ALL_REPORTED)
    assert bands is not None
    assert bands.frauds.sum() == learned["is_fraud"].sum()
    assert bands.frauds.min() >= FRAUDS_A_BAND
    later = window_of(random_outcomes(2, rows=30_000, days=14, first=FIRST + timedelta(days=21)))
    found = reliability(later, ALL_REPORTED, {day.event_date: bands.curve for day in later.days})
    assert found.payments.sum() == 30_000
    assert (found.payments > 0).sum() >= 6
    assert found.error is not None
    assert found.error <= 0.03
    # Of the alerts alone, where nearly all that is probable lies.
    alerts = found.payments[2:]
    assert np.nansum(alerts * np.abs(found.probability - found.share)[2:]) / alerts.sum() <= 0.08
    flattered = {day.event_date: ProbabilityCurve(bands.score, bands.curve.log_odds + 2) for day in later.days}
    worse = reliability(later, ALL_REPORTED, flattered).error
    assert worse is not None
    assert worse > 3 * found.error


def test_the_bands_of_a_version_say_how_probable_fraud_is() -> None:
    frame = random_outcomes(1, rows=20_000, days=14)
    bands = bands_of(window_of(frame))
    assert bands["probability"].is_sorted()
    expected = (bands["probability"] * bands["transactions"]).sum()
    assert expected == pytest.approx(frame.filter("is_fraud").height, rel=0.1)
    assert bands_of(window_of(frame.head(200)))["probability"].null_count() == bands.height


def test_chargebacks_to_come_are_counted_before_half_of_them_are_in() -> None:
    rng = np.random.default_rng(3)
    truth = random_outcomes(1, rows=20_000, days=14).with_columns(late=pl.col("is_fraud") & ~pl.col("alert"))
    known = ~truth["late"] | pl.Series(rng.random(truth.height) < 0.4)
    told = truth.with_columns(is_fraud=pl.col("is_fraud") & known, late=pl.col("late") & known)
    expected = truth.filter("is_fraud").height
    bands = calibrate(window_of(told), reported_share(0.4))
    assert bands is not None
    assert bands.frauds.sum() == pytest.approx(expected, rel=0.1)
    assert told.filter("is_fraud").height < 0.8 * expected


def test_of_few_frauds_nothing_is_told() -> None:
    scores = np.linspace(0, 1, 1000)
    few = np.arange(1000) >= 1000 - FEWEST_FRAUDS + 1
    assert fitted(scores, few, np.ones(1000)) is None


SETTINGS = Settings(label_delay_days=7, evaluation_days=10)
TABLES = ("score_probabilities", "score_reliability")


def evenings(warehouse: Warehouse, days: list[date]) -> None:
    for day in days:
        store_performance(warehouse, measure_performance(warehouse, SETTINGS, day), day)


def test_a_model_has_probabilities_as_of_a_day_and_they_are_judged_on_the_days_after(tmp_path: Path) -> None:
    warehouse = filled_warehouse(tmp_path)
    days = [FIRST + timedelta(days=n) for n in (14, 15, 24)]
    evenings(warehouse, days)

    def stored() -> list[list[tuple[object, ...]]]:
        return [warehouse.read(f"SELECT * FROM monitoring.{name} ORDER BY ALL").rows() for name in TABLES]

    told = warehouse.read("SELECT * FROM monitoring.score_probabilities")
    # Too few of the frauds have a score of the ensemble.
    assert set(told.select("as_of", "model_name", "channel").unique().rows()) == {
        (day, "fraud-daily", "batch") for day in days
    }
    judged = warehouse.read("SELECT * FROM monitoring.score_reliability")
    # The first two evenings look back on days before which nothing had been told.
    assert judged["as_of"].unique().to_list() == [days[2]]
    assert judged.filter(model_name="fraud-daily")["payments"].sum() == 40 * 3
    measured = measure_performance(warehouse, SETTINGS, days[2])
    assert 0 < measured.calibration_errors["fraud-daily", "batch"] < 0.3
    assert "calibration_error fraud-daily" in measured.headline
    before = stored()
    with warehouse.transaction() as connection:
        for name in TABLES:
            connection.execute(f"DELETE FROM monitoring.{name}")
    forget_after(warehouse, days[2])
    evenings(warehouse, days)
    assert stored() == before


def test_the_queue_goes_by_what_was_known_when_the_day_began(tmp_path: Path) -> None:
    warehouse = queue_warehouse(tmp_path)
    before = {case.transaction_id: case for case in read_queue(warehouse, limit=9).cases}
    day = NOW.date()
    curve = [(0.1, 0.001), (0.55, 0.08), (0.7, 0.3), (0.95, 0.9)]
    with warehouse.transaction() as connection:
        for as_of, model_name, factor in (
            (day - timedelta(days=9), "fraud-ensemble", 0.5),
            (day - timedelta(days=8), "fraud-ensemble", 1.0),
            (day, "fraud-ensemble", 0.1),
            (day - timedelta(days=8), "fraud-daily", 0.2),
        ):
            for score, probability in curve:
                connection.execute(
                    "INSERT INTO monitoring.score_probabilities VALUES (?, ?, 'batch', ?, ?, ?, ?, 1, 1)",
                    [as_of, model_name, day, day, score, factor * probability],
                )
    versions = ("fraud-daily/3", "fraud-ensemble/7")
    scores = {"e1": 0.6, "e2": 0.97, "e3": 0.05}
    store(warehouse, [Decided(name, 50.0, score, "review", model_versions=versions) for name, score in scores.items()])
    alone = Decided("alone", 50.0, 0.7, "review", reason="ensemble_score_missing", model_versions=versions)
    store(warehouse, [alone])
    after = {case.transaction_id: case for case in read_queue(warehouse, limit=20).cases}
    known = curves_in_force(warehouse, day - timedelta(days=2), day - timedelta(days=2))
    of_ensemble = known["fraud-ensemble", "batch", day - timedelta(days=2)]
    for name, score in scores.items():
        assert after[name].fraud_probability == pytest.approx(float(of_ensemble.of(score)), abs=1e-12)
    assert after["e2"].fraud_probability == pytest.approx(0.9)
    assert after["alone"].fraud_probability == pytest.approx(0.2 * 0.3)
    # Nothing names the model that decided these: they are estimated as before.
    assert all(after[name].fraud_probability == before[name].fraud_probability for name in before)
    told = place_in_queue(warehouse, "e2")
    assert told.probability_as_of == day - timedelta(days=8)
    assert told.probability_in_words == (
        f"90% of payments that score like this are fraud, by the labels known on {day - timedelta(days=8)}"
    )
    assert "verdicts" in place_in_queue(warehouse, "big").probability_in_words
    [(probability, name)] = warehouse.read(
        "SELECT fraud_probability, model_name FROM scoring.decision_probabilities WHERE transaction_id = 'e1'"
    ).rows()
    assert (probability, name) == (after["e1"].fraud_probability, "fraud-ensemble")
