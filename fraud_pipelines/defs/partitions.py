"""Partitions: one a UTC day of event time, and the mappings that say which days a day looks at."""

import dagster as dg

from fraud_pipelines.evaluation.weekly.week import monday_of
from fraud_pipelines.settings import Settings

SETTINGS = Settings.from_environment()

daily_partitions = dg.DailyPartitionsDefinition(start_date=SETTINGS.first_partition.isoformat(), timezone="UTC")

weekly_partitions = dg.WeeklyPartitionsDefinition(
    start_date=monday_of(SETTINGS.first_partition).isoformat(), day_offset=1, timezone="UTC"
)
"""From Monday to Sunday, named by the Monday."""

the_day_before = dg.TimeWindowPartitionMapping(
    start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True
)
days_of_the_week = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
training_window = dg.TimeWindowPartitionMapping(
    start_offset=-SETTINGS.training_days, end_offset=-1, allow_nonexistent_upstream_partitions=True
)
training_window_and_day = dg.TimeWindowPartitionMapping(
    start_offset=-SETTINGS.training_days, end_offset=0, allow_nonexistent_upstream_partitions=True
)
matured_window = dg.TimeWindowPartitionMapping(
    start_offset=-SETTINGS.label_delay_days - SETTINGS.evaluation_days + 1,
    end_offset=-SETTINGS.label_delay_days,
    allow_nonexistent_upstream_partitions=True,
)
