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
_FEW_ROWS: Final = 16


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile on first use and keep the result on disk, where a directory for it can be written."""
    try:
        return cast("Callable[_P, _R]", numba.njit(function, cache=True, nogil=True))
    except RuntimeError:  # numba found no writable place for its cache; NUMBA_CACHE_DIR would name one
        return cast("Callable[_P, _R]", numba.njit(function, nogil=True))


@compiled
def scale_columns(
    X: FloatArray,
    missing: FloatArray,
    center: FloatArray,
    scale: FloatArray,
    mirrored: NDArray[np.bool_],
    lower: FloatArray,
    upper: FloatArray,
    flags: NDArray[np.bool_],
) -> None:
    """(x − center) / scale in place, within bounds, ``missing`` instead of NaN; X has shape (n, k), the others (k,).

    Of a flag only whether it is true counts.
    """
    n, k = X.shape
    for row in range(n):
        for column in range(k):
            x = X[row, column]
            if np.isnan(x):
                x = missing[column]
            if flags[column]:
                x = 1.0 if x != 0.0 else 0.0
            x = (x - center[column]) / scale[column]
            if mirrored[column]:
                x = -x
            if x < lower[column]:
                x = lower[column]
            elif x > upper[column]:
                x = upper[column]
            # Adding zero turns −0.0 into 0.0, so that equal values have equal bytes.
            X[row, column] = x + 0.0


@compiled
def path_lengths(
    X: NDArray[np.float32],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    lengths: FloatArray,
    roots: NDArray[np.int32],
    depths: NDArray[np.int32],
) -> FloatArray:
    """Sum over all trees of the path length of each row, shape (n,).

    The children of a node are ``child`` (taken up to the threshold) and the place after it. A leaf is its own child,
    with a threshold that nothing exceeds, and has a path length in ``lengths``. So every row of a block takes
    ``depths`` steps through each tree: without a branch to mispredict, the steps of many rows overlap. Of few rows
    each takes its steps through all trees at once, so that those overlap.
    """
    n = X.shape[0]
    total = np.zeros(n)
    if n <= _FEW_ROWS:
        at = np.empty(roots.size, np.int32)
        deepest = depths.max()
        for row in range(n):
            at[:] = roots
            for _ in range(deepest):
                for tree in range(roots.size):
                    node = at[tree]
                    at[tree] = child[node] + (X[row, feature[node]] > threshold[node])
            for tree in range(roots.size):
                total[row] += lengths[at[tree]]
        return total
    nodes = np.empty(_BLOCK, np.int32)
    for start in range(0, n, _BLOCK):
        rows = min(_BLOCK, n - start)
        for tree in range(roots.size):
            nodes[:rows] = roots[tree]
            for _ in range(depths[tree]):
                for place in range(rows):
                    node = nodes[place]
                    nodes[place] = child[node] + (X[start + place, feature[node]] > threshold[node])
            for place in range(rows):
                total[start + place] += lengths[nodes[place]]
    return total


@compiled
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


@compiled
def tail_surprises(
    X: FloatArray, values: FloatArray, cumulative: NDArray[np.int32], offsets: IntArray, rows: int
) -> FloatArray:
    """ECOD's terms −ln((min(#≤x, #≥x) + 1) / (rows + 1)) from the arrays of `tail_counts`, shape (n, k)."""
    below, at_most = tail_counts(X, values, cumulative, offsets)
    n, k = X.shape
    terms = np.empty((n, k))
    for row in range(n):
        for column in range(k):
            fewer = min(at_most[row, column], rows - below[row, column])
            terms[row, column] = -np.log((fewer + 1) / (rows + 1))
    return terms


@compiled
def first_at_least(values: FloatArray, first: int, last: int, x: float) -> int:
    """The place, from ``first`` up to ``last``, of the first of ascending values that is at least x; else ``last``."""
    while first < last:
        middle = (first + last) // 2
        if values[middle] >= x:
            last = middle
        else:
            first = middle + 1
    return first


@compiled
def surprise_of(
    x: float,
    values: FloatArray,
    surprise: FloatArray,
    first: int,
    last: int,
    excess: float,
    by_rarity: bool,
    unseen: float,
) -> float:
    """The surprise of one value, see `feature_surprises`."""
    place = first_at_least(values, first, last, x)
    if by_rarity:
        return float(surprise[place]) if place < last and values[place] == x else unseen
    return float(surprise[place]) if place < last else unseen + (x - float(values[last - 1])) / excess


