"""The distribution of each feature in the training rows: what tail probabilities are read from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingDistribution:
    """One empirical distribution function for each column of the encoded training matrix.

    Ties are kept once: of column j, ``values[offsets[j]:offsets[j + 1]]`` are the distinct values, ascending,
    and ``cumulative[offsets[j] + j:]`` how many rows lie below each of them, ending with all ``rows``.
    """

    rows: int
    values: FloatArray
    cumulative: NDArray[np.int32]
    offsets: IntArray

    @classmethod
    def fit(cls, X: FloatArray) -> Self:
        """From the encoded training rows, shape (n, k)."""
        distinct = [np.unique(X[:, column], return_counts=True) for column in range(X.shape[1])]
        return cls(
            rows=X.shape[0],
            values=np.concatenate([values for values, _ in distinct]),
            cumulative=np.concatenate([np.concatenate(([0], np.cumsum(n))) for _, n in distinct]).astype(np.int32),
            offsets=np.concatenate(([0], np.cumsum([values.size for values, _ in distinct]))).astype(np.int64),
        )

    def counts(self, X: FloatArray) -> tuple[IntArray, IntArray]:
        """How many training rows lie at or below, and at or above, each entry; two arrays of X's shape."""
        from fraud_pipelines.detection.kernels import tail_counts

        below, at_most = tail_counts(X, self.values, self.cumulative, self.offsets)
        return at_most, self.rows - below

    def of_columns(self, columns: IntArray) -> Self:
        """The distribution of some of the columns, in this order."""
        ranges = [(int(self.offsets[column]), int(self.offsets[column + 1]), int(column)) for column in columns]
        return type(self)(
            rows=self.rows,
            values=np.concatenate([self.values[first:last] for first, last, _ in ranges]),
            cumulative=np.concatenate([self.cumulative[first + of : last + of + 1] for first, last, of in ranges]),
            offsets=np.concatenate(([0], np.cumsum([last - first for first, last, _ in ranges]))).astype(np.int64),
        )

    def distinct(self, column: int) -> tuple[FloatArray, NDArray[np.int32]]:
        """The distinct training values of a column, ascending, and how many rows have each."""
        first, last = self.offsets[column], self.offsets[column + 1]
        return self.values[first:last], np.diff(self.cumulative[first + column : last + column + 1])

    def quantile(self, column: int, share: float) -> float:
        """The smallest training value of a column that at least this share of the rows doesn't exceed."""
        first, last = self.offsets[column], self.offsets[column + 1]
        at_most = self.cumulative[first + column + 1 : last + column + 1]
        return float(self.values[first + np.searchsorted(at_most, share * self.rows)])

    def mode(self, column: int) -> float:
        """The commonest training value of a column, the smallest of equally common ones."""
        values, rows = self.distinct(column)
        return float(values[np.argmax(rows)])

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What has to be stored."""
        return {
            "rows": np.asarray(self.rows, dtype=np.int64),
            "values": self.values,
            "cumulative": self.cumulative,
            "offsets": self.offsets,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """What `arrays` stored."""
        return cls(
            rows=int(arrays["rows"]),
            values=arrays["values"].astype(np.float64),
            cumulative=arrays["cumulative"].astype(np.int32),
            offsets=arrays["offsets"].astype(np.int64),
        )
