"""``earlier``: how many transactions an entity has had before this one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fraud_pipelines.plan.folding.function import NEVER_NULL, Function, Layout, Step
from fraud_pipelines.plan.types import Aggregate


def _code() -> Callable[..., None]:
    from fraud_pipelines.plan.folding.loop import (
        MASK,
        OUT,
        SCALAR,
        Floats,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
        counts,
    )

    @compiled_step
    def earlier(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        if program.ops[o, MASK] < 0:
            out[program.ops[o, OUT], row] = now.folded
        else:
            out[program.ops[o, OUT], row] = scratch.scalars[program.ops[o, SCALAR]]
            if counts(program, o, rows, row):
                scratch.scalars[program.ops[o, SCALAR]] += 1

    return earlier


EARLIER: Final = Step("earlier", _code, when="apart", remembers=True)


def _layout(layout: Layout, each: Aggregate) -> None:
    scalar = layout.scalars(1, "earlier", each) if layout.mask(each) >= 0 else -1
    layout.add_step(EARLIER, each, {"scalar": scalar})


def _reference(each: Aggregate, rows: Sequence[Mapping[str, Any]], counts: Sequence[bool], i: int) -> float | None:
    return sum(counts[:i])


FUNCTIONS: Final[Mapping[str, Function]] = {
    "earlier": Function(
        columns=0,
        over="none",
        description="{Whose} transactions before this one.",
        formula="i",
        null_rule=NEVER_NULL,
        gives="number of transactions before this one, however long ago",
        sql_type="INTEGER",
        direction="low",
        layout=_layout,
        steps=(EARLIER,),
        never_null=True,
        reference=_reference,
    ),
}
