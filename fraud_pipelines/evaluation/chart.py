"""Charts as SVG: panels with axes, lines, bars and a legend, written as text.

A plotting library takes a quarter of a second for each picture, and a day draws about sixteen. These cost a few
milliseconds. The background is white and opaque, so that a chart is legible on a light page and on a dark one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WIDTH: Final = 800
_PLOT: Final = (66, 508)
"""Where panels begin and end, from the left; beside them is the legend."""
_LEGEND_LEFT: Final = 524
_LEGEND_CHARACTERS: Final = 39
"""About as many fit beside a sample."""
_INK, _AXIS, _GRID = "#222222", "#777777", "#e2e2e2"


@dataclass(frozen=True)
class Scale:
    """From values to places along an axis; beyond ``linear_up_to``, if that is given, equal factors are equal steps."""

    low: float
    high: float
    linear_up_to: float | None = None

    def places(self, values: npt.ArrayLike) -> Floats:
        """0 at ``low``, 1 at ``high``; NaN stays."""
        low, high = self._warped(np.array([self.low, self.high], dtype=np.float64))
        span = high - low or 1.0
        places: Floats = (self._warped(np.asarray(values, dtype=np.float64)) - low) / span
        return places

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the scale."""
        if self.linear_up_to is not None:
            first = int(np.floor(np.log10(self.linear_up_to)))
            powers = [10.0**power for power in range(first, first + 13)]
            return [value for value in (0.0, *powers) if self.low <= value <= self.high]
        rough = (self.high - self.low) / most or 1.0
        magnitude = 10.0 ** np.floor(np.log10(rough))
        step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= rough * 0.999)
        first = int(np.ceil(self.low / step - 1e-9))
        last = int(np.floor(self.high / step + 1e-9))
        return [round(number * step, 10) for number in range(first, last + 1)]

    def _warped(self, values: Floats) -> Floats:
        if self.linear_up_to is None:
            return values
        with np.errstate(invalid="ignore"):
            beyond = 1 + np.log10(np.maximum(values / self.linear_up_to, 1))
        return np.where(values > self.linear_up_to, beyond, values / self.linear_up_to)


