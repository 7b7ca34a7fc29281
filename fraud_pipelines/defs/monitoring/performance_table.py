"""Tables on the page of performance: a line for each policy and model, and how probabilities have turned out."""

import dagster as dg
import polars as pl

from fraud_pipelines.defs.metadata import estimate, markdown_table

_ESTIMATES = ("precision", "recall", "average_precision")
_AUDITED = "recall_audited"


def performance_table(rows: pl.DataFrame) -> dg.MetadataValue:
    """Precision, recall and average precision with their intervals, policies first; … where it can't be told yet. Where
    there is an audit sample, the recall that it tells stands beside them.

    It is short, so that Dagster shows it without a click.

    Args:
        rows: of ``monitoring.model_performance``.
    """
    audited = [_AUDITED] if rows[_AUDITED].null_count() < rows.height else []
    ordered = rows.sort(~pl.col("model_name").str.starts_with("policy:"), "channel", "model_name")
    shown = [
        {
            "": row["model_name"] if row["channel"] == "batch" else f"{row['model_name']}, {row['channel']}",
            **{
                name.replace("_", " "): estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])
                for name in (*_ESTIMATES, *audited)
            },
            "alerts a day": row["alerts_per_day"],
        }
        for row in ordered.iter_rows(named=True)
    ]
    return markdown_table(pl.DataFrame(shown))


def reliability_table(rows: pl.DataFrame) -> dg.MetadataValue:
    """A line for each band of the probability that payments were given: how many there were, and what became of them.

    Args:
        rows: of ``monitoring.score_reliability``.
    """
    return markdown_table(
        rows.filter(channel="batch").select(
            "model_name",
            pl.format("{} to {}", "band_low", "band_high").alias("probability"),
            "payments",
            pl.col("probability").alias("mean probability"),
            pl.col("share").alias("share of frauds"),
        )
    )
