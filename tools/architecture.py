"""The picture of the architecture, ``docs/pictures/architecture.svg``.

``python -m tools.architecture`` draws it: boxes in columns, an arrow for each thing that flows.
"""

from html import escape
from pathlib import Path

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "architecture.svg"

WIDTH, HEIGHT = 1120, 470
BOX = (165, 58)

BOXES = {
    "landing": (20, 40, "Landing zone", "files, labels, rates", "outside"),
    "stream": (20, 190, "Stream", "files or Kafka", "outside"),
    "people": (20, 340, "Reviewers, banks", "verdicts, chargebacks", "outside"),
    "transactions": (245, 40, "transactions", "mapped, validated", "step"),
    "features": (470, 40, "features", "one fold, with state", "step"),
    "models": (715, 40, "models", "trained each day", "step"),
    "screener": (245, 190, "screener", "the same steps, at once", "step"),
    "scores": (715, 190, "scores", "anchored at the tail", "step"),
    "decisions": (935, 190, "decisions", "policy, rules, log", "step"),
    "labels": (245, 340, "labels", "each with known_at", "step"),
    "performance": (715, 340, "performance", "matured days", "step"),
    "thresholds": (935, 340, "thresholds", "for the next day", "step"),
}
"""Name → left, top, title, words, kind."""

ARROWS = (
    ("landing", "transactions", ""),
    ("transactions", "features", ""),
    ("features", "models", "past days"),
    ("models", "scores", "promotion"),
    ("features", "scores", "the day itself"),
    ("scores", "decisions", ""),
    ("stream", "screener", ""),
    ("people", "labels", ""),
    ("labels", "performance", ""),
    ("decisions", "performance", ""),
    ("performance", "thresholds", ""),
    ("thresholds", "decisions", "tomorrow"),
    ("labels", "features", "known before"),
)

COLOURS = {"outside": ("#f3f4f6", "#9ca3af"), "step": ("#eef2ff", "#6366f1")}


def _box(left: int, top: int, title: str, words: str, kind: str) -> str:
    fill, line = COLOURS[kind]
    middle = left + BOX[0] / 2
    return (
        f'<rect x="{left}" y="{top}" width="{BOX[0]}" height="{BOX[1]}" rx="8" fill="{fill}" stroke="{line}"/>'
        f'<text x="{middle}" y="{top + 25}" class="title">{escape(title)}</text>'
        f'<text x="{middle}" y="{top + 44}" class="words">{escape(words)}</text>'
    )


def _ends(start: str, end: str) -> tuple[float, float, float, float]:
    """Where the arrow leaves the first box and reaches the second: the sides that face each other."""
    (x, y), (u, v) = BOXES[start][:2], BOXES[end][:2]
    w, h = BOX
    if y == v:
        return (x + w, y + h / 2, u, v + h / 2) if x < u else (x, y + h / 2, u + w, v + h / 2)
    if x == u:
        return (x + w / 2, y + h, u + w / 2, v) if y < v else (x + w / 2, y, u + w / 2, v + h)
    if x > u:
        return x, y + h, u + w, v
    return (x + w, y + h, u, v) if y < v else (x + w, y, u, v + h)


def _arrow(start: str, end: str, words: str) -> str:
    x, y, u, v = _ends(start, end)
    line = f'<line x1="{x}" y1="{y}" x2="{u}" y2="{v}" class="flow" marker-end="url(#head)"/>'
    if not words:
        return line
    upright = abs(x - u) < 1
    level = y == v
    left, top = (x + u) / 2 + (6 if upright else 0 if level else 14), (y + v) / 2 + (-6 if level else 4)
    place = f'x="{left}" y="{top}" text-anchor="{"middle" if level else "start"}"'
    return line + f'<text {place} class="flowing">{escape(words)}</text>'


def picture() -> str:
    """The picture, as SVG."""
    style = (
        "text{font-family:system-ui,sans-serif;fill:#111827}.title{font-size:15px;font-weight:600;text-anchor:middle}"
        ".words{font-size:12px;text-anchor:middle;fill:#4b5563}.flow{stroke:#6b7280;stroke-width:1.5}"
        ".flowing{font-size:11px;fill:#4b5563}.store{font-size:12px;fill:#4b5563}"
    )
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#6b7280"/></marker>'
    )
    stores = "Tables: DuckDB or the lake.  Models: MLflow.  Runs, checks, schedules: Dagster."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>What flows from a payment to tomorrow's thresholds</title>",
        f"<style>{style}</style><defs>{head}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *(_arrow(*arrow) for arrow in ARROWS),
        # The screener decides by itself: its arrow passes below the features.
        '<path d="M410 219 H708" class="flow" marker-end="url(#head)"/>',
        '<text x="560" y="212" class="flowing" text-anchor="middle">each payment as it comes</text>',
        *(_box(*box) for box in BOXES.values()),
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 24}" class="store" text-anchor="middle">{escape(stores)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
