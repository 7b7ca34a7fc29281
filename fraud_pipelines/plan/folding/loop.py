"""What the steps of aggregates are compiled with: the program they read, the rows, what is kept, and shared parts.

Only what is compiled imports this: numba takes a second to load. A step is inlined into the kernel's loop. It computes
from the values inside its window, in a fixed order, and never by updating an earlier result that would depend on where
a batch began, so that the results are equal to the bit however the rows are cut.
"""

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
RANKS: Final = 11  # 1 where the op has ranked numbers
TABLES: Final = 12  # 1 where the op has a table of codes for each window
POPULATION: Final = 13  # row of `Rows.values` that says what is usual among all payments, -1 for none
OP_COLUMNS: Final = 14

FROM_VALUES: Final = 0
FROM_OUT: Final = 1
FROM_ONE: Final = 2

BLOCK: Final = 32
"""Numbers of a TIMED tail that are summed together: a window's sum is made of whole blocks and the rest at its ends."""


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


class Scratch(NamedTuple):
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


class Now(NamedTuple):
    """The row's time, and what the entity had before it, in µs."""

    t: int
    latest: int  # of its rows up to this one
    newest: int  # of its rows before this one
    folded: int  # how many rows came before


Code = Callable[[Program, Rows, Scratch, Floats, int, int, Now], None]
"""A step: the program, all rows, the entity's past, the output, the op's number, the row's number and its time."""


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile as a part of the function that calls it: a call would count a reference to every array it passes."""
    return cast(Callable[P, R], numba.njit(function, nogil=True, inline="always", error_model="numpy"))


def compiled_step(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a step, which is then inlined as machine code: to inline it earlier takes twice as long to compile.

    It makes no array, and counts no references, which would take most of the time in a loop.
    """
    options: dict[str, Any] = {"nogil": True, "_nrt": False, "forceinline": True, "error_model": "numpy"}
    return cast(Callable[P, R], numba.njit(function, **options))


@inlined
def value_of(program: Program, o: int, rows: Rows, out: Floats, row: int) -> float:
    """The number an op is about."""
    value = 1.0
    if program.ops[o, FROM] == FROM_VALUES:
        value = rows.values[program.ops[o, SOURCE], row] + 0.0  # -0.0 becomes 0.0: equal, yet it would print unalike
    elif program.ops[o, FROM] == FROM_OUT:
        value = out[program.ops[o, SOURCE], row]
    return value


@inlined
def counts(program: Program, o: int, rows: Rows, row: int) -> bool:
    """Whether the row is one that the op counts."""
    return bool(program.ops[o, MASK] < 0 or rows.masks[program.ops[o, MASK], row])


@inlined
def first_after(times: Ints, base: int, n: int, since: int) -> int:
    """Position of the first of the ascending ``times[base : base + n]`` after ``since``, counted from ``base``."""
    j = n
    while j > 0 and times[base + j - 1] > since:
        j -= 1
    return j


@inlined
def window_start(scratch: Scratch, k: int, base: int, end: int, since: int) -> int:
    """How many of the ``end`` first times of a tail are no later than ``since``, searched from where it was last."""
    start = min(max(scratch.starts[k], 0), end)
    while start > 0 and scratch.cells[base + start - 1] > since:
        start -= 1
    while start < end and scratch.cells[base + start] <= since:
        start += 1
    scratch.starts[k] = start
    return int(start)


@inlined
def sum_blocks(scratch: Scratch, tail: int, offset: int) -> None:
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


@inlined
def rank_in(ranked: Floats, base: int, n: int, value: float) -> None:
    """Insert ``value`` into the ascending ``ranked[base : base + n]``."""
    j = base + n
    while j > base and ranked[j - 1] > value:
        ranked[j] = ranked[j - 1]
        j -= 1
    ranked[j] = value


@inlined
def rank_instead(ranked: Floats, base: int, n: int, old: float, value: float) -> None:
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


@inlined
def slots_for(codes: int) -> int:
    """Slots of a table for that many codes: a power of two, at most half of it taken."""
    slots = 4
    while slots < 2 * codes:
        slots *= 2
    return slots


@inlined
def code_slot(scratch: Scratch, base: int, size: int, code: int) -> int:
    """Where ``code`` is in the table at ``base``, or belongs; ``size`` is a power of two, and some slots are free."""
    mixed = np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)
    j = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(size - 1))
    while scratch.counts[base + j] >= 0 and scratch.keys[base + j] != code:
        j = (j + 1) & (size - 1)
    return int(base + j)


@inlined
def clear_table(scratch: Scratch, base: int, size: int) -> None:
    for j in range(base, base + size):
        scratch.counts[j] = -1


@inlined
def add_code(scratch: Scratch, base: int, size: int, code: int) -> int:
    """Count a code in; 1 if it is new to the window, else 0."""
    new = 0
    if code != UNKNOWN:
        slot = code_slot(scratch, base, size, code)
        if scratch.counts[slot] < 0:
            scratch.keys[slot] = code
            scratch.counts[slot] = 0
        new = 1 if scratch.counts[slot] == 0 else 0
        scratch.counts[slot] += 1
    return new


@inlined
def remove_code(scratch: Scratch, base: int, size: int, code: int) -> int:
    """Count a code out; 1 if it is no longer in the window, else 0."""
    gone = 0
    if code != UNKNOWN:
        slot = code_slot(scratch, base, size, code)
        scratch.counts[slot] -= 1
        gone = 1 if scratch.counts[slot] == 0 else 0
    return gone
