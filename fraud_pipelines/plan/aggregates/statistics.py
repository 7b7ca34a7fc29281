"""``count``, ``sum``, ``mean``, ``std``, ``min`` and ``max`` over a window.

The six share their tails and steps: what is declared of the same values and windows is computed together.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from fraud_pipelines.plan.folding.function import (
    COUNT,
    MAX,
    MEAN,
    MIN,
    NEVER_NULL,
    ROWS,
    STD,
    SUM,
    TIMED,
    TIMES,
    Function,
    Layout,
    Step,
)
from fraud_pipelines.plan.spans import microseconds
from fraud_pipelines.plan.types import Aggregate


def _code_rows() -> Callable[..., None]:
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
    from fraud_pipelines.plan.folding.windows import roll

    @compiled_step
    def rolling(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        base = scratch.base[program.ops[o, TAIL]]
        end = base + scratch.size[program.ops[o, TAIL]]
        first, last = program.ops[o, FIRST], program.ops[o, END]
        roll(scratch.floats, base, end, program.windows, first, last, program.window_rows, out, row)

    return rolling


def _code_sparse_rows() -> Callable[..., None]:
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
    from fraud_pipelines.plan.folding.windows import roll_sparse

    @compiled_step
    def rolling(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        base = scratch.base[program.ops[o, TAIL]]
        end = base + scratch.size[program.ops[o, TAIL]]
        first, last = program.ops[o, FIRST], program.ops[o, END]
        roll_sparse(scratch.floats, base, end, program.windows, first, last, program.window_rows, out, row)

    return rolling


def _code_times() -> Callable[..., None]:
    from fraud_pipelines.plan.folding.loop import (
        END,
        FIRST,
        KEEP,
        TAIL,
        Floats,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
        window_start,
    )

    @compiled_step
    def counting(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        k = program.ops[o, TAIL]
        end = scratch.place[k]
        for w in range(program.ops[o, FIRST], program.ops[o, END]):
            since = max(now.t - program.windows[w], now.latest - program.tails[k, KEEP])
            start = window_start(scratch, w, scratch.base[k], end, since)
            out[program.window_rows[w, COUNT], row] = end - start

    return counting


def _code_timed() -> Callable[..., None]:
    from fraud_pipelines.plan.folding.loop import (
        BLOCK,
        DROPPED,
        END,
        FIRST,
        KEEP,
        TAIL,
        Floats,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
        sum_blocks,
        window_start,
    )
    from fraud_pipelines.plan.folding.windows import span_statistics

    @compiled_step
    def spanning(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        k = program.ops[o, TAIL]
        sum_blocks(scratch, k, scratch.scalars[program.tails[k, DROPPED]] % BLOCK)
        end = scratch.place[k]
        for w in range(program.ops[o, FIRST], program.ops[o, END]):
            since = max(now.t - program.windows[w], now.latest - program.tails[k, KEEP])
            start = window_start(scratch, w, scratch.base[k], end, since)
            span_statistics(program, scratch, o, w, start, end, out, row)

    return spanning


ROLL: Final = Step("roll", _code_rows)
ROLL_SPARSE: Final = Step("roll_sparse", _code_sparse_rows)
SPAN_COUNT: Final = Step("span_count", _code_times)
SPAN_STATISTICS: Final = Step("span_statistics", _code_timed)


def _layout(column: int) -> Callable[[Layout, Aggregate], None]:
    def lay_out(layout: Layout, each: Aggregate) -> None:
        mask, source = layout.mask(each), each.of[0] if each.of else None
        if isinstance(each.over, timedelta):
            length = microseconds(each.over)
            tail = layout.tail(TIMES if source is None else TIMED, source, mask, length)
            layout.add_window(SPAN_COUNT if source is None else SPAN_STATISTICS, tail, length, column, each)
            return
        assert isinstance(each.over, int)
        tail = layout.tail(ROWS, source, mask, each.over - 1)
        step = ROLL if layout.complete(source, mask) else ROLL_SPARSE
        layout.add_window(step, tail, each.over, column, each)

    return lay_out


def _over_values(
    what: str, formula: str, column: int, *, gives: str, null_rule: str = "null without a value", if_complete: str = ""
) -> Function:
    return Function(
        columns=1,
        over="either",
        description=f"{what} {{of}} of {{whose}} transactions {{within}}.",
        formula=f"{formula} {{window}}",
        null_rule=null_rule,
        if_complete=if_complete,
        gives=gives,
        layout=_layout(column),
        steps=(ROLL, ROLL_SPARSE, SPAN_STATISTICS),
        never_null=null_rule == NEVER_NULL,
    )


FUNCTIONS: Final[Mapping[str, Function]] = {
    "count": Function(
        columns=0,
        over="either",
        description="{Whose} transactions {within}.",
        formula="count {window}",
        null_rule=NEVER_NULL,
        gives="number of transactions",
        sql_type="INTEGER",
        layout=_layout(COUNT),
        steps=(ROLL, ROLL_SPARSE, SPAN_COUNT),
        never_null=True,
    ),
    "sum": _over_values("Sum of", "Σx", SUM, gives="sum of the values", null_rule=NEVER_NULL),
    "mean": _over_values("Mean of", "Σx / n", MEAN, gives="mean of the values", if_complete=NEVER_NULL),
    "std": _over_values(
        "Standard deviation of",
        "sqrt(Σ(x − mean)² / (n − 1))",
        STD,
        gives="standard deviation of the values, with ddof 1",
        null_rule="null with fewer than two values",
        if_complete="null with one transaction",
    ),
    "min": _over_values("Smallest", "min(x)", MIN, gives="smallest value", if_complete=NEVER_NULL),
    "max": _over_values("Largest", "max(x)", MAX, gives="largest value", if_complete=NEVER_NULL),
}
