"""Explanations: which features made a row unusual, by their tail probability in the training rows."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.detection.encoding import FeatureEncoder

FloatArray = NDArray[np.float64]

EXPLANATION_SCHEMA: Final[dict[str, pl.DataType]] = {
    "row": pl.UInt32(),
    "rank": pl.UInt8(),
    "feature": pl.String(),
    "value": pl.Float64(),
    "text": pl.String(),
    "contribution": pl.Float64(),
    "share": pl.Float64(),
}


def surprises(X: FloatArray, encoder: FeatureEncoder, distribution: TrainingDistribution) -> FloatArray:
    """Surprise of every entry in nats, −ln of its tail probability in training, shape (n, k), never negative.

    With n training rows the tail probability is (count + 1) / (n + 1), where the count is, of the training rows,

    - those at or above the value, for a numeric feature of direction ``high`` or ``low`` (which is mirrored);
    - twice the smaller of those at or below and those at or above, at most all, for direction ``both``;
    - those with the very same value, for a label, a flag or a hashed id.
    """
    at_most, at_least = distribution.counts(X)
    rows = distribution.rows
    equal = at_most + at_least - rows
    two_sided = np.minimum(2 * np.minimum(at_most, at_least), rows)
    is_numeric = np.array([encoding.feature.role == "numeric" for encoding in encoder.encodings])
    is_both = np.array([encoding.feature.direction == "both" for encoding in encoder.encodings])
    count = np.where(is_numeric, np.where(is_both, two_sided, at_least), equal)
    nats: FloatArray = -np.log((count + 1) / (rows + 1)) + 0.0
    return nats


def explain(
    frame: pl.DataFrame, encoder: FeatureEncoder, distribution: TrainingDistribution, *, top: int = 3
) -> pl.DataFrame:
    """The ``top`` most surprising features of every row, the most surprising first.

    Features that don't surprise at all are left out, so that a row may have fewer; ties keep the schema's order.

    Returns:
        One line for each row and rank: ``row`` (0-based position in the frame), ``rank`` (from 1), ``feature``,
        ``value`` (as a number, null for text), ``text`` (the value as text), ``contribution`` (nats, see
        `surprises`) and ``share`` (of the row's total over all features).
    """
    nats = surprises(encoder.transform(frame), encoder, distribution)
    kept = min(top, nats.shape[1])
    order = np.argsort(-nats, axis=1, kind="stable")[:, :kept]
    contribution = np.take_along_axis(nats, order, axis=1).ravel()
    total = np.repeat(nats.sum(axis=1), kept)
    names = np.array(encoder.names, dtype=object)
    lines = pl.DataFrame(
        {
            "row": np.repeat(np.arange(frame.height, dtype=np.uint32), kept),
            "rank": np.tile(np.arange(1, kept + 1, dtype=np.uint8), frame.height),
            "feature": pl.Series(names[order.ravel()].tolist(), dtype=pl.String),
            "contribution": contribution,
            "share": np.divide(contribution, total, out=np.zeros_like(contribution), where=total > 0),
        }
    ).filter(pl.col("contribution") > 0)
    return lines.join(_values(frame, encoder.names), on=["row", "feature"], how="left", maintain_order="left").select(
        [pl.col(name).cast(kind) for name, kind in EXPLANATION_SCHEMA.items()]
    )


def _values(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Long form of the feature values: row, feature, value, text."""
    columns = [
        pl.DataFrame(
            {
                "row": pl.Series(range(frame.height), dtype=pl.UInt32),
                "feature": pl.Series([name] * frame.height, dtype=pl.String),
                "value": values.cast(pl.Float64)
                if values.dtype.is_numeric() or values.dtype == pl.Boolean
                else pl.Series([None] * frame.height, dtype=pl.Float64),
                "text": values.cast(pl.String),
            }
        )
        for name in names
        for values in (frame[name],)
    ]
    return pl.concat(columns)
