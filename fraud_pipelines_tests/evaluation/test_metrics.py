"""Metrics against scikit-learn and counts by hand."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from fraud_pipelines.evaluation.cards import card_precision, card_precision_ceiling, compromised_cards
from fraud_pipelines.evaluation.metrics import performance, precision_recall
from fraud_pipelines.evaluation.ranked import ranking
from fraud_pipelines.evaluation.windows import Window, window_of
from fraud_pipelines_tests.evaluation.samples import ROWS, Row, outcomes, random_outcomes, reported_share


@given(rows=ROWS)
def test_the_figures_equal_scikit_learn_where_they_are_defined_and_are_null_elsewhere(rows: list[Row]) -> None:
    frame = outcomes(rows)
    found = performance(frame, review_cost=3.0, loss_share=0.5, resamples=20)
    truth, alert = frame["is_fraud"].to_numpy(), frame["alert"].to_numpy()
    labelled = any(row[6] is not None for row in rows)

    assert (found.transactions, found.frauds, found.alerts) == (len(rows), truth.sum(), alert.sum())
    assert found.precision == (pytest.approx(precision_score(truth, alert)) if alert.any() and labelled else None)
    assert found.recall == (pytest.approx(recall_score(truth, alert)) if truth.any() else None)
    assert found.f1 == (pytest.approx(f1_score(truth, alert)) if truth.any() else None)
    # One number that orders by score, then by raw score (0, 1 or 2).
    ordered = frame["score"].to_numpy() * 100 + frame["raw_score"].to_numpy()
    assert found.average_precision == (pytest.approx(average_precision_score(truth, ordered)) if truth.any() else None)
    both = truth.any() and not truth.all()
    assert found.roc_auc == (pytest.approx(roc_auc_score(truth, ordered)) if both else None)


@given(rows=ROWS)
def test_money_adds_up(rows: list[Row]) -> None:
    found = performance(outcomes(rows), review_cost=3.0, loss_share=0.5, resamples=0)
    fraud_amount = sum(row[4] for row in rows if row[6])
    missed = sum(row[4] for row in rows if row[6] and not row[5])
    assert found.cost == pytest.approx(3.0 * sum(row[5] for row in rows) + 0.5 * missed)
    if fraud_amount:
        assert found.value_detection_rate == pytest.approx(1 - missed / fraud_amount)
    else:
        assert found.value_detection_rate is None


def test_nothing_is_claimed_of_an_empty_window() -> None:
    found = performance(outcomes([]), review_cost=3.0)
    assert found.figures.keys() == {
        *("transactions", "labelled", "frauds", "alerts", "alerts_labelled", "chargebacks_reported", "cost"),
    }
    assert (found.transactions, found.cost) == (0, 0.0)


def test_without_any_label_precision_is_unknown_and_not_zero() -> None:
    unlabelled: Row = (0, 0, 0.9, 0.0, 10.0, True, None)
    assert performance(outcomes([unlabelled]), review_cost=3.0).precision is None
    reviewed: Row = (0, 1, 0.9, 0.0, 10.0, True, False)
    assert performance(outcomes([unlabelled, reviewed]), review_cost=3.0).precision == 0.0


def found_cards(rows: list[Row], k: int, *, perfect: bool = False) -> float | None:
    """The card precision of a ranking; by a perfect one, what is fraud comes first."""
    frame = outcomes(rows)
    window = window_of(frame.with_columns(score=pl.col("is_fraud").cast(pl.Float64)) if perfect else frame)
    return card_precision(window.cards(k + 6), compromised(window), k)


def compromised(window: Window) -> dict[tuple[date, str], float]:
    frauds = window.frauds
    return dict(compromised_cards(frauds["event_date"], frauds["user_id"], [1.0] * frauds.height))


def cards_by_hand(rows: list[Row], k: int) -> float:
    """Card precision@k, a day at a time, as the handbook words it."""
    gone: set[int] = set()
    precisions = []
    for day in sorted({row[0] for row in rows}):
        cards: dict[int, tuple[tuple[float, float], bool]] = {}
        for row in rows:
            if row[0] == day and row[1] not in gone:
                best, compromised = cards.get(row[1], ((-1.0, -1.0), False))
                cards[row[1]] = (max(best, (row[2], row[3])), compromised or bool(row[6]))
        top = sorted(cards, key=lambda card: (cards[card][0], -card), reverse=True)[:k]
        detected = {card for card in top if cards[card][1]}
        gone |= detected
        precisions.append(len(detected) / k)
    return sum(precisions) / len(precisions)


@given(rows=ROWS.filter(bool), k=st.integers(1, 8))
def test_card_precision_is_what_the_handbook_says(rows: list[Row], k: int) -> None:
    assert found_cards(rows, k) == pytest.approx(cards_by_hand(rows, k))


@given(rows=ROWS.filter(bool), k=st.integers(1, 8))
def test_no_ranking_beats_the_ceiling_and_a_perfect_one_reaches_it_where_k_suffices(rows: list[Row], k: int) -> None:
    window = window_of(outcomes(rows))
    ceiling = card_precision_ceiling(len(window.days), compromised(window), k)
    found, perfect = found_cards(rows, k), found_cards(rows, k, perfect=True)
    assert ceiling is not None
    assert found is not None
    assert perfect is not None
    assert found <= ceiling + 1e-12
    assert perfect <= ceiling + 1e-12
    if k >= 6:  # as many as there are cards
        assert perfect == pytest.approx(ceiling)


def test_a_detected_card_leaves_and_a_missed_one_stays() -> None:
    rows: list[Row] = [
        (0, 1, 0.9, 0.0, 1.0, True, True),
        (0, 2, 0.1, 0.0, 1.0, False, True),
        (1, 1, 0.9, 0.0, 1.0, True, True),
        (1, 2, 0.5, 0.0, 1.0, False, True),
    ]
    # k = 1: card 1 on the first day; it has left by the second, so card 2 comes first then.
    assert found_cards(rows, 1) == 1.0


def test_a_card_known_by_its_chargeback_counts_for_those_still_to_come() -> None:
    rows: list[Row] = [
        (0, 1, 0.9, 0.0, 1.0, True, True),
        (0, 2, 0.8, 0.0, 1.0, False, True),
        (0, 3, 0.1, 0.0, 1.0, False, None),
    ]
    frame = outcomes(rows).with_columns(late=pl.Series([False, True, False]))
    found = performance(frame, review_cost=1.0, reported=reported_share(0.5), k=4)
    assert found.card_precision_at_k == found.card_precision_ceiling == pytest.approx((1 + 2) / 4)
    assert performance(frame, review_cost=1.0, reported=reported_share(0.4), k=4).card_precision_at_k is None


def test_the_curve_is_the_one_that_average_precision_speaks_of() -> None:
    frame = random_outcomes(3, rows=2000, days=7).with_columns(late=pl.col("is_fraud") & ~pl.col("alert"))
    for share in (1.0, 0.7):
        curve = precision_recall(window_of(frame), reported_share(share))
        measured = performance(frame, review_cost=0.0, reported=reported_share(share), resamples=0)
        assert curve.average_precision == measured.average_precision
        assert (curve.frauds, curve.recall[-1]) == (measured.frauds, pytest.approx(1.0))
        assert (np.diff(curve.recall) > 0).all()
    assert precision_recall(window_of(frame), reported_share(0.3)).average_precision is None


def test_equal_scores_rank_by_raw_score_and_equal_both_share_a_rank() -> None:
    rows: list[Row] = [
        (0, n, score, raw, 1.0, False, None)
        for n, (score, raw) in enumerate([(0.9, 2.0), (0.9, 1.0), (0.5, 3.0), (0.9, 2.0)])
    ]
    assert ranking(outcomes(rows)).tolist() == [2, 1, 0, 2]
    assert ranking(outcomes(rows).with_columns(raw_score=pl.lit(None, dtype=pl.Float64))).tolist() == [1, 1, 0, 1]


def test_intervals_are_the_same_for_the_same_seed_and_hold_the_estimate() -> None:
    frame = random_outcomes(1, rows=6000, days=14)
    found = performance(frame, review_cost=3.0, seed=7)
    assert found == performance(frame.reverse(), review_cost=3.0, seed=7)
    assert found != performance(frame, review_cost=3.0, seed=8)
    for name in ("precision", "recall", "average_precision"):
        low, value, high = (getattr(found, name + suffix) for suffix in ("_low", "", "_high"))
        assert 0 <= low < value < high <= 1
