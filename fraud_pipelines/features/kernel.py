"""The fold: state and new rows of each entity in, features and new state out, compiled by numba.

What to compute is a `Program` that the loop reads, made of a declaration by `features.program`: no declaration
compiles anything. Every number is computed from the values inside its window, in a fixed order, and never by updating
an earlier result that would depend on where a batch began. So the results are equal to the bit however the rows are
cut. All compiled functions live in this file, since numba's cache notices changes of one file only.

A *tail* is what is kept of an entity's past rows: of the last so many, or of those within a span of time.
"""

# ruff: noqa: PLR0912, PLR0915
# Compiled loops take their arrays one by one and keep their counters in one place.

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

P = ParamSpec("P")
R = TypeVar("R")

UNKNOWN: Final = -(2**63)
"""The code of a value that is null."""

# Kinds of tails.
ROWS: Final = 0  # a number for each of the last rows, NaN for one that doesn't count
MATCHED: Final = 1  # a number for each of the last rows that count, NaN where it is null
VALUES: Final = 2  # the last numbers of rows that count
CODES: Final = 3  # a code for each of the last rows, UNKNOWN for one that doesn't count
TIMES: Final = 4  # the times of rows that count, ascending
TIMED: Final = 5  # the same with a number each, rows where it is null left out
TIMED_CODES: Final = 6  # the same with a code
MARKS: Final = 7  # the times of rows that were outsized, ascending

# Columns of `Program.tails`.
KIND: Final = 0
KEEP: Final = 1  # rows, or µs
DROPPED: Final = 2  # TIMED: the scalar that counts what is kept no more

# Columns of `Program.ops`.
OP: Final = 0
TAIL: Final = 1
SOURCE: Final = 2  # row of `Rows.values`, of `Rows.codes` or, in an op of the kind FROM_OUT, of the output
FROM: Final = 3  # FROM_VALUES, FROM_OUT, FROM_ONE
MASK: Final = 4  # row of `Rows.masks`, -1 for every row
FIRST: Final = 5  # of the op's windows: FIRST to END - 1
END: Final = 6
OUT: Final = 7  # output row, -1 for one that is not wanted
SCALAR: Final = 8  # the op's first scalar
NUMBER: Final = 9  # the op's first parameter in `Program.numbers`
SECOND: Final = 10  # a second tail, source or output row
OP_COLUMNS: Final = 11

FROM_VALUES: Final = 0
FROM_OUT: Final = 1
FROM_ONE: Final = 2

# Ops.
PUSH: Final = 0
ROLL: Final = 1
ROLL_SPARSE: Final = 2
LAG: Final = 3
SPAN_COUNT: Final = 4
SPAN_STATISTICS: Final = 5
DISTINCT_ROWS: Final = 6
DISTINCT_SPAN: Final = 7
CHANGED: Final = 8
SINCE_LAST: Final = 9
SINCE_FIRST: Final = 10
RATIO: Final = 11
SPEED: Final = 12
PROFILE: Final = 13

# Columns of `Program.window_rows`.
COUNT: Final = 0
SUM: Final = 1
MEAN: Final = 2
STD: Final = 3
MIN: Final = 4
MAX: Final = 5
STATISTICS: Final = 6

BLOCK: Final = 32
"""Numbers of a TIMED tail that are summed together: a window's sum is made of whole blocks and the rest at its ends."""

EARTH_KM: Final = 6371.0088
"""Mean radius of the earth (IUGG)."""


class Program(NamedTuple):
    """What to compute, and into which row of the output. Times and spans are in µs."""

    ops: Ints  # (ops, OP_COLUMNS), in the order in which each row runs through them
    windows: Ints  # rows or µs; those of one op ascending
    window_rows: Ints  # (windows, STATISTICS) output rows; distinct counts are COUNT
    numbers: Floats  # parameters of ops
    tails: Ints  # (tails, 3)
    scalars: int  # how many further numbers are kept of each entity


class Rows(NamedTuple):
    """New rows in the order to fold them. Entity e owns the elements ``at[e]`` to ``at[e + 1]`` of each column."""

    at: Ints
    timestamp: Ints
    values: Floats  # (columns, rows); NaN is null
    codes: Ints  # (columns, rows); UNKNOWN is null
    masks: NDArray[np.bool_]  # (conditions, rows)


class Packed(NamedTuple):
    """The state of entities, each a run of numbers, floats as their bits. An entity without a run has no past.

    A run holds the number of rows folded so far, their largest timestamp, the scalars, the length of each tail, and
    the elements of each tail, oldest first; of a timed tail with numbers or codes first the times, then these.
    """

    starts: Ints
    lengths: Ints
    numbers: Ints


HEAD: Final = 2
"""Numbers of a run before the scalars."""


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first use, and keep the machine code where numba finds a place for it.

    The places are NUMBA_CACHE_DIR, the ``__pycache__`` beside this file, and the user's cache directory. With
    none of them writable, each process compiles for itself.
    """
    return _jitted(function, counted=True)


def _uncounted(function: Callable[P, R]) -> Callable[P, R]:
    """`_compiled` for what makes no array: without counting references, which takes most of the time in a loop."""
    return _jitted(function, counted=False)


def _jitted(function: Callable[P, R], *, counted: bool) -> Callable[P, R]:
    options: dict[str, Any] = {"nogil": True, "_nrt": counted, "error_model": "numpy"}
    try:
        return cast(Callable[P, R], numba.njit(function, cache=True, **options))
    except RuntimeError:
        return cast(Callable[P, R], numba.njit(function, **options))


def _inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile into the function that calls it: a call would count a reference to every array it passes."""
    return cast(Callable[P, R], numba.njit(function, nogil=True, inline="always", error_model="numpy"))


