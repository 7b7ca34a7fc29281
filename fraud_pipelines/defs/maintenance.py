"""Maintenance: a job, and its schedule, that removes what is older than the settings keep."""

import dagster as dg

from fraud_pipelines.defs.jobs import QUIET
from fraud_pipelines.defs.metadata import numbers, utc_now
from fraud_pipelines.defs.pruning import prune_installation
from fraud_pipelines.settings import Settings


@dg.op(description="Removes what is older than FRAUD_KEEP_… says; docs/operation.md.")
def prune(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    pruning = prune_installation(settings, context.instance, now=utc_now(), dry_run=False)
    counts = {each.what.replace(" ", "_"): each.count for each in pruning.done}
    size = sum(each.bytes for each in pruning.done)
    context.add_output_metadata(numbers({**counts, "bytes": size, "seconds": round(pruning.seconds, 1)}))


@dg.job(
    executor_def=dg.in_process_executor,
    config=QUIET,
    description="Removes old runs, ticks, model versions and landed files, never what a stored decision needs.",
)
def prune_job() -> None:
    prune()


prune_schedule = dg.ScheduleDefinition(
    name="prune_schedule",
    job=prune_job,
    cron_schedule="30 4 * * *",
    execution_timezone="UTC",
    description="04:30 UTC, when the day has been run. Off until it is switched on: what it removes is gone.",
)
