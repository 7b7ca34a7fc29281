"""Schedules: the day is run when it has just ended."""

import dagster as dg

from fraud_pipelines.defs.jobs import fraud_daily_job

fraud_daily_schedule = dg.build_schedule_from_partitioned_job(
    fraud_daily_job,
    name="fraud_daily_schedule",
    hour_of_day=0,
    minute_of_hour=30,
    description="00:30 UTC: the day that ended at midnight.",
)
