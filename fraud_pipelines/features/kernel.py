"""The fold: state and new rows of each entity in, features and new state out, compiled by numba.

Every number is computed from the values inside its window, in a fixed order, and never by updating an earlier
result that would depend on where a batch began. So the results are equal to the bit however the rows are cut.
All compiled functions live in this file, since numba's cache notices changes of one file only.
"""

# ruff: noqa: PLR0912, PLR0915
# Compiled loops take their arrays one by one and keep their counters in one place.

import math
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

P = ParamSpec("P")
R = TypeVar("R")


class Plan(NamedTuple):
    """What to compute, and into which row of the output; an output row of -1 is not wanted. Times are in µs."""

    windows: Ints  # ascending
    window_rows: Ints  # (windows, 4): mean, std, min, max
    lags: Ints
    lag_rows: Ints
    spans: Ints
    span_rows: Ints
    count_span: int  # which of the spans count_windows follow, -1 for none
    count_windows: Ints
    count_rows: Ints
    gap_rows: Ints  # minutes, days
    changed_rows: Ints
    average_row: int
    profile_rows: Ints  # z, rz, log ratio, max ratio, outsized count
    profile_window: int  # 0 for no profile
    profile_weight: float
    profile_share: float
    outsized_z: float
    outsized_span: int
    kept_amounts: int
    kept_counts: int
    kept_span: int


class Scratch(NamedTuple):
    """One entity's history followed by its rows, so that every window is a slice."""

    amounts: Floats
    times: Ints
    counts: Floats
    outsized: Ints
    ranked: Floats  # the amounts in the profile's window, ascending
    span_starts: Ints  # where in times each span began at the last row: a place to search from


class State(NamedTuple):
    """What is kept of each entity; entity e owns the elements ``*_at[e]`` to ``*_at[e + 1]`` of the ragged arrays."""

    transactions: Ints  # how many so far
    total: Floats  # sum of their amounts, in order
    newest: Ints  # largest timestamp, valid if there were any
    amounts_at: Ints
    amounts: Floats  # the last kept_amounts, oldest first
    times_at: Ints
    times: Ints  # timestamps within kept_span of the newest, ascending
    counts_at: Ints
    counts: Ints  # the last kept_counts counts of count_span
    outsized_at: Ints
    outsized: Ints  # timestamps of outsized amounts within outsized_span of the newest, ascending


class Rows(NamedTuple):
    """New rows in the order to fold them. Entity e owns the elements ``at[e]`` to ``at[e + 1]`` of each column."""

    at: Ints
    timestamp: Ints
    amount: Floats
    codes: Ints  # (columns watched for change, rows); -1 is unknown
    last_codes: Ints  # (columns watched for change, entities): of the entity's latest row so far


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
    options: dict[str, Any] = {"nogil": True, "_nrt": counted}
    try:
        return cast(Callable[P, R], numba.njit(function, cache=True, **options))
    except RuntimeError:
        return cast(Callable[P, R], numba.njit(function, **options))


def _inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile into the function that calls it: a call would count a reference to every array it passes."""
    return cast(Callable[P, R], numba.njit(function, nogil=True, inline="always"))


@_inlined
def _longest(at: Ints, rows_at: Ints) -> int:
    """The most elements one entity needs of a list that gets an element a row."""
    longest = 0
    for e in range(at.size - 1):
        longest = max(longest, at[e + 1] - at[e] + rows_at[e + 1] - rows_at[e])
    return int(longest)


@_inlined
def _load(elements: Ints | Floats, at: Ints, e: int, into: Ints | Floats) -> int:
    """Copy entity e's elements to the start of ``into``, and say how many they are."""
    n = at[e + 1] - at[e]
    for j in range(n):
        into[j] = elements[at[e] + j]
    return int(n)


@_inlined
def _store(elements: Ints | Floats, first: int, end: int, into: Ints | Floats, at: Ints, e: int) -> None:
    """Append ``elements[first:end]`` to ``into`` as entity e's."""
    position = at[e]
    for j in range(first, end):
        into[position] = elements[j]
        position += 1
    at[e + 1] = position


