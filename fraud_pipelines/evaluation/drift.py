"""Drift: how far the distribution of a feature has moved, as its population stability index."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.errors import InvalidInput

SHIFTED: Final = 0.25
"""A PSI above this is a shift worth a look; below 0.1 is calm."""

Counts = npt.NDArray[np.int64]


def population_stability_index(expected: pl.Series, actual: pl.Series, bins: int = 10) -> float:
    """PSI = Σ over bins of (a − e) · ln(a / e), with a and e the shares of ``actual`` and ``expected``.

    Numbers and flags are binned at the quantiles of ``expected``; a value that holds a bin's worth of rows or more
    by itself (a count that is mostly 0) is a bin of its own. Of texts, the ``bins`` − 1 most frequent are bins and
    the others share one. Nulls and NaN have a bin of their own. An empty bin counts as half a row, so that the
    logarithm exists and one stray row in a small day doesn't look like a flood.

    Returns:
        At least 0; 0 for equal distributions. Below 0.1 is calm, above 0.25 is a shift worth a look.

    Raises:
        InvalidInput: either series is empty, or ``bins`` is below 2.
    """
    if not len(expected) or not len(actual):
        empty = "expected" if not len(expected) else "actual"
        raise InvalidInput(f"{expected.name or 'the feature'}: no {empty} rows to compare; give at least one")
    if bins < 2:
        raise InvalidInput(f"bins={bins}: drift needs at least 2")
    if expected.dtype.is_numeric() or expected.dtype == pl.Boolean:
        counts = _count_numbers(_numbers(expected), _numbers(actual), bins)
    else:
        counts = _count_texts(expected.cast(pl.String), actual.cast(pl.String), bins)
    e, a = (np.maximum(count, 0.5) / size for count, size in zip(counts, (len(expected), len(actual)), strict=True))
    return float(np.sum((a - e) * np.log(a / e)))


def feature_drift(reference: pl.DataFrame, current: pl.DataFrame, features: Sequence[str]) -> pl.DataFrame:
    """``feature`` and ``psi`` of each feature, current against reference, in the order given.

    Raises:
        InvalidInput: a feature is missing in a frame, or a frame is empty.
    """
    for name, frame in (("reference", reference), ("current", current)):
        if missing := [feature for feature in features if feature not in frame.columns]:
            raise InvalidInput(f"the {name} frame lacks the features {', '.join(missing)}")
    return pl.DataFrame(
        {
            "feature": list(features),
            "psi": [population_stability_index(reference[feature], current[feature]) for feature in features],
        },
        schema={"feature": pl.String, "psi": pl.Float64},
    )


def _numbers(values: pl.Series) -> npt.NDArray[np.float64]:
    """As floats, null as NaN."""
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _count_numbers(
    expected: npt.NDArray[np.float64], actual: npt.NDArray[np.float64], bins: int
) -> tuple[Counts, Counts]:
    present = expected[~np.isnan(expected)]
    edges = np.empty(0)
    if len(present):
        # Quantiles that are values of the data: a mean of two would cut where nothing lies.
        quantiles = np.quantile(present, np.arange(1, bins) / bins, method="inverted_cdf")
        values, times = np.unique(quantiles, return_counts=True)
        heaped = values[(times > 1) | (len(np.unique(present)) <= bins)]
        with np.errstate(over="ignore"):
            edges = np.unique(np.concatenate((values, np.nextafter(heaped, -np.inf))))
    return _histogram(expected, edges), _histogram(actual, edges)


def _histogram(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> Counts:
    """Rows in (−∞, e₁], (e₁, e₂] … (eₙ, ∞), and last the NaN."""
    missing = np.isnan(values)
    cells = np.searchsorted(edges, values[~missing], side="left")
    return np.append(np.bincount(cells, minlength=len(edges) + 1), missing.sum())


def _count_texts(expected: pl.Series, actual: pl.Series, bins: int) -> tuple[Counts, Counts]:
    frequent = (
        expected.drop_nulls()
        .rename("value")
        .value_counts(name="rows")
        .sort(["rows", "value"], descending=[True, False])
    )["value"].head(bins - 1)
    code = {text: position for position, text in enumerate(frequent)}

    def count(values: pl.Series) -> Counts:
        cells = values.replace_strict(code, default=len(code), return_dtype=pl.Int64).to_numpy()
        cells = np.where(values.is_null().to_numpy(), len(code) + 1, cells)
        return np.bincount(cells, minlength=len(code) + 2)

    return count(expected), count(actual)
