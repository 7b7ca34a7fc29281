"""Statistics of the numbers in a window of a tail, compiled into the steps that need them."""

import math

import numpy as np

from fraud_pipelines.plan.folding.function import COUNT, MAX, MEAN, MIN, STD, SUM
from fraud_pipelines.plan.folding.loop import BLOCK, DROPPED, TAIL, Floats, Ints, Program, Scratch, inlined


@inlined
def total_of(values: Floats, start: int, end: int) -> float:
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


@inlined
def squared_distances(values: Floats, start: int, end: int, mean: float) -> float:
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


@inlined
def quantile(ranked: Floats, base: int, n: int, q: float) -> float:
    """The q-quantile of ``ranked[base : base + n]``, interpolated linearly between neighbours."""
    position = q * (n - 1)
    low = int(position)
    if low + 1 >= n:
        return float(ranked[base + n - 1])
    below = ranked[base + low]
    return float(below + (ranked[base + low + 1] - below) * (position - low))


@inlined
def tell(
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


@inlined
def roll(
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
            std = math.sqrt(squared_distances(values, start, end, mean) / (n - 1))
        tell(window_rows, k, n, total, mean, std, low, high, out, row)


@inlined
def roll_sparse(
    values: Floats, base: int, end: int, windows: Ints, first: int, last: int, window_rows: Ints, out: Floats, row: int
) -> None:
    """`roll` of rows of which some have no value, or don't count: they are NaN."""
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
        tell(window_rows, k, n, total, mean, std, low, high, out, row)


@inlined
def span_statistics(
    program: Program, scratch: Scratch, o: int, k: int, start: int, end: int, out: Floats, row: int
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
    tell(program.window_rows, k, n, total, mean, std, low, high, out, row)