@_inlined
def _count(plan: Plan, scratch: Scratch, earlier: int, t: int, kept_since: int, out: Floats, row: int) -> int:
    """Fill the counts of (t − span, t] from the first ``earlier`` times, and return that of ``count_span``."""
    followed = 0
    for k in range(plan.spans.size):
        start = min(scratch.span_starts[k], earlier)
        since = max(t - plan.spans[k], kept_since)
        while start > 0 and scratch.times[start - 1] > since:
            start -= 1
        while start < earlier and scratch.times[start] <= since:
            start += 1
        scratch.span_starts[k] = start
        if plan.span_rows[k] >= 0:
            out[plan.span_rows[k], row] = earlier - start + 1
        if k == plan.count_span:
            followed = earlier - start + 1
    return followed


@_inlined
def _between(times: Ints, n: int, since: int, t: int) -> int:
    """How many of the ascending ``times[:n]`` lie in (since, t]."""
    inside = 0
    for j in range(n - 1, -1, -1):
        if times[j] <= since:
            break
        if times[j] <= t:
            inside += 1
    return inside


@_inlined
def _since(plan: Plan, last: int, t: int, out: Floats, row: int) -> None:
    """Fill the time since ``last``, unless that is later than t."""
    if last <= t and plan.gap_rows[0] >= 0:
        out[plan.gap_rows[0], row] = (t - last) / 60e6
        out[plan.gap_rows[1], row] = (t - last) / 86400e6


@_inlined
def _change(plan: Plan, rows: Rows, e: int, row: int, out: Floats) -> None:
    """Fill whether the watched columns differ from the entity's previous row."""
    for k in range(plan.changed_rows.size):
        code = rows.codes[k, row]
        last = rows.last_codes[k, e] if row == rows.at[e] else rows.codes[k, row - 1]
        if code >= 0 and last >= 0:
            out[plan.changed_rows[k], row] = 1.0 if code != last else 0.0


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
def _roll(values: Floats, end: int, windows: Ints, window_rows: Ints, out: Floats, row: int) -> None:
    """Mean, std, min and max of the last ``windows`` of ``values[:end]``.

    Each sum has four parts, of every fourth value from the newest back, so that it depends on its own window only.
    """
    a = b = c = d = 0.0  # of the whole fours between position and end
    position = end
    low = np.inf
    high = -np.inf
    seen = end
    for k in range(windows.size):
        start = max(end - windows[k], 0)
        while position - 4 >= start:
            a += values[position - 1]
            b += values[position - 2]
            c += values[position - 3]
            d += values[position - 4]
            position -= 4
        first = a + values[position - 1] if position - 1 >= start else a
        second = b + values[position - 2] if position - 2 >= start else b
        third = c + values[position - 3] if position - 3 >= start else c
        for j in range(start, seen):
            low = min(low, values[j])
            high = max(high, values[j])
        seen = start
        n = end - start
        mean = ((first + second) + (third + d)) / n
        if window_rows[k, 0] >= 0:
            out[window_rows[k, 0], row] = mean
        if window_rows[k, 1] >= 0 and n > 1:
            out[window_rows[k, 1], row] = math.sqrt(_squares(values, start, end, mean) / (n - 1))
        if window_rows[k, 2] >= 0:
            out[window_rows[k, 2], row] = low
        if window_rows[k, 3] >= 0:
            out[window_rows[k, 3], row] = high


@_inlined
def _quantile(ranked: Floats, n: int, q: float) -> float:
    """The q-quantile of ``ranked[:n]``, interpolated linearly between neighbours."""
    position = q * (n - 1)
    low = int(position)
    if low + 1 >= n:
        return float(ranked[n - 1])
    return float(ranked[low] + (ranked[low + 1] - ranked[low]) * (position - low))


@_inlined
def _rank_in(ranked: Floats, n: int, value: float) -> None:
    """Insert ``value`` into the ascending ``ranked[:n]``."""
    j = n
    while j > 0 and ranked[j - 1] > value:
        ranked[j] = ranked[j - 1]
        j -= 1
    ranked[j] = value


@_inlined
def _rank_instead(ranked: Floats, n: int, old: float, value: float) -> None:
    """Put ``value`` into the ascending ``ranked[:n]`` instead of one ``old``."""
    j = 0
    end = n
    while j < end:
        middle = (j + end) // 2
        if ranked[middle] < old:
            j = middle + 1
        else:
            end = middle
    while j + 1 < n and ranked[j + 1] < value:
        ranked[j] = ranked[j + 1]
        j += 1
    while j > 0 and ranked[j - 1] > value:
        ranked[j] = ranked[j - 1]
        j -= 1
    ranked[j] = value