@compiled
def feature_surprises(
    X: FloatArray,
    values: FloatArray,
    surprise: FloatArray,
    offsets: IntArray,
    excess: FloatArray,
    by_rarity: NDArray[np.bool_],
    unseen: float,
) -> FloatArray:
    """The terms of `detectors.tails.TailsDetector`, shape (n, k).

    Args:
        values, surprise: of column j between ``offsets[j]`` and ``offsets[j + 1]``, the values ascending.
        excess: by how much a value must exceed the largest for its surprise to grow by one, shape (k,).
        by_rarity: whether a value counts by itself, and not all that lies above it, shape (k,).
        unseen: the surprise of what no row of training reached.
    """
    n, k = X.shape
    terms = np.empty((n, k))
    for row in range(n):
        for column in range(k):
            first, last = offsets[column], offsets[column + 1]
            terms[row, column] = surprise_of(
                X[row, column], values, surprise, first, last, excess[column], by_rarity[column], unseen
            )
    return terms


@compiled
def row_sums(terms: FloatArray) -> FloatArray:
    """The sum of each row, its columns in order; shape (n, k) → (n,)."""
    n, k = terms.shape
    sums = np.empty(n)
    for row in range(n):
        total = 0.0
        for column in range(k):
            total += terms[row, column]
        sums[row] = total
    return sums


@compiled
def anchored_surprises(
    raw: FloatArray, values: FloatArray, at_least: FloatArray, rows: int, excess: float
) -> FloatArray:
    """−ln of the tail probability of raw scores, shape (n,), by the anchor of a group with a detector of its own.

    Beyond the largest score of training the probability falls off as 1 / (1 + e), with e the excess over that score in
    units of ``excess``: amounts have heavy tails.
    """
    n, last = raw.size, values.size
    found = np.empty(n)
    for row in range(n):
        place = first_at_least(values, 0, last, raw[row])
        if place < last:
            found[row] = -np.log((at_least[place] + 1) / (rows + 1))
        else:
            found[row] = np.log(rows + 1.0) + np.log(1 + (raw[row] - values[last - 1]) / excess)
    return found


@compiled
def groups_of_tails(
    X: FloatArray,
    columns: IntArray,
    values: FloatArray,
    surprise: FloatArray,
    offsets: IntArray,
    excess: FloatArray,
    by_rarity: NDArray[np.bool_],
    groups: IntArray,
    anchors: FloatArray,
    at_least: FloatArray,
    anchor_offsets: IntArray,
    anchor_excess: FloatArray,
    rows: int,
) -> FloatArray:
    """−ln of the tail probability of each group of tails, shape (n, groups), from the sum of its features' surprises.

    Beyond the largest sum of training, or the surprise of a single value that was never seen if that is larger, the
    probability falls off as exp(−e), with e the excess in units of ``anchor_excess``.

    Args:
        columns: of X, those of all groups one after the other; the arrays up to ``by_rarity`` are theirs.
        groups: where the columns of each group begin, and the end, shape (groups + 1,).
        anchors, at_least: of group g between ``anchor_offsets[g]`` and ``anchor_offsets[g + 1]``.
        anchor_excess: shape (groups,).
        rows: of training.
    """
    n, count = X.shape[0], groups.size - 1
    unseen = np.log(rows + 1.0)
    found = np.empty((n, count))
    for row in range(n):
        for group in range(count):
            total = 0.0
            for of in range(groups[group], groups[group + 1]):
                first, last = offsets[of], offsets[of + 1]
                total += surprise_of(
                    X[row, columns[of]], values, surprise, first, last, excess[of], by_rarity[of], unseen
                )
            first, last = anchor_offsets[group], anchor_offsets[group + 1]
            place = first_at_least(anchors, first, last, total)
            if place < last:
                found[row, group] = -np.log((at_least[place] + 1) / (rows + 1))
            else:
                found[row, group] = unseen + max(total - max(anchors[last - 1], unseen), 0.0) / anchor_excess[group]
    return found


@compiled
def likelihood_ratios(surprises: FloatArray, share: FloatArray, tail: FloatArray) -> tuple[FloatArray, FloatArray]:
    """ln Σ π a t^(a−1) of each row, shape (n,), and each group's part of the sum, shape (n, groups).

    Args:
        surprises: −ln t, shape (n, groups).
        share, tail: π and a of the groups.
    """
    n, groups = surprises.shape
    scores, parts = np.empty(n), np.empty((n, groups))
    for row in range(n):
        largest = -np.inf
        for group in range(groups):
            parts[row, group] = np.log(share[group] * tail[group]) + (1 - tail[group]) * surprises[row, group]
            largest = max(largest, parts[row, group])
        total = 0.0
        for group in range(groups):
            parts[row, group] = np.exp(parts[row, group] - largest)
            total += parts[row, group]
        for group in range(groups):
            parts[row, group] /= total
        scores[row] = largest + np.log(total)
    return scores, parts


