"""``changed``: whether a value differs from the last."""

from collections.abc import Callable, Mapping
from typing import Final

from fraud_pipelines.plan.folding.function import NULL_AT_FIRST, VALUES, Function, Layout, Step
from fraud_pipelines.plan.types import Aggregate


def _code() -> Callable[..., None]:
    from fraud_pipelines.plan.folding.loop import (
        OUT,
        SCALAR,
        SOURCE,
        UNKNOWN,
        Floats,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
        counts,
    )

    @compiled_step
    def changed(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        scalars, scalar = scratch.scalars, program.ops[o, SCALAR]
        code = rows.codes[program.ops[o, SOURCE], row]
        if scalars[scalar] > 0 and code != UNKNOWN and scalars[scalar + 1] != UNKNOWN:
            out[program.ops[o, OUT], row] = 1.0 if code != scalars[scalar + 1] else 0.0
        if counts(program, o, rows, row):
            scalars[scalar] = 1
            scalars[scalar + 1] = code

    return changed


CHANGED: Final = Step("changed", _code, when="apart")


def _layout(layout: Layout, each: Aggregate) -> None:
    cells = {"source": layout.code(each.of[0]), "scalar": layout.scalars(2, "changed", each)}
    layout.add_step(CHANGED, each, cells)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "changed": Function(
        columns=1,
        over="none",
        description="1 if {of} differs from that of {whose} previous transaction, else 0.",
        formula="x[i] ≠ x[i − 1]",
        null_rule=f"{NULL_AT_FIRST}, and where either {{of}} is unknown",
        gives="1 where the value differs from the last, else 0",
        types=VALUES,
        sql_type="TINYINT",
        role="binary",
        layout=_layout,
        steps=(CHANGED,),
    ),
}