class _Scratch(NamedTuple):
    """One entity's history followed by its rows, so that every window is a slice."""

    cells: Ints  # the tails' elements
    floats: Floats  # the same as floats
    base: Ints  # (tails,) where in cells each tail's first element lies, or the time of it
    second: Ints  # (tails,) where the number or code of the first time lies
    size: Ints  # (tails,) how many elements there are
    place: Ints  # (tails,) of a timed tail: how many elements are no later than the row
    scalars: Ints
    scalar_floats: Floats  # the same as floats
    starts: Ints  # (windows,) where the window began at the last row: a place to search from; -1 at the first row
    ranked: Floats  # for each profile the values in its window, ascending
    ranked_base: Ints  # (ops,)
    ranked_size: Ints  # (ops,)
    keys: Ints  # tables of distinct codes, one for each window and one to spare
    counts: Ints  # how often each is in the window; -1 is a free slot
    table_base: Ints  # (windows + 1,)
    slots: Ints  # (tails,) size of the entity's tables
    distinct: Ints  # (windows,) different codes in the window
    block_base: Ints  # (tails,)
    blocks: Ints  # (tails,) how many whole blocks have been summed
    sums: Floats
    squares: Floats  # Σ (x − mean of the block)²
    lows: Floats
    highs: Floats


@_inlined
def _value(program: Program, o: int, rows: Rows, out: Floats, row: int) -> float:
    """The number an op is about."""
    value = 1.0
    if program.ops[o, FROM] == FROM_VALUES:
        value = rows.values[program.ops[o, SOURCE], row] + 0.0  # -0.0 becomes 0.0: equal, yet it would print unalike
    elif program.ops[o, FROM] == FROM_OUT:
        value = out[program.ops[o, SOURCE], row]
    return value


@_inlined
def _counts(program: Program, o: int, rows: Rows, row: int) -> bool:
    """Whether the row is one that the op counts."""
    return bool(program.ops[o, MASK] < 0 or rows.masks[program.ops[o, MASK], row])


@_inlined
def _sum(values: Floats, start: int, end: int) -> float:
    """Σ ``values[start:end]`` in four parts side by side, since an addition waits for the one before it."""
    a = b = c = d = 0.0
    j = start
    while j + 4 <= end:
        a += values[j]
        b += values[j + 1]
        c += values[j + 2]
        d += values[j + 3]
        j += 4
    while j < end:
        a += values[j]
        j += 1
    return (a + b) + (c + d)


@_inlined
def _squares(values: Floats, start: int, end: int, mean: float) -> float:
    """Σ (x − mean)², the second of two passes: no cancellation, and 0 exactly when all values are equal to mean."""
    a = b = c = d = 0.0
    j = start
    while j + 4 <= end:
        a += (values[j] - mean) * (values[j] - mean)
        b += (values[j + 1] - mean) * (values[j + 1] - mean)
        c += (values[j + 2] - mean) * (values[j + 2] - mean)
        d += (values[j + 3] - mean) * (values[j + 3] - mean)
        j += 4
    while j < end:
        a += (values[j] - mean) * (values[j] - mean)
        j += 1
    return (a + b) + (c + d)


@_inlined
def _tell(
    window_rows: Ints,
    k: int,
    n: int,
    total: float,
    mean: float,
    std: float,
    low: float,
    high: float,
    out: Floats,
    row: int,
) -> None:
    """Fill what is wanted of a window of ``n`` values; without a value only its count and sum are known."""
    if window_rows[k, COUNT] >= 0:
        out[window_rows[k, COUNT], row] = n
    if window_rows[k, SUM] >= 0:
        out[window_rows[k, SUM], row] = total
    if n > 0:
        if window_rows[k, MEAN] >= 0:
            out[window_rows[k, MEAN], row] = mean
        if window_rows[k, MIN] >= 0:
            out[window_rows[k, MIN], row] = low
        if window_rows[k, MAX] >= 0:
            out[window_rows[k, MAX], row] = high
    if n > 1 and window_rows[k, STD] >= 0:
        out[window_rows[k, STD], row] = std


@_inlined
def _roll(
    values: Floats, base: int, end: int, windows: Ints, first: int, last: int, window_rows: Ints, out: Floats, row: int
) -> None:
    """Statistics of the last ``windows[first:last]`` of ``values[base:end]``, of which none is null.

    Each sum has four parts, of every fourth value from the newest back, so that it depends on its own window only.
    """
    a = b = c = d = 0.0  # of the whole fours between position and end
    position = end
    low = np.inf
    high = -np.inf
    seen = end
    for k in range(first, last):
        start = max(end - windows[k], base)
        while position - 4 >= start:
            a += values[position - 1]
            b += values[position - 2]
            c += values[position - 3]
            d += values[position - 4]
            position -= 4
        one = a + values[position - 1] if position - 1 >= start else a
        two = b + values[position - 2] if position - 2 >= start else b
        three = c + values[position - 3] if position - 3 >= start else c
        for j in range(start, seen):
            low = min(low, values[j])
            high = max(high, values[j])
        seen = start
        n = end - start
        total = (one + two) + (three + d)
        mean = total / n
        std = 0.0
        if window_rows[k, STD] >= 0 and n > 1:
            std = math.sqrt(_squares(values, start, end, mean) / (n - 1))
        _tell(window_rows, k, n, total, mean, std, low, high, out, row)