@compiled
def tail_scores(raw: FloatArray, training_scores: FloatArray, contamination: float, excess: float) -> FloatArray:
    """The formulas of `calibration.extended_tail_score`, of `calibration.tail_score` where ``excess`` is not above 0.

    Args:
        raw: shape (k,); a NaN counts as larger than any score of training.
        training_scores: sorted ascending, shape (n,), n > 0.
        excess: β, the mean by which the top tenth of the training scores exceeds the score below it.
    """
    n = training_scores.size
    largest = training_scores[n - 1]
    scores = np.empty(raw.size)
    for row in range(raw.size):
        tail = (n - first_at_least(training_scores, 0, n, raw[row]) + 1) / (n + 1)
        beyond = raw[row] - largest
        if excess > 0 and beyond > 0:
            tail = 1 / (n + 1) / (1 + beyond / excess)
        if tail > contamination:
            scores[row] = contamination / (2 * tail)
        else:
            scores[row] = 1 - tail / (2 * contamination)
    return scores


@compiled
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


@compiled
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


@compiled
def projection_scores(X: FloatArray, projections: FloatArray, edges: FloatArray, log_density: FloatArray) -> FloatArray:
    """LODA: minus the sum over projections (m, k) of the log density of the bin a row falls in, shape (n,).

    Of the ascending ``edges`` (m, bins − 1) those below the projected value number its bin.
    """
    n, k = X.shape
    total = np.zeros(n)
    for cut in range(projections.shape[0]):
        for row in range(n):
            value = 0.0
            for column in range(k):
                value += projections[cut, column] * X[row, column]
            total[row] -= log_density[cut, np.searchsorted(edges[cut], value)]
    return total


@compiled
def reconstruction_errors(
    X: FloatArray,
    mean: FloatArray,
    scale: FloatArray,
    sizes: IntArray,
    weights: FloatArray,
    biases: FloatArray,
) -> FloatArray:
    """Squared differences between standardised rows and what the layers make of them, shape (n, k).

    Layer i has ``sizes[i]`` inputs and ``sizes[i + 1]`` outputs, ReLU but for the last. ``weights`` are the layers'
    matrices (outputs, inputs) one after another, ``biases`` their biases.
    """
    n, k = X.shape
    errors = np.empty((n, k))
    values = np.empty(sizes.max())
    outputs = np.empty(sizes.max())
    last = sizes.size - 2
    for row in range(n):
        for column in range(k):
            values[column] = (X[row, column] - mean[column]) / scale[column]
        weight = 0
        bias = 0
        for layer in range(last + 1):
            for output in range(sizes[layer + 1]):
                total = biases[bias]
                for place in range(sizes[layer]):
                    total += weights[weight + place] * values[place]
                outputs[output] = max(total, 0.0) if layer < last else total
                weight += sizes[layer]
                bias += 1
            values, outputs = outputs, values
        for column in range(k):
            difference = (X[row, column] - mean[column]) / scale[column] - values[column]
            errors[row, column] = difference * difference
    return errors


@compiled
def leaf_sums(
    X: FloatArray,
    feature: NDArray[np.int16],
    threshold: FloatArray,
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    value: FloatArray,
    roots: NDArray[np.int32],
    start_value: float,
) -> FloatArray:
    """``start_value`` plus the value of the leaf that each row falls into, tree by tree in their order, shape (n,).

    A row goes left where its feature is at most the threshold. A leaf has ``feature`` −1. Trees are the outer loop
    over a block of rows, so that one tree stays in the cache.
    """
    n = X.shape[0]
    total = np.full(n, start_value)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        for root in roots:
            for row in range(start, stop):
                node = root
                column = feature[node]
                while column >= 0:
                    node = left[node] if X[row, column] <= threshold[node] else right[node]
                    column = feature[node]
                total[row] += value[node]
    return total


@compiled
def leaf_sum_changes(
    X: FloatArray,
    feature: NDArray[np.int16],
    threshold: FloatArray,
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    value: FloatArray,
    roots: NDArray[np.int32],
) -> FloatArray:
    """By how much the splits on each feature change the value of the node a row is in, over all trees; shape (n, k)."""
    n, k = X.shape
    changes = np.zeros((n, k))
    for row in range(n):
        for root in roots:
            node = root
            column = feature[node]
            while column >= 0:
                below = left[node] if X[row, column] <= threshold[node] else right[node]
                changes[row, column] += value[below] - value[node]
                node = below
                column = feature[node]
    return changes
