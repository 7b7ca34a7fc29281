"""Charts of the report: inline SVG, coloured by the page's stylesheet, readable at the width of a phone."""

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 360
HEIGHT: Final = 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 6, 8, 22

Values = Sequence[float | None]
Band = Sequence[tuple[float, float] | None]


def bars(title: str, days: Sequence[str], series: Sequence[tuple[str, Values]]) -> str:
    """Bars a day, the series one upon the other.

    Args:
        series: class of the stylesheet and values, from the bottom up; null draws nothing.
    """
    totals = [sum(values[place] or 0.0 for _, values in series) for place in range(len(days))]
    most = _round_up(max(totals, default=0.0))
    step = (WIDTH - _LEFT - _RIGHT) / max(len(days), 1)
    drawn = []
    for place in range(len(days)):
        base = 0.0
        for name, values in series:
            value = values[place] or 0.0
            if value:
                top, bottom = _y(base + value, most), _y(base, most)
                drawn.append(
                    f'<rect class="{name}" x="{_LEFT + place * step + 0.1 * step:.1f}" y="{top:.1f}" '
                    f'width="{0.8 * step:.1f}" height="{bottom - top:.1f}"/>'
                )
            base += value
    return _chart(title, days, most, f"{most:,.0f}", drawn)


def shares(title: str, days: Sequence[str], series: Sequence[tuple[str, Values, Band]]) -> str:
    """A point a day with its interval, of shares; nothing where a share isn't told."""
    step = (WIDTH - _LEFT - _RIGHT) / max(len(days), 1)
    drawn = []
    for number, (name, values, bounds) in enumerate(series):
        for place, (value, interval) in enumerate(zip(values, bounds, strict=True)):
            if value is None:
                continue
            x = _LEFT + (place + 0.35 + 0.3 * number) * step
            if interval:
                low, high = (_y(bound, 1.0) for bound in interval)
                drawn.append(f'<line class="{name}" x1="{x:.1f}" x2="{x:.1f}" y1="{high:.1f}" y2="{low:.1f}"/>')
            drawn.append(f'<circle class="{name}" cx="{x:.1f}" cy="{_y(value, 1.0):.1f}" r="2.6"/>')
    return _chart(title, days, 1.0, "100%", drawn)


def _chart(title: str, days: Sequence[str], most: float, label: str, drawn: Sequence[str]) -> str:
    bottom, top, end = _y(0.0, most), _y(most, most), WIDTH - _RIGHT
    step = (WIDTH - _LEFT - _RIGHT) / max(len(days), 1)
    ticks = [
        f'<text x="{_LEFT + (place + 0.5) * step:.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(days[place])}</text>"
        for place in range(0, len(days), 7)
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">'
        f'<line class="axis" x1="{_LEFT}" x2="{end}" y1="{bottom}" y2="{bottom}"/>'
        f'<line class="grid" x1="{_LEFT}" x2="{end}" y1="{top}" y2="{top}"/>'
        f'<text x="{_LEFT - 5}" y="{top + 8}" text-anchor="end">{label}</text>'
        f'<text x="{_LEFT - 5}" y="{bottom}" text-anchor="end">0</text>'
        f"{''.join(drawn)}{''.join(ticks)}</svg>"
    )


def _y(value: float, most: float) -> float:
    return round(HEIGHT - _BOTTOM - value / most * (HEIGHT - _TOP - _BOTTOM), 1)


def _round_up(most: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that isn't below."""
    if most <= 0:
        return 1.0
    power = 10.0 ** (len(f"{most:.0f}") - 1)
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= most)
