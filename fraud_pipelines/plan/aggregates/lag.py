"""``lag``: the value so many transactions ago."""

from collections.abc import Callable, Mapping
from typing import Final

from fraud_pipelines.plan.folding.function import COUNT, MATCHED, Function, Layout, Step
from fraud_pipelines.plan.types import Aggregate


def _code() -> Callable[..., None]:
    from fraud_pipelines.plan.folding.loop import (
        END,
        FIRST,
        TAIL,
        Floats,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
    )

    @compiled_step
    def lag(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        k = program.ops[o, TAIL]
        for w in range(program.ops[o, FIRST], program.ops[o, END]):
            if program.windows[w] <= scratch.size[k]:
                at = scratch.base[k] + scratch.size[k] - program.windows[w]
                out[program.window_rows[w, COUNT], row] = scratch.floats[at]

    return lag


LAG: Final = Step("lag", _code, when="before")


def _layout(layout: Layout, each: Aggregate) -> None:
    assert isinstance(each.over, int)
    tail = layout.tail(MATCHED, each.of[0], layout.mask(each), each.over)
    layout.add_window(LAG, tail, each.over, COUNT, each)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "lag": Function(
        columns=1,
        over="rows",
        description="{of} of {whose} {back}.",
        formula="x[i − {over}]",
        null_rule="null for the {first}",
        gives="the value so many transactions ago",
        direction="both",
        layout=_layout,
        steps=(LAG,),
    ),
}
