"""The profile: how unusual a value is among an entity's earlier ones, and how often one was outsized.

A short history says little. So its mean, median and largest value are drawn to what is usual among all payments, as if
that were ``pull`` further values, and in a young one tiny values, such as verifications of a card, don't count. Without
a history a value is compared with all payments. docs/features.md has the formulas.
"""

# ruff: noqa: PLR0915
# A compiled function keeps its figures in one place: to hand them over would cost more than to compute them.

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from fraud_pipelines.plan.folding.function import (
    MARKS,
    NEVER_NULL,
    NUMBERS_KEPT,
    STATISTICS,
    Function,
    Layout,
    Option,
    PlannedStep,
    Step,
)
from fraud_pipelines.plan.spans import microseconds
from fraud_pipelines.plan.types import CATEGORY, Aggregate

_NUMBERS: Final = {"weight": 5.0, "share": 0.5, "outsized_z": 0.0, "pull": 1.0, "tiny": 0.2}
"""The step's parameters in their order, each with its value where the function has no such option."""
_MEASURES: Final = ("z", "rz", "log_ratio", "max_ratio", "outsized")
"""In the order of the output rows of the step's window."""


YOUNG: Final = 10
"""A history of fewer values is young: tiny ones don't count in it."""
_NORMAL_95: Final = 1.645
"""How many standard deviations the 95th percentile of a normal distribution lies above its median."""


def _code_measures() -> Callable[..., float]:
    import math

    from fraud_pipelines.plan.folding.loop import (
        FIRST,
        NUMBER,
        POPULATION,
        Floats,
        Program,
        Rows,
        Scratch,
        inlined,
    )
    from fraud_pipelines.plan.folding.windows import quantile, squared_distances, total_of

    @inlined
    def toward(own: float, n: int, usual: float, pull: float) -> float:
        """A figure of ``n`` values, drawn to that of all payments, which counts as ``pull`` values; NaN: not at all."""
        if math.isnan(usual):
            return own
        return (n * own + pull * usual) / (n + pull) if n > 0 else usual

    @inlined
    def log_of(ratio: float) -> float:
        """The logarithm; NaN where there is none, as of numbers of different signs."""
        return math.log(ratio) if 0.0 < ratio < math.inf else math.nan

    @inlined
    def profile(
        program: Program,
        rows: Rows,
        scratch: Scratch,
        o: int,
        base: int,
        end: int,
        value: float,
        out: Floats,
        row: int,
    ) -> float:
        """Fill the four measures of how unusual ``value`` is after ``values[base:end]``, and return its z."""
        values, ranked, numbers = scratch.floats, scratch.ranked, program.numbers
        weight = numbers[program.ops[o, NUMBER]]
        share = numbers[program.ops[o, NUMBER] + 1]
        pull = numbers[program.ops[o, NUMBER] + 3]
        usual = math.nan
        upper = math.nan
        if program.ops[o, POPULATION] >= 0:
            usual = rows.values[program.ops[o, POPULATION], row]
            upper = rows.values[program.ops[o, POPULATION] + 1, row]
        start = max(end - program.windows[program.ops[o, FIRST]], base)
        lowest = scratch.ranked_base[o]
        n = end - start
        tiny = 0
        if n < YOUNG and usual != 0.0:
            limit = 0.0 if math.isnan(usual) else numbers[program.ops[o, NUMBER] + 4] * abs(usual)
            while tiny < n and ranked[lowest + tiny] <= limit:
                tiny += 1
            if n > 0 and ranked[lowest] < 0.0:  # of a column that is negative, too, nothing is tiny
                tiny = 0
            lowest += tiny
            n -= tiny
        z = 0.0
        rz = 0.0
        log_ratio = 0.0
        max_ratio = 0.0
        if n > 0 or not math.isnan(usual):
            mean = 0.0
            median = 0.0
            largest = 0.0
            squares = 0.0
            spread = 0.0
            if n > 0:
                if tiny > 0:
                    mean = total_of(ranked, lowest, lowest + n) / n
                    squares = squared_distances(ranked, lowest, lowest + n, mean)
                else:
                    mean = total_of(values, start, end) / n
                    squares = squared_distances(values, start, end, mean)
                median = quantile(ranked, lowest, n, 0.5)
                spread = (quantile(ranked, lowest, n, 0.75) - quantile(ranked, lowest, n, 0.25)) / 1.349
                largest = ranked[lowest + n - 1]
            wide = max(abs(share * usual), (upper - usual) / _NORMAL_95)
            own = share * mean
            mean = toward(mean, n, usual, pull)
            prior = toward(own, n, wide, pull)
            z = (value - mean) / (math.sqrt((squares + weight * prior * prior) / max(n + weight, 1.0)) + 1.0)
            own = abs(share * median)
            median = toward(median, n, usual, pull)
            largest = toward(largest, n, upper, pull)
            prior = toward(own, n, wide, pull)
            rz = (value - median) / ((n * spread + weight * prior) / max(n + weight, 1.0) + 1.0)
            log_ratio = log_of((value + 1.0) / (median + 1.0))
            max_ratio = log_of((value + 1.0) / (largest + 1.0))
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
            z = profile(program, rows, scratch, o, scratch.base[k], end, value, out, row)
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
        population = layout.population(each)
        numbers = tuple(options.get(name, default) for name, default in _NUMBERS.items())
        given = [k for k, name in enumerate(_NUMBERS) if name in options and name != "outsized_z"]
        for step in layout.steps:
            same = step.step is PROFILE and step.tail == tail and window in step.windows
            if not same or step.windows[window][cell] >= 0 or how == "outsized":
                continue
            if all(numbers[k] == step.numbers[k] for k in given):
                step.windows[window][cell] = layout.rows[each.name]
                return
        rows = [-1] * STATISTICS
        rows[cell] = layout.rows[each.name]
        marks = _marks(layout, each, mask) if how == "outsized" else -1
        cells = layout.read(each.of[0]) | {"mask": mask, "second": marks, "population": population}
        layout.steps.append(PlannedStep(PROFILE, tail, layout.tails[tail].depth, {window: rows}, cells, numbers))

    return lay_out


