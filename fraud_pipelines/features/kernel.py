"""The fold: state and new rows of each entity in, features and new state out, compiled by numba.

What to compute is a `Program` that the loop reads, made of a declaration by `features.program`: no declaration
compiles anything. The loop keeps tails and scalars of each entity; what is computed of them at a row are the steps of
`fraud_pipelines.plan.aggregates`, which are inlined here.

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

from fraud_pipelines.plan.folding.dispatch import PUSH, dispatcher, sources_version
from fraud_pipelines.plan.folding.function import (
    CODES,
    MATCHED,
    MEAN,
    NUMBERS_KEPT,
    ROWS,
    STATISTICS,
    TIMED,
    TIMED_CODES,
    TIMES,
)
from fraud_pipelines.plan.folding.loop import (
    BLOCK,
    DROPPED,
    END,
    FIRST,
    KEEP,
    KIND,
    OP,
    RANKS,
    SOURCE,
    TABLES,
    TAIL,
    UNKNOWN,
    Floats,
    Ints,
    Now,
    Program,
    Rows,
    Scratch,
    counts,
    first_after,
    inlined,
    rank_in,
    slots_for,
    value_of,
)
from fraud_pipelines.plan.folding.windows import roll, roll_sparse

P = ParamSpec("P")
R = TypeVar("R")


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


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first use, and keep the machine code where numba finds a place for it.

    The places are NUMBA_CACHE_DIR, the ``__pycache__`` beside this file, and the user's cache directory. With
    none of them writable, each process compiles for itself.
    """
    try:
        return cast(Callable[P, R], numba.njit(function, cache=True, **_OPTIONS))
    except RuntimeError:
        return cast(Callable[P, R], numba.njit(function, **_OPTIONS))


def _part(function: Callable[P, R]) -> Callable[P, R]:
    """Compile as a part of what is `compiled`, which is kept with it."""
    return cast(Callable[P, R], numba.njit(function, **_OPTIONS))


def _uncounted(function: Callable[P, R]) -> Callable[P, R]:
    """`_part` for what makes no array: without counting references, which takes most of the time in a loop."""
    return cast(Callable[P, R], numba.njit(function, **{**_OPTIONS, "_nrt": False}))


_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy"}

_run_step: Final = dispatcher()


@_uncounted
def _fold(
    program: Program, rows: Rows, before: Packed, after: Ints, after_at: Ints, scratch: Scratch, out: Floats
) -> None:
    """What `fold` does, into ``after``, which has room for all runs."""
    ops, tails, windows = program.ops, program.tails, program.windows
    cells, floats, size, base, second = scratch.cells, scratch.floats, scratch.size, scratch.base, scratch.second
    scalars = scratch.scalars
    n_tails = tails.shape[0]
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
            scratch.slots[k] = slots_for(n + rows.at[e + 1] - rows.at[e])
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
            if ops[o, RANKS] == 1:
                k = ops[o, TAIL]
                n = min(size[k], windows[ops[o, FIRST]])
                for j in range(n):
                    rank_in(scratch.ranked, scratch.ranked_base[o], j, floats[base[k] + size[k] - n + j])
                scratch.ranked_size[o] = n

        for row in range(rows.at[e], rows.at[e + 1]):
            t = rows.timestamp[row]
            latest = max(newest, t) if folded > 0 else t

            for o in range(ops.shape[0]):
                op = ops[o, OP]
                k = ops[o, TAIL]
                if op == PUSH:
                    kind = tails[k, KIND]
                    counted = counts(program, o, rows, row)
                    if kind <= NUMBERS_KEPT:
                        value = value_of(program, o, rows, out, row)
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
                            value = value_of(program, o, rows, out, row)
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
                else:
                    _run_step(program, rows, scratch, out, o, row, Now(t, latest, newest, folded))

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
                first = first_after(cells, base[k], size[k], newest - tails[k, KEEP])
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


@_part
def _fold_all(program: Program, rows: Rows, before: Packed, out: Floats) -> tuple[Ints, Ints]:
    """What `fold` does."""
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
        if ops[o, TABLES] == 1:
            slots = slots_for(longest[ops[o, TAIL]])
            largest = max(largest, slots)
            for w in range(ops[o, FIRST], ops[o, END]):
                table_base[w] = tables_end
                tables_end += slots
        if ops[o, RANKS] == 1:
            ranked_base[o] = ranked_end
            ranked_end += windows[ops[o, FIRST]] + 1
    table_base[n_windows] = tables_end
    tables_end += largest

    cells = np.empty(cells_end, np.int64)
    scalars = np.zeros(program.scalars + 1, np.int64)
    scratch = Scratch(
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


@compiled
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


@_part
def _roll_column(values: Floats, sparse: bool, first: int, windows: Ints, lags: Ints, out: Floats) -> None:
    """What `roll_column` does."""
    rows = np.full((windows.size, STATISTICS), -1)
    for k in range(windows.size):
        for j in range(4):
            rows[k, MEAN + j] = 4 * k + j
    for i in range(first, values.size):
        if sparse:
            roll_sparse(values, 0, i + 1, windows, 0, windows.size, rows, out, i - first)
        else:
            roll(values, 0, i + 1, windows, 0, windows.size, rows, out, i - first)
        for k in range(lags.size):
            if lags[k] <= i:
                out[4 * windows.size + k, i - first] = values[i - lags[k]]


_Fold = Callable[[Program, Rows, Packed, Floats], tuple[Ints, Ints]]
_RollColumn = Callable[[Floats, bool, int, Ints, Ints, Floats], None]


def _kept_of(version: str) -> tuple[_Fold, _RollColumn]:
    """What is compiled of several files. numba keeps it by this file and by ``version``, which is of the others."""

    @compiled
    def fold(program: Program, rows: Rows, before: Packed, out: Floats) -> tuple[Ints, Ints]:
        """Fold ``rows`` into the state ``before``, and write the features of row r to ``out[:, r]``.

        ``out`` has shape (features, rows) and comes filled with NaN, which stays where a feature is null. A row with
        a smaller timestamp than one already folded is late: it sees whatever has arrived with a timestamp up to its
        own.

        Returns:
            The new state: where each entity's run starts (and the last ends), and all runs one after the other.
        """
        _ = version
        return _fold_all(program, rows, before, out)

    @compiled
    def roll_column(values: Floats, sparse: bool, first: int, windows: Ints, lags: Ints, out: Floats) -> None:
        """Rolling statistics and lags of the rows from ``first`` on, by the same arithmetic as the fold's.

        Row ``first + r`` fills ``out[:, r]``: four statistics a window, then the lags. ``out`` comes filled with
        NaN, which stays where a window is undefined. Values are NaN only of a ``sparse`` column.
        """
        _ = version
        _roll_column(values, sparse, first, windows, lags, out)

    return fold, roll_column


fold, roll_column = _kept_of(sources_version())


@compiled
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


@compiled
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


@inlined
def _slot(slots: NDArray[np.int32], distinct: NDArray[np.uint64], value: np.uint64) -> int:
    """Where the number of ``value`` is, or belongs; ``slots`` are a power of two, of which some are free."""
    mask = np.uint64(slots.size - 1)
    slot = value & mask
    while slots[slot] >= 0 and distinct[slots[slot]] != value:
        slot = (slot + np.uint64(1)) & mask
    return int(slot)


@compiled
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


@compiled
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
