"""``distinct``: how many different values there are in a window."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from fraud_pipelines.plan.folding.function import (
    CODES,
    COUNT,
    NEVER_NULL,
    TIMED_CODES,
    VALUES,
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
        add_code,
        clear_table,
        compiled_step,
        remove_code,
    )

    @compiled_step
    def distinct(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        k = program.ops[o, TAIL]
        cells, base, size, slots = scratch.cells, scratch.base[k], scratch.size[k], scratch.slots[k]
        for w in range(program.ops[o, FIRST], program.ops[o, END]):
            table, window = scratch.table_base[w], program.windows[w]
            if scratch.starts[w] < 0:
                clear_table(scratch, table, slots)
                scratch.starts[w] = max(size - window, 0)
                scratch.distinct[w] = 0
                for j in range(scratch.starts[w], size - 1):
                    scratch.distinct[w] += add_code(scratch, table, slots, cells[base + j])
            scratch.distinct[w] += add_code(scratch, table, slots, cells[base + size - 1])
            while scratch.starts[w] < size - window:
                scratch.distinct[w] -= remove_code(scratch, table, slots, cells[base + scratch.starts[w]])
                scratch.starts[w] += 1
            out[program.window_rows[w, COUNT], row] = scratch.distinct[w]

    return distinct


def _code_span() -> Callable[..., None]:
    from fraud_pipelines.plan.folding.loop import (
        END,
        FIRST,
        KEEP,
        SOURCE,
        TAIL,
        UNKNOWN,
        Floats,
        Now,
        Program,
        Rows,
        Scratch,
        add_code,
        clear_table,
        compiled_step,
        counts,
        remove_code,
    )

    @compiled_step
    def distinct(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        k = program.ops[o, TAIL]
        cells, base, second = scratch.cells, scratch.base[k], scratch.second[k]
        size, slots, end = scratch.size[k], scratch.slots[k], scratch.place[k]
        pushed = counts(program, o, rows, row) and rows.codes[program.ops[o, SOURCE], row] != UNKNOWN
        for w in range(program.ops[o, FIRST], program.ops[o, END]):
            table = scratch.table_base[w]
            since = max(now.t - program.windows[w], now.latest - program.tails[k, KEEP])
            if scratch.starts[w] < 0:
                clear_table(scratch, table, slots)
                scratch.starts[w] = 0
                scratch.distinct[w] = 0
                for j in range(size):
                    if not (pushed and j == end - 1):
                        scratch.distinct[w] += add_code(scratch, table, slots, cells[second + j])
            if pushed and end - 1 >= scratch.starts[w]:
                scratch.distinct[w] += add_code(scratch, table, slots, cells[second + end - 1])
            elif pushed:
                scratch.starts[w] += 1
            if now.t == now.latest:
                while scratch.starts[w] < size and cells[base + scratch.starts[w]] <= since:
                    scratch.distinct[w] -= remove_code(scratch, table, slots, cells[second + scratch.starts[w]])
                    scratch.starts[w] += 1
                out[program.window_rows[w, COUNT], row] = scratch.distinct[w]
            else:  # a late row: its window lies before the one that the table holds
                spare = scratch.table_base[program.windows.size]
                clear_table(scratch, spare, slots)
                found = 0
                for j in range(end - 1, -1, -1):
                    if cells[base + j] <= since:
                        break
                    found += add_code(scratch, spare, slots, cells[second + j])
                out[program.window_rows[w, COUNT], row] = found

    return distinct


DISTINCT_ROWS: Final = Step("distinct_rows", _code_rows, tables=True)
DISTINCT_SPAN: Final = Step("distinct_span", _code_span, tables=True)


def _layout(layout: Layout, each: Aggregate) -> None:
    mask = layout.mask(each)
    if isinstance(each.over, timedelta):
        length = microseconds(each.over)
        layout.add_window(DISTINCT_SPAN, layout.tail(TIMED_CODES, each.of[0], mask, length), length, COUNT, each)
    else:
        assert isinstance(each.over, int)
        tail = layout.tail(CODES, each.of[0], mask, each.over - 1)
        layout.add_window(DISTINCT_ROWS, tail, each.over, COUNT, each)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "distinct": Function(
        columns=1,
        over="either",
        description="Different values of {of} among {whose} transactions {within}.",
        formula="number of different x {window}",
        null_rule=NEVER_NULL,
        gives="number of different values",
        types=VALUES,
        sql_type="INTEGER",
        layout=_layout,
        steps=(DISTINCT_ROWS, DISTINCT_SPAN),
        never_null=True,
    ),
}
