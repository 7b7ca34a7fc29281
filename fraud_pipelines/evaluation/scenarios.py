"""Performance by kind of fraud, where labels name it."""

import polars as pl

UNNAMED = "unnamed"


def scenario_recall(outcomes: pl.DataFrame, scenarios: pl.DataFrame) -> pl.DataFrame:
    """How much of each kind of known fraud was alerted; no rows where no kind is known.

    Args:
        outcomes: as `evaluation.outcomes` reads them.
        scenarios: ``transaction_id``, ``scenario``; a fraud that isn't among them is `UNNAMED`.

    Returns:
        ``scenario``, ``frauds``, ``caught``, ``recall``, ``amount`` and ``amount_caught`` (currency units), a row a
        kind, by name.
    """
    named = outcomes.filter("is_fraud").join(scenarios, on="transaction_id", how="left")
    if named["scenario"].null_count() == named.height:
        named = named.clear()
    return (
        named.with_columns(pl.col("scenario").fill_null(UNNAMED))
        .group_by("scenario")
        .agg(
            frauds=pl.len().cast(pl.Int64),
            caught=pl.col("alert").sum().cast(pl.Int64),
            recall=pl.col("alert").mean(),
            amount=pl.col("amount").sort().sum(),
            amount_caught=pl.col("amount").filter("alert").sort().sum(),
        )
        .sort("scenario")
    )
