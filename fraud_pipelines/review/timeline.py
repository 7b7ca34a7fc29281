"""The timeline: where a user's payments lie in a drawing of amounts over time."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fraud_pipelines.decisions.review_case import Payment

WIDTH: Final = 760
HEIGHT: Final = 210
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 28


@dataclass(frozen=True)
class Mark:
    """A payment at (x, y); ``kind`` is what is known of it: fraud, legitimate, alert or plain.

    ``shape`` draws it: kinds differ by shape as well as by colour.
    """

    x: float
    y: float
    payment: Payment
    kind: str
    is_after: bool

    @property
    def shape(self) -> str:
        """The path of an SVG."""
        return _SHAPES[self.kind](self.x, self.y, 6.0 if self.payment.is_case else 5.0)


def _disc(x: float, y: float, size: float) -> str:
    r = size * 0.8
    return f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0z"


def _diamond(x: float, y: float, size: float) -> str:
    r = size * 1.15
    return f"M{x:.1f} {y - r:.1f}L{x + r:.1f} {y:.1f}L{x:.1f} {y + r:.1f}L{x - r:.1f} {y:.1f}z"


def _triangle(x: float, y: float, size: float) -> str:
    return f"M{x:.1f} {y - size:.1f}L{x + size:.1f} {y + size * 0.8:.1f}L{x - size:.1f} {y + size * 0.8:.1f}z"


def _square(x: float, y: float, size: float) -> str:
    r = size * 0.8
    return f"M{x - r:.1f} {y - r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}z"


_SHAPES: Final = {"fraud": _diamond, "legitimate": _square, "alert": _triangle, "plain": _disc}


@dataclass(frozen=True)
class Tick:
    """A place on an axis, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """The drawing: marks, ticks of both axes, the height of the median amount, and where what came after begins.

    What came after the case is drawn hollow, on a ground of its own: it was not known when the case was decided.
    """

    marks: tuple[Mark, ...]
    amounts: tuple[Tick, ...]
    days: tuple[Tick, ...]
    median: Tick
    after: float | None

    def is_after(self, payment: Payment) -> bool:
        """Whether the payment came after the case."""
        return any(mark.is_after for mark in self.marks if mark.payment is payment)


def draw_timeline(payments: Sequence[Payment]) -> Timeline:
    """Lay out at least one payment, given in order of time.

    Amounts stand on a root scale, so that small ones stay apart below a large one.
    """
    first, last = payments[0].timestamp, payments[-1].timestamp
    span = max((last - first).total_seconds(), 1.0)
    top = _round_up(max(payment.amount for payment in payments))

    def across(share: float) -> float:
        return round(LEFT + 8 + share * (WIDTH - LEFT - RIGHT - 16), 1)

    def up(amount: float) -> float:
        return round(HEIGHT - BOTTOM - math.sqrt(amount / top) * (HEIGHT - TOP - BOTTOM), 1)

    case = next((place for place, each in enumerate(payments) if each.is_case), len(payments))
    marks = tuple(
        Mark(across((each.timestamp - first).total_seconds() / span), up(each.amount), each, _kind(each), place > case)
        for place, each in enumerate(payments)
    )
    shares = (0.0, 1 / 3, 2 / 3, 1.0) if last - first > timedelta(minutes=1) else (0.0,)
    shape = "%d %b" if last - first > timedelta(days=3) else "%d %b %H:%M"
    middle = statistics.median(payment.amount for payment in payments)
    return Timeline(
        # The case itself is drawn last, above the others.
        marks=tuple(sorted(marks, key=lambda mark: mark.payment.is_case)),
        amounts=tuple(Tick(up(top * share), _plain(top * share)) for share in (0.0, 0.25, 1.0)),
        days=tuple(Tick(across(share), f"{first + share * (last - first):{shape}}") for share in shares),
        median=Tick(up(middle), f"{middle:,.2f}"),
        after=marks[case].x if case < len(marks) - 1 else None,
    )


def _kind(payment: Payment) -> str:
    if payment.actual_fraud is not None:
        return "fraud" if payment.actual_fraud else "legitimate"
    return "alert" if payment.decision in ("review", "block") else "plain"


def _round_up(amount: float) -> float:
    """The next number of the form 1, 2, 4 or 8 times a power of ten."""
    if amount <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(amount))
    return next((step * power for step in (1, 2, 4, 8) if step * power >= amount), 10 * power)


def _plain(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 or amount == 0 else f"{amount:,.2f}"
