"""Everything that was measured, on one page: the sections of the docs that hold figures, put together.

The figures stand beside what they are about. This page repeats them when the site is built, so that there is one copy.
"""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True)
class Section:
    """A section of a page with figures, by its heading, and the command that measures them."""

    page: str
    heading: str
    command: str


SECTIONS = (
    Section("detection.md", "Backends", "python benchmarks/quality.py"),
    Section("worlds.md", "How the product does in them", "python benchmarks/worlds.py"),
    Section("models.md", "What the choice is worth", "python benchmarks/deciding.py"),
    Section("tuning.md", "What nobody reports", "python -m benchmarks.audit_sample"),
    Section("tuning.md", "What it is worth", "python benchmarks/tuning.py"),
    Section("streaming.md", "What it costs", "python benchmarks/streaming.py"),
    Section("operation.md", "A year", "python benchmarks/retention.py data"),
)

INTRODUCTION = """\
# Measurements

Each section is printed by the command above it, or says which one prints it. Machines differ by two and more: compare
ratios, and run both sides on one machine. `benchmarks/` has further ones. Each says in its first lines what it measures
and how long it takes.
"""


def section(of: Section) -> str:
    """The text below a heading, up to the next one of the same level.

    Raises:
        ValueError: the page has no such heading.
    """
    text = (DOCS / of.page).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(of.heading)}\n(.+?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"docs/{of.page} has no heading {of.heading!r}: correct tools/measurements.py")
    text = found[1].strip().replace("](#", f"]({of.page}#")
    return re.sub(r"^###", "####", text, flags=re.MULTILINE)


def page() -> str:
    """The page, as Markdown."""
    parts = [INTRODUCTION]
    for each in SECTIONS:
        title = (DOCS / each.page).read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        parts.append(f"## {title}: {each.heading[0].lower()}{each.heading[1:]}\n\n```sh\n{each.command}\n```\n")
        parts.append(f"{section(each)}\n\n*From [{title}]({each.page}).*\n")
    return "\n".join(parts)
