"""``novelty``: how unusual it is for an entity that a value is new to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fraud_pipelines.plan.folding.function import (
    COUNT,
    RECENT_CODES,
    STATISTICS,
    VALUES,
    Function,
    Layout,
    PlannedStep,
    Step,
)
from fraud_pipelines.plan.types import Aggregate

HALVED_AT: Final = 64
"""So many values, and both numbers are halved: what an entity did long ago counts less."""


def _code() -> Callable[..., None]:
    from fraud_pipelines.plan.folding.loop import (
        FIRST,
        SCALAR,
        SOURCE,
        TAIL,
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
    def novelty(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        code = rows.codes[program.ops[o, SOURCE], row]
        if code != UNKNOWN:
            k, w, scalars, scalar = program.ops[o, TAIL], program.ops[o, FIRST], scratch.scalars, program.ops[o, SCALAR]
            cells, base, size = scratch.cells, scratch.base[k], scratch.size[k]
            lowest = max(size - program.windows[w], 0)
            j = size - 1
            while j >= lowest and cells[base + j] != code:
                j -= 1
            is_new = j < lowest
            n, new = scalars[scalar], scalars[scalar + 1]
            if n > 0:
                out[program.window_rows[w, COUNT], row] = 1.0 - (new + 1) / (n + 1) if is_new else 0.0
            if counts(program, o, rows, row):
                if is_new:
                    cells[base + size] = code
                    scratch.size[k] += 1
                    new += 1
                else:  # the value that came last stands last
                    for i in range(j, size - 1):
                        cells[base + i] = cells[base + i + 1]
                    cells[base + size - 1] = code
                n += 1
                half = 2 if n == HALVED_AT else 1
                scalars[scalar] = n // half
                scalars[scalar + 1] = new // half

    return novelty


NOVELTY: Final = Step("novelty", _code, when="apart")


def _layout(layout: Layout, each: Aggregate) -> None:
    assert isinstance(each.over, int)
    mask = layout.mask(each)
    source: tuple[object, ...] = (each.of[0], each.over)
    while (source, mask) in [(tail.source, tail.mask) for tail in layout.tails]:
        source = (*source, "again")  # declared twice: each step keeps values of its own
    tail = layout.tail(RECENT_CODES, source, mask, each.over)
    rows = [-1] * STATISTICS
    rows[COUNT] = layout.rows[each.name]
    cells = {"mask": mask, "source": layout.code(each.of[0]), "scalar": layout.scalars(2, "novelty", each)}
    layout.steps.append(PlannedStep(NOVELTY, tail, 0, {each.over: rows}, cells))


def _reference(each: Aggregate, rows: Sequence[Mapping[str, Any]], counts: Sequence[bool], i: int) -> float | None:
    assert isinstance(each.over, int)
    recent: list[Any] = []
    n = new = 0
    for row, counted in zip(rows[:i], counts[:i], strict=True):
        value = row[each.of[0]]
        if value is None or not counted:
            continue
        n, new = n + 1, new + (value not in recent)
        recent = [*(other for other in recent if other != value), value][-each.over :]
        if n == HALVED_AT:
            n, new = n // 2, new // 2
    value = rows[i][each.of[0]]
    if value is None or not n:
        return None
    return 0.0 if value in recent else 1 - (new + 1) / (n + 1)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "novelty": Function(
        columns=1,
        over="rows",
        description=(
            "How unusual it is for {whose} transactions that {of} is none of the last {over} different values; "
            "0 where it is one of them."
        ),
        formula=(
            f"1 − (k + 1) / (n + 1) where x is new; n: earlier values, k: those that were new; both halved at n = "
            f"{HALVED_AT}"
        ),
        null_rule="null without an earlier value, and where {of} is unknown",
        gives=f"1 − the share of new values among the earlier ones where the value is new, else 0; `over` is how many "
        f"different values are remembered, the share is of the last {HALVED_AT // 2} to {HALVED_AT}",
        types=VALUES,
        layout=_layout,
        steps=(NOVELTY,),
        reference=_reference,
    ),
}
