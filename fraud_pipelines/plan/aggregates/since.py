"""``minutes_since_last``, ``days_since_last`` and ``days_since_first``: time since an entity's other transactions."""

from collections.abc import Callable, Mapping
from typing import Final

from fraud_pipelines.plan.folding.function import NULL_AT_FIRST, TIMES, Function, Layout, PlannedStep, Step
from fraud_pipelines.plan.types import Aggregate


def _code_last() -> Callable[..., None]:
    from fraud_pipelines.plan.folding.loop import (
        KEEP,
        MASK,
        OUT,
        SCALAR,
        SECOND,
        TAIL,
        Floats,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
        counts,
    )

    @compiled_step
    def since_last(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        scalars, cells = scratch.scalars, scratch.cells
        k, mask, scalar = program.ops[o, TAIL], program.ops[o, MASK], program.ops[o, SCALAR]
        happened = now.folded > 0 if mask < 0 else scalars[scalar] > 0
        last = now.newest if mask < 0 else scalars[scalar + 1]
        if happened:
            if k >= 0 and last > now.t:
                end = scratch.place[k] - 1 if counts(program, o, rows, row) else scratch.place[k]
                if end > 0 and cells[scratch.base[k] + end - 1] > now.latest - program.tails[k, KEEP]:
                    last = cells[scratch.base[k] + end - 1]
            if last <= now.t:
                if program.ops[o, OUT] >= 0:
                    out[program.ops[o, OUT], row] = (now.t - last) / 60e6
                if program.ops[o, SECOND] >= 0:
                    out[program.ops[o, SECOND], row] = (now.t - last) / 86400e6
        if mask >= 0 and rows.masks[mask, row]:
            scalars[scalar + 1] = max(now.t, scalars[scalar + 1]) if scalars[scalar] > 0 else now.t
            scalars[scalar] = 1

    return since_last


def _code_first() -> Callable[..., None]:
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
    )

    @compiled_step
    def since_first(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        scalars, scalar = scratch.scalars, program.ops[o, SCALAR]
        if scalars[scalar] > 0 and scalars[scalar + 1] <= now.t:
            out[program.ops[o, OUT], row] = (now.t - scalars[scalar + 1]) / 86400e6
        if counts(program, o, rows, row):
            scalars[scalar + 1] = min(now.t, scalars[scalar + 1]) if scalars[scalar] > 0 else now.t
            scalars[scalar] = 1

    return since_first


def _find_times(layout: Layout, step: PlannedStep) -> None:
    """A late row's previous one is looked up among the times that are kept for counts, if there are any."""
    mask = step.cells["mask"]
    times = [k for k, tail in enumerate(layout.tails) if (tail.kind, tail.mask) == (TIMES, mask)]
    step.tail = times[0] if times else -1


SINCE_LAST: Final = Step("since_last", _code_last, when="apart", remembers=True, finish=_find_times)
SINCE_FIRST: Final = Step("since_first", _code_first, when="apart")


def _layout_last(cell: str) -> Callable[[Layout, Aggregate], None]:
    """Minutes are the cell ``out`` of the step, days are ``second``."""

    def lay_out(layout: Layout, each: Aggregate) -> None:
        mask = layout.mask(each)
        for step in layout.steps:
            if step.step is SINCE_LAST and step.cells["mask"] == mask and step.cells[cell] < 0:
                step.cells[cell] = layout.rows[each.name]
                return
        scalar = layout.scalars(2, "since_last", each) if mask >= 0 else -1
        cells = {"mask": mask, "scalar": scalar, "out": -1, "second": -1} | {cell: layout.rows[each.name]}
        layout.steps.append(PlannedStep(SINCE_LAST, -1, 0, {}, cells))

    return lay_out


def _layout_first(layout: Layout, each: Aggregate) -> None:
    layout.add_step(SINCE_FIRST, each, {"scalar": layout.scalars(2, "since_first", each)})


def _since(what: str, formula: str, layout: Callable[[Layout, Aggregate], None], step: Step, gives: str) -> Function:
    return Function(
        columns=0,
        over="none",
        description=f"{what} transaction.",
        formula=formula,
        null_rule=NULL_AT_FIRST,
        gives=gives,
        direction="low",
        layout=layout,
        steps=(step,),
    )


FUNCTIONS: Final[Mapping[str, Function]] = {
    "minutes_since_last": _since(
        "Minutes since {whose} previous",
        "t[i] − t[i − 1], in minutes",
        _layout_last("out"),
        SINCE_LAST,
        "minutes since the previous one, fractional",
    ),
    "days_since_last": _since(
        "Days since {whose} previous",
        "t[i] − t[i − 1], in days",
        _layout_last("second"),
        SINCE_LAST,
        "days since the previous one, fractional",
    ),
    "days_since_first": _since(
        "Days since {whose} first",
        "t[i] − t[0], in days",
        _layout_first,
        SINCE_FIRST,
        "days since the first one, fractional",
    ),
}
