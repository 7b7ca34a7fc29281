"""``ratio_to_mean``: a value over the mean of all earlier ones."""

from collections.abc import Callable, Mapping
from typing import Final

from fraud_pipelines.plan.folding.function import NULL_AT_FIRST, Function, Layout, Step
from fraud_pipelines.plan.types import Aggregate


def _code() -> Callable[..., None]:
    import math

    from fraud_pipelines.plan.folding.loop import (
        OUT,
        SCALAR,
        Floats,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
        counts,
        value_of,
    )

    @compiled_step
    def ratio(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        count, total, scalar = scratch.scalars, scratch.scalar_floats, program.ops[o, SCALAR]
        value = value_of(program, o, rows, out, row)
        if not math.isnan(value):
            if total[scalar + 1] != 0.0:
                out[program.ops[o, OUT], row] = value / (total[scalar + 1] / count[scalar])
            if counts(program, o, rows, row):
                count[scalar] += 1
                total[scalar + 1] += value

    return ratio


RATIO: Final = Step("ratio", _code, when="apart")


def _layout(layout: Layout, each: Aggregate) -> None:
    cells = layout.read(each.of[0]) | {"scalar": layout.scalars(2, "ratio", each)}
    layout.add_step(RATIO, each, cells)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "ratio_to_mean": Function(
        columns=1,
        over="none",
        description="{of} as a multiple of its mean over all {whose} previous transactions.",
        formula="x[i] / (Σ x[0 … i − 1] / i)",
        null_rule=f"{NULL_AT_FIRST}, and where all previous values were 0",
        gives="the value over the mean of all earlier ones",
        layout=_layout,
        steps=(RATIO,),
    ),
}
