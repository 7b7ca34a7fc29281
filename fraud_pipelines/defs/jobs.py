"""Jobs: the daily run, one partition at a time, and the screening of the stream, each in one process."""

import dagster as dg

from fraud_pipelines.defs.keys import PROCESSED_BATCHES, STREAM_AGREEMENT
from fraud_pipelines.defs.partitions import daily_partitions

fraud_daily_job = dg.define_asset_job(
    name="fraud_daily_job",
    selection=dg.AssetSelection.groups("raw", "features", "models", "scoring", "feedback", "monitoring")
    | dg.AssetSelection.assets(STREAM_AGREEMENT),
    partitions_def=daily_partitions,
    # One process: a step of its own process would load MLflow and PyOD again, which takes longer than the day.
    executor_def=dg.in_process_executor,
    description="One day, end to end: transactions, features, models, scores, decisions, feedback, thresholds.",
)

stream_screening_job = dg.define_asset_job(
    name="stream_screening_job",
    selection=dg.AssetSelection.assets(PROCESSED_BATCHES),
    executor_def=dg.in_process_executor,
    description="Screens the micro-batches that wait in data/landing/stream, oldest first.",
)
