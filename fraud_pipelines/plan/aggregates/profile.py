"""The profile: how unusual a value is among an entity's earlier ones, and how often one was outsized."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from fraud_pipelines.plan.folding.function import (
    MARKS,
    NUMBERS_KEPT,
    STATISTICS,
    Function,
    Layout,
    Option,
    PlannedStep,
    Step,
)
from fraud_pipelines.plan.spans import microseconds
from fraud_pipelines.plan.types import Aggregate

_MEASURES: Final = ("z", "rz", "log_ratio", "max_ratio", "outsized")
"""In the order of the output rows of the step's window."""


def _code_measures() -> Callable[..., float]:
    import math

    from fraud_pipelines.plan.folding.loop import (
        FIRST,
        NUMBER,
        Floats,
        Program,
        Scratch,
        inlined,
    )
    from fraud_pipelines.plan.folding.windows import quantile, squared_distances, total_of

    @inlined
    def profile(
        program: Program, scratch: Scratch, o: int, base: int, end: int, value: float, out: Floats, row: int
    ) -> float:
        """Fill the four measures of how unusual ``value`` is after ``values[base:end]``, and return its z."""
        values, ranked = scratch.floats, scratch.ranked
        weight = program.numbers[program.ops[o, NUMBER]]
        share = program.numbers[program.ops[o, NUMBER] + 1]
        start = max(end - program.windows[program.ops[o, FIRST]], base)
        lowest = scratch.ranked_base[o]
        n = end - start
        z = 0.0
        rz = 0.0
        log_ratio = 0.0
        max_ratio = 0.0
        if n > 0:
            mean = total_of(values, start, end) / n
            prior = share * mean
            squares = squared_distances(values, start, end, mean)
            z = (value - mean) / (math.sqrt((squares + weight * prior * prior) / (n + weight)) + 1.0)
            median = quantile(ranked, lowest, n, 0.5)
            spread = (quantile(ranked, lowest, n, 0.75) - quantile(ranked, lowest, n, 0.25)) / 1.349
            prior = share * median
            rz = (value - median) / ((n * spread + weight * abs(prior)) / (n + weight) + 1.0)
            log_ratio = math.log((value + 1.0) / (median + 1.0))
            max_ratio = math.log((value + 1.0) / (ranked[lowest + n - 1] + 1.0))
        at = program.ops[o, FIRST]
        if program.window_rows[at, 0] >= 0:
            out[program.window_rows[at, 0], row] = z
        if program.window_rows[at, 1] >= 0:
            out[program.window_rows[at, 1], row] = rz
        if program.window_rows[at, 2] >= 0:
            out[program.window_rows[at, 2], row] = log_ratio
        if program.window_rows[at, 3] >= 0:
            out[program.window_rows[at, 3], row] = max_ratio
        return z

    return profile


def _code() -> Callable[..., None]:
    import math

    from fraud_pipelines.plan.folding.loop import (
        FIRST,
        KEEP,
        NUMBER,
        SECOND,
        TAIL,
        Floats,
        Ints,
        Now,
        Program,
        Rows,
        Scratch,
        compiled_step,
        counts,
        inlined,
        rank_in,
        rank_instead,
        value_of,
    )

    profile = _code_measures()

    @inlined
    def between(times: Ints, base: int, n: int, since: int, t: int) -> int:
        """How many of the ascending ``times[base : base + n]`` lie in (since, t]."""
        inside = 0
        for j in range(base + n - 1, base - 1, -1):
            if times[j] <= since:
                break
            if times[j] <= t:
                inside += 1
        return inside

    @inlined
    def insert_time(times: Ints, base: int, size: int, t: int) -> None:
        """Insert ``t`` into the ascending ``times[base : base + size]``; a row in order lands at the end at once."""
        j = base + size
        while j > base and times[j - 1] > t:
            times[j] = times[j - 1]
            j -= 1
        times[j] = t

    @compiled_step
    def measure(program: Program, rows: Rows, scratch: Scratch, out: Floats, o: int, row: int, now: Now) -> None:
        k, marks, wanted = program.ops[o, TAIL], program.ops[o, SECOND], program.window_rows[program.ops[o, FIRST], 4]
        value = value_of(program, o, rows, out, row)
        if marks >= 0 and wanted >= 0:
            since = now.latest - program.tails[marks, KEEP]
            out[wanted, row] = between(scratch.cells, scratch.base[marks], scratch.size[marks], since, now.t)
        if not math.isnan(value):
            end = scratch.base[k] + scratch.size[k]
            z = profile(program, scratch, o, scratch.base[k], end, value, out, row)
            if counts(program, o, rows, row):
                if marks >= 0 and z > program.numbers[program.ops[o, NUMBER] + 2]:
                    insert_time(scratch.cells, scratch.base[marks], scratch.size[marks], now.t)
                    scratch.size[marks] += 1
                ranked, lowest, n = scratch.ranked, scratch.ranked_base[o], scratch.ranked_size[o]
                if n == program.windows[program.ops[o, FIRST]]:
                    rank_instead(ranked, lowest, n, scratch.floats[end - n], value)
                else:
                    rank_in(ranked, lowest, n, value)
                    scratch.ranked_size[o] += 1

    return measure


