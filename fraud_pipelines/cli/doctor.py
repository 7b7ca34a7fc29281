"""``fraud-pipelines doctor``: every check of the installation, each fault with its remedy."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

import click
from rich.markup import escape

from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.defs.health import check_dagster
from fraud_pipelines.errors import FraudPipelinesError
from fraud_pipelines.health.finding import Check, Finding, fault
from fraud_pipelines.health.machine import check_clock, check_disk, check_folders, check_packages
from fraud_pipelines.health.stores import (
    check_configuration,
    check_landing,
    check_registry,
    check_secrets,
    check_warehouse,
)
from fraud_pipelines.settings import Settings

CHECKS: Final[tuple[Check, ...]] = (
    check_packages,
    check_folders,
    check_disk,
    check_clock,
    check_configuration,
    check_warehouse,
    check_registry,
    check_dagster,
    check_landing,
    check_secrets,
)

console = terminal(highlight=False)

_MARKS: Final = {"ok": "[green]ok[/]", "warning": "[yellow]look[/]", "fault": "[red]fault[/]"}


def show_health(*, as_json: bool) -> int:
    """Print what each check found; 1 where something does not work, else 0."""
    findings = list(examine())
    if as_json:
        click.echo(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        for each in findings:
            console.print(f"{_MARKS[each.state]:>14}  {escape(each.about)}: {escape(each.says)}", soft_wrap=True)
            if each.remedy:
                console.print(f"       {escape(each.remedy)}", soft_wrap=True)
        console.print(_summary(findings))
    return int(any(each.state == "fault" for each in findings))


def examine() -> Iterator[Finding]:
    """What every check finds; where the settings themselves can't be read, that alone."""
    try:
        settings = Settings.from_environment()
    except FraudPipelinesError as error:
        yield fault("settings", str(error), "correct the variable, in the environment or in .env")
        return
    os.environ.setdefault("DAGSTER_HOME", str(settings.dagster_home))
    for check in CHECKS:
        yield from check(settings)


def _summary(findings: list[Finding]) -> str:
    faults, looks = (sum(each.state == state for each in findings) for state in ("fault", "warning"))
    if faults:
        return f"{faults} of {len(findings)} checks found a fault."
    return f"Nothing is broken; {looks} to look at." if looks else "All is well."
