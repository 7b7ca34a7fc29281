"""The table of functions in docs/declarations.md, from what each declares.

``python -m fraud_pipelines.plan.functions_table`` writes it into the page.
"""

from pathlib import Path
from typing import Final

from fraud_pipelines.plan.folding.function import Function
from fraud_pipelines.plan.functions import FUNCTIONS

PAGE: Final = Path(__file__).parents[2] / "docs" / "declarations.md"

_BEGIN: Final = "<!-- functions -->\n"
_END: Final = "\n<!-- end -->"
_OVER: Final = {"none": "–", "rows": "rows", "span": "span", "either": "rows or span"}


def with_table(text: str) -> str:
    """The page's text, its table of functions made anew: those with a window, those without, those from labels."""
    before, _, rest = text.partition(_BEGIN)
    ordered = sorted(FUNCTIONS.items(), key=lambda pair: (pair[1].labels, pair[1].over == "none"))
    head = "| `how` | `of` | `over` | what it gives | options (default) |\n|---|---|---|---|---|"
    table = "\n".join([head, *(_row(name, function) for name, function in ordered)])
    return before + _BEGIN + table + _END + rest.partition(_END)[2]


def _row(name: str, function: Function) -> str:
    number = "text" not in function.types
    of = function.of or ("–" if not function.columns else "number" if number else "any but a timestamp")
    options = ", ".join(f"`{option}` ({bounds.default:g})" for option, bounds in function.options.items())
    return f"| `{name}` | {of} | {_OVER[function.over]} | {function.gives} | {options} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
