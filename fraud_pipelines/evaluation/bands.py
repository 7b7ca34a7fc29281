"""Bands of the score: how many payments each holds, and the share of frauds among them."""

from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.evaluation.lateness import ALL_REPORTED, Reported
from fraud_pipelines.evaluation.probability import calibrate
from fraud_pipelines.evaluation.ranked import Floats, Integers
from fraud_pipelines.evaluation.windows import Window, stand_for

BAND_EDGES: Final = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
"""Of the score; 0.5 is where the policies review, 0.8 where they block."""
_NAMES: Final = tuple(f"{low}-{high}" for low, high in pairwise(BAND_EDGES))


def bands_of(window: Window, reported: Reported = ALL_REPORTED) -> pl.DataFrame:
    """How many transactions each band of the score holds, and the share of frauds among them.

    Returns:
        ``band`` (as ``0.5-0.7``, the upper edge included), ``transactions``, ``frauds`` (known ones), ``precision``
        (null where the band is empty; corrected for chargebacks that are still to come, as in
        `metrics.measure`), ``probability`` (the mean over the band of that of the scores, see `evaluation.probability`;
        null where too few frauds are known); all bands, ascending.
    """
    at = _places(window.frauds["score"].to_numpy())
    fitted = calibrate(window, reported)
    payments, probable = np.zeros((2, len(_NAMES)))
    for day in window.days:
        of_day, scores = _places(day.levels.score), day.levels.score
        payments += np.bincount(of_day, weights=day.levels.payments, minlength=len(_NAMES))
        if fitted:
            probable += np.bincount(
                of_day, weights=day.levels.payments * fitted.curve.of(scores), minlength=len(_NAMES)
            )
    estimated = np.bincount(at, weights=stand_for(window.frauds, reported), minlength=len(_NAMES))
    return pl.DataFrame(
        {
            "band": _NAMES,
            "transactions": payments.astype(np.int64),
            "frauds": np.bincount(at, minlength=len(_NAMES)),
            "precision": np.minimum(estimated / np.maximum(payments, 1), 1.0),
            "probability": probable / np.maximum(payments, 1) if fitted else [None] * len(_NAMES),
        },
        schema_overrides={"probability": pl.Float64},
    ).with_columns(pl.when(pl.col("transactions") > 0).then(pl.col("precision", "probability")))


def _places(scores: Floats) -> Integers:
    """The number of the band of each score."""
    return np.clip(np.searchsorted(BAND_EDGES, scores, side="left") - 1, 0, len(_NAMES) - 1)
