"""All steps of all aggregates as one compiled function that the kernel calls at each row."""

import hashlib
import inspect
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from fraud_pipelines.plan.folding.function import Step
from fraud_pipelines.plan.folding.loop import OP, Code, inlined
from fraud_pipelines.plan.functions import FUNCTIONS

PUSH: Final = 0
"""The number of the op that adds a row to a tail; steps follow."""


@cache
def steps() -> tuple[Step, ...]:
    """Every step, once; the one at position k has the number k + 1 among the kernel's ops."""
    return tuple(dict.fromkeys(step for function in FUNCTIONS.values() for step in function.steps))


def number_of(step: Step | None) -> int:
    """The step's number among the kernel's ops; None stands for `PUSH`."""
    return PUSH if step is None else steps().index(step) + 1


def dispatcher() -> Code:
    """A compiled function that runs the step of the op's number.

    It is one chain of comparisons, written as text: nested functions would take minutes to compile.
    """
    arguments = "program, rows, scratch, out, o, row, now"
    codes: dict[str, Any] = {f"step_{number_of(step)}": step.code() for step in steps()}
    lines = [f"def run({arguments}):", f"    op = program.ops[o, {OP}]", "    if op < 0:", "        pass"]
    for step in steps():
        lines += [f"    elif op == {number_of(step)}:", f"        step_{number_of(step)}({arguments})"]
    exec("\n".join(lines), codes)
    return inlined(cast(Code, codes["run"]))


def sources_version() -> str:
    """A hash of the files that hold steps, since numba's cache notices changes of one file only."""
    folder = Path(__file__).parent
    files = {*folder.glob("*.py"), *(Path(inspect.getfile(step.code)) for step in steps())}
    content = [path.read_bytes() for path in sorted(files)]
    return hashlib.sha256(b"".join(content)).hexdigest()[:12]