def _marks(layout: Layout, each: Aggregate, mask: int) -> int:
    """The tail of the times at which the value was outsized."""
    options = each.options
    names = ("weight", "share", "pull", "tiny", "outsized_z", "outsized_days")
    source: tuple[object, ...] = (each.of[0], int(options["window"]), *(options[name] for name in names))
    while (source, mask) in [(tail.source, tail.mask) for tail in layout.tails]:
        source = (*source, "again")  # declared twice: each step adds to marks of its own
    return layout.tail(MARKS, source, mask, microseconds(timedelta(days=options["outsized_days"])))


_WINDOW: Final = Option(50, 1, 1_000, whole=True)
_PLACED: Final = {"window": _WINDOW, "pull": Option(1, 0, 1_000), "tiny": Option(0.2, 0, 1)}
_SHRUNK: Final = _PLACED | {"weight": Option(5, 0, 1_000), "share": Option(0.5, 0, 10)}
_OUTSIZED: Final = {"outsized_z": Option(4, 0, 100), "outsized_days": Option(14, 1, 366, whole=True)}
_ZERO: Final = "0 without a history and a population"
_UNKNOWN: Final = "null without {of}"
_NO_RATIO: Final = f"{_UNKNOWN}, and where it or what it is compared with is −1 or less"


def _function(
    how: str,
    description: str,
    formula: str,
    gives: str,
    options: Mapping[str, Option],
    turn: int,
    *,
    unknown: str = _UNKNOWN,
) -> Function:
    count = how == "outsized"
    return Function(
        columns=1,
        reads=(CATEGORY,),
        over="none",
        description=description,
        formula=formula,
        null_rule=f"{unknown}; {_ZERO}",
        if_complete=f"{NEVER_NULL}; {_ZERO}",
        gives=gives,
        sql_type="INTEGER" if count else "DOUBLE",
        options=options,
        layout=_layout(how),
        steps=(PROFILE,),
        turn=turn,
        never_null=count,
        version=2,
    )


FUNCTIONS: Final[Mapping[str, Function]] = {
    "z": _function(
        "z",
        "Shrunk z-score of {of} among {whose} previous {window_rows} (mean m, population standard deviation s).",
        "(x − m′) / (sqrt((n s² + {weight} w²) / (n + {weight})) + 1); m′ = (n m + {pull} M) / (n + {pull}), "
        "w = (n {share} m + {pull} W) / (n + {pull})",
        "how far it lies from the mean of the earlier ones, shrunk ([formulas](features.md))",
        _SHRUNK,
        turn=2,
    ),
    "rz": _function(
        "rz",
        "Shrunk z-score of {of} by median m and IQR of {whose} previous {window_rows}.",
        "(x − m′) / ((n IQR/1.349 + {weight} w) / (n + {weight}) + 1); m′ = (n m + {pull} M) / (n + {pull}), "
        "w = (n {share} m + {pull} W) / (n + {pull})",
        "the same by median and interquartile range",
        _SHRUNK,
        turn=2,
    ),
    "log_ratio": _function(
        "log_ratio",
        "Log ratio of {of} to the median of {whose} previous {window_rows}.",
        "ln((x + 1) / (m′ + 1)); m′ = (n median + {pull} M) / (n + {pull})",
        "log ratio to the median of the earlier ones",
        _PLACED,
        turn=3,
        unknown=_NO_RATIO,
    ),
    "max_ratio": _function(
        "max_ratio",
        "Log ratio of {of} to the largest of {whose} previous {window_rows}.",
        "ln((x + 1) / (m′ + 1)); m′ = (n max + {pull} U) / (n + {pull})",
        "log ratio to the largest of the earlier ones",
        _PLACED,
        turn=3,
        unknown=_NO_RATIO,
    ),
    "outsized": _function(
        "outsized",
        "{Whose} earlier transactions in the last {outsized_days} d whose {of} was outsized.",
        "count of z > {outsized_z} in (t − {outsized_days} d, t], this one not included",
        "earlier transactions whose z was large",
        _SHRUNK | _OUTSIZED,
        turn=1,
        unknown=NEVER_NULL,
    ),
}
