"""Explanations: how much each feature made a row unusual, what is usual for it, and a sentence that says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.detection.detectors.interface import Contributions, Detector, SelfExplaining
from fraud_pipelines.detection.distribution import TrainingDistribution
from fraud_pipelines.detection.encoding import FeatureEncoder, FeatureEncoding
from fraud_pipelines.detection.usual import usual_amount

FloatArray = NDArray[np.float64]

EXPLANATION_SCHEMA: Final[dict[str, pl.DataType]] = {
    "row": pl.UInt32(),
    "rank": pl.UInt8(),
    "feature": pl.String(),
    "value": pl.Float64(),
    "text": pl.String(),
    "contribution": pl.Float64(),
    "share": pl.Float64(),
    "usual_low": pl.Float64(),
    "usual_high": pl.Float64(),
    "sentence": pl.String(),
}

Driver = tuple[str, float]
"""A feature that made a row unusual, and what it adds to the raw score."""

_USUAL_SHARE: Final = 0.95
"""So much of the training rows lies within what is called usual of a feature."""


def ordinary_row(encoder: FeatureEncoder, distribution: TrainingDistribution) -> FloatArray:
    """An encoded row that nothing is unusual about, shape (1, k): medians of numbers, else the commonest value."""
    values = [
        distribution.quantile(column, 0.5) if encoding.feature.role == "numeric" else distribution.mode(column)
        for column, encoding in enumerate(encoder.encodings)
    ]
    return np.array([values])


def contributions(X: FloatArray, detector: Detector, ordinary: FloatArray) -> Contributions:
    """What each feature of encoded rows (n, k) adds to the raw score.

    For a detector that splits its score exactly, base and terms add up to it: ECOD, isolation forest, SUOD and
    autoencoder do. For any other it is how much the score falls when the feature alone is set to its ordinary
    value (occlusion), which need not add up; the base is then the score of the ordinary row.
    """
    if isinstance(detector, SelfExplaining):
        return detector.contributions(X)
    terms = np.empty_like(X)
    scores = detector.raw_scores(X)
    for column in range(X.shape[1]):
        occluded = X.copy()
        occluded[:, column] = ordinary[0, column]
        terms[:, column] = scores - detector.raw_scores(occluded)
    return Contributions(float(detector.raw_scores(ordinary)[0]), terms)


@dataclass(frozen=True)
class Ordinary:
    """What explanations compare with: an ordinary row, encoded, and what each feature adds to its score; (1, k)."""

    row: FloatArray
    terms: FloatArray

    @classmethod
    def of(cls, encoder: FeatureEncoder, distribution: TrainingDistribution, detector: Detector) -> Self:
        """That of a model."""
        row = ordinary_row(encoder, distribution)
        return cls(row, contributions(row, detector, row).terms)


def raising(X: FloatArray, detector: Detector, ordinary: Ordinary) -> FloatArray:
    """What each feature of encoded rows adds to the raw score, where it makes the row unusual; else 0; shape (n, k).

    Features of ordinary value don't, nor do those that add no more than they do for an ordinary row.
    """
    terms = contributions(X, detector, ordinary.row).terms
    return np.where((ordinary.row != X) & (terms > np.maximum(ordinary.terms, 0.0)), terms, 0.0)


def drivers(raised: FloatArray, names: Sequence[str], *, top: int) -> list[list[Driver]]:
    """The ``top`` features that made each row most unusual, and what each adds to its raw score, the most first.

    A row may have fewer; ties keep the order of ``names``.

    Args:
        raised: from `raising`, shape (n, k).
    """
    order = np.argsort(-raised, axis=1, kind="stable")[:, :top]
    added = np.take_along_axis(raised, order, axis=1)
    return [
        [(names[place], value) for place, value in zip(places, values, strict=True) if value > 0]
        for places, values in zip(order.tolist(), added.tolist(), strict=True)
    ]


def explain(
    frame: pl.DataFrame,
    encoder: FeatureEncoder,
    distribution: TrainingDistribution,
    raised: FloatArray,
    *,
    top: int = 3,
) -> pl.DataFrame:
    """The `drivers` of every row in words, what counts most first.

    Args:
        raised: of the rows of ``frame``, from `raising`.

    Returns:
        One line for each row and rank: ``row`` (0-based position in the frame), ``rank`` (from 1), ``feature``,
        ``value`` (as a number, null for text), ``text`` (the value as text), ``contribution`` (see
        `contributions`, in units of the raw score, above 0), ``share`` (of all that raised the row's score),
        ``usual_low`` and ``usual_high`` (see `usual_amount` for the amount, else where 95 % of the training rows
        lie; null for what is no number) and ``sentence``.
    """
    total = raised.sum(axis=1).tolist()
    told = [
        (row, rank, feature, contribution, contribution / total[row])
        for row, of_row in enumerate(drivers(raised, encoder.names, top=top))
        for rank, (feature, contribution) in enumerate(of_row, 1)
    ]
    names = ("row", "rank", "feature", "contribution", "share")
    lines = pl.DataFrame(told, schema={name: EXPLANATION_SCHEMA[name] for name in names}, orient="row")
    named = set(lines["feature"]) or set(encoder.names[:1])
    known = [
        _known(frame, encoding, place, distribution).lazy()
        for place, encoding in enumerate(encoder.encodings)
        if encoding.name in named
    ]
    told_in_words = _with_sentence(
        lines.lazy().join(pl.concat(known), on=["row", "feature"], how="left", maintain_order="left")
    )
    # One plan without optimisations: to make many of a few rows each, or to improve it, takes longer than to follow it.
    return told_in_words.select([pl.col(name).cast(kind) for name, kind in EXPLANATION_SCHEMA.items()]).collect(
        optimizations=pl.QueryOptFlags.none()
    )


def _known(
    frame: pl.DataFrame, encoding: FeatureEncoding, column: int, distribution: TrainingDistribution
) -> pl.DataFrame:
    """Of one feature, for every row: value, text, and what would be usual."""
    values = frame[encoding.name]
    is_number = values.dtype.is_numeric() or values.dtype == pl.Boolean
    low, high = _usual_in_training(encoding, column, distribution)
    usual = pl.DataFrame(
        [pl.Series(name, [end], dtype=pl.Float64) for name, end in (("usual_low", low), ("usual_high", high))]
    )
    usual = usual[[0] * frame.height]
    whose = pl.Series("whose", ["among all payments"] * frame.height, dtype=pl.String)
    if encoding.name == "amount":
        own = usual_amount(frame)
        is_own = own["usual_low"].is_not_null()
        whose = pl.Series("whose", ["for this customer"] * frame.height, dtype=pl.String).zip_with(is_own, whose)
        usual = pl.DataFrame([own[name].zip_with(own[name].is_not_null(), usual[name]) for name in usual.columns])
    nothing = pl.Series("value", [None] * frame.height, dtype=pl.Float64)
    return usual.hstack(
        [
            pl.Series("row", np.arange(frame.height, dtype=np.uint32)),
            pl.Series("feature", [encoding.name] * frame.height, dtype=pl.String),
            values.cast(pl.Float64).alias("value") if is_number else nothing,
            values.cast(pl.String).alias("text"),
            whose,
        ]
    )


def _usual_in_training(
    encoding: FeatureEncoding, column: int, distribution: TrainingDistribution
) -> tuple[float | None, float | None]:
    """Between which values 95 % of the training rows lie; null where the encoding keeps only one side."""
    if encoding.feature.role != "numeric":
        return None, None
    outside = 1 - _USUAL_SHARE
    match encoding.feature.direction:
        case "both":
            quantiles: tuple[float | None, float | None] = (outside / 2, 1 - outside / 2)
        case "high":
            quantiles = (None, 1 - outside)
        case "low":
            quantiles = (1 - outside, None)
    mirror = -1.0 if encoding.feature.direction == "low" else 1.0
    low, high = (
        None if share is None else mirror * distribution.quantile(column, share) * encoding.scale + encoding.center
        for share in quantiles
    )
    return low, high


def _with_sentence(lines: pl.LazyFrame) -> pl.LazyFrame:
    """The lines with ``sentence``, such as ``amount is 279, for this customer usually 12.5 to 48``."""
    # Step by step: an expression that uses another several times is planned and computed as often.
    numbers = ("value", "usual_low", "usual_high")
    low, high = pl.col("_usual_low"), pl.col("_usual_high")
    usual = (
        pl.when((pl.col("usual_low") != 0) & high.is_not_null())
        .then(pl.format("{} to {}", low, high))
        .when(high.is_not_null())
        .then(pl.format("up to {}", high))
        .when(low.is_not_null())
        .then(pl.format("from {}", low))
    )
    return (
        lines.with_columns(_rounded(name).alias(f"_{name}") for name in numbers)
        .with_columns(_as_text(f"_{name}") for name in numbers)
        .with_columns(_shown=pl.coalesce("_value", "text", pl.lit("missing")), _usual=usual)
        .with_columns(
            sentence=pl.when(pl.col("_usual").is_not_null())
            .then(pl.format("{} is {}, {} usually {}", "feature", "_shown", "whose", "_usual"))
            .otherwise(pl.format("{} is {}", "feature", "_shown"))
        )
    )


def _rounded(name: str) -> pl.Expr:
    """To two decimals where that says something, else to two digits."""
    value = pl.col(name)
    return pl.when(value.abs() < 1).then(value.round_sig_figs(2)).otherwise(value.round(2))


def _as_text(name: str) -> pl.Expr:
    """A rounded number as text, without decimals where there are none."""
    value = pl.col(name)
    is_whole = (value == value.round(0)) & (value.abs() < 1e15)
    return pl.when(is_whole).then(value.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(value.cast(pl.String))