@_inlined
def _insert_time(times: Ints, size: int, t: int) -> None:
    """Insert ``t`` into the ascending ``times[:size]``; a row in order lands at the end at once."""
    j = size
    while j > 0 and times[j - 1] > t:
        times[j] = times[j - 1]
        j -= 1
    times[j] = t


@_inlined
def _first_after(times: Ints, n: int, since: int) -> int:
    """Position of the first of the ascending ``times[:n]`` after ``since``."""
    j = n
    while j > 0 and times[j - 1] > since:
        j -= 1
    return j


@_inlined
def _profile(plan: Plan, scratch: Scratch, end: int, amount: float, out: Floats, row: int) -> float:
    """Fill the four measures of how unusual ``amount`` is after ``end`` amounts, and return its z."""
    values, ranked = scratch.amounts, scratch.ranked
    start = max(end - plan.profile_window, 0)
    n = end - start
    z = 0.0
    rz = 0.0
    log_ratio = 0.0
    max_ratio = 0.0
    if n > 0:
        mean = _sum(values, start, end) / n
        prior = plan.profile_share * mean
        squares = _squares(values, start, end, mean)
        z = (amount - mean) / (
            math.sqrt((squares + plan.profile_weight * prior * prior) / (n + plan.profile_weight)) + 1.0
        )
        median = _quantile(ranked, n, 0.5)
        spread = (_quantile(ranked, n, 0.75) - _quantile(ranked, n, 0.25)) / 1.349
        prior = plan.profile_share * median
        rz = (amount - median) / ((n * spread + plan.profile_weight * prior) / (n + plan.profile_weight) + 1.0)
        log_ratio = math.log((amount + 1.0) / (median + 1.0))
        max_ratio = math.log((amount + 1.0) / (ranked[n - 1] + 1.0))
    out[plan.profile_rows[0], row] = z
    out[plan.profile_rows[1], row] = rz
    out[plan.profile_rows[2], row] = log_ratio
    out[plan.profile_rows[3], row] = max_ratio
    return z


@_uncounted
def _fold(plan: Plan, rows: Rows, state: State, after: State, scratch: Scratch, out: Floats) -> None:
    """What `fold` does, into ``after``, which holds the heads of ``state`` and has room for all elements."""
    entities = rows.at.size - 1
    transactions, total, newest = after.transactions, after.total, after.newest

    for e in range(entities):
        n = _load(state.amounts, state.amounts_at, e, scratch.amounts)
        n_times = _load(state.times, state.times_at, e, scratch.times)
        n_counts = _load(state.counts, state.counts_at, e, scratch.counts)
        n_outsized = _load(state.outsized, state.outsized_at, e, scratch.outsized)
        n_ranked = min(n, plan.profile_window)
        for j in range(n_ranked):
            _rank_in(scratch.ranked, j, scratch.amounts[n - n_ranked + j])
        scratch.span_starts[:] = 0

        for row in range(rows.at[e], rows.at[e + 1]):
            t = rows.timestamp[row]
            amount = rows.amount[row] + 0.0  # -0.0 becomes 0.0: they are equal, yet would print unalike
            latest = max(newest[e], t) if transactions[e] > 0 else t

            earlier = n_times  # of the kept timestamps, those up to t
            while earlier > 0 and scratch.times[earlier - 1] > t:
                earlier -= 1
            in_span = _count(plan, scratch, earlier, t, latest - plan.kept_span, out, row)
            if plan.count_span >= 0:
                scratch.counts[n_counts] = in_span
                n_counts += 1
                _roll(scratch.counts, n_counts, plan.count_windows, plan.count_rows, out, row)
            if transactions[e] > 0:
                last = newest[e]
                if last > t and earlier > 0 and scratch.times[earlier - 1] > latest - plan.kept_span:
                    last = scratch.times[earlier - 1]
                _since(plan, last, t, out, row)
            _change(plan, rows, e, row, out)
            if plan.average_row >= 0 and total[e] > 0.0:
                out[plan.average_row, row] = amount / (total[e] / transactions[e])
            for k in range(plan.lags.size):
                if plan.lags[k] <= n:
                    out[plan.lag_rows[k], row] = scratch.amounts[n - plan.lags[k]]
            if plan.profile_window > 0:
                since = latest - plan.outsized_span
                out[plan.profile_rows[4], row] = _between(scratch.outsized, n_outsized, since, t)
                if _profile(plan, scratch, n, amount, out, row) > plan.outsized_z:
                    _insert_time(scratch.outsized, n_outsized, t)
                    n_outsized += 1
                if n_ranked == plan.profile_window:
                    _rank_instead(scratch.ranked, n_ranked, scratch.amounts[n - n_ranked], amount)
                else:
                    _rank_in(scratch.ranked, n_ranked, amount)
                    n_ranked += 1

            scratch.amounts[n] = amount
            n += 1
            _roll(scratch.amounts, n, plan.windows, plan.window_rows, out, row)
            _insert_time(scratch.times, n_times, t)
            n_times += 1
            newest[e] = latest
            transactions[e] += 1
            total[e] += amount

        first = max(n - plan.kept_amounts, 0)
        _store(scratch.amounts, first, n, after.amounts, after.amounts_at, e)
        first = _first_after(scratch.times, n_times, newest[e] - plan.kept_span)
        _store(scratch.times, first, n_times, after.times, after.times_at, e)
        first = max(n_counts - plan.kept_counts, 0)
        _store(scratch.counts, first, n_counts, after.counts, after.counts_at, e)
        first = _first_after(scratch.outsized, n_outsized, newest[e] - plan.outsized_span)
        _store(scratch.outsized, first, n_outsized, after.outsized, after.outsized_at, e)


