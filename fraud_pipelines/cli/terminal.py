"""How the commands print: a console wide enough for what is told, and tables that fit into 80 columns."""

import os
import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 160
"""Rich would take 80 for what is no terminal, and cut figures off in a log that could hold them."""


def terminal(*, highlight: bool = True) -> Console:
    """A console for standard output. ``COLUMNS`` sets the width, whatever the output is."""
    fixed = None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else _PIPE_WIDTH
    return Console(width=fixed, highlight=highlight)


def narrow_table(title: str | None, *columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """A table without edges, whose columns keep their width; those of ``numbers`` are set to the right."""
    table = Table(
        title=title,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
        min_width=min(72, len(title or "")),
    )
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    return table


def model_heading(name: str) -> str:
    """A model's name on two lines, so that all models fit side by side."""
    return name.replace("-", "-\n", 1)
