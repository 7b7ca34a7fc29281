"""Figures: what a person looks at to judge scores, thresholds and alert volume."""

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from fraud_pipelines.evaluation.metrics import ranking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#2f6db3", "#e0862f", "#3d9a63", "#c0392b", "#7a7f87"
_COLOURS: Final = (_BLUE, _ORANGE, _GREEN, "#8257a8", "#a0623c")
_MAX_POINTS: Final = 1000


def pr_curve(outcomes: Mapping[str, pl.DataFrame]) -> "Figure":
    """Precision against recall of each named ranking, with its average precision and the base rate.

    Args:
        outcomes: by name, ``score``, ``is_fraud`` and, if there is one to break ties, ``raw_score``.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure, axes = _canvas("Precision and recall by score", "recall", "precision")
    for colour, (name, frame) in zip(_cycle(len(outcomes)), sorted(outcomes.items()), strict=True):
        truth = frame["is_fraud"].to_numpy()
        if not truth.any():
            axes.plot([], [], color=colour, label=f"{name}: no known fraud")
            continue
        codes = ranking(frame)
        precision, recall, _ = precision_recall_curve(truth, codes)
        # Of each recall the best precision; scikit-learn's last point, recall 0, is one that no threshold reaches.
        corners = np.flatnonzero(np.diff(recall))
        shown = corners[np.unique(np.linspace(0, len(corners) - 1, _MAX_POINTS).astype(int))]
        label = f"{name}: AP {average_precision_score(truth, codes):.3f}, {truth.sum():,} frauds"
        axes.step(recall[shown], precision[shown], where="post", color=colour, label=label)
        axes.axhline(truth.mean(), color=colour, linestyle=":", linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    _legend(axes)
    return figure


def score_histogram(scores: Mapping[str, pl.Series], thresholds: Mapping[str, float] | None = None) -> "Figure":
    """Transactions by score in fortieths, on a logarithmic axis, one outline a model.

    Args:
        scores: by model name, each in [0, 1].
        thresholds: drawn as labelled lines.
    """
    figure, axes = _canvas("Scores of the day", "score", "transactions")
    for colour, (name, values) in zip(_cycle(len(scores)), sorted(scores.items()), strict=True):
        counts, edges = np.histogram(values.to_numpy(), bins=40, range=(0, 1))
        axes.stairs(
            counts, edges, color=colour, label=f"{name}: {int((values > 0.5).sum()):,} above 0.5", baseline=None
        )
    _logarithmic(axes, linear_up_to=1)
    axes.set_xlim(0, 1)
    for name, value in (thresholds or {}).items():
        axes.axvline(value, color=_GREY, linestyle="--", linewidth=1)
        axes.annotate(
            name,
            (value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -10),
            textcoords="offset points",
            fontsize=8,
        )
    _legend(axes)
    return figure


def threshold_sweep(sweep: pl.DataFrame, *, current: float, proposed: float) -> "Figure":
    """Precision and recall above, alerts and cost a day below, against the review threshold.

    Args:
        sweep: as `tune` returns it.
        current, proposed: the thresholds of today and tomorrow.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5.4))
    above, below = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(left=0.1, right=0.88, bottom=0.09, top=0.94, hspace=0.16)
    x = sweep["threshold"].to_numpy()
    for name, colour in (("precision", _BLUE), ("recall", _ORANGE), ("f1", _GREEN)):
        above.plot(x, _floats(sweep[name]), color=colour, label="F1" if name == "f1" else name)
    _dress(above, "Threshold sweep", "", "share")
    above.set_ylim(0, 1.02)
    below.plot(x, _floats(sweep["alerts_per_day"]), color=_BLUE)
    _dress(below, "", "review threshold", "alerts a day")
    # All of the traffic alerts near 0: a linear axis would show nothing else.
    _logarithmic(below, linear_up_to=10)
    cost = below.twinx()
    cost.plot(x, _floats(sweep["cost"]), color=_RED)
    cost.set_ylabel("cost a day")
    cost.spines["top"].set_visible(False)
    for axes in (above, below):
        today = axes.axvline(current, color=_GREY, linestyle="--", linewidth=1, label="_today")
        tomorrow = axes.axvline(proposed, color="black", linewidth=1, label="_proposed")
    above.set_xlim(0, 1)
    _legend_above(above)
    # Near 0 all of the traffic is reviewed; that cost would flatten the rest of the curve.
    typical = sweep["cost"].median()
    if isinstance(typical, float) and typical > 0:
        cost.set_ylim(0, 3 * typical)
    lines = [below.get_lines()[0], cost.get_lines()[0], today, tomorrow]
    names = ["alerts a day", "cost a day", f"today {current:.3f}", f"proposed {proposed:.3f}"]
    below.legend(lines, names, fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
    return figure


def alert_volume(daily_alerts: pl.DataFrame, *, budget: float | None = None) -> "Figure":
    """Alerts a day, blocks below reviews.

    Args:
        daily_alerts: ``event_date``, ``review``, ``block``.
        budget: alerts a day aimed at, drawn as a line.
    """
    figure, axes = _canvas("Alerts a day", "", "transactions")
    days = np.arange(daily_alerts.height)
    block, review = daily_alerts["block"].to_numpy(), daily_alerts["review"].to_numpy()
    axes.bar(days, block, color=_RED, label="block")
    axes.bar(days, review, bottom=block, color=_ORANGE, label="review")
    if budget is not None:
        axes.axhline(budget, color=_GREY, linestyle="--", linewidth=1, label=f"budget {budget:,.0f}")
    shown = np.unique(np.linspace(0, max(len(days) - 1, 0), 8).astype(int))[: len(days)]
    axes.set_xticks(shown, [daily_alerts["event_date"][int(at)].strftime("%d %b") for at in shown])
    _legend_above(axes)
    return figure


def calibration_by_band(bands: Mapping[str, pl.DataFrame]) -> "Figure":
    """Share of frauds in each band of the score, a bar a model.

    Args:
        bands: by model name, ``band`` and ``precision``, null where a band is empty; the same bands for all.
    """
    figure, axes = _canvas("Frauds by score band", "score", "share of frauds")
    width = 0.8 / max(len(bands), 1)
    names: list[str] = []
    for number, (colour, (name, of_model)) in enumerate(zip(_cycle(len(bands)), sorted(bands.items()), strict=True)):
        names = of_model["band"].to_list()
        places = np.arange(of_model.height) + (number + 0.5) * width - 0.4
        axes.bar(places, _floats(of_model["precision"].fill_null(0.0)), width=width, color=colour, label=name)
    axes.set_xticks(np.arange(len(names)), names)
    axes.set_ylim(0, 1.02)
    _legend(axes)
    return figure


def daily_lines(values: pl.DataFrame, title: str, axis: str) -> "Figure":
    """A line a model over the days.

    Args:
        values: ``event_date``, ``model_name``, ``value``; null leaves a gap.
    """
    figure, axes = _canvas(title, "", axis)
    names = values["model_name"].unique().sort().to_list()
    for colour, name in zip(_cycle(len(names)), names, strict=True):
        of_model = values.filter(pl.col("model_name") == name).sort("event_date")
        axes.plot(of_model["event_date"].to_numpy(), _floats(of_model["value"]), color=colour, marker=".", label=name)
    days = values["event_date"].unique().sort().drop_nulls()
    shown = np.unique(np.linspace(0, max(len(days) - 1, 0), 8).astype(int))[: len(days)]
    axes.set_xticks([days[int(at)] for at in shown], [days[int(at)].strftime("%d %b") for at in shown])
    axes.set_ylim(0, 1.02)
    _legend(axes)
    return figure


def png_bytes(figure: "Figure") -> bytes:
    """The figure as a PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def markdown_image(png: bytes, title: str) -> str:
    """A PNG as a Markdown image with its data inside, for Dagster's metadata."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _canvas(title: str, x: str, y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    # Set by hand: the automatic layouts draw everything twice.
    figure.subplots_adjust(left=0.1, right=0.97, bottom=0.13, top=0.92)
    _dress(axes, title, x, y)
    return figure, axes


def _dress(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _logarithmic(axes: "Axes", *, linear_up_to: float) -> None:
    """A logarithmic y axis from 0; plain numbers, since powers set as formulas take longer than all the rest."""
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    axes.set_yscale("symlog", linthresh=linear_up_to)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _legend(axes: "Axes") -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8, frameon=False)


def _legend_above(axes: "Axes") -> None:
    """Beside the title, where it covers no line."""
    names = len(axes.get_legend_handles_labels()[1])
    axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=names, columnspacing=1.2)


def _cycle(count: int) -> list[str]:
    return [_COLOURS[position % len(_COLOURS)] for position in range(count)]


def _floats(values: pl.Series) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
