"""Sensors: files of the stream start one small run, killed runs are closed, and what the stream stored is published."""

import time
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from fraud_pipelines.bootstrap import publication_of
from fraud_pipelines.defs.abandoned_runs import close_abandoned_runs
from fraud_pipelines.defs.jobs import fraud_daily_job, stream_screening_job
from fraud_pipelines.defs.metadata import utc_now
from fraud_pipelines.defs.telling import raise_alert
from fraud_pipelines.defs.times import LANDING_SENSOR
from fraud_pipelines.settings import Settings
from fraud_pipelines.streaming.requests import Requested, next_request

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LONGEST_RUN_SECONDS = 900.0
"""A run that has been at it for longer is taken for dead: it would hold up the stream for ever."""


@dg.sensor(
    job=stream_screening_job,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a run for the files that wait in data/landing/stream, unless one is under way.",
)
def transaction_stream_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    now = time.time()
    under_way = dg.RunsFilter(
        job_name=stream_screening_job.name,
        statuses=_UNFINISHED,
        updated_after=datetime.fromtimestamp(now - _LONGEST_RUN_SECONDS, UTC),
    )
    if context.instance.get_runs_count(under_way):
        return dg.SkipReason("A run is screening already.")
    folder = Settings.from_environment().landing_stream
    found = next_request(folder, Requested.from_cursor(context.cursor), now=now)
    if isinstance(found, str):
        return dg.SkipReason(found)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=found.run_key)], cursor=found.cursor())


@dg.sensor(
    name=LANDING_SENSOR,
    job=fraud_daily_job,
    minimum_interval_seconds=60,
    description="Starts the day that has ended as soon as all of it has landed, or at FRAUD_DAY_LATEST without, and "
    "tells what is late. In place of fraud_daily_schedule: switch on one of them.",
)
def landing_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    from fraud_pipelines.decisions.alerts import late_alert
    from fraud_pipelines.transactions.arrival import missing_of

    settings, now = Settings.from_environment(), utc_now()
    yesterday = now.date() - timedelta(days=1)
    day = date.fromisoformat(context.cursor) + timedelta(days=1) if context.cursor else yesterday
    if day > yesterday:
        return dg.SkipReason(f"{day} has not ended.")
    missing = missing_of(settings.landing_transactions, day, marker=settings.day_marker, files=settings.day_files)
    is_late = now >= datetime.combine(day + timedelta(days=1), settings.day_latest)
    if not is_late and (missing or not (settings.day_marker or settings.day_files)):
        return dg.SkipReason(f"{day} waits: {missing or f'it is started at {settings.day_latest:%H:%M} UTC'}.")
    if missing:
        raise_alert(context.log, late_alert(day, missing))
    request = dg.RunRequest(run_key=f"landed-{day}", partition_key=str(day))
    return dg.SensorResult(run_requests=[request], cursor=str(day))


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Closes runs from the shell whose process was killed, which would hold up every other run.",
)
def abandoned_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    closed = close_abandoned_runs(context.instance)
    return dg.SkipReason(f"Closed {', '.join(run.run_id for run in closed)}." if closed else "No run was abandoned.")


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Publishes what runs of the stream stored, at most every five minutes.",
)
def publication_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:  # noqa: ARG001
    settings = Settings.from_environment()
    done = publication_of(settings).publish_if_due()
    return dg.SkipReason(f"Published {settings.published_path}." if done else "Nothing is due.")
