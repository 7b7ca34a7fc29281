"""Single outcomes and frauds looked up by instant, compiled: what no running total tells.

Entity e owns the elements ``starts[e]`` to ``starts[e + 1]`` of each column, in order of time; all times are in µs.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.features.kernel import compiled

Ints = NDArray[np.int64]


class Frauds(NamedTuple):
    """Times during which transactions were known frauds, by when these happened: known for t in (since, until]."""

    starts: Ints
    happened: Ints
    since: Ints
    until: Ints


class Outcomes(NamedTuple):
    """Transactions by when they happened, and labelled ones with when that became known.

    A labelled one counts before it is old enough; where ``lasting``, later as well: it is not among the former.
    """

    starts: Ints
    happened: Ints
    labelled_starts: Ints
    labelled: Ints
    known: Ints
    lasting: NDArray[np.bool_]


@numba.njit(nogil=True)
def _up_to(times: Ints, low: int, high: int, instant: int) -> int:
    """Where the first of the ascending ``times[low:high]`` after ``instant`` lies."""
    while low < high:
        middle = (low + high) // 2
        if times[middle] <= instant:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def last_outcomes(
    outcomes: Outcomes,
    frauds: Frauds,
    code: Ints,
    instants: Ints,
    delay: int,
    reach: int,
    sizes: Ints,
    found: Ints,
    counted: Ints,
) -> None:
    """Of each row's entity the last ``sizes`` outcomes known before its instant t, and the frauds among them.

    The outcome of a transaction in (t − reach, t) is known if it happened up to t − delay, or a label of it is known
    before t. Of transactions of one instant, the frauds count as the later ones.

    Args:
        sizes: ascending.
        found, counted: shape (sizes, rows): filled with the frauds, and with how many outcomes there are.
    """
    most = sizes[-1]
    for row in range(code.size):
        e = code[row]
        if e < 0:
            found[:, row] = 0
            counted[:, row] = 0
            continue
        t = instants[row]
        begin = outcomes.starts[e]
        j = _up_to(outcomes.happened, begin, outcomes.starts[e + 1], t - delay)
        labelled_begin = outcomes.labelled_starts[e]
        i = _up_to(outcomes.labelled, labelled_begin, outcomes.labelled_starts[e + 1], t - 1)
        fraud_begin = frauds.starts[e]
        f = _up_to(frauds.happened, fraud_begin, frauds.starts[e + 1], t - 1)
        size = 0
        seen = 0
        total = 0
        pending = 0
        while seen < most:
            at = max(outcomes.happened[j - 1], t - reach) if j > begin else t - reach
            later = max(at, t - reach + 1)
            while (
                i > labelled_begin
                and outcomes.labelled[i - 1] >= later
                and not (
                    outcomes.known[i - 1] < t and (outcomes.lasting[i - 1] or outcomes.labelled[i - 1] > t - delay)
                )
            ):
                i -= 1
            if i > labelled_begin and outcomes.labelled[i - 1] >= later:
                i -= 1
                at = outcomes.labelled[i]
            elif at > t - reach:
                j -= 1
            else:
                break
            while f > fraud_begin and frauds.happened[f - 1] >= at:
                f -= 1
                if frauds.since[f] < t <= frauds.until[f]:
                    pending += 1
            seen += 1
            if pending > 0:
                pending -= 1
                total += 1
            if seen == sizes[size]:
                found[size, row] = total
                counted[size, row] = seen
                size += 1
        while size < sizes.size:
            found[size, row] = total
            counted[size, row] = seen
            size += 1


@compiled
def fraud_instants(
    frauds: Frauds, code: Ints, instants: Ints, window: int, first: Ints, last: Ints, found: NDArray[np.bool_]
) -> None:
    """When the first and the last of the known frauds in (t − window, t) of each row's entity happened.

    Args:
        first, last, found: shape (rows,): filled; 0 and false without one.
    """
    for row in range(code.size):
        first[row] = 0
        last[row] = 0
        found[row] = False
        e = code[row]
        if e < 0:
            continue
        t = instants[row]
        low = _up_to(frauds.happened, frauds.starts[e], frauds.starts[e + 1], t - window)
        high = _up_to(frauds.happened, low, frauds.starts[e + 1], t - 1)
        while low < high and not (frauds.since[low] < t <= frauds.until[low]):
            low += 1
        while low < high and not (frauds.since[high - 1] < t <= frauds.until[high - 1]):
            high -= 1
        if low < high:
            first[row] = frauds.happened[low]
            last[row] = frauds.happened[high - 1]
            found[row] = True
