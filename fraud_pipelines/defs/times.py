"""When a day is run, and by when it is to be there."""

from datetime import time, timedelta
from typing import Final

import dagster as dg

RUN_AT: Final = time(0, 30)
"""UTC, when the day has ended; files that land late still find their day."""

WEEKLY_AT: Final = time(5, 0)
"""UTC, on Mondays: the Sunday has been run by then."""

DUE_AT: Final = time(3, 0)
"""UTC; a day of a million transactions is done by then."""

ON_TIME: Final = dg.FreshnessPolicy.cron(
    deadline_cron=f"{DUE_AT.minute} {DUE_AT.hour} * * *",
    # A run since midnight. The policy judges the asset, not the partition: a rerun of an older day counts as well.
    lower_bound_delta=timedelta(hours=DUE_AT.hour, minutes=DUE_AT.minute),
    timezone="UTC",
)
"""Of every daily asset. One that is overdue says so on its page and in the catalog."""

DAILY_SCHEDULE: Final = "fraud_daily_schedule"
"""The name of the schedule that runs the day."""

LANDING_SENSOR: Final = "landing_sensor"
"""The name of the sensor that runs the day once all of it has landed."""
