"""Sensors of monitoring: a run that failed is told to people, and a schedule or sensor that did."""

from datetime import UTC, date, datetime

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus

from fraud_pipelines.defs.metadata import utc_now
from fraud_pipelines.defs.telling import raise_alert

FIRST_LOOK_SECONDS = 3600.0
"""How far back the first look for failed ticks goes."""
LONGEST_TICK_SECONDS = 600.0


@dg.run_failure_sensor(
    name="failed_run_alert_sensor",
    description="A failed run becomes an alert: a row of monitoring.alerts, and a message to FRAUD_ALERT_WEBHOOK.",
    default_status=dg.DefaultSensorStatus.RUNNING,
    # Those of this code location alone would leave out what an earlier release started in the shell, which has none.
    monitor_all_code_locations=True,
)
def failed_run_alert_sensor(context: dg.RunFailureSensorContext) -> None:
    from fraud_pipelines.decisions.alerts import failed_run_alert

    run = context.dagster_run
    if not _is_ours(run):
        return
    partition = run.tags.get("dagster/partition")
    alert = failed_run_alert(run.job_name, run.run_id, _day(partition), _cause(context))
    raise_alert(context.log, alert)


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A schedule or sensor that fails becomes an alert, once a day: no failed run tells of it.",
)
def failed_tick_alert_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    from fraud_pipelines.decisions.alerts import failed_tick_alert

    now = utc_now().replace(tzinfo=UTC).timestamp()
    # A tick counts from its beginning, and may have failed since the last look.
    since = float(context.cursor) - LONGEST_TICK_SECONDS if context.cursor else now - FIRST_LOOK_SECONDS
    for state in context.instance.all_instigator_state():
        ticks = context.instance.get_ticks(
            state.instigator_origin_id, state.selector_id, after=since, statuses=[TickStatus.FAILURE], limit=1
        )
        for tick in ticks:
            kind = (tick.error.cls_name if tick.error else None) or "an error"
            day = datetime.fromtimestamp(tick.timestamp, UTC).date()
            failure = f"{kind}; its ticks in the Dagster UI say more"
            raise_alert(context.log, failed_tick_alert(state.instigator_name, day, failure))
    return dg.SensorResult(cursor=str(now))


def _is_ours(run: dg.DagsterRun) -> bool:
    """Whether this project started it, from the shell or in its code location, and not another on the same instance."""
    origin = run.remote_job_origin
    return origin is None or origin.location_name.partition(".")[0] == "fraud_pipelines"


def _cause(context: dg.RunFailureSensorContext) -> str:
    """The messages that steps failed with on purpose; of other errors only where they happened, since their text
    may hold anything."""
    causes = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        meant = data.user_failure_data.description if data.user_failure_data else None
        kind = data.error.cause.cls_name if data.error and data.error.cause else "an error"
        causes.append(f"{event.step_key}: {meant or f'{kind}; its log in the Dagster UI says more'}")
    return "\n".join(causes) or "no step failed; its log in the Dagster UI says why"


def _day(partition: str | None) -> date | None:
    try:
        return date.fromisoformat(partition or "")
    except ValueError:
        return None
