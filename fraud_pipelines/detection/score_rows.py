"""Rows of ``scoring.transaction_scores``: what a model said of transactions, in either channel."""

from typing import Final

import polars as pl

SCORE_COLUMNS: Final[dict[str, pl.DataType]] = {
    "transaction_id": pl.String(),
    "model_name": pl.String(),
    "channel": pl.String(),
    "event_date": pl.Date(),
    "model_version": pl.Int32(),
    "raw_score": pl.Float64(),
    "score": pl.Float64(),
    "is_anomaly": pl.Boolean(),
}
"""Those of ``scoring.transaction_scores`` but ``scored_at``."""


def score_rows(
    transactions: pl.DataFrame, scores: pl.DataFrame, *, name: str, version: int | pl.Series, channel: str
) -> pl.DataFrame:
    """One row for each of ``transactions`` that has a score.

    Args:
        transactions: with ``transaction_id`` and ``event_date``.
        scores: ``raw_score``, ``score`` and ``is_anomaly`` of each, in the same order; null where the model gave none.
        name: of the registered model.
        version: the model's; of each row, where rows were scored by several.
    """
    number = version if isinstance(version, pl.Series) else pl.lit(version)
    return (
        transactions.select("transaction_id", "event_date")
        .hstack(scores.select("raw_score", "score", "is_anomaly"))
        .with_columns(
            model_name=pl.lit(name), channel=pl.lit(channel), model_version=number.cast(SCORE_COLUMNS["model_version"])
        )
        .filter(pl.col("score").is_not_null())
        .select(list(SCORE_COLUMNS))
    )