class Panel:
    """One pair of axes; what is drawn beyond them is cut off.

    Args:
        top, height: where it lies in the chart.
        x, y: the scales.
        x_label, y_label: what the axes measure.
        x_ticks: place and text of each tick of the x axis; by default round values.
    """

    def __init__(
        self,
        top: int,
        height: int,
        x: Scale,
        y: Scale,
        *,
        x_label: str = "",
        y_label: str = "",
        x_ticks: Sequence[tuple[float, str]] | None = None,
    ) -> None:
        self.x, self.y = x, y
        self._top, self._height = top, height
        self._left, self._width = _PLOT[0], _PLOT[1] - _PLOT[0]
        self._inside: list[str] = []
        self._frame: list[str] = []
        self._draw_axes(x_label, y_label, [(value, _number(value)) for value in x.ticks()], x_ticks)

    def line(self, xs: npt.ArrayLike, ys: npt.ArrayLike, colour: str, *, dashes: str = "", dots: bool = False) -> None:
        """A line through the points, with a gap where a value is missing."""
        across, down = self._across(xs), self._down(ys)
        there = np.isfinite(across) & np.isfinite(down)
        commands, drawing = [], False
        for at, right, below in zip(there.tolist(), across.tolist(), down.tolist(), strict=True):
            if at:
                commands.append(f"{'L' if drawing else 'M'}{right:.5g} {below:.5g}")
            drawing = at
        self._stroke("".join(commands), colour, 1.8, dashes)
        if dots:
            self._inside += [
                f'<circle cx="{right:.5g}" cy="{below:.5g}" r="2.6" fill="{colour}"/>'
                for right, below in zip(across[there].tolist(), down[there].tolist(), strict=True)
            ]

    def steps(self, xs: npt.ArrayLike, ys: npt.ArrayLike, colour: str) -> None:
        """A line that keeps each height until the next x."""
        across, down = self._across(xs), self._down(ys)
        if not across.size:
            return
        commands = [f"M{across[0]:.5g} {down[0]:.5g}"]
        commands += [f"H{right:.5g}V{below:.5g}" for right, below in zip(across[1:], down[1:], strict=True)]
        self._stroke("".join(commands), colour, 1.8, "")

    def bars(
        self, lefts: npt.ArrayLike, rights: npt.ArrayLike, bottoms: npt.ArrayLike, tops: npt.ArrayLike, colour: str
    ) -> None:
        """Filled rectangles."""
        sides = zip(
            *(self._across(lefts), self._across(rights), self._down(bottoms), self._down(tops)),
            strict=True,
        )
        path = "".join(f"M{left:.5g} {low:.5g}V{high:.5g}H{right:.5g}V{low:.5g}Z" for left, right, low, high in sides)
        if path:
            self._inside.append(f'<path d="{path}" fill="{colour}"/>')

    def upright(self, value: float, colour: str, *, dashes: str = "") -> None:
        """A line from the bottom to the top at an x."""
        at = float(self._across(value))
        self._stroke(f"M{at:.5g} 0V{self._height}", colour, 1.4, dashes)

    def level(self, value: float, colour: str, *, dashes: str = "") -> None:
        """A line from side to side at a y."""
        at = float(self._down(value))
        self._stroke(f"M0 {at:.5g}H{self._width}", colour, 1.4, dashes)

    def shade(self, low: float, high: float, colour: str) -> None:
        """What lies between two x, tinted, below all that is drawn before."""
        left, right = (float(np.clip(self._across(value), 0, self._width)) for value in (low, high))
        if right > left:
            box = f'<rect x="{left:.5g}" width="{right - left:.5g}" height="{self._height}" fill="{colour}"/>'
            self._inside.insert(0, box)

    def svg(self) -> str:
        """The panel as elements of the chart."""
        inside = (
            f'<svg x="{self._left}" y="{self._top}" width="{self._width}" height="{self._height}">'
            + "".join(self._inside)
            + "</svg>"
        )
        return self._frame[0] + inside + "".join(self._frame[1:])

    def _draw_axes(
        self,
        x_label: str,
        y_label: str,
        round_ticks: list[tuple[float, str]],
        given: Sequence[tuple[float, str]] | None,
    ) -> None:
        bottom = self._top + self._height
        grid, texts = [], []
        for value, at in zip(self.y.ticks(), self._down(self.y.ticks()).tolist(), strict=True):
            grid.append(f"M{self._left} {self._top + at:.5g}h{self._width}")
            texts.append(_text(self._left - 6, self._top + at + 4, _number(value), anchor="end"))
        ticks = round_ticks if given is None else given
        for (_, text), at in zip(ticks, self._across([value for value, _ in ticks]).tolist(), strict=True):
            grid.append(f"M{self._left + at:.5g} {self._top}v{self._height}")
            texts.append(_text(self._left + at, bottom + 16, text, anchor="middle"))
        axes = f"M{self._left} {self._top}V{bottom}H{self._left + self._width}"
        self._frame = [
            f'<path d="{"".join(grid)}" stroke="{_GRID}"/>',
            f'<path d="{axes}" stroke="{_AXIS}" fill="none"/>',
            *texts,
        ]
        if x_label:
            self._frame.append(_text(self._left + self._width / 2, bottom + 34, x_label, anchor="middle"))
        if y_label:
            middle = self._top + self._height / 2
            self._frame.append(_text(13, middle, y_label, anchor="middle", turned=True))

    def _stroke(self, path: str, colour: str, width: float, dashes: str) -> None:
        if path:
            dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
            self._inside.append(f'<path d="{path}" stroke="{colour}" stroke-width="{width}"{dashed} fill="none"/>')

    def _across(self, values: npt.ArrayLike) -> Floats:
        return self.x.places(values) * self._width

    def _down(self, values: npt.ArrayLike) -> Floats:
        return (1 - self.y.places(values)) * self._height


@dataclass(frozen=True)
class Entry:
    """A line of the legend: text beside a sample of a line, dashed or not, or of a filled box."""

    text: str
    colour: str = ""
    dashes: str = ""
    filled: bool = False


def chart(title: str, panels: Sequence[Panel], legend: Sequence[Entry], *, height: int = 380) -> str:
    """The whole picture as SVG; the same input gives the same text."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="Helvetica,Arial,sans-serif" font-size="12" role="img"><title>{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_PLOT[0]}" y="24" font-size="15" font-weight="bold" fill="{_INK}">{escape(title)}</text>',
        *(panel.svg() for panel in panels),
    ]
    down = 50
    for entry in legend:
        lines = _wrapped(entry.text)
        parts.append(_sample(entry, down))
        parts += [_text(_LEGEND_LEFT + 26, down + 4 + 15 * number, line) for number, line in enumerate(lines)]
        down += 15 * len(lines) + 6
    return "".join([*parts, "</svg>"])


def _sample(entry: Entry, down: int) -> str:
    if not entry.colour:
        return ""
    if entry.filled:
        return f'<rect x="{_LEGEND_LEFT}" y="{down - 5}" width="20" height="10" fill="{entry.colour}"/>'
    dashed = f' stroke-dasharray="{entry.dashes}"' if entry.dashes else ""
    return f'<path d="M{_LEGEND_LEFT} {down}h20" stroke="{entry.colour}" stroke-width="2.4"{dashed}/>'


def _wrapped(text: str) -> list[str]:
    """Lines of a legend's width, broken between words."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > _LEGEND_CHARACTERS:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = _INK, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:.5g} {y:.5g})"' if turned else ""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.5g}" y="{y:.5g}"{at} fill="{fill}"{turn}>{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"
