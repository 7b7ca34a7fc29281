"""Sensors of monitoring: a run that failed is told to people."""

from datetime import date

import dagster as dg

from fraud_pipelines.bootstrap import live_warehouse, made_warehouse
from fraud_pipelines.defs.metadata import utc_now
from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings

WAIT_SECONDS = 15.0
"""How long to wait for the warehouse, twice at most: a sensor's tick is given a minute."""


@dg.run_failure_sensor(
    name="failed_run_alert_sensor",
    description="A failed run becomes an alert: a row of monitoring.alerts, and a message to FRAUD_ALERT_WEBHOOK.",
    default_status=dg.DefaultSensorStatus.RUNNING,
    # Those of this code location alone would leave out what an earlier release started in the shell, which has none.
    monitor_all_code_locations=True,
)
def failed_run_alert_sensor(context: dg.RunFailureSensorContext) -> None:
    from fraud_pipelines.decisions.alert_delivery import raise_alerts
    from fraud_pipelines.decisions.alerts import failed_run_alert

    settings = Settings.from_environment()
    run = context.dagster_run
    if not _is_ours(run):
        return
    partition = run.tags.get("dagster/partition")
    alert = failed_run_alert(run.job_name, run.run_id, _day(partition), _cause(context))
    wait = min(WAIT_SECONDS, settings.warehouse_wait_seconds)
    try:
        warehouse = made_warehouse(settings, plan_in_force(settings), wait_seconds=wait)
    except WarehouseBusy:
        warehouse = live_warehouse(settings, wait_seconds=wait)
    delivery = raise_alerts(warehouse, [alert], webhook=settings.alert_webhook.get_secret_value(), now=utc_now())
    for new in delivery.new:
        context.log.warning(new.message)
    if delivery.error:
        context.log.warning(f"the alert was not delivered: {delivery.error}")


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