@_compiled
def fold(plan: Plan, rows: Rows, state: State, out: Floats) -> State:
    """Fold ``rows`` into ``state``, write the features of row r to ``out[:, r]``, and return the new state.

    ``out`` has shape (features, rows) and comes filled with NaN, which stays where a feature is null. A row with
    a smaller timestamp than one already folded is late: it sees whatever has arrived with a timestamp up to its own.
    """
    entities = rows.at.size - 1
    added = rows.timestamp.size
    scratch = Scratch(
        np.empty(_longest(state.amounts_at, rows.at), np.float64),
        np.empty(_longest(state.times_at, rows.at), np.int64),
        np.empty(_longest(state.counts_at, rows.at), np.float64),
        np.empty(_longest(state.outsized_at, rows.at), np.int64),
        np.empty(plan.profile_window + 1, np.float64),
        np.empty(plan.spans.size, np.int64),
    )
    after = State(
        state.transactions.copy(),
        state.total.copy(),
        state.newest.copy(),
        np.zeros(entities + 1, np.int64),
        np.empty(state.amounts.size + added, np.float64),
        np.zeros(entities + 1, np.int64),
        np.empty(state.times.size + added, np.int64),
        np.zeros(entities + 1, np.int64),
        np.empty(state.counts.size + added, np.int64),
        np.zeros(entities + 1, np.int64),
        np.empty(state.outsized.size + added, np.int64),
    )
    _fold(plan, rows, state, after, scratch, out)
    return State(
        after.transactions,
        after.total,
        after.newest,
        after.amounts_at,
        after.amounts[: after.amounts_at[entities]].copy(),
        after.times_at,
        after.times[: after.times_at[entities]].copy(),
        after.counts_at,
        after.counts[: after.counts_at[entities]].copy(),
        after.outsized_at,
        after.outsized[: after.outsized_at[entities]].copy(),
    )


@_inlined
def _append(elements: Ints, at: Ints, e: int, into: Ints, position: int) -> int:
    """Copy entity e's elements into ``into`` from ``position`` on, and return the position after them."""
    for j in range(at[e], at[e + 1]):
        into[position] = elements[j]
        position += 1
    return position


@_inlined
def _take(packed: Ints, position: int, n: int, into: Ints, at: Ints, e: int) -> int:
    """Append ``packed[position : position + n]`` to ``into`` as entity e's, and return the position after them."""
    _store(packed, position, position + n, into, at, e)
    return position + n


