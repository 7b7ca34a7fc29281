"""Isolation forest: scikit-learn grows the trees, flat arrays score them as PyOD does.

Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fraud_pipelines.detection.detectors.interface import Arrays, Contributions, FloatArray, Parameters
from fraud_pipelines.detection.distribution import TrainingDistribution

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest

_Ints = NDArray[np.int32]
_Steps = tuple[_Ints, NDArray[np.float32], _Ints, FloatArray, _Ints, _Ints]


class IsolationForestParameters(Parameters):
    """The defaults are what measurement chose: ten trees are seed luck, a hundred of 1,024 rows are not."""

    n_estimators: int = Field(default=100, ge=1, le=2000, description="Number of trees.")
    max_samples: int = Field(
        default=1024, ge=2, le=1_000_000, description="Rows drawn for each tree; all of them if there are fewer."
    )
    max_features: float = Field(default=1.0, gt=0, le=1, description="Share of the features each tree may use.")


@dataclass(frozen=True)
class IsolationForestDetector:
    """All trees in one set of flat arrays.

    The children of a node are ``child`` (taken up to the threshold) and the place after it. A leaf has ``feature``
    −1, and its ``child`` is the place of its path length in ``leaf_lengths``.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    child: NDArray[np.int32]
    roots: NDArray[np.int32]
    leaf_lengths: FloatArray
    normalizer: float
    """Number of trees times the mean path length of a search in a tree of ``max_samples`` rows."""
    offset: float
    """Added to every score, so that 0 is the training quantile of the contamination, as in PyOD."""

    @classmethod
    def fit(cls, X: FloatArray, parameters: IsolationForestParameters, *, contamination: float, seed: int) -> Self:
        """Grow the trees on encoded rows, shape (n, k)."""
        from sklearn.ensemble import IsolationForest

        # contamination="auto" keeps scikit-learn from scoring the training rows; the offset comes from our scores.
        forest = IsolationForest(
            n_estimators=parameters.n_estimators,
            max_samples=min(parameters.max_samples, X.shape[0]),
            max_features=parameters.max_features,
            contamination="auto",
            random_state=seed,
        ).fit(X)
        unshifted = cls.freeze(forest, offset=0.0)
        return replace(unshifted, offset=float(np.percentile(-unshifted.raw_scores(X), 100 * contamination)))

    @classmethod
    def freeze(cls, forest: "IsolationForest", *, offset: float) -> Self:
        """Flatten a fitted scikit-learn forest.

        scikit-learn compares float32 values with float64 thresholds; the largest float32 that doesn't exceed the
        threshold decides every such comparison alike.
        """
        trees = [estimator.tree_ for estimator in forest.estimators_]
        left = np.concatenate([tree.children_left for tree in trees])
        is_inner = left >= 0
        sizes = np.array([tree.node_count for tree in trees])
        roots = np.cumsum(sizes) - sizes
        first = np.repeat(roots, sizes)
        # The pair of children of a tree's i-th inner node goes to the places 1 + 2i and 2 + 2i after its root.
        inner_before: NDArray[np.int64] = np.cumsum(is_inner) - is_inner
        pair = first + 1 + 2 * (inner_before - inner_before[first])
        place = first.copy()
        place[(left + first)[is_inner]] = pair[is_inner]
        right = np.concatenate([tree.children_right for tree in trees])
        place[(right + first)[is_inner]] = pair[is_inner] + 1

        lengths = np.concatenate(
            [tree.compute_node_depths() + _mean_path_length(tree.n_node_samples) - 1.0 for tree in trees]
        )
        leaf_lengths, length_place = np.unique(lengths[~is_inner], return_inverse=True)
        columns = [
            np.asarray(drawn)[np.maximum(tree.feature, 0)]
            for tree, drawn in zip(trees, forest.estimators_features_, strict=True)
        ]
        exact = np.concatenate([tree.threshold for tree in trees])
        rounded = exact.astype(np.float32)
        threshold = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
        child = pair.copy()
        child[~is_inner] = length_place
        detector = cls(
            feature=np.empty(left.size, dtype=np.int16),
            threshold=np.empty(left.size, dtype=np.float32),
            child=np.empty(left.size, dtype=np.int32),
            roots=roots.astype(np.int32),
            leaf_lengths=leaf_lengths,
            normalizer=float(len(trees) * _mean_path_length(np.array([forest.max_samples_]))[0]),
            offset=offset,
        )
        detector.feature[place] = np.where(is_inner, np.concatenate(columns), -1)
        detector.threshold[place] = np.where(is_inner, threshold, np.float32(0))
        detector.child[place] = child
        return detector

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """2^(−mean path length / expected path length) + offset, equal to PyOD's ``decision_function``."""
        from fraud_pipelines.detection.kernels import path_lengths

        depths = path_lengths(X.astype(np.float32), *self._steps)
        # A forest of one row has no path at all; scikit-learn sets its exponent to 1.
        exponent = depths / self.normalizer if self.normalizer else np.ones_like(depths)
        scores: FloatArray = 2.0**-exponent + self.offset
        return scores

    def contributions(self, X: FloatArray) -> Contributions:
        """Path-length attribution: each split's change of the expected path length is its feature's.

        The expectation at a node is the mean over the training rows of its tree that reach it, so that a row's
        changes add up to the difference between its path and the average one (the way of Saabas, "Interpreting
        random forests", 2014, on path lengths). What the score makes of that difference is split in proportion;
        ``base`` is the score of the average path.
        """
        from fraud_pipelines.detection.attribution import path_changes

        if not self.normalizer:
            return Contributions(0.5 + self.offset, np.zeros(X.shape))
        changes = path_changes(
            X.astype(np.float32), self.feature, self.threshold, self.child, self.roots, self._expected_lengths
        )
        average = 2.0 ** -(float(self._expected_lengths[self.roots].sum()) / self.normalizer)
        nats = -np.log(2.0) * changes / self.normalizer
        total = nats.sum(axis=1, keepdims=True)
        # exp(total) − 1 for a whole row, per nat of it; the limit for a row of average path is 1.
        per_nat = np.divide(np.expm1(total), total, out=np.ones_like(total), where=total != 0)
        return Contributions(average + self.offset, average * per_nat * nats)

    @cached_property
    def _steps(self) -> _Steps:
        """The trees as `fraud_pipelines.detection.kernels.path_lengths` walks them."""
        from fraud_pipelines.detection.attribution import leaf_depths

        is_leaf = self.feature < 0
        depth = leaf_depths(self.feature, self.child, self.roots)
        return (
            np.maximum(self.feature, 0).astype(np.int32),
            np.where(is_leaf, np.float32(np.inf), self.threshold),
            np.where(is_leaf, np.arange(self.feature.size), self.child).astype(np.int32),
            np.where(is_leaf, self.leaf_lengths[np.where(is_leaf, self.child, 0)], 0.0),
            self.roots,
            np.maximum.reduceat(depth, self.roots),
        )

    @cached_property
    def _expected_lengths(self) -> FloatArray:
        """Mean path length of the training rows that reach each node, shape (nodes,).

        A leaf's path length is its depth plus c(rows), so it tells how many rows there are.
        """
        from fraud_pipelines.detection.attribution import expected_lengths, leaf_depths

        is_leaf = self.feature < 0
        beyond = self.leaf_lengths[self.child[is_leaf]] - leaf_depths(self.feature, self.child, self.roots)[is_leaf]
        most = 2
        while _mean_path_length(np.array([most]))[0] < beyond.max():
            most *= 2
        lengths = _mean_path_length(np.arange(1, most + 1))
        rows = np.zeros(self.feature.size, dtype=np.int64)
        # Between two neighbouring numbers of rows, so that rounding doesn't decide.
        rows[is_leaf] = 1 + np.searchsorted((lengths[1:] + lengths[:-1]) / 2, beyond)
        return expected_lengths(self.feature, self.child, rows, self.leaf_lengths)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Trees, normalizer and offset."""
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "child": self.child,
            "roots": self.roots,
            "leaf_lengths": self.leaf_lengths,
            "normalizer": np.asarray(self.normalizer),
            "offset": np.asarray(self.offset),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, _distribution: TrainingDistribution, /) -> Self:
        """What `arrays` stored; the training distribution isn't needed."""
        return cls(
            feature=arrays["feature"].astype(np.int16),
            threshold=arrays["threshold"].astype(np.float32),
            child=arrays["child"].astype(np.int32),
            roots=arrays["roots"].astype(np.int32),
            leaf_lengths=arrays["leaf_lengths"].astype(np.float64),
            normalizer=float(arrays["normalizer"]),
            offset=float(arrays["offset"]),
        )


def _mean_path_length(rows: NDArray[np.integer]) -> FloatArray:
    """c(n) of the paper: mean length of an unsuccessful search in a binary tree of n rows, 0 and 1 for n ≤ 1 and 2."""
    n = np.maximum(rows, 3).astype(np.float64)
    lengths = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, lengths))
