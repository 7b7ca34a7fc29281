"""Performance by kind of fraud, where labels name it."""

import polars as pl

from fraud_pipelines.evaluation.lateness import ALL_REPORTED, Reported
from fraud_pipelines.evaluation.windows import stand_for

UNNAMED = "unnamed"


def scenario_recall(frauds: pl.DataFrame, scenarios: pl.DataFrame, reported: Reported = ALL_REPORTED) -> pl.DataFrame:
    """How much of each kind of fraud was alerted; no rows where no kind is known.

    Args:
        frauds: the known ones: ``transaction_id``, ``amount``, ``alert`` and, where chargebacks come late, ``late``.
        scenarios: ``transaction_id``, ``scenario``; a fraud that isn't among them is `UNNAMED`.
        reported: how many of the window's chargebacks are in. ``recall`` is the estimate of `metrics.measure`,
            null until half of them are; the counts and amounts are of the known frauds.

    Returns:
        ``scenario``, ``frauds``, ``caught``, ``recall``, ``amount`` and ``amount_caught`` (currency units), a row a
        kind, by name.
    """
    counted = frauds.with_columns(stand_for=pl.Series(stand_for(frauds, reported)))
    named = counted.join(scenarios, on="transaction_id", how="left")
    if named["scenario"].null_count() == named.height:
        named = named.clear()
    return (
        named.with_columns(pl.col("scenario").fill_null(UNNAMED))
        .group_by("scenario")
        .agg(
            frauds=pl.len().cast(pl.Int64),
            caught=pl.col("alert").sum().cast(pl.Int64),
            recall=pl.col("stand_for").filter("alert").sum() / pl.col("stand_for").sum(),
            amount=pl.col("amount").sort().sum(),
            amount_caught=pl.col("amount").filter("alert").sort().sum(),
        )
        .with_columns(pl.col("recall") if reported.half_in else pl.lit(None, dtype=pl.Float64).alias("recall"))
        .sort("scenario")
    )
