"""Schedules: the day is run when it has just ended."""

import dagster as dg

from fraud_pipelines.defs.jobs import fraud_daily_job
from fraud_pipelines.defs.times import DAILY_SCHEDULE, RUN_AT

fraud_daily_schedule = dg.build_schedule_from_partitioned_job(
    fraud_daily_job,
    name=DAILY_SCHEDULE,
    hour_of_day=RUN_AT.hour,
    minute_of_hour=RUN_AT.minute,
    description="00:30 UTC: the day that ended at midnight.",
)
