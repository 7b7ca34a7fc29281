"""Compiled loops that take scores apart: what each feature adds, for the explanations."""

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.detection.kernels import FloatArray, IntArray, compiled


@compiled
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


@compiled
def projection_contributions(
    X: FloatArray, projections: FloatArray, edges: FloatArray, log_density: FloatArray
) -> FloatArray:
    """What each feature adds to `projection_scores` of the origin, by its part in each projection; shape (n, k)."""
    n, k = X.shape
    terms = np.zeros((n, k))
    parts = np.empty(k)
    for cut in range(projections.shape[0]):
        at_origin = log_density[cut, np.searchsorted(edges[cut], 0.0)]
        for row in range(n):
            value = 0.0
            for column in range(k):
                parts[column] = projections[cut, column] * X[row, column]
                value += parts[column]
            moved = np.abs(parts).sum()
            if moved > 0.0:
                change = at_origin - log_density[cut, np.searchsorted(edges[cut], value)]
                for column in range(k):
                    terms[row, column] += change * (abs(parts[column]) / moved)
    return terms


@compiled
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


@compiled
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


@compiled
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
