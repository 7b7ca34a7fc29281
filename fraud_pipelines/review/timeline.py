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
    """A payment at (x, y); ``kind`` is what is known of it: fraud, legitimate, alert or plain."""

    x: float
    y: float
    payment: Payment
    kind: str


@dataclass(frozen=True)
class Tick:
    """A place on an axis, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """The drawing: marks, ticks of both axes, and the height of the median amount."""

    marks: tuple[Mark, ...]
    amounts: tuple[Tick, ...]
    days: tuple[Tick, ...]
    median: Tick


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

    marks = tuple(
        Mark(across((each.timestamp - first).total_seconds() / span), up(each.amount), each, _kind(each))
        for each in payments
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
