"""Compiled scoring loops over plain arrays: what makes one row cost microseconds."""

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_BLOCK: Final = 256


def _compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile on first use and keep the result on disk, where a directory for it can be written."""
    try:
        return cast("Callable[_P, _R]", numba.njit(function, cache=True, nogil=True))
    except RuntimeError:  # numba found no writable place for its cache; NUMBA_CACHE_DIR would name one
        return cast("Callable[_P, _R]", numba.njit(function, nogil=True))


@_compiled
def path_lengths(
    X: NDArray[np.float32],
    feature: NDArray[np.int16],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    roots: NDArray[np.int32],
    leaf_lengths: FloatArray,
) -> FloatArray:
    """Sum over all trees of the path length of each row, shape (n,).

    The children of a node are ``child`` (taken up to the threshold) and the place after it. A leaf has ``feature``
    −1, and its ``child`` is the place of its path length in ``leaf_lengths``. Trees are the outer loop over a block
    of rows, so that one tree stays in the cache.
    """
    n = X.shape[0]
    total = np.zeros(n)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        for root in roots:
            for row in range(start, stop):
                node = root
                column = feature[node]
                while column >= 0:
                    node = child[node] + (X[row, column] > threshold[node])
                    column = feature[node]
                total[row] += leaf_lengths[child[node]]
    return total


@_compiled
def tail_counts(
    X: FloatArray,
    values: FloatArray,
    cumulative: NDArray[np.int32],
    offsets: IntArray,
) -> tuple[IntArray, IntArray]:
    """How many training values lie below, and at or below, each entry of X; two arrays of shape (n, k).

    Column j's distinct training values are ``values[offsets[j]:offsets[j+1]]``, ascending; how many training
    rows lie below the i-th of them is ``cumulative[offsets[j] + j + i]``, with one entry more for all of them.
    """
    n, k = X.shape
    below = np.empty((n, k), np.int64)
    at_most = np.empty((n, k), np.int64)
    for column in range(k):
        first = offsets[column]
        last = offsets[column + 1]
        for row in range(n):
            x = X[row, column]
            low = first
            high = last
            while low < high:
                middle = (low + high) // 2
                if values[middle] < x:
                    low = middle + 1
                else:
                    high = middle
            below[row, column] = cumulative[low + column]
            equal = low < last and values[low] == x
            at_most[row, column] = cumulative[low + column + 1] if equal else below[row, column]
    return below, at_most


@_compiled
def histogram_terms(
    X: FloatArray,
    edges: FloatArray,
    log_density: FloatArray,
    tolerance: float,
) -> FloatArray:
    """HBOS: minus the log₂ density of the bin that each value falls in, shape (n, k).

    A value outside the training range by more than ``tolerance`` bin widths counts as in the emptiest bin.
    ``edges`` has shape (bins + 1, k), ``log_density`` (bins, k).
    """
    n, k = X.shape
    bins = log_density.shape[0]
    terms = np.empty((n, k))
    for column in range(k):
        emptiest = log_density[0, column]
        for place in range(1, bins):
            emptiest = min(emptiest, log_density[place, column])
        lowest = edges[0, column]
        highest = edges[bins, column]
        for row in range(n):
            x = X[row, column]
            if x <= lowest:
                slightly = lowest - x <= (edges[1, column] - lowest) * tolerance
                terms[row, column] = -log_density[0, column] if slightly else -emptiest
            elif x > highest:
                slightly = x - highest <= (highest - edges[bins - 1, column]) * tolerance
                terms[row, column] = -log_density[bins - 1, column] if slightly else -emptiest
            else:
                low = 1
                high = bins
                while low < high:
                    middle = (low + high) // 2
                    if edges[middle, column] < x:
                        low = middle + 1
                    else:
                        high = middle
                terms[row, column] = -log_density[low - 1, column]
    return terms


@_compiled
def component_distances(
    X: FloatArray,
    mean: FloatArray,
    scale: FloatArray,
    components: FloatArray,
    weights: FloatArray,
) -> FloatArray:
    """PyOD's PCA score: distances of the standardised row to the unit eigenvectors, each over its weight, (n,).

    ``components`` has shape (m, k); ``weights`` (m,) are the shares of variance explained.
    """
    n, k = X.shape
    total = np.zeros(n)
    row_values = np.empty(k)
    for row in range(n):
        for column in range(k):
            row_values[column] = (X[row, column] - mean[column]) / scale[column]
        for component in range(components.shape[0]):
            squares = 0.0
            for column in range(k):
                difference = row_values[column] - components[component, column]
                squares += difference * difference
            total[row] += np.sqrt(squares) / weights[component]
    return total


@_compiled
def component_contributions(
    X: FloatArray,
    mean: FloatArray,
    scale: FloatArray,
    components: FloatArray,
    weights: FloatArray,
) -> FloatArray:
    """What each feature adds to `component_distances`, by its share of each squared distance; shape (n, k)."""
    n, k = X.shape
    terms = np.zeros((n, k))
    squares = np.empty(k)
    for row in range(n):
        for component in range(components.shape[0]):
            for column in range(k):
                difference = (X[row, column] - mean[column]) / scale[column] - components[component, column]
                squares[column] = difference * difference
            distance = np.sqrt(squares.sum())
            if distance > 0.0:
                for column in range(k):
                    terms[row, column] += squares[column] / distance / weights[component]
    return terms


@_compiled
def leaf_depths(feature: NDArray[np.int16], child: NDArray[np.int32], roots: NDArray[np.int32]) -> NDArray[np.int32]:
    """How many splits lie above each node of the trees of `path_lengths`, shape (nodes,)."""
    depth = np.zeros(feature.size, np.int32)
    for tree in range(roots.size):
        last = roots[tree + 1] if tree + 1 < roots.size else feature.size
        for node in range(roots[tree], last):
            if feature[node] >= 0:
                depth[child[node]] = depth[node] + 1
                depth[child[node] + 1] = depth[node] + 1
    return depth


@_compiled
def expected_lengths(
    feature: NDArray[np.int16], child: NDArray[np.int32], leaf_rows: IntArray, leaf_lengths: FloatArray
) -> FloatArray:
    """Mean path length of the training rows that reach each node, shape (nodes,).

    ``leaf_rows`` counts them at the leaves; other entries don't matter. Children lie after their parent.
    """
    rows = leaf_rows.copy()
    expected = np.empty(feature.size)
    for node in range(feature.size - 1, -1, -1):
        left = child[node]
        if feature[node] < 0:
            expected[node] = leaf_lengths[left]
        else:
            rows[node] = rows[left] + rows[left + 1]
            expected[node] = (rows[left] * expected[left] + rows[left + 1] * expected[left + 1]) / rows[node]
    return expected


@_compiled
def path_changes(
    X: NDArray[np.float32],
    feature: NDArray[np.int16],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    roots: NDArray[np.int32],
    expected: FloatArray,
) -> FloatArray:
    """By how much the splits on each feature change the expected path length, over all trees; shape (n, k)."""
    n, k = X.shape
    changes = np.zeros((n, k))
    for row in range(n):
        for root in roots:
            node = root
            column = feature[node]
            while column >= 0:
                below = child[node] + (X[row, column] > threshold[node])
                changes[row, column] += expected[below] - expected[node]
                node = below
                column = feature[node]
    return changes
