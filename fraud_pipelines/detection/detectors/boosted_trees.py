"""Boosted trees: scikit-learn's histogram gradient boosting, frozen to plain arrays.

Source: Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NeurIPS 2017, as implemented by
scikit-learn's ``HistGradientBoostingClassifier``. It learns from labels, so that it is fitted by
`fraud_pipelines.detection.supervised` and not by a backend's ``fit``; frozen, it scores like any other detector.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fraud_pipelines.detection.detectors.interface import Arrays, Contributions, FloatArray, Parameters
from fraud_pipelines.detection.distribution import TrainingDistribution

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier


class BoostedTreesParameters(Parameters):
    """The defaults are what measurement chose: small trees are as good as large ones here, and far quicker."""

    max_iter: int = Field(default=150, ge=1, le=2000, description="Number of trees.")
    learning_rate: float = Field(default=0.05, gt=0, le=1, description="Weight of each tree.")
    max_leaf_nodes: int = Field(default=12, ge=2, le=1024, description="Leaves of a tree.")
    min_samples_leaf: int = Field(default=20, ge=1, le=100_000, description="Fewest rows in a leaf.")
    l2_regularization: float = Field(default=1.0, ge=0, description="Pulls the values of leaves towards 0.")
    max_legitimate: int = Field(
        default=40_000, ge=1, le=10_000_000, description="Legitimate rows trained on; of more, so many are drawn."
    )


@dataclass(frozen=True)
class BoostedTreesDetector:
    """All trees in one set of flat arrays, laid out as `fraud_pipelines.detection.kernels.leaf_sums` wants them."""

    feature: NDArray[np.int16]
    threshold: FloatArray
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: FloatArray
    roots: NDArray[np.int32]
    baseline: float
    """The log-odds of the training rows, which the trees start from."""

    @classmethod
    def fit(
        cls,
        X: FloatArray,
        is_fraud: NDArray[np.bool_],
        parameters: BoostedTreesParameters,
        *,
        weights: FloatArray | None = None,
        share_of_legitimate: float = 1.0,
        seed: int,
    ) -> Self:
        """Grow the trees on encoded rows, shape (n, k), and their labels, shape (n,), which must be of both kinds.

        Of the legitimate rows there may be only a share: then the log-odds are corrected by its logarithm, as for any
        model of odds whose cases were sampled by their kind. (Weights would do it too, but make scikit-learn take
        seconds to find its bins.) Rows may have ``weights``, shape (n,), where some stand for several; the bins are
        those of the rows without them.
        """
        from threadpoolctl import threadpool_limits

        classifier = _classifier()(
            **parameters.model_dump(exclude={"max_legitimate"}), early_stopping=False, random_state=seed
        )
        # Its threads wait for each other busily: on a machine with other work, a fit takes thirty times as long.
        with threadpool_limits(1, user_api="openmp"):
            classifier.fit(X, is_fraud, sample_weight=weights)
        frozen = cls.freeze(classifier)
        return replace(frozen, baseline=frozen.baseline + float(np.log(share_of_legitimate)))

    @classmethod
    def freeze(cls, classifier: "HistGradientBoostingClassifier") -> Self:
        """Flatten a fitted two-class classifier over numbers without a missing value, as the encoder gives them."""
        trees = [predictors[0].nodes for predictors in classifier._predictors]
        sizes = np.array([tree.size for tree in trees])
        roots = np.cumsum(sizes) - sizes
        nodes = np.concatenate(trees)
        first = np.repeat(roots, sizes)
        is_leaf = nodes["is_leaf"].astype(bool)
        return cls(
            feature=np.where(is_leaf, -1, nodes["feature_idx"]).astype(np.int16),
            threshold=np.where(is_leaf, 0.0, nodes["num_threshold"]),
            left=np.where(is_leaf, 0, nodes["left"] + first).astype(np.int32),
            right=np.where(is_leaf, 0, nodes["right"] + first).astype(np.int32),
            value=nodes["value"].copy(),
            roots=roots.astype(np.int32),
            baseline=float(classifier._baseline_prediction.item()),
        )

    def raw_scores(self, X: FloatArray) -> FloatArray:
        """Log-odds of fraud; of a frozen classifier, its ``decision_function`` to the bit."""
        from fraud_pipelines.detection.kernels import leaf_sums

        scores: FloatArray = leaf_sums(
            X, self.feature, self.threshold, self.left, self.right, self.value, self.roots, self.baseline
        )
        return scores

    def contributions(self, X: FloatArray) -> Contributions:
        """The raw score from the mean of the trees' roots on, by the feature of each split that moved it."""
        from fraud_pipelines.detection.kernels import leaf_sum_changes

        terms = leaf_sum_changes(X, self.feature, self.threshold, self.left, self.right, self.value, self.roots)
        return Contributions(self.baseline + float(self.value[self.roots].sum()), terms)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Trees and baseline."""
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "left": self.left,
            "right": self.right,
            "value": self.value,
            "roots": self.roots,
            "baseline": np.asarray(self.baseline),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, _distribution: TrainingDistribution, /) -> Self:
        """What `arrays` stored; the training distribution isn't needed."""
        return cls(
            feature=arrays["feature"].astype(np.int16),
            threshold=arrays["threshold"].astype(np.float64),
            left=arrays["left"].astype(np.int32),
            right=arrays["right"].astype(np.int32),
            value=arrays["value"].astype(np.float64),
            roots=arrays["roots"].astype(np.int32),
            baseline=float(arrays["baseline"]),
        )


def _classifier() -> "type[HistGradientBoostingClassifier]":
    """scikit-learn's classifier, whose bins are found without the weights of rows: with them it takes seconds."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    class BinnedByRows(HistGradientBoostingClassifier):  # type: ignore[misc]
        def _bin_data(self, X: FloatArray, _sample_weight: FloatArray | None, is_training_data: bool) -> object:
            return super()._bin_data(X, None, is_training_data)

    return BinnedByRows
