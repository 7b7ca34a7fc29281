"""The network: an entity, what it shares, and who else has that, laid out as a drawing of three columns."""

from dataclasses import dataclass
from typing import Final

from fraud_pipelines.decisions.shared_entities import Neighbourhood, Standing

WIDTH: Final = 900
NODE_WIDTH: Final = 262
NODE_HEIGHT: Final = 34
STEP: Final = 44
LONGEST: Final = 26
_LEFT: Final = (0, (WIDTH - NODE_WIDTH) // 2, WIDTH - NODE_WIDTH)


@dataclass(frozen=True)
class Node:
    """An entity at (x, y), its upper left corner; ``kind`` is the worst that is known of it: fraud, alert or plain."""

    x: float
    y: float
    standing: Standing
    label: str
    note: str
    kind: str


@dataclass(frozen=True)
class Line:
    """From one node to the next column."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Network:
    """The drawing; its first node is the entity itself."""

    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    height: float


def draw_network(near: Neighbourhood, itself: Standing) -> Network:
    """Lay out a neighbourhood: the entity on the left, what it shares in the middle, others with the same on the right.

    Another entity that shares several things is drawn once, with a line to each.
    """
    others: dict[str, Standing] = {}
    for shared in near.shared:
        for other in shared.others:
            others.setdefault(other.value, other)
    rows = max(len(near.shared), len(others), 1)
    height = rows * STEP

    def middle(place: int, number: int) -> float:
        return round((place + 0.5) * height / number, 1)

    at_other = {value: middle(place, len(others)) for place, value in enumerate(others)}
    nodes, lines = [_node(0, height / 2, itself, "")], []
    for place, shared in enumerate(near.shared):
        y = middle(place, len(near.shared))
        unnamed = shared.number_of_others - len(shared.others)
        note = f"{shared.number_of_others:,} others" if not shared.others else f"{unnamed:,} more" if unnamed else ""
        nodes.append(_node(1, y, shared.standing, note if shared.number_of_others else ""))
        lines.append(_line(0, height / 2, y))
        lines += [_line(1, y, at_other[other.value]) for other in shared.others]
    nodes += [_node(2, at_other[value], other, "") for value, other in others.items()]
    return Network(tuple(nodes), tuple(lines), height)


def _node(column: int, middle: float, standing: Standing, note: str) -> Node:
    kind = "fraud" if standing.known_frauds else "alert" if standing.alerts else "plain"
    counts = [_counted(standing.payments, "payment")]
    counts += [_counted(standing.alerts, "alert")] if standing.alerts else []
    counts += [_counted(standing.known_frauds, "fraud")] if standing.known_frauds else []
    return Node(
        _LEFT[column],
        round(middle - NODE_HEIGHT / 2, 1),
        standing,
        _shortened(standing.value),
        " · ".join([*counts, *([note] if note else [])]),
        kind,
    )


def _line(column: int, y1: float, y2: float) -> Line:
    return Line(_LEFT[column] + NODE_WIDTH, round(y1, 1), _LEFT[column + 1], round(y2, 1))


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _shortened(text: str) -> str:
    """The text with its middle left out where it is long: ids differ at both ends."""
    if len(text) <= LONGEST:
        return text
    half = (LONGEST - 1) // 2
    return f"{text[:half]}…{text[-half:]}"
