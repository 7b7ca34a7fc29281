"""Figures: what a person looks at to judge scores, thresholds and alert volume. Each is the text of an SVG."""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.evaluation.chart import Entry, Floats, Panel, Scale, chart
from fraud_pipelines.evaluation.colours import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, model_colour
from fraud_pipelines.evaluation.guards import OBJECTIVES, held_by
from fraud_pipelines.evaluation.metrics import Curve
from fraud_pipelines.evaluation.tuning import Proposal

_SHARE: Final = Scale(0, 1)
_DASHED, _DOTTED = "6 4", "2 3"
_FORBIDDEN, _REACHABLE = "#f2f2f2", "#fff6d6"
_TOP: Final = 42


def pr_curve(curves: Mapping[str, Curve]) -> str:
    """Precision against recall of each model's ranking, with its average precision and the base rate."""
    panel = Panel(_TOP, 280, _SHARE, _SHARE, x_label="recall", y_label="precision")
    legend = []
    for name, found in sorted(curves.items()):
        colour = model_colour(name)
        if found.average_precision is None:
            missing = "too few chargebacks are in" if found.frauds else "no known fraud"
            legend.append(Entry(f"{name}: {missing}", colour))
            continue
        panel.steps(*_visible(found.recall, found.precision), colour)
        panel.level(found.base_rate, colour, dashes=_DOTTED)
        legend.append(Entry(f"{name}: AP {found.average_precision:.3f}, {found.frauds:,} known frauds", colour))
    if legend:
        legend.append(Entry("dotted: share of frauds, what chance alone would give", GREY, _DOTTED))
    return chart("Precision and recall by score", [panel], legend)


def score_histogram(
    scores: Mapping[str, pl.Series],
    thresholds: Mapping[str, float] | None = None,
    *,
    title: str = "Scores of the day",
) -> str:
    """Transactions by score in fortieths, on a logarithmic axis, one outline a model.

    Args:
        scores: by model, each in [0, 1].
        thresholds: drawn as named lines.
    """
    edges = np.linspace(0, 1, 41)
    counts = {name: np.histogram(values.to_numpy(), bins=edges)[0] for name, values in sorted(scores.items())}
    most = max((int(each.max()) for each in counts.values()), default=1)
    panel = Panel(_TOP, 280, _SHARE, _counts_scale(most, 1), x_label="score", y_label="transactions")
    legend = []
    for name, heights in counts.items():
        panel.steps(edges, [*heights, heights[-1]], model_colour(name))
        above = int((scores[name] > 0.5).sum())
        legend.append(Entry(f"{name}: {above:,} above 0.5", model_colour(name)))
    for name, value in (thresholds or {}).items():
        panel.upright(value, GREY, dashes=_DASHED)
        legend.append(Entry(f"{name} {value:.3g}", GREY, _DASHED))
    return chart(title, [panel], legend)


def threshold_sweep(proposal: Proposal, policy: Policy, *, current: float) -> str:
    """Precision and recall, alerts a day, and cost a day, against the review threshold; and what holds it off its best.

    Args:
        proposal: as `tune` returns it.
        policy: whose guards held.
        current: the threshold of today.
    """
    sweep, evidence = proposal.sweep, proposal.thresholds.evidence
    x, proposed, best = sweep["threshold"].to_numpy(), proposal.thresholds.review_threshold, evidence["best_threshold"]
    fewest, most = proposal.alerts_per_day_bounds
    alerts, cost = _floats(sweep["alerts_per_day"]), _floats(sweep["cost"])
    quality = Panel(_TOP, 150, _SHARE, _SHARE, y_label="share")
    for name, colour in (("precision", BLUE), ("recall", VERMILION), ("f1", GREEN)):
        quality.line(x, _floats(sweep[name]), colour)
    # All of the traffic alerts near 0: a linear axis would show nothing else.
    volume = Panel(_TOP + 175, 130, _SHARE, _counts_scale(_most(alerts), 10), y_label="alerts a day")
    for bound in (fewest, most):
        volume.level(bound, GREY, dashes=_DOTTED)
    volume.line(x, alerts, SKY)
    # Near 0 all of the traffic is reviewed; that cost would flatten the rest of the curve.
    typical = float(np.nanmedian(cost)) if np.isfinite(cost).any() else 0.0
    money = Panel(
        _TOP + 330,
        130,
        _SHARE,
        Scale(0, min(_most(cost), 3 * typical) or 1),
        x_label="review threshold",
        y_label="cost a day",
    )
    money.line(x, cost, PURPLE)
    lowest, highest = max(0.0, current - policy.max_daily_change), min(1.0, current + policy.max_daily_change)
    for panel in (quality, volume, money):
        panel.shade(lowest, highest, _REACHABLE)
        for low, high in _forbidden(x, alerts, fewest, most):
            panel.shade(low, high, _FORBIDDEN)
        panel.upright(proposal.thresholds.block_threshold, ORANGE, dashes=_DOTTED)
        panel.upright(current, GREY, dashes=_DASHED)
        if isinstance(best, float):
            panel.upright(best, GREEN, dashes=_DASHED)
        panel.upright(proposed, BLACK)
    legend = [
        Entry("precision", BLUE),
        Entry("recall", VERMILION),
        Entry("F1", GREEN),
        Entry("alerts a day", SKY),
        Entry("cost a day", PURPLE),
        Entry(f"today {current:.3f}", GREY, _DASHED),
        Entry(f"proposed {proposed:.3f}", BLACK),
        *([Entry(f"best without guards {best:.3f}", GREEN, _DASHED)] if isinstance(best, float) else []),
        Entry(f"block threshold {proposal.thresholds.block_threshold:.3g}", ORANGE, _DOTTED),
        Entry(f"within a day's step of {policy.max_daily_change:.3g}", _REACHABLE, filled=True),
        Entry(f"under {fewest:,.3g} or over {most:,.3g} alerts a day", _FORBIDDEN, filled=True),
        Entry(f"Tuned for {OBJECTIVES[proposal.thresholds.objective]}."),
        *(Entry(f"Held: {reason}.") for reason in held_by(evidence)),
    ]
    return chart("Threshold sweep", [quality, volume, money], legend, height=550)


