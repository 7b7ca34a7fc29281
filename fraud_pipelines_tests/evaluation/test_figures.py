"""Figures: they show what they were given, also when there is little of it, and are the same each time."""

import base64
import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.policies import Thresholds, initial_thresholds, policy_named
from fraud_pipelines.detection.backends import MODEL_NAMES
from fraud_pipelines.evaluation.bands import bands_of
from fraud_pipelines.evaluation.chart import Entry, Panel, Scale, chart
from fraud_pipelines.evaluation.colours import model_colour
from fraud_pipelines.evaluation.figures import (
    alert_volume,
    calibration_by_band,
    daily_lines,
    markdown_image,
    pr_curve,
    score_histogram,
    threshold_sweep,
)
from fraud_pipelines.evaluation.metrics import performance, precision_recall
from fraud_pipelines.evaluation.tuning import Proposal, tune
from fraud_pipelines.evaluation.windows import window_of
from fraud_pipelines_tests.evaluation.drawings import Drawing
from fraud_pipelines_tests.evaluation.samples import outcomes, random_outcomes, reported_share

WINDOW = random_outcomes(0, rows=3000, days=7)
DAY = date(2024, 3, 8)
BALANCED = policy_named("balanced")


def tuned(current: float = 0.5) -> Proposal:
    thresholds: Thresholds = initial_thresholds(BALANCED, DAY).model_copy(update={"review_threshold": current})
    return tune(WINDOW, WINDOW, thresholds, BALANCED, day=DAY)


def test_a_precision_recall_curve_names_each_ranking_and_its_average_precision() -> None:
    unlabelled = precision_recall(window_of(outcomes([(0, 0, 0.5, 0.0, 1.0, False, None)])))
    curves = {
        "fraud-daily": precision_recall(window_of(WINDOW)),
        "fraud-ensemble": unlabelled,
        "fraud-realtime": precision_recall(window_of(WINDOW), reported_share(0.3)),
    }
    drawing = Drawing(pr_curve(curves))
    average_precision = performance(WINDOW, review_cost=0, resamples=0).average_precision
    assert f"fraud-daily: AP {average_precision:.3f}, {WINDOW['is_fraud'].sum()} known frauds" in drawing.legend
    assert "fraud-ensemble: no known fraud" in drawing.legend
    assert "fraud-realtime: too few chargebacks are in" in drawing.legend
    curve, *_ = drawing.strokes(model_colour("fraud-daily"))
    assert curve.startswith("M0 ")
    assert "H442V" in curve, "the curve ends at recall 1, the right edge"


def test_a_score_histogram_counts_what_lies_above_a_half() -> None:
    drawing = Drawing(score_histogram({"fraud-daily": WINDOW["score"]}, {"review": 0.5}))
    assert f"fraud-daily: {(WINDOW['score'] > 0.5).sum()} above 0.5" in drawing.legend
    assert "review 0.5" in drawing.legend


