"""Files of known sources: their declarations are written where there are none, and disputes become labels."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import yaml
from rich.markup import escape

from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.decisions.chargebacks import land_chargebacks
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import compile_plan, plan_in_force
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.intake import LandingReport
from fraud_pipelines.transactions.landing_zone import nearest_mapping
from fraud_pipelines.transactions.recognition import Recognised, recognise

console = terminal(highlight=False)


def plan_for(settings: Settings, files: Sequence[Path], *, stored: bool) -> Plan:
    """The plan in force; in a new installation, with the declarations of the first known source among the files.

    Args:
        stored: whether these declarations are written to ``fraud.yaml`` in the data directory, and so stay in force.
    """
    if settings.declarations_path is not None:
        return plan_in_force(settings)
    found = next((found for file in files if (found := _known(file)) and found.source.declarations), None)
    if found is None:
        return plan_in_force(settings)
    text = f"# {found.source.title}: what it has beyond the columns that ship (docs/declarations.md).\n"
    text += yaml.safe_dump(found.source.declarations, sort_keys=False, width=120, allow_unicode=True)
    if stored:
        path = settings.data_dir / "fraud.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".tmp")
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
        console.print(f"Wrote {escape(str(path))}: the columns that {escape(found.source.title)} has beyond ours.")
        return plan_in_force(settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fraud.yaml"
        path.write_text(text, encoding="utf-8")
        return compile_plan(path, label_delay_days=settings.label_delay_days)


def disputes_in(file: Path) -> Recognised | None:
    """What a file without a mapping is recognised as, if it holds disputes."""
    found = _known(file)
    return found if found and found.source.holds == "disputes" else None


def land_disputes(
    warehouse: Warehouse, file: Path, found: Recognised, *, now: datetime, settings: Settings, plan: Plan
) -> LandingReport:
    """Take in a known file of disputes."""
    report = land_chargebacks(
        warehouse, file, now=now, skew=settings.clock_skew, entities=plan.entities, guarded=bool(plan.tokens)
    )
    return replace(report, told=(*found.told, *report.told))


def _known(file: Path) -> Recognised | None:
    try:
        return None if nearest_mapping(file, file.parent) else recognise(file)
    except (InvalidInput, OSError):  # What is wrong with it is told where it is taken in.
        return None
