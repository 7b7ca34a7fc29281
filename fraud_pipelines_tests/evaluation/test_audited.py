"""The estimates of the audit sample: right on average, with intervals that contain the truth."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.audit_sample import draw_sample
from fraud_pipelines.evaluation.audited import Approved, AuditedFigures, AuditSample, Bounded, Caught, share_of

ROWS = {
    "audit_probability": pl.Float64,
    "amount": pl.Float64,
    "is_fraud": pl.Boolean,
    "reported": pl.Boolean,
    "level": pl.Float64,
}
NOBODY = Caught(0, 0, np.empty(0), np.empty(0))


def sample(rows: list[tuple[float, float, bool | None, bool, float]], **of: float) -> AuditSample:
    approved = {"payments": 1000, "sampled": 1000, "amount": 5000.0} | of
    return AuditSample(pl.DataFrame(rows, schema=ROWS, orient="row"), Approved(**approved))  # type: ignore[arg-type]


def bounds(row: Mapping[str, float | None], name: str) -> list[float]:
    found = [row[name + bound] for bound in ("_low", "", "_high")]
    return [each for each in found if each is not None]


def test_a_fraud_found_stands_for_one_over_its_probability() -> None:
    figures = sample(
        [(0.1, 30.0, True, False, 0.2), (0.02, 80.0, True, False, 0.1), (0.02, 5.0, False, False, 0.1)]
    ).figures(Caught(50, 50, np.full(40, 0.9), np.full(40, 9.0)), loss_share=0.5)
    assert (figures.audited, figures.audited_frauds) == (3, 2)
    assert figures.frauds_let_through == pytest.approx(10 + 50)
    assert figures.value_lost_audited == pytest.approx(0.5 * (10 * 30 + 50 * 80))
    assert figures.recall_audited == pytest.approx(40 / 100)
    for name in ("frauds_let_through", "value_lost_audited", "recall_audited"):
        low, value, high = bounds(figures.row, name)
        assert 0 <= low < value < high


def test_what_is_known_is_the_least() -> None:
    known = AuditSample(
        pl.DataFrame([(0.5, 7.0, True, False, 0.1)], schema=ROWS, orient="row"),
        Approved(10, 10, 100.0),
        known=(6, 60.0),
    )
    assert (known.let_through().value, known.let_through().low) == (6, 6)
    assert known.let_through().high > 6
    assert known.value_lost(1.0).low == 60


def test_those_judged_stand_for_those_that_wait_in_their_class() -> None:
    risky = [(0.5, 1.0, True, False, 0.4), (0.5, 1.0, None, False, 0.4)] * 4
    others = [(0.01, 1.0, False, False, 0.1)] * 8
    assert sample([*risky, *others]).let_through().value == pytest.approx(8 / 0.5)
    nothing = sample([(0.5, 1.0, None, False, 0.4)] * 4)
    assert not nothing.tells
    assert nothing.figures(NOBODY, loss_share=1.0) == AuditedFigures(audited=0, audited_frauds=0)


def test_a_sample_of_few_of_the_days_tells_nothing_of_all() -> None:
    rows: list[tuple[float, float, bool | None, bool, float]] = [(0.1, 30.0, True, False, 0.2)]
    assert sample(rows, sampled=600.0).let_through().value == pytest.approx(10 * 1000 / 600)
    assert sample(rows, sampled=400.0).figures(NOBODY, loss_share=1.0).frauds_let_through is None


def test_thresholds_count_what_they_would_alert() -> None:
    found = sample([(0.1, 30.0, True, False, 0.45), (0.05, 50.0, True, False, 0.25), (0.02, 5.0, False, False, 0.1)])
    caught = Caught(20, 10, np.array([0.9, 0.55]), np.array([100.0, 10.0]))
    rows = found.at_thresholds([0.2, 0.4, 0.5, 0.6], np.array([200.0, 60.0, 20.0, 8.0]), caught, loss_share=1.0)
    # Half of the alerts have a verdict: each fraud among them stands for two.
    assert [row["frauds"] for row in rows] == pytest.approx([34, 14, 4, 2])
    assert [row["precision"] for row in rows] == pytest.approx([34 / 200, 14 / 60, 4 / 20, 2 / 8])
    assert [row["recall"] for row in rows] == pytest.approx([34 / 34, 14 / 34, 4 / 34, 2 / 34])
    assert [row["value_lost"] for row in rows] == pytest.approx([0, 1000, 1300, 1320])
    for row in rows:
        for name in ("frauds", "precision", "recall", "value_lost"):
            low, value, high = bounds(row, name)
            assert low <= value <= high


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 100))
def test_a_share_keeps_the_order_of_its_bounds(value: float, less: float, more: float, caught: float) -> None:
    share = share_of(caught, Bounded(value, max(value - less, 0), value + more))
    if share is not None:
        assert 0 <= share.low <= share.value <= share.high <= 1


def draws(rng: np.random.Generator) -> Iterator[tuple[float, Bounded]]:
    """The truth and the estimate of 200 samples of 140 of 6,000 payments, of which .8 % are frauds, by a score that is
    somewhat right about them."""
    scores = 0.005 / np.linspace(0.01, 1, 6000)
    for _ in range(200):
        fraud = rng.random(6000) < np.minimum(0.008 * scores**1.5 / (scores**1.5).mean(), 1)
        draw = draw_sample(scores, 140, seed=0, model="")
        assert draw is not None
        probability = draw.probability(scores)
        drawn = rng.random(6000) < probability
        rows = pl.DataFrame(
            {
                "audit_probability": probability[drawn],
                "amount": 1.0,
                "is_fraud": fraud[drawn],
                "reported": False,
                "level": scores[drawn],
            }
        )
        approved = Approved(6000, 6000, 6000.0)
        yield float(fraud.sum()), AuditSample(rows, approved).let_through()


def test_estimates_are_right_on_average_and_their_intervals_hold_what_they_promise() -> None:
    pairs = list(draws(np.random.default_rng(1)))
    truth = np.array([each for each, _ in pairs])
    value, low, high = (np.array([getattr(each, name) for _, each in pairs]) for name in ("value", "low", "high"))
    error = (value - truth).std() / np.sqrt(len(pairs))
    assert abs((value - truth).mean()) < 3 * error
    assert ((low <= truth) & (truth <= high)).mean() >= 0.93
