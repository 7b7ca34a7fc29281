"""The report as a page of HTML that needs nothing else, as Markdown, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fraud_pipelines.evaluation.weekly.charts import bars, shares
from fraud_pipelines.evaluation.weekly.table import Cell, Estimate, Report, Table, written

_HERE: Final = Path(__file__).parent
STYLE: Final = _HERE / "report.css"
_TILES: Final = ("alerts", "precision", "recall", "value saved", "lost, estimated")


def as_html(report: Report, *, links: Sequence[tuple[str, str]] = (), stylesheet: str = "") -> str:
    """The page.

    Args:
        links: address and text of where else to go, of a page that is served.
        stylesheet: its address; by default the style is part of the page.
    """
    templates = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters |= {"written": written, "figure": _figure}
    return templates.get_template("report.html").render(
        report=report,
        title=title_of(report),
        tiles=_tiles(report),
        charts=_charts(report.table("days")),
        tables=[table for table in report.tables if table.rows],
        empty=[table.title for table in report.tables if not table.rows],
        links=links,
        stylesheet=stylesheet,
        style=Markup(STYLE.read_text()),
    )


def as_markdown(report: Report) -> str:
    """The tables, each below its title."""
    parts = [f"# {title_of(report)}", ""]
    for table in report.tables:
        parts += [f"## {table.title}", "", table.note, ""]
        if not table.rows:
            parts += ["None.", ""]
            continue
        parts += [_line([column.name for column in table.columns]), _line(["---"] * len(table.columns))]
        parts += [
            _line([written(cell, column.kind) for cell, column in zip(row, table.columns, strict=True)])
            for row in table.rows
        ]
        parts.append("")
    return "\n".join(parts)


def as_json(report: Report) -> str:
    """The week, and the rows of each table by its key; an estimate with its interval and the cases it rests on."""
    tables = {
        table.key: [
            {column.name or "of": _plain(cell) for column, cell in zip(table.columns, row, strict=True)}
            for row in table.rows
        ]
        for table in report.tables
    }
    week = {"from": str(report.monday), "to": str(report.sunday), "currency": report.currency, "policy": report.policy}
    return json.dumps(week | {"tables": tables}, indent=2, allow_nan=False)


def title_of(report: Report) -> str:
    """The week, in words."""
    first, last = report.monday, report.sunday
    begins = f"{first.day}" if first.month == last.month else f"{first.day} {first:%B}"
    begins += "" if first.year == last.year else f" {first.year}"
    return f"Fraud report, {begins} to {last.day} {last:%B %Y}"


def file_name(report: Report) -> str:
    """The name of the page's file."""
    return f"week-{report.monday}.html"


def _line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _plain(cell: Cell) -> Any:
    if not isinstance(cell, Estimate):
        return cell
    return {name: value for name, value in asdict(cell).items() if name != "why" or value}


def _figure(cell: Cell) -> Cell:
    """The cell without its interval."""
    return Estimate(cell.value, of=cell.of, why=cell.why) if isinstance(cell, Estimate) else cell


def _tiles(report: Report) -> list[dict[str, Any]]:
    """The figures of the week, and those of the week before; of recall the latest that is known."""
    table, matured = report.table("weeks"), report.table("matured")
    rows = {row[0]: row for row in table.rows}
    before = rows.get("the week before")
    tiles = []
    for place, column in enumerate(table.columns):
        if column.name not in _TILES:
            continue
        tile = {"name": column.name, "kind": column.kind, "now": rows["this week"][place], "note": ""}
        if before:
            tile["note"] = f"the week before: {written(_figure(before[place]), column.kind)}"
        if column.name == "recall" and _number(tile["now"]) is None and matured.rows:
            [latest] = matured.rows
            tile |= {"now": latest[[each.name for each in matured.columns].index("recall")], "note": f"of {latest[0]}"}
        if column.name == "lost, estimated":
            [known] = [each for at, each in enumerate(rows["this week"]) if table.columns[at].name == "lost, known"]
            tile |= {"name": "value lost", "note": f"known so far: {written(known, column.kind)}"}
        tiles.append(tile)
    return tiles


def _charts(days: Table) -> list[dict[str, Any]]:
    """Charts of the days, each with what its colours mean: class and text."""
    place = {column.name: number for number, column in enumerate(days.columns)}
    labels = [f"{date.fromisoformat(str(row[0])):%d %b}" for row in days.rows]

    def numbers(name: str) -> list[float | None]:
        return [_number(row[place[name]]) for row in days.rows]

    def share(name: str) -> tuple[list[float | None], list[tuple[float, float] | None]]:
        return numbers(name), [_interval(row[place[name]]) for row in days.rows]

    return [
        {
            "title": "Alerts a day",
            "svg": Markup(bars("Alerts a day", labels, [("alerts", numbers("alerts"))])),
            "legend": [],
        },
        {
            "title": "Precision and recall",
            "svg": Markup(
                shares("Precision and recall by day", labels, [(n, *share(n)) for n in ("precision", "recall")])
            ),
            "legend": [("precision", "precision"), ("recall", "recall")],
        },
        {
            "title": "Value of frauds",
            "svg": Markup(
                bars(
                    "Value of frauds saved and lost by day",
                    labels,
                    [("saved", numbers("value saved")), ("lost", numbers("lost, known"))],
                )
            ),
            "legend": [("saved", "saved"), ("lost", "lost, as far as known")],
        },
    ]


def _number(cell: Cell) -> float | None:
    if isinstance(cell, Estimate):
        return cell.value
    return float(cell) if isinstance(cell, int | float) else None


def _interval(cell: Cell) -> tuple[float, float] | None:
    if not isinstance(cell, Estimate) or cell.low is None or cell.high is None:
        return None
    return cell.low, cell.high