def alert_volume(daily_alerts: pl.DataFrame, *, budget: float | None = None) -> str:
    """Alerts a day, blocks below reviews.

    Args:
        daily_alerts: ``event_date``, ``review``, ``block``.
        budget: alerts a day aimed at, drawn as a line.
    """
    block, review = _floats(daily_alerts["block"]), _floats(daily_alerts["review"])
    days = np.arange(daily_alerts.height, dtype=np.float64)
    panel = Panel(
        _TOP,
        280,
        Scale(-0.5, max(len(days), 1) - 0.5),
        Scale(0, 1.08 * max(_most(block + review), budget or 0)),
        y_label="transactions",
        x_ticks=_day_ticks(daily_alerts["event_date"].to_list()),
    )
    panel.bars(days - 0.4, days + 0.4, np.zeros_like(days), block, VERMILION)
    panel.bars(days - 0.4, days + 0.4, block, block + review, ORANGE)
    legend = [Entry("block", VERMILION, filled=True), Entry("review", ORANGE, filled=True)]
    if budget is not None:
        panel.level(budget, BLACK, dashes=_DASHED)
        legend.append(Entry(f"budget {budget:,.0f}", BLACK, _DASHED))
    return chart("Alerts a day", [panel], legend)


def calibration_by_band(bands: Mapping[str, pl.DataFrame]) -> str:
    """Share of frauds in each band of the score, a bar a model.

    Args:
        bands: by model, ``band`` and ``precision``, null where a band is empty; the same bands for all.
    """
    names = next(iter(bands.values()))["band"].to_list() if bands else []
    panel = Panel(
        _TOP,
        280,
        Scale(-0.5, max(len(names), 1) - 0.5),
        _SHARE,
        x_label="score",
        y_label="share of frauds",
        x_ticks=list(enumerate(names)),
    )
    width = 0.8 / max(len(bands), 1)
    for number, (name, of_model) in enumerate(sorted(bands.items())):
        left = np.arange(of_model.height) - 0.4 + number * width
        heights = _floats(of_model["precision"].fill_null(0.0))
        panel.bars(left, left + width, np.zeros_like(heights), heights, model_colour(name))
    legend = [Entry(name, model_colour(name), filled=True) for name in sorted(bands)]
    return chart("Frauds by score band", [panel], legend)


def daily_lines(values: pl.DataFrame, title: str, axis: str) -> str:
    """A line a model over the days.

    Args:
        values: ``event_date``, ``model_name``, ``value``; null leaves a gap.
    """
    days = values["event_date"].unique().sort().to_list()
    panel = Panel(_TOP, 280, Scale(-0.5, max(len(days), 1) - 0.5), _SHARE, y_label=axis, x_ticks=_day_ticks(days))
    place = {day: number for number, day in enumerate(days)}
    legend = []
    for name in values["model_name"].unique().sort():
        of_model = values.filter(pl.col("model_name") == name).sort("event_date")
        at = [place[day] for day in of_model["event_date"]]
        panel.line(at, _floats(of_model["value"]), model_colour(name), dots=True)
        legend.append(Entry(name, model_colour(name)))
    return chart(title, [panel], legend)


def markdown_image(svg: str, title: str) -> str:
    """A figure as a Markdown image with its data inside, for Dagster's metadata."""
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _visible(recall: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """The curve as steps: of each recall the best precision, and of each pixel's width the best recall."""
    corners = np.flatnonzero(np.diff(recall, prepend=0.0) > 0)
    pixels = np.floor(recall[corners] * 500)
    shown = corners[np.flatnonzero(np.diff(pixels, append=-1))]
    # The precision at a recall holds for all recalls since the one before.
    return np.concatenate(([0.0], recall[shown])), np.concatenate((precision[shown], precision[shown][-1:]))


def _forbidden(x: Floats, alerts: Floats, fewest: float, most: float) -> list[tuple[float, float]]:
    """Ranges of the threshold in which alerts a day lie beyond their bounds; alerts fall as the threshold rises."""
    too_many, too_few = x[alerts > most], x[alerts < fewest]
    return [
        *([(0.0, float(too_many.max()))] if too_many.size else []),
        *([(float(too_few.min()), 1.0)] if too_few.size else []),
    ]


def _day_ticks(days: Sequence[date]) -> list[tuple[float, str]]:
    """Place and text of at most eight days."""
    shown = np.unique(np.linspace(0, max(len(days) - 1, 0), 8).astype(int))[: len(days)]
    return [(float(at), days[int(at)].strftime("%d %b")) for at in shown]


def _counts_scale(most: float, linear_up_to: float) -> Scale:
    return Scale(0, max(1.2 * most, 1.2 * linear_up_to), linear_up_to)


def _most(values: Floats) -> float:
    """The largest value that is defined, or else 1."""
    return float(np.nanmax(values)) if np.isfinite(values).any() else 1.0


def _floats(values: pl.Series) -> Floats:
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