@_compiled
def pack(state: State, last_codes: Ints) -> tuple[Ints, Ints]:
    """The state with each entity's numbers in one run, floats as their bits, so that entities can be kept apart.

    Args:
        last_codes: as in `Rows`.

    Returns:
        Where each entity's run starts (and the last ends), and all runs one after the other.
    """
    columns, entities = last_codes.shape
    elements = state.amounts.size + state.times.size + state.counts.size + state.outsized.size
    total, amounts = state.total.view(np.int64), state.amounts.view(np.int64)
    at = np.zeros(entities + 1, np.int64)
    packed = np.empty(entities * (7 + columns) + elements, np.int64)
    position = 0
    for e in range(entities):
        packed[position] = state.transactions[e]
        packed[position + 1] = total[e]
        packed[position + 2] = state.newest[e]
        packed[position + 3] = state.amounts_at[e + 1] - state.amounts_at[e]
        packed[position + 4] = state.times_at[e + 1] - state.times_at[e]
        packed[position + 5] = state.counts_at[e + 1] - state.counts_at[e]
        packed[position + 6] = state.outsized_at[e + 1] - state.outsized_at[e]
        position += 7
        for k in range(columns):
            packed[position] = last_codes[k, e]
            position += 1
        position = _append(amounts, state.amounts_at, e, packed, position)
        position = _append(state.times, state.times_at, e, packed, position)
        position = _append(state.counts, state.counts_at, e, packed, position)
        position = _append(state.outsized, state.outsized_at, e, packed, position)
        at[e + 1] = position
    return at, packed


@_compiled
def unpack(starts: Ints, lengths: Ints, packed: Ints, last_codes: Ints) -> State:
    """The reverse of `pack`, for runs anywhere; fills ``last_codes``. An empty run is an entity without history."""
    columns, entities = last_codes.shape
    sizes = np.zeros(4, np.int64)
    for e in range(entities):
        if lengths[e] > 0:
            for k in range(4):
                sizes[k] += packed[starts[e] + 3 + k]
    state = State(
        np.zeros(entities, np.int64),
        np.zeros(entities, np.float64),
        np.zeros(entities, np.int64),
        np.zeros(entities + 1, np.int64),
        np.empty(sizes[0], np.float64),
        np.zeros(entities + 1, np.int64),
        np.empty(sizes[1], np.int64),
        np.zeros(entities + 1, np.int64),
        np.empty(sizes[2], np.int64),
        np.zeros(entities + 1, np.int64),
        np.empty(sizes[3], np.int64),
    )
    total, amounts = state.total.view(np.int64), state.amounts.view(np.int64)
    for e in range(entities):
        head = starts[e]
        position = head + 7 + columns
        known = lengths[e] > 0
        if known:
            state.transactions[e] = packed[head]
            total[e] = packed[head + 1]
            state.newest[e] = packed[head + 2]
        for k in range(columns):
            last_codes[k, e] = packed[head + 7 + k] if known else -1
        position = _take(packed, position, packed[head + 3] if known else 0, amounts, state.amounts_at, e)
        position = _take(packed, position, packed[head + 4] if known else 0, state.times, state.times_at, e)
        position = _take(packed, position, packed[head + 5] if known else 0, state.counts, state.counts_at, e)
        _take(packed, position, packed[head + 6] if known else 0, state.outsized, state.outsized_at, e)
    return state


@_compiled
def fold_packed(
    plan: Plan,
    at: Ints,
    timestamp: Ints,
    amount: Floats,
    codes: Ints,
    starts: Ints,
    lengths: Ints,
    packed: Ints,
    out: Floats,
) -> tuple[Ints, Ints]:
    """`fold` of `Rows` into a state packed in runs, as for `unpack`; the new state is returned as by `pack`."""
    last_codes = np.empty((codes.shape[0], starts.size), np.int64)
    before = unpack(starts, lengths, packed, last_codes)
    state = fold(plan, Rows(at, timestamp, amount, codes, last_codes), before, out)
    for e in range(starts.size):
        for k in range(codes.shape[0]):
            last_codes[k, e] = codes[k, at[e + 1] - 1]
    return pack(state, last_codes)


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
    rows = np.arange(4 * windows.size).reshape(windows.size, 4)
    unknown = -1  # position of the latest NaN
    for i in range(values.size):
        if np.isnan(values[i]):
            unknown = i
        if i < first:
            continue
        _roll(values, i + 1, windows, rows, out, i - first)
        for k in range(windows.size):
            if unknown >= 0 and unknown > i - windows[k]:
                out[4 * k : 4 * k + 4, i - first] = np.nan
        for k in range(lags.size):
            if lags[k] <= i:
                out[4 * windows.size + k, i - first] = values[i - lags[k]]


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