@_inlined
def _roll_sparse(
    values: Floats, base: int, end: int, windows: Ints, first: int, last: int, window_rows: Ints, out: Floats, row: int
) -> None:
    """`_roll` of rows of which some have no value, or don't count: they are NaN."""
    for k in range(first, last):
        n = 0
        total = 0.0
        low = np.inf
        high = -np.inf
        start = max(end - windows[k], base)
        for j in range(end - 1, start - 1, -1):
            if not math.isnan(values[j]):
                n += 1
                total += values[j]
                low = min(low, values[j])
                high = max(high, values[j])
        mean = total / max(n, 1)
        std = 0.0
        if window_rows[k, STD] >= 0 and n > 1:
            squares = 0.0
            for j in range(end - 1, start - 1, -1):
                if not math.isnan(values[j]):
                    squares += (values[j] - mean) * (values[j] - mean)
            std = math.sqrt(squares / (n - 1))
        _tell(window_rows, k, n, total, mean, std, low, high, out, row)


@_inlined
def _quantile(ranked: Floats, base: int, n: int, q: float) -> float:
    """The q-quantile of ``ranked[base : base + n]``, interpolated linearly between neighbours."""
    position = q * (n - 1)
    low = int(position)
    if low + 1 >= n:
        return float(ranked[base + n - 1])
    below = ranked[base + low]
    return float(below + (ranked[base + low + 1] - below) * (position - low))


@_inlined
def _rank_in(ranked: Floats, base: int, n: int, value: float) -> None:
    """Insert ``value`` into the ascending ``ranked[base : base + n]``."""
    j = base + n
    while j > base and ranked[j - 1] > value:
        ranked[j] = ranked[j - 1]
        j -= 1
    ranked[j] = value


@_inlined
def _rank_instead(ranked: Floats, base: int, n: int, old: float, value: float) -> None:
    """Put ``value`` into the ascending ``ranked[base : base + n]`` instead of one ``old``."""
    j = base
    end = base + n
    while j < end:
        middle = (j + end) // 2
        if ranked[middle] < old:
            j = middle + 1
        else:
            end = middle
    while j + 1 < base + n and ranked[j + 1] < value:
        ranked[j] = ranked[j + 1]
        j += 1
    while j > base and ranked[j - 1] > value:
        ranked[j] = ranked[j - 1]
        j -= 1
    ranked[j] = value


@_inlined
def _between(times: Ints, base: int, n: int, since: int, t: int) -> int:
    """How many of the ascending ``times[base : base + n]`` lie in (since, t]."""
    inside = 0
    for j in range(base + n - 1, base - 1, -1):
        if times[j] <= since:
            break
        if times[j] <= t:
            inside += 1
    return inside


@_inlined
def _insert_time(times: Ints, base: int, size: int, t: int) -> None:
    """Insert ``t`` into the ascending ``times[base : base + size]``; a row in order lands at the end at once."""
    j = base + size
    while j > base and times[j - 1] > t:
        times[j] = times[j - 1]
        j -= 1
    times[j] = t


@_inlined
def _first_after(times: Ints, base: int, n: int, since: int) -> int:
    """Position of the first of the ascending ``times[base : base + n]`` after ``since``, counted from ``base``."""
    j = n
    while j > 0 and times[base + j - 1] > since:
        j -= 1
    return j


@_inlined
def _window_start(scratch: _Scratch, k: int, base: int, end: int, since: int) -> int:
    """How many of the ``end`` first times of a tail are no later than ``since``, searched from where it was last."""
    start = min(max(scratch.starts[k], 0), end)
    while start > 0 and scratch.cells[base + start - 1] > since:
        start -= 1
    while start < end and scratch.cells[base + start] <= since:
        start += 1
    scratch.starts[k] = start
    return int(start)


@_inlined
def _sum_blocks(scratch: _Scratch, tail: int, offset: int) -> None:
    """Sum the blocks of a TIMED tail that are whole and have not been summed.

    Block b begins ``offset`` before element b × BLOCK, as what is kept no more began with a whole one.
    """
    values = scratch.floats
    first = scratch.second[tail]
    while (scratch.blocks[tail] + 1) * BLOCK - offset <= scratch.size[tail]:
        b = scratch.blocks[tail]
        start = first + max(b * BLOCK - offset, 0)
        end = first + (b + 1) * BLOCK - offset
        total = 0.0
        low = np.inf
        high = -np.inf
        for j in range(start, end):
            total += values[j]
            low = min(low, values[j])
            high = max(high, values[j])
        mean = total / BLOCK
        squares = 0.0
        for j in range(start, end):
            squares += (values[j] - mean) * (values[j] - mean)
        at = scratch.block_base[tail] + b
        scratch.sums[at] = total
        scratch.squares[at] = squares
        scratch.lows[at] = low
        scratch.highs[at] = high
        scratch.blocks[tail] += 1


