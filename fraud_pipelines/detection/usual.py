"""What a customer usually pays, told from the features that compare a payment with the customer's earlier ones."""

from typing import Final

import polars as pl

_SPREADS: Final = 2.0
"""So many robust deviations to either side of the median are usual: 19 of 20 payments, were they normal."""


def usual_amount(frame: pl.DataFrame) -> pl.DataFrame:
    """``usual_low`` and ``usual_high`` of the customer's amounts for each row; null where the row doesn't tell.

    With median m and shrunk spread s of the customer's previous 50 amounts the range is m ± 2s, cut at 0 and at the
    largest of them. They follow from the features, as ``user_log_ratio`` is ln((x + 1) / (m + 1)), ``user_rz``
    is (x − m) / s and ``user_max_ratio`` is ln((x + 1) / (largest + 1)). Without a history all three are 0,
    and nothing is said.
    """
    needed = ("amount", "user_rz", "user_log_ratio")
    if any(name not in frame.columns for name in needed):
        return pl.DataFrame(
            [pl.Series(name, [None] * frame.height, dtype=pl.Float64) for name in ("usual_low", "usual_high")]
        )
    chosen = [*needed, *(["user_max_ratio"] if "user_max_ratio" in frame.columns else [])]
    told = (
        # Step by step: an expression that uses another several times has Polars plan and compute it as often.
        frame.lazy()
        .select(pl.col(chosen).cast(pl.Float64))
        .with_columns(median=(pl.col("amount") + 1) * (-pl.col("user_log_ratio")).exp() - 1)
        .with_columns(spread=(pl.col("amount") - pl.col("median")) / pl.col("user_rz"))
        .with_columns(high=pl.col("median") + _SPREADS * pl.col("spread"))
    )
    median, spread, high = pl.col("median"), pl.col("spread"), pl.col("high")
    if "user_max_ratio" in chosen:
        to_largest = pl.col("user_max_ratio")
        largest = (pl.col("amount") + 1) * (-to_largest).exp() - 1
        told = told.with_columns(high=pl.when(to_largest != 0).then(pl.min_horizontal(high, largest)).otherwise(high))
    known = (spread > 0) & spread.is_finite() & median.is_finite() & (median >= 0)
    low = pl.max_horizontal(median - _SPREADS * spread, pl.lit(0.0))
    return (
        told.with_columns(known=known)
        .select(
            pl.when("known").then(low).alias("usual_low"),
            pl.when("known").then(pl.max_horizontal(high, median)).alias("usual_high"),
        )
        .collect(optimizations=pl.QueryOptFlags.none())
    )