def test_a_model_has_one_colour_whatever_the_figure_and_whoever_stands_beside_it() -> None:
    bands = bands_of(window_of(WINDOW))
    days = pl.DataFrame({"event_date": [DAY], "model_name": ["fraud-realtime"], "value": [0.4]})
    beside, curve = {"fraud-daily": WINDOW, "fraud-realtime": WINDOW}, precision_recall(window_of(WINDOW))
    drawn = [
        pr_curve({"fraud-realtime": curve}),
        pr_curve({"ecod": curve}),  # the backend, as training reports name it
        pr_curve(dict.fromkeys(beside, curve)),
        score_histogram({name: frame["score"] for name, frame in beside.items()}),
        calibration_by_band(dict.fromkeys(beside, bands)),
        daily_lines(days, "by day", "average precision"),
    ]
    colours = {
        colour
        for svg in drawn
        for text, colour in Drawing(svg).legend.items()
        if text.startswith(("fraud-realtime", "ecod"))
    }
    assert colours == {model_colour("fraud-realtime")}


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def as_a_deuteranope_sees(colour: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Viénot, Brettel, Mollon (1999): one dimension of colour is lost."""
    linear = np.array([(int(colour[at : at + 2], 16) / 255) ** 2.2 for at in (1, 3, 5)])
    seen = np.array([[0.33066, 0.66934, 0.0], [0.33066, 0.66934, 0.0], [-0.02785, 0.02785, 1.0]]) @ linear
    visible: np.ndarray[tuple[int], np.dtype[np.float64]] = np.clip(seen, 0, 1) ** (1 / 2.2)
    return visible


def test_no_two_models_look_alike_and_all_stand_out_from_the_page() -> None:
    names = [*MODEL_NAMES.values(), "policy:balanced", "amount"]
    colours = [model_colour(name) for name in names]
    assert len(set(colours)) == len(names)
    for at, colour in enumerate(colours):
        assert 1.05 / (luminance(colour) + 0.05) > 2, "contrast with white"
        for other in colours[:at]:
            assert np.abs(as_a_deuteranope_sees(colour) - as_a_deuteranope_sees(other)).max() > 0.1, (colour, other)


def test_a_colour_is_the_same_in_every_process() -> None:
    script = "from fraud_pipelines.evaluation.colours import model_colour; print(model_colour('fraud-pyod-knn'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == model_colour("fraud-pyod-knn")


def test_a_threshold_sweep_shows_today_the_proposal_and_what_holds_it_off_the_best() -> None:
    proposal = tuned(current=0.3)
    evidence = proposal.thresholds.evidence
    assert "max_daily_change" in evidence["guards"]  # type: ignore[operator]
    drawing = Drawing(threshold_sweep(proposal, BALANCED, current=0.3))
    assert "today 0.300" in drawing.legend
    assert f"proposed {proposal.thresholds.review_threshold:.3f}" in drawing.legend
    assert f"best without guards {evidence['best_threshold']:.3f}" in drawing.legend
    assert "Held: it moves by at most 0.05 a day." in drawing.legend
    fewest, most = proposal.alerts_per_day_bounds
    assert f"under {fewest:.3g} or over {most:.3g} alerts a day" in drawing.legend
    assert len(drawing.panels) == 3


def test_too_few_frauds_are_named_as_what_holds_the_threshold() -> None:
    few = WINDOW.with_columns(is_fraud=pl.lit(value=False))
    proposal = tune(few, few, initial_thresholds(BALANCED, DAY), BALANCED, day=DAY)
    held = " ".join(Drawing(threshold_sweep(proposal, BALANCED, current=0.5)).legend)
    assert "0 known frauds are too few for the least cost" in held


def test_alert_volume_stacks_reviews_on_blocks_and_draws_the_budget() -> None:
    daily = pl.DataFrame(
        {"event_date": [DAY + timedelta(days=n) for n in range(30)], "review": range(30), "block": [2] * 30}
    )
    drawing = Drawing(alert_volume(daily, budget=20))
    legend = drawing.legend
    (reviews,) = drawing.strokes(legend["review"])
    tops = [float(bar.split("V")[1].split("H")[0]) for bar in reviews.split("M")[1:]]
    assert tops == sorted(tops, reverse=True), "further up each day"
    assert len(set(tops)) == 30
    assert "budget 20" in legend
    assert drawing.strokes(legend["budget 20"])


@pytest.mark.parametrize(
    "svg",
    [
        pr_curve({}),
        score_histogram({}),
        score_histogram({"fraud-daily": pl.Series([], dtype=pl.Float64)}),
        alert_volume(pl.DataFrame(schema={"event_date": pl.Date, "review": pl.Int64, "block": pl.Int64})),
        calibration_by_band({}),
        daily_lines(
            pl.DataFrame(schema={"event_date": pl.Date, "model_name": pl.String, "value": pl.Float64}), "t", "a"
        ),
        threshold_sweep(
            tune(WINDOW.clear(), WINDOW.clear(), initial_thresholds(BALANCED, DAY), BALANCED, day=DAY),
            BALANCED,
            current=0.5,
        ),
    ],
)
def test_nothing_to_show_is_no_error(svg: str) -> None:
    assert "nan" not in svg
    assert "inf" not in svg
    assert Drawing(svg).panels


def test_the_same_data_gives_the_same_picture_and_markdown_holds_it() -> None:
    first, second = (score_histogram({"fraud-daily": WINDOW["score"]}) for _ in range(2))
    assert first == second
    title, _, data = markdown_image(first, "Scores of the day").partition("](data:image/svg+xml;base64,")
    assert title == "![Scores of the day"
    assert base64.b64decode(data.removesuffix(")")).decode() == second


def test_a_picture_is_drawn_without_a_plotting_library_and_stays_small() -> None:
    large = precision_recall(window_of(random_outcomes(1, rows=30_000, days=7)))
    assert len(pr_curve(dict.fromkeys(MODEL_NAMES.values(), large))) < 60_000
    script = (
        "import sys; from fraud_pipelines.evaluation import figures, training_report;"
        "figures.pr_curve({}); assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


numbers = st.floats(-1e6, 1e6, allow_nan=False) | st.just(float("nan"))


@given(
    ys=st.lists(numbers, max_size=12),
    low=st.floats(-1e3, 1e3),
    span=st.floats(0, 1e5),
    text=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60),
)
def test_any_line_and_any_name_give_a_well_formed_picture(ys: list[float], low: float, span: float, text: str) -> None:
    panel = Panel(40, 200, Scale(0, max(len(ys) - 1, 1)), Scale(low, low + span))
    panel.line(np.arange(len(ys)), np.array(ys, dtype=np.float64), "#000000", dots=True)
    svg = chart(text, [panel], [Entry(text, "#000000")])
    assert "nan" not in svg.replace(text, "")
    assert " ".join(text.split()) in {"", *Drawing(svg).legend}


@given(value=st.floats(0, 1e6), factor=st.floats(1.01, 100))
def test_a_logarithmic_scale_keeps_the_order(value: float, factor: float) -> None:
    scale = Scale(0, 1e9, 10)
    lower, upper = scale.places([value, value * factor + 1e-9])
    assert lower <= upper
    assert scale.places([0.0, 1e9]).tolist() == [0.0, 1.0]