@_inlined
def _span_statistics(
    program: Program, scratch: _Scratch, o: int, k: int, start: int, end: int, out: Floats, row: int
) -> None:
    """Statistics of the numbers from position ``start`` to before ``end`` of a TIMED tail.

    Their sum is that of the values before the first whole block, of the blocks, and of the values after the last.
    Where blocks begin depends on how many values there have ever been, and not on where a batch began.
    """
    tail = program.ops[o, TAIL]
    values = scratch.floats
    first = scratch.second[tail]
    offset = scratch.scalars[program.tails[tail, DROPPED]] % BLOCK
    n = end - start
    head = min(((start + offset + BLOCK - 1) // BLOCK) * BLOCK - offset, end)  # where the first block begins
    rest = max(((end + offset) // BLOCK) * BLOCK - offset, head)  # and where the last one ends
    low = np.inf
    high = -np.inf
    before = 0.0
    for j in range(first + start, first + head):
        before += values[j]
        low = min(low, values[j])
        high = max(high, values[j])
    inside = 0.0
    for b in range((head + offset) // BLOCK, (rest + offset) // BLOCK):
        at = scratch.block_base[tail] + b
        inside += scratch.sums[at]
        low = min(low, scratch.lows[at])
        high = max(high, scratch.highs[at])
    after = 0.0
    for j in range(first + rest, first + end):
        after += values[j]
        low = min(low, values[j])
        high = max(high, values[j])
    total = (before + inside) + after
    mean = total / max(n, 1)
    std = 0.0
    if program.window_rows[k, STD] >= 0 and n > 1:
        squares = 0.0
        for j in range(first + start, first + head):
            squares += (values[j] - mean) * (values[j] - mean)
        for b in range((head + offset) // BLOCK, (rest + offset) // BLOCK):
            at = scratch.block_base[tail] + b
            apart = scratch.sums[at] / BLOCK - mean
            squares += scratch.squares[at] + BLOCK * (apart * apart)
        for j in range(first + rest, first + end):
            squares += (values[j] - mean) * (values[j] - mean)
        std = math.sqrt(squares / (n - 1))
    _tell(program.window_rows, k, n, total, mean, std, low, high, out, row)


@_inlined
def _slots_for(codes: int) -> int:
    """Slots of a table for that many codes: a power of two, at most half of it taken."""
    slots = 4
    while slots < 2 * codes:
        slots *= 2
    return slots


@_inlined
def _code_slot(scratch: _Scratch, base: int, size: int, code: int) -> int:
    """Where ``code`` is in the table at ``base``, or belongs; ``size`` is a power of two, and some slots are free."""
    mixed = np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)
    j = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(size - 1))
    while scratch.counts[base + j] >= 0 and scratch.keys[base + j] != code:
        j = (j + 1) & (size - 1)
    return int(base + j)


@_inlined
def _clear_table(scratch: _Scratch, base: int, size: int) -> None:
    for j in range(base, base + size):
        scratch.counts[j] = -1


@_inlined
def _add_code(scratch: _Scratch, base: int, size: int, code: int) -> int:
    """Count a code in; 1 if it is new to the window, else 0."""
    new = 0
    if code != UNKNOWN:
        slot = _code_slot(scratch, base, size, code)
        if scratch.counts[slot] < 0:
            scratch.keys[slot] = code
            scratch.counts[slot] = 0
        new = 1 if scratch.counts[slot] == 0 else 0
        scratch.counts[slot] += 1
    return new


@_inlined
def _remove_code(scratch: _Scratch, base: int, size: int, code: int) -> int:
    """Count a code out; 1 if it is no longer in the window, else 0."""
    gone = 0
    if code != UNKNOWN:
        slot = _code_slot(scratch, base, size, code)
        scratch.counts[slot] -= 1
        gone = 1 if scratch.counts[slot] == 0 else 0
    return gone


@_inlined
def _distance(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great-circle distance of two places in degrees, in km, by the haversine formula."""
    radians = math.pi / 180.0
    north = math.sin((other_latitude - latitude) * radians / 2.0)
    east = math.sin((other_longitude - longitude) * radians / 2.0)
    chord = north * north + math.cos(latitude * radians) * math.cos(other_latitude * radians) * (east * east)
    return 2.0 * EARTH_KM * math.asin(math.sqrt(min(chord, 1.0)))


@_inlined
def _profile(
    program: Program, scratch: _Scratch, o: int, base: int, end: int, value: float, out: Floats, row: int
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
        mean = _sum(values, start, end) / n
        prior = share * mean
        squares = _squares(values, start, end, mean)
        z = (value - mean) / (math.sqrt((squares + weight * prior * prior) / (n + weight)) + 1.0)
        median = _quantile(ranked, lowest, n, 0.5)
        spread = (_quantile(ranked, lowest, n, 0.75) - _quantile(ranked, lowest, n, 0.25)) / 1.349
        prior = share * median
        rz = (value - median) / ((n * spread + weight * abs(prior)) / (n + weight) + 1.0)
        log_ratio = math.log((value + 1.0) / (median + 1.0))
        max_ratio = math.log((value + 1.0) / (ranked[lowest + n - 1] + 1.0))
    at = program.ops[o, OUT]
    if program.window_rows[at, 0] >= 0:
        out[program.window_rows[at, 0], row] = z
    if program.window_rows[at, 1] >= 0:
        out[program.window_rows[at, 1], row] = rz
    if program.window_rows[at, 2] >= 0:
        out[program.window_rows[at, 2], row] = log_ratio
    if program.window_rows[at, 3] >= 0:
        out[program.window_rows[at, 3], row] = max_ratio
    return z


@_uncounted
def _fold(
    program: Program, rows: Rows, before: Packed, after: Ints, after_at: Ints, scratch: _Scratch, out: Floats
) -> None:
    """What `fold` does, into ``after``, which has room for all runs."""
    ops, tails, windows = program.ops, program.tails, program.windows
    cells, floats, size, base, second = scratch.cells, scratch.floats, scratch.size, scratch.base, scratch.second
    scalars, scalar_floats = scratch.scalars, scratch.scalar_floats
    n_tails = tails.shape[0]
    spare = windows.size
    written = 0

    for e in range(rows.at.size - 1):
        # ---- what is kept of the entity
        run = before.starts[e]
        known = before.lengths[e] > 0
        folded = before.numbers[run] if known else 0
        newest = before.numbers[run + 1] if known else 0
        for j in range(program.scalars):
            scalars[j] = before.numbers[run + HEAD + j] if known else 0
        position = run + HEAD + program.scalars + n_tails
        for k in range(n_tails):
            n = before.numbers[run + HEAD + program.scalars + k] if known else 0
            size[k] = n
            scratch.blocks[k] = 0
            scratch.slots[k] = _slots_for(n + rows.at[e + 1] - rows.at[e])
            for j in range(n):
                cells[base[k] + j] = before.numbers[position + j]
            position += n
            if tails[k, KIND] == TIMED or tails[k, KIND] == TIMED_CODES:
                for j in range(n):
                    cells[second[k] + j] = before.numbers[position + j]
                position += n
        for k in range(windows.size):
            scratch.starts[k] = -1
        for o in range(ops.shape[0]):
            if ops[o, OP] == PROFILE:
                k = ops[o, TAIL]
                n = min(size[k], windows[ops[o, FIRST]])
                for j in range(n):
                    _rank_in(scratch.ranked, scratch.ranked_base[o], j, floats[base[k] + size[k] - n + j])
                scratch.ranked_size[o] = n

        for row in range(rows.at[e], rows.at[e + 1]):
            t = rows.timestamp[row]
            latest = max(newest, t) if folded > 0 else t

            for o in range(ops.shape[0]):
                op = ops[o, OP]
                k = ops[o, TAIL]
                if op == PUSH:
                    kind = tails[k, KIND]
                    counted = _counts(program, o, rows, row)
                    if kind <= VALUES:
                        value = _value(program, o, rows, out, row)
                        if not counted:
                            value = np.nan
                        if kind == ROWS or (counted and (kind == MATCHED or not math.isnan(value))):
                            floats[base[k] + size[k]] = value
                            size[k] += 1
                    elif kind == CODES:
                        cells[base[k] + size[k]] = rows.codes[ops[o, SOURCE], row] if counted else UNKNOWN
                        size[k] += 1
                    else:
                        earlier = size[k]
                        while earlier > 0 and cells[base[k] + earlier - 1] > t:
                            earlier -= 1
                        if kind == TIMED:
                            value = _value(program, o, rows, out, row)
                            counted = counted and not math.isnan(value)
                        elif kind == TIMED_CODES:
                            counted = counted and rows.codes[ops[o, SOURCE], row] != UNKNOWN
                        if counted:
                            for j in range(size[k], earlier, -1):
                                cells[base[k] + j] = cells[base[k] + j - 1]
                            cells[base[k] + earlier] = t
                            if kind != TIMES:
                                for j in range(size[k], earlier, -1):
                                    cells[second[k] + j] = cells[second[k] + j - 1]
                                if kind == TIMED:
                                    floats[second[k] + earlier] = value
                                    offset = scalars[tails[k, DROPPED]] % BLOCK
                                    scratch.blocks[k] = min(scratch.blocks[k], (earlier + offset) // BLOCK)
                                else:
                                    cells[second[k] + earlier] = rows.codes[ops[o, SOURCE], row]
                            size[k] += 1
                            earlier += 1
                        scratch.place[k] = earlier
                elif op == ROLL:
                    end = base[k] + size[k]
                    _roll(floats, base[k], end, windows, ops[o, FIRST], ops[o, END], program.window_rows, out, row)
                elif op == PROFILE:
                    value = _value(program, o, rows, out, row)
                    marks = ops[o, SECOND]
                    if marks >= 0 and program.window_rows[ops[o, OUT], 4] >= 0:
                        since = latest - tails[marks, KEEP]
                        out[program.window_rows[ops[o, OUT], 4], row] = _between(
                            cells, base[marks], size[marks], since, t
                        )
                    if not math.isnan(value):
                        end = base[k] + size[k]
                        z = _profile(program, scratch, o, base[k], end, value, out, row)
                        if _counts(program, o, rows, row):
                            if marks >= 0 and z > program.numbers[ops[o, NUMBER] + 2]:
                                _insert_time(cells, base[marks], size[marks], t)
                                size[marks] += 1
                            most = windows[ops[o, FIRST]]
                            ranked, lowest, n = scratch.ranked, scratch.ranked_base[o], scratch.ranked_size[o]
                            if n == most:
                                _rank_instead(ranked, lowest, n, floats[end - n], value)
                            else:
                                _rank_in(ranked, lowest, n, value)
                                scratch.ranked_size[o] += 1
                elif op == SPAN_COUNT:
                    end = scratch.place[k]
                    for w in range(ops[o, FIRST], ops[o, END]):
                        since = max(t - windows[w], latest - tails[k, KEEP])
                        start = _window_start(scratch, w, base[k], end, since)
                        out[program.window_rows[w, COUNT], row] = end - start
                elif op == LAG:
                    for w in range(ops[o, FIRST], ops[o, END]):
                        if windows[w] <= size[k]:
                            out[program.window_rows[w, COUNT], row] = floats[base[k] + size[k] - windows[w]]
                elif op == SINCE_LAST:
                    mask, scalar = ops[o, MASK], ops[o, SCALAR]
                    happened = folded > 0 if mask < 0 else scalars[scalar] > 0
                    last = newest if mask < 0 else scalars[scalar + 1]
                    if happened:
                        if k >= 0 and last > t:
                            end = scratch.place[k] - 1 if _counts(program, o, rows, row) else scratch.place[k]
                            if end > 0 and cells[base[k] + end - 1] > latest - tails[k, KEEP]:
                                last = cells[base[k] + end - 1]
                        if last <= t:
                            if ops[o, OUT] >= 0:
                                out[ops[o, OUT], row] = (t - last) / 60e6
                            if ops[o, SECOND] >= 0:
                                out[ops[o, SECOND], row] = (t - last) / 86400e6
                    if mask >= 0 and rows.masks[mask, row]:
                        scalars[scalar + 1] = max(t, scalars[scalar + 1]) if scalars[scalar] > 0 else t
                        scalars[scalar] = 1
                elif op == CHANGED:
                    scalar = ops[o, SCALAR]
                    code = rows.codes[ops[o, SOURCE], row]
                    if scalars[scalar] > 0 and code != UNKNOWN and scalars[scalar + 1] != UNKNOWN:
                        out[ops[o, OUT], row] = 1.0 if code != scalars[scalar + 1] else 0.0
                    if _counts(program, o, rows, row):
                        scalars[scalar] = 1
                        scalars[scalar + 1] = code
                elif op == RATIO:
                    scalar = ops[o, SCALAR]
                    value = _value(program, o, rows, out, row)
                    if not math.isnan(value):
                        if scalar_floats[scalar + 1] != 0.0:
                            out[ops[o, OUT], row] = value / (scalar_floats[scalar + 1] / scalars[scalar])
                        if _counts(program, o, rows, row):
                            scalars[scalar] += 1
                            scalar_floats[scalar + 1] += value
                elif op == ROLL_SPARSE:
                    end = base[k] + size[k]
                    _roll_sparse(
                        floats, base[k], end, windows, ops[o, FIRST], ops[o, END], program.window_rows, out, row
                    )
                elif op == SPAN_STATISTICS:
                    offset = scalars[tails[k, DROPPED]] % BLOCK
                    _sum_blocks(scratch, k, offset)
                    end = scratch.place[k]
                    for w in range(ops[o, FIRST], ops[o, END]):
                        since = max(t - windows[w], latest - tails[k, KEEP])
                        start = _window_start(scratch, w, base[k], end, since)
                        _span_statistics(program, scratch, o, w, start, end, out, row)
                elif op == SINCE_FIRST:
                    scalar = ops[o, SCALAR]
                    if scalars[scalar] > 0 and scalars[scalar + 1] <= t:
                        out[ops[o, OUT], row] = (t - scalars[scalar + 1]) / 86400e6
                    if _counts(program, o, rows, row):
                        scalars[scalar + 1] = min(t, scalars[scalar + 1]) if scalars[scalar] > 0 else t
                        scalars[scalar] = 1
                elif op == SPEED:
                    scalar = ops[o, SCALAR]
                    latitude = rows.values[ops[o, SOURCE], row]
                    longitude = rows.values[ops[o, SECOND], row]
                    if scalars[scalar] > 0 and t > scalars[scalar + 1]:
                        hours = (t - scalars[scalar + 1]) / 3600e6
                        kilometres = _distance(
                            scalar_floats[scalar + 2], scalar_floats[scalar + 3], latitude, longitude
                        )
                        if not math.isnan(kilometres):
                            out[ops[o, OUT], row] = kilometres / hours
                    if _counts(program, o, rows, row):
                        scalars[scalar] = 1
                        scalars[scalar + 1] = t
                        scalar_floats[scalar + 2] = latitude
                        scalar_floats[scalar + 3] = longitude
                elif op == DISTINCT_ROWS:
                    slots = scratch.slots[k]
                    for w in range(ops[o, FIRST], ops[o, END]):
                        table = scratch.table_base[w]
                        if scratch.starts[w] < 0:
                            _clear_table(scratch, table, slots)
                            scratch.starts[w] = max(size[k] - windows[w], 0)
                            scratch.distinct[w] = 0
                            for j in range(scratch.starts[w], size[k] - 1):
                                scratch.distinct[w] += _add_code(scratch, table, slots, cells[base[k] + j])
                        scratch.distinct[w] += _add_code(scratch, table, slots, cells[base[k] + size[k] - 1])
                        while scratch.starts[w] < size[k] - windows[w]:
                            code = cells[base[k] + scratch.starts[w]]
                            scratch.distinct[w] -= _remove_code(scratch, table, slots, code)
                            scratch.starts[w] += 1
                        out[program.window_rows[w, COUNT], row] = scratch.distinct[w]
                elif op == DISTINCT_SPAN:
                    slots = scratch.slots[k]
                    end = scratch.place[k]
                    pushed = _counts(program, o, rows, row) and rows.codes[ops[o, SOURCE], row] != UNKNOWN
                    for w in range(ops[o, FIRST], ops[o, END]):
                        table = scratch.table_base[w]
                        since = max(t - windows[w], latest - tails[k, KEEP])
                        if scratch.starts[w] < 0:
                            _clear_table(scratch, table, slots)
                            scratch.starts[w] = 0
                            scratch.distinct[w] = 0
                            for j in range(size[k]):
                                if not (pushed and j == end - 1):
                                    scratch.distinct[w] += _add_code(scratch, table, slots, cells[second[k] + j])
                        if pushed and end - 1 >= scratch.starts[w]:
                            scratch.distinct[w] += _add_code(scratch, table, slots, cells[second[k] + end - 1])
                        elif pushed:
                            scratch.starts[w] += 1
                        if t == latest:
                            while scratch.starts[w] < size[k] and cells[base[k] + scratch.starts[w]] <= since:
                                code = cells[second[k] + scratch.starts[w]]
                                scratch.distinct[w] -= _remove_code(scratch, table, slots, code)
                                scratch.starts[w] += 1
                            out[program.window_rows[w, COUNT], row] = scratch.distinct[w]
                        else:  # a late row: its window lies before the one that the table holds
                            table = scratch.table_base[spare]
                            _clear_table(scratch, table, slots)
                            distinct = 0
                            for j in range(end - 1, -1, -1):
                                if cells[base[k] + j] <= since:
                                    break
                                distinct += _add_code(scratch, table, slots, cells[second[k] + j])
                            out[program.window_rows[w, COUNT], row] = distinct

            newest = latest
            folded += 1

        # ---- what is kept of it from now on
        after_at[e] = written
        after[written] = folded
        after[written + 1] = newest
        lengths = written + HEAD + program.scalars
        position = lengths + n_tails
        for k in range(n_tails):
            kind = tails[k, KIND]
            if kind <= CODES:
                first = max(size[k] - tails[k, KEEP], 0)
            else:
                first = _first_after(cells, base[k], size[k], newest - tails[k, KEEP])
                if kind == TIMED:
                    scalars[tails[k, DROPPED]] += first
            after[lengths + k] = size[k] - first
            for j in range(first, size[k]):
                after[position] = cells[base[k] + j]
                position += 1
            if kind in (TIMED, TIMED_CODES):
                for j in range(first, size[k]):
                    after[position] = cells[second[k] + j]
                    position += 1
        for j in range(program.scalars):
            after[written + HEAD + j] = scalars[j]
        written = position
    after_at[rows.at.size - 1] = written


@_compiled
def fold(program: Program, rows: Rows, before: Packed, out: Floats) -> tuple[Ints, Ints]:
    """Fold ``rows`` into the state ``before``, and write the features of row r to ``out[:, r]``.

    ``out`` has shape (features, rows) and comes filled with NaN, which stays where a feature is null. A row with
    a smaller timestamp than one already folded is late: it sees whatever has arrived with a timestamp up to its own.

    Returns:
        The new state: where each entity's run starts (and the last ends), and all runs one after the other.
    """
    entities = rows.at.size - 1
    tails, windows, ops = program.tails, program.windows, program.ops
    n_tails, n_windows, n_ops = tails.shape[0], windows.size, ops.shape[0]

    longest = np.ones(n_tails, np.int64)
    kept = 0
    for e in range(entities):
        added = rows.at[e + 1] - rows.at[e]
        if before.lengths[e] > 0:
            kept += before.lengths[e]
            lengths = before.starts[e] + HEAD + program.scalars
            for k in range(n_tails):
                longest[k] = max(longest[k], before.numbers[lengths + k] + added)
        else:
            for k in range(n_tails):
                longest[k] = max(longest[k], added)

    base = np.zeros(n_tails, np.int64)
    second = np.zeros(n_tails, np.int64)
    block_base = np.zeros(n_tails, np.int64)
    cells_end = 0
    blocks_end = 0
    of_a_row = 0
    for k in range(n_tails):
        base[k] = cells_end
        cells_end += longest[k]
        of_a_row += 1
        if tails[k, KIND] == TIMED or tails[k, KIND] == TIMED_CODES:
            second[k] = cells_end
            cells_end += longest[k]
            of_a_row += 1
        if tails[k, KIND] == TIMED:
            block_base[k] = blocks_end
            blocks_end += longest[k] // BLOCK + 2
    table_base = np.zeros(n_windows + 1, np.int64)
    ranked_base = np.zeros(n_ops, np.int64)
    tables_end = 0
    largest = 0
    ranked_end = 0
    for o in range(n_ops):
        if ops[o, OP] == DISTINCT_ROWS or ops[o, OP] == DISTINCT_SPAN:
            slots = _slots_for(longest[ops[o, TAIL]])
            largest = max(largest, slots)
            for w in range(ops[o, FIRST], ops[o, END]):
                table_base[w] = tables_end
                tables_end += slots
        elif ops[o, OP] == PROFILE:
            ranked_base[o] = ranked_end
            ranked_end += windows[ops[o, FIRST]] + 1
    table_base[n_windows] = tables_end
    tables_end += largest

    cells = np.empty(cells_end, np.int64)
    scalars = np.zeros(program.scalars + 1, np.int64)
    scratch = _Scratch(
        cells,
        cells.view(np.float64),
        base,
        second,
        np.zeros(n_tails, np.int64),
        np.zeros(n_tails, np.int64),
        scalars,
        scalars.view(np.float64),
        np.zeros(n_windows, np.int64),
        np.empty(ranked_end, np.float64),
        ranked_base,
        np.zeros(n_ops, np.int64),
        np.empty(tables_end, np.int64),
        np.empty(tables_end, np.int64),
        table_base,
        np.zeros(n_tails, np.int64),
        np.zeros(n_windows, np.int64),
        block_base,
        np.zeros(n_tails, np.int64),
        np.empty(blocks_end, np.float64),
        np.empty(blocks_end, np.float64),
        np.empty(blocks_end, np.float64),
        np.empty(blocks_end, np.float64),
    )
    added = rows.timestamp.size
    after = np.empty(kept + entities * (HEAD + program.scalars + n_tails) + added * of_a_row, np.int64)
    after_at = np.zeros(entities + 1, np.int64)
    _fold(program, rows, before, after, after_at, scratch, out)
    return after_at, after[: after_at[entities]].copy()


@_compiled
def place(
    numbers: Ints, used: int, starts: Ints, lengths: Ints, room: Ints, slots: Ints, at: Ints, packed: Ints
) -> int:
    """Copy run k of ``packed`` into slot ``slots[k]`` of ``numbers``, or, if it is too long, behind what is used.

    Returns:
        The end of what is used then. If that is beyond ``numbers``, nothing has been copied.
    """
    end = used
    for k in range(slots.size):
        length = at[k + 1] - at[k]
        if length > room[slots[k]]:
            end += length + length // 2
    if end > numbers.size:
        return end
    end = used
    for k in range(slots.size):
        slot = slots[k]
        length = at[k + 1] - at[k]
        if length > room[slot]:
            starts[slot] = end
            room[slot] = length + length // 2
            end += room[slot]
        lengths[slot] = length
        for j in range(length):
            numbers[starts[slot] + j] = packed[at[k] + j]
    return end


@_compiled
def roll_column(values: Floats, first: int, windows: Ints, lags: Ints, out: Floats) -> None:
    """Rolling statistics and lags of the rows from ``first`` on, by the same arithmetic as the fold's.

    Row ``first + r`` fills ``out[:, r]``: four statistics a window, then the lags. ``out`` comes filled with NaN,
    which stays where a window is undefined or holds a NaN.
    """
    rows = np.full((windows.size, STATISTICS), -1)
    for k in range(windows.size):
        for j in range(4):
            rows[k, MEAN + j] = 4 * k + j
    unknown = -1  # position of the latest NaN
    for i in range(values.size):
        if np.isnan(values[i]):
            unknown = i
        if i < first:
            continue
        _roll(values, 0, i + 1, windows, 0, windows.size, rows, out, i - first)
        for k in range(windows.size):
            if unknown >= 0 and unknown > i - windows[k]:
                out[4 * k : 4 * k + 4, i - first] = np.nan
        for k in range(lags.size):
            if lags[k] <= i:
                out[4 * windows.size + k, i - first] = values[i - lags[k]]


@_compiled
def hash_texts(offsets: Ints, characters: NDArray[np.uint8]) -> Ints:
    """A code for each text, the same in every process: FNV-1a of its UTF-8, mixed as in SplitMix64; never UNKNOWN.

    Args:
        offsets: text k is ``characters[offsets[k] : offsets[k + 1]]``.
    """
    codes = np.empty(offsets.size - 1, np.int64)
    for k in range(offsets.size - 1):
        mixed = np.uint64(0xCBF29CE484222325)
        for j in range(offsets[k], offsets[k + 1]):
            mixed = (mixed ^ np.uint64(characters[j])) * np.uint64(0x100000001B3)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
        code = np.int64(mixed)
        codes[k] = code if code != UNKNOWN else 0
    return codes


@_compiled
def sum_up_to(starts: Ints, times: Ints, running: Ints, entity: Ints, instants: Ints) -> Ints:
    """For each row the weight of its entity's events up to and including its instant, 0 without an entity.

    Entity e owns the ascending ``times[starts[e] : starts[e + 1]]``; ``running[k]`` is the weight of the first k.
    """
    found = np.zeros(entity.size, np.int64)
    for row in range(entity.size):
        if entity[row] >= 0:
            low = starts[entity[row]]
            high = starts[entity[row] + 1]
            while low < high:
                middle = (low + high) // 2
                if times[middle] <= instants[row]:
                    low = middle + 1
                else:
                    high = middle
            found[row] = running[low] - running[starts[entity[row]]]
    return found


@_inlined
def _slot(slots: NDArray[np.int32], distinct: NDArray[np.uint64], value: np.uint64) -> int:
    """Where the number of ``value`` is, or belongs; ``slots`` are a power of two, of which some are free."""
    mask = np.uint64(slots.size - 1)
    slot = value & mask
    while slots[slot] >= 0 and distinct[slots[slot]] != value:
        slot = (slot + np.uint64(1)) & mask
    return int(slot)


@_compiled
def number(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int32], Ints]:
    """Number the distinct hashes from 0 on as they appear, by a table with open addresses.

    Returns:
        Each row's number, and for each number the first row that has it.
    """
    slots = np.full(1024, -1, np.int32)
    distinct = np.empty(512, np.uint64)
    first = np.empty(512, np.int64)
    codes = np.empty(hashes.size, np.int32)
    known = 0
    for row in range(hashes.size):
        slot = _slot(slots, distinct, hashes[row])
        if slots[slot] < 0:
            if known == distinct.size:
                slots = np.full(2 * slots.size, -1, np.int32)
                for k in range(known):
                    slots[_slot(slots, distinct, distinct[k])] = k
                distinct = np.append(distinct, np.empty_like(distinct))
                first = np.append(first, np.empty_like(first))
                slot = _slot(slots, distinct, hashes[row])
            slots[slot] = known
            distinct[known] = hashes[row]
            first[known] = row
            known += 1
        codes[row] = slots[slot]
    return codes, first[:known]


@_compiled
def group(codes: NDArray[np.int32], in_time: Ints, entities: int) -> tuple[Ints, Ints]:
    """Sort rows by entity, those of each entity in the order of ``in_time``; -1 is a row without one.

    Returns:
        The positions of the rows with an entity, and where each entity's begin among them (and the last end).
    """
    at = np.zeros(entities + 1, np.int64)
    for row in range(codes.size):
        if codes[row] >= 0:
            at[codes[row] + 1] += 1
    for e in range(entities):
        at[e + 1] += at[e]
    order = np.empty(at[entities], np.int64)
    free = at[:entities].copy()
    for row in in_time:
        if codes[row] >= 0:
            order[free[codes[row]]] = row
            free[codes[row]] += 1
    return order, at