PROFILE: Final = Step("profile", _code, when="before", ranks=True)


def _layout(how: str) -> Callable[[Layout, Aggregate], None]:
    cell = _MEASURES.index(how)

    def lay_out(layout: Layout, each: Aggregate) -> None:
        mask, options = layout.mask(each), each.options
        window = int(options["window"])
        tail = layout.tail(NUMBERS_KEPT, each.of[0], mask, window)
        shrunk = (options.get("weight"), options.get("share"))
        for step in layout.steps:
            same = step.step is PROFILE and step.tail == tail and window in step.windows
            if not same or step.windows[window][cell] >= 0 or how == "outsized":
                continue
            if shrunk == (None, None) or shrunk == step.numbers[:2]:
                step.windows[window][cell] = layout.rows[each.name]
                return
        rows = [-1] * STATISTICS
        rows[cell] = layout.rows[each.name]
        marks = _marks(layout, each, mask) if how == "outsized" else -1
        cells = layout.read(each.of[0]) | {"mask": mask, "second": marks}
        numbers = (options.get("weight", 5.0), options.get("share", 0.5), options.get("outsized_z", 0.0))
        layout.steps.append(PlannedStep(PROFILE, tail, layout.tails[tail].depth, {window: rows}, cells, numbers))

    return lay_out


def _marks(layout: Layout, each: Aggregate, mask: int) -> int:
    """The tail of the times at which the value was outsized."""
    options = each.options
    names = ("weight", "share", "outsized_z", "outsized_days")
    source: tuple[object, ...] = (each.of[0], int(options["window"]), *(options[name] for name in names))
    while (source, mask) in [(tail.source, tail.mask) for tail in layout.tails]:
        source = (*source, "again")  # declared twice: each step adds to marks of its own
    return layout.tail(MARKS, source, mask, microseconds(timedelta(days=options["outsized_days"])))


_WINDOW: Final = Option(50, 1, 1_000, whole=True)
_SHRUNK: Final = {"window": _WINDOW, "weight": Option(5, 0, 1_000), "share": Option(0.5, 0, 10)}
_OUTSIZED: Final = {"outsized_z": Option(4, 0, 100), "outsized_days": Option(14, 1, 366, whole=True)}
_ZERO: Final = "never null; 0 without history"


def _function(
    how: str, description: str, formula: str, gives: str, options: Mapping[str, Option], turn: int
) -> Function:
    count = how == "outsized"
    return Function(
        columns=1,
        over="none",
        description=description,
        formula=formula,
        null_rule=_ZERO,
        gives=gives,
        sql_type="INTEGER" if count else "DOUBLE",
        options=options,
        layout=_layout(how),
        steps=(PROFILE,),
        turn=turn,
        never_null=count,
    )


FUNCTIONS: Final[Mapping[str, Function]] = {
    "z": _function(
        "z",
        "Shrunk z-score of {of} among {whose} previous {window_rows} (mean m, population standard deviation s).",
        "(x − m) / (sqrt((n s² + {weight} ({share} × m)²) / (n + {weight})) + 1)",
        "how far it lies from the mean of the earlier ones, shrunk ([formulas](features.md))",
        _SHRUNK,
        turn=2,
    ),
    "rz": _function(
        "rz",
        "Shrunk z-score of {of} by median m and IQR of {whose} previous {window_rows}.",
        "(x − m) / ((n IQR/1.349 + {weight} ({share} × m)) / (n + {weight}) + 1)",
        "the same by median and interquartile range",
        _SHRUNK,
        turn=2,
    ),
    "log_ratio": _function(
        "log_ratio",
        "Log ratio of {of} to the median of {whose} previous {window_rows}.",
        "ln((x + 1) / (median + 1))",
        "log ratio to the median of the earlier ones",
        {"window": _WINDOW},
        turn=3,
    ),
    "max_ratio": _function(
        "max_ratio",
        "Log ratio of {of} to the largest of {whose} previous {window_rows}.",
        "ln((x + 1) / (max + 1))",
        "log ratio to the largest of the earlier ones",
        {"window": _WINDOW},
        turn=3,
    ),
    "outsized": _function(
        "outsized",
        "{Whose} earlier transactions in the last {outsized_days} d whose {of} was outsized.",
        "count of z > {outsized_z} in (t − {outsized_days} d, t], this one not included",
        "earlier transactions whose z was large",
        _SHRUNK | _OUTSIZED,
        turn=1,
    ),
}
