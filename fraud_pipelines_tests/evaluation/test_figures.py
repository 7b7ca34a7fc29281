"""Figures: they show what they were given, also when there is little of it, and are the same each time."""

import base64
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.evaluation.figures import (
    alert_volume,
    markdown_image,
    png_bytes,
    pr_curve,
    score_histogram,
    threshold_sweep,
)
from fraud_pipelines.evaluation.metrics import performance
from fraud_pipelines.evaluation.tuning import tune
from fraud_pipelines_tests.evaluation.samples import outcomes, random_outcomes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG = b"\x89PNG\r\n\x1a\n"
WINDOW = random_outcomes(0, rows=3000, days=7)


def texts(figure: "Figure") -> str:
    """All that is written in the legends."""
    legends = [legend for axes in figure.axes if (legend := axes.get_legend())]
    return " | ".join(text.get_text() for legend in legends for text in legend.get_texts())


def test_a_precision_recall_curve_names_each_ranking_and_its_average_precision() -> None:
    figure = pr_curve({"fraud-daily": WINDOW, "fraud-ensemble": outcomes([(0, 0, 0.5, 0.0, 1.0, False, None)])})
    average_precision = performance(WINDOW, review_cost=0, resamples=0).average_precision
    assert f"fraud-daily: AP {average_precision:.3f}" in texts(figure)
    assert "fraud-ensemble: no known fraud" in texts(figure)
    recall = figure.axes[0].get_lines()[0].get_xdata()
    assert np.max(np.asarray(recall)) == 1.0
    assert png_bytes(figure).startswith(PNG)


def test_a_score_histogram_counts_what_lies_above_a_half() -> None:
    figure = score_histogram({"fraud-daily": WINDOW["score"]}, {"review": 0.5})
    assert f"fraud-daily: {(WINDOW['score'] > 0.5).sum()} above 0.5" in texts(figure)
    assert png_bytes(figure).startswith(PNG)


def test_a_threshold_sweep_shows_today_and_the_proposal() -> None:
    policy = policy_named("balanced")
    proposal = tune(WINDOW, WINDOW, initial_thresholds(policy, date(2024, 3, 8)), policy, day=date(2024, 3, 8))
    figure = threshold_sweep(proposal.sweep, current=0.5, proposed=0.45)
    assert "today 0.500 | proposed 0.450" in texts(figure)
    assert png_bytes(figure).startswith(PNG)


def test_alert_volume_stacks_reviews_on_blocks() -> None:
    first = date(2024, 3, 1)
    daily = pl.DataFrame(
        {"event_date": [first + timedelta(days=n) for n in range(30)], "review": range(30), "block": [2] * 30}
    )
    figure = alert_volume(daily, budget=20)
    tops = [bar.get_window_extent().y1 for bar in figure.axes[0].patches[30:]]
    assert tops == sorted(tops)
    assert len(set(tops)) == 30
    assert "budget 20" in texts(figure)


@pytest.mark.parametrize(
    "figure",
    [
        pr_curve({}),
        score_histogram({"fraud-daily": pl.Series([], dtype=pl.Float64)}),
        alert_volume(pl.DataFrame(schema={"event_date": pl.Date, "review": pl.Int64, "block": pl.Int64})),
    ],
)
def test_nothing_to_show_is_no_error(figure: "Figure") -> None:
    assert png_bytes(figure).startswith(PNG)


def test_the_same_data_gives_the_same_picture_and_markdown_holds_it() -> None:
    first, second = (score_histogram({"fraud-daily": WINDOW["score"]}) for _ in range(2))
    assert png_bytes(first) == png_bytes(second)
    title, _, data = markdown_image(png_bytes(first), "Scores of the day").partition("](data:image/png;base64,")
    assert title == "![Scores of the day"
    assert base64.b64decode(data.removesuffix(")")) == png_bytes(second)
