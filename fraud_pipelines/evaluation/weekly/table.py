"""Tables of the report: typed cells, so that a page, a file for machines and the warehouse tell the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from fraud_pipelines.evaluation.estimates import Figure

FEWEST: Final = 10
"""With fewer cases a share or a median is not told: it would flatter or frighten by chance."""

Kind = Literal["text", "count", "money", "share", "rate", "basis points", "hours"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, where there is one; ``of`` counts the cases it rests on.

    ``value`` is null where ``why`` says why nothing is told.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    of: int | None = None
    why: str = ""

    @classmethod
    def told(cls, figure: Figure, of: int, *, fewest: int = FEWEST) -> "Estimate":
        """The figure, or that there are too few cases."""
        if of < fewest:
            return cls(None, of=of, why="too few")
        if figure.value is None:
            return cls(None, of=of, why="not known yet")
        return cls(figure.value, figure.low, figure.high, of)


Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Column:
    """A heading, and how its cells are written."""

    name: str
    kind: Kind = "count"


@dataclass(frozen=True)
class Table:
    """A part of the report; ``note`` says what its figures mean, the first column names each row."""

    key: str
    title: str
    note: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Report:
    """The week from ``monday`` on, by what was known at the end of its Sunday."""

    monday: date
    sunday: date
    currency: str
    policy: str
    tables: Sequence[Table]

    def table(self, key: str) -> Table:
        """The part of that key."""
        return next(table for table in self.tables if table.key == key)

    def figures(self) -> Iterator[dict[str, Any]]:
        """The rows of ``monitoring.weekly_figures``: each figure of each row of each table."""
        for table in self.tables:
            for position, row in enumerate(table.rows):
                subject = " / ".join(
                    str(cell) for cell, of in zip(row, table.columns, strict=True) if of.kind == "text"
                )
                for cell, column in zip(row, table.columns, strict=True):
                    if column.kind != "text":
                        estimate = cell if isinstance(cell, Estimate) else Estimate(_number(cell))
                        yield {
                            "week": self.monday,
                            "part": table.key,
                            "position": position,
                            "subject": subject,
                            "figure": column.name,
                            "value": estimate.value,
                            "low": estimate.low,
                            "high": estimate.high,
                            "cases": estimate.of,
                            "untold": estimate.why or None,
                        }


def _number(cell: object) -> float | None:
    return float(cell) if isinstance(cell, int | float) else None


def written(cell: Cell, kind: Kind) -> str:
    """A cell as people read it."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, Estimate):
        return _written(float(cell), kind)
    if cell.value is None:
        return f"{cell.why} ({cell.of:,})" if cell.of is not None and cell.why == "too few" else cell.why or "–"
    text = _written(cell.value, kind)
    if cell.low is None or cell.high is None:
        return text
    return f"{text} ({_written(cell.low, kind)} to {_written(cell.high, kind)})"


def _written(value: float, kind: Kind) -> str:
    if kind == "share":
        return f"{value:.0%}"
    if kind == "rate":
        return f"{value:.3%}"
    if kind == "basis points":
        return f"{value * 10_000:,.0f}"
    if kind == "hours":
        return f"{value:,.1f}"
    return f"{value:,.0f}"
