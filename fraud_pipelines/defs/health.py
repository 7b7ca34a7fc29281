"""Checks of Dagster: does its instance answer, does the daemon live, is the schedule on, what failed of late."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from fraud_pipelines.defs.times import DAILY_SCHEDULE, LANDING_SENSOR
from fraud_pipelines.health.finding import Finding, fault, ok, warning
from fraud_pipelines.settings import Settings

_ABOUT: Final = "Dagster"
_LATELY: Final = timedelta(days=1)


def check_dagster(settings: Settings) -> Iterator[Finding]:
    """Look at the instance in ``settings.dagster_home``, which must be named by ``DAGSTER_HOME``."""
    if not (settings.dagster_home / "dagster.yaml").exists():
        yield warning(_ABOUT, f"there is no instance in {settings.dagster_home} yet", "the first run makes it")
        return
    try:
        with dg.DagsterInstance.get() as instance:
            yield from _daemon(instance)
            yield from _schedule(instance)
            yield from _failed_runs(instance)
    except (dg.DagsterError, SQLAlchemyError) as error:
        message = " ".join(str(error).split())[:300]
        yield fault(_ABOUT, message, f"correct {settings.dagster_home / 'dagster.yaml'}, or start its database")


def _daemon(instance: dg.DagsterInstance) -> Iterator[Finding]:
    statuses = instance.get_daemon_statuses().values()
    silent = sorted(each.daemon_type.lower() for each in statuses if each.required and not each.healthy)
    if silent:
        yield warning(
            "daemon",
            f"nothing was heard of {', '.join(silent)}: schedules and sensors wait",
            "make up, or dagster-daemon run; without it fraud-pipelines run still runs days",
        )
    else:
        yield ok("daemon", "alive")


def _schedule(instance: dg.DagsterInstance) -> Iterator[Finding]:
    states = {each.instigator_name: each.status.value for each in instance.all_instigator_state()}
    on = [name for name in (DAILY_SCHEDULE, LANDING_SENSOR) if states.get(name) == "RUNNING"]
    if on:
        yield ok("schedule", f"{on[0]} is on")
    else:
        yield warning(
            "schedule",
            f"{DAILY_SCHEDULE} is off: no day runs by itself",
            f"switch it on, or {LANDING_SENSOR}, under Automation in the Dagster UI",
        )


def _failed_runs(instance: dg.DagsterInstance) -> Iterator[Finding]:
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=datetime.now(UTC) - _LATELY)
    runs = instance.get_runs(failed, limit=1)
    if runs:
        count = instance.get_runs_count(failed)
        yield warning(
            "runs", f"{count} failed in the last day, the latest {runs[0].run_id}", "the Dagster UI shows why"
        )
    else:
        yield ok("runs", "none failed in the last day")
