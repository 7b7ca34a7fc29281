"""Jobs: the daily run, one partition at a time, in one process."""

import dagster as dg

from fraud_pipelines.defs.partitions import daily_partitions

fraud_daily_job = dg.define_asset_job(
    name="fraud_daily_job",
    selection=dg.AssetSelection.groups("raw", "features", "models", "scoring", "feedback", "monitoring"),
    partitions_def=daily_partitions,
    # One process: a step of its own process would load MLflow and PyOD again, which takes longer than the day.
    executor_def=dg.in_process_executor,
    description="One day, end to end: transactions, features, models, scores, decisions, feedback, thresholds.",
)
