"""Jobs: the daily run, one partition at a time, and the screening of the stream, each in one process."""

import dagster as dg

from fraud_pipelines.defs.keys import PROCESSED_BATCHES, STREAM_AGREEMENT, WEEKLY_FIGURES
from fraud_pipelines.defs.partitions import daily_partitions

QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
"""What goes to the terminal of `fraud-pipelines up`; the UI shows all of a run's log."""

fraud_daily_job = dg.define_asset_job(
    name="fraud_daily_job",
    selection=(
        dg.AssetSelection.groups("raw", "features", "models", "scoring", "feedback", "monitoring")
        | dg.AssetSelection.assets(STREAM_AGREEMENT)
    )
    - dg.AssetSelection.assets(WEEKLY_FIGURES),
    partitions_def=daily_partitions,
    # One process: a step of its own process would load MLflow and PyOD again, which takes longer than the day.
    executor_def=dg.in_process_executor,
    config=QUIET,
    description="One day, end to end: transactions, features, models, scores, decisions, feedback, thresholds.",
)

stream_screening_job = dg.define_asset_job(
    name="stream_screening_job",
    selection=dg.AssetSelection.assets(PROCESSED_BATCHES),
    executor_def=dg.in_process_executor,
    # Runs that write wait for one another; a backfill of a month must not hold up the stream for as long.
    tags={"dagster/priority": "1"},
    config=QUIET,
    description="Screens the micro-batches that wait in data/landing/stream, oldest first.",
)
