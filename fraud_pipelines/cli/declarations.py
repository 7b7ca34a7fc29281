"""``fraud-pipelines declarations``: is the file sound, what is declared, and what would a change do."""

import json
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.plan import words
from fraud_pipelines.plan.changes import Changes, Difference, changes
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings

console = terminal(highlight=False)

_SHIPPED = "what ships"


def check(settings: Settings, file: Path | None) -> None:
    """Say that the declarations are sound, what they add, and which file they are from.

    Raises:
        InvalidDeclarations: they are not; every problem with its line.
    """
    path = file or settings.declarations_path
    plan, shipped = _compiled(settings, path), _compiled(settings, None)
    if path is None:
        console.print(
            f"There is no declarations file: looked for fraud.yaml in {escape(str(settings.data_dir))} and in "
            f"{escape(str(settings.config_dir))}. What ships is in force.",
            soft_wrap=True,
        )
    else:
        added = changes(shipped, plan)
        console.print(f"{escape(str(path))} is sound. {_added(added)}", soft_wrap=True)
    console.print(
        f"In all {len(plan.attributes)} columns, {len(plan.entities)} entities and {len(plan.features)} features; "
        f"version {plan.version}."
    )


def _compiled(settings: Settings, path: Path | None) -> Plan:
    return compile_plan(path, label_delay_days=settings.label_delay_days)


def _added(added: Changes) -> str:
    if not added:
        return "It adds nothing to what ships."
    changed = len(added.columns.changed) + len(added.features.changed)
    return f"It adds {_number(len(added.columns.new), 'column')} and {_number(len(added.features.new), 'feature')}" + (
        f", and changes {changed} of what ships." if changed else "."
    )


def show(settings: Settings, file: Path | None, *, own: bool) -> None:
    """Print the columns, entities and features, those that ship included unless ``own``."""
    path = file or settings.declarations_path
    plan, shipped = _compiled(settings, path), _compiled(settings, None)
    console.print(f"Declared by {escape(str(path)) if path else _SHIPPED}, version {plan.version}", soft_wrap=True)
    console.print()
    beyond = changes(shipped, plan)
    columns = {*beyond.columns.new, *beyond.columns.changed}
    features = {*beyond.features.new, *beyond.features.changed}
    _show_columns(plan, columns if own else None)
    _show_entities(plan, features if own else None)
    _show_features(plan, features if own else None)


def show_version(settings: Settings, version: str) -> None:
    """Print the declarations of a version that computed a day's features, or a decision.

    Raises:
        MissingData: the warehouse has none of that version.
    """
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.features.plan_versions import kept_text

    click.echo(kept_text(warehouse_of(settings), version), nl=False)


def _show_columns(plan: Plan, only: set[str] | None) -> None:
    table = _table("Columns", "name", "type", "required", "from", "to", "personal", "role", "models")
    for each in plan.attributes:
        if only is None or each.name in only:
            bounds = ("" if bound is None else f"{bound:g}" for bound in (each.minimum, each.maximum))
            role = each.model.role if each.model else ""
            entered = _models(plan, each.name)
            table.add_row(each.name, each.type, _yes(each.required), *bounds, _yes(each.pii), role, entered)
    _print(table)


def _show_entities(plan: Plan, only: set[str] | None) -> None:
    table = _table("Entities", "name", "key", "features")
    for entity in plan.entities:
        number = len([each for each in entity.aggregates if only is None or each.name in only])
        if number:
            table.add_row(entity.name, ", ".join(entity.key), str(number))
    _print(table)


def _show_features(plan: Plan, only: set[str] | None) -> None:
    table = _table("Features", "name", "type", "entity", "models")
    table.add_column("how", overflow="fold")
    declared = {each.name: words.computation(each) for entity in plan.entities for each in entity.aggregates}
    declared |= {each.name: " ".join(each.sql.split()) for each in plan.expressions}
    for name, feature in plan.features.items():
        if only is None or name in only:
            entered = _models(plan, name)
            table.add_row(name, feature.sql_type, feature.entity or "", entered, escape(declared[name]))
    _print(table)


def _models(plan: Plan, name: str) -> str:
    """Which models a column or feature enters: the daily ones, the supervised one, both or none."""
    schemas = {"daily": plan.daily_schema, "supervised": plan.supervised_schema}
    entered = [models for models, schema in schemas.items() if name in schema]
    return "both" if len(entered) == 2 else "".join(entered)


def diff(settings: Settings, file: Path | None, against: Path | None) -> None:
    """Print what going over from ``against`` (by default what ships) to ``file`` (the one in force) would do."""
    path = file or settings.declarations_path
    before, after = _compiled(settings, against), _compiled(settings, path)
    change = changes(before, after)
    console.print(
        f"From {escape(str(against)) if against else _SHIPPED} to {escape(str(path)) if path else _SHIPPED}:",
        soft_wrap=True,
    )
    if not change:
        console.print("nothing changes.")
        return
    _show_difference("columns", change.columns)
    _show_difference("features", change.features)
    for entity, span in change.cold.items():
        console.print(f"  {entity} starts cold: its new and changed features look back over {span}.")
    retrained = _retrained(change)
    if retrained:
        console.print(f"  To be retrained: {', '.join(retrained)}.")
    else:
        console.print("  No model has to be retrained.")


def _show_difference(kind: str, difference: Difference) -> None:
    if difference.new:
        console.print(f"  new {kind}: {', '.join(difference.new)}")
    if difference.removed:
        console.print(f"  removed {kind}: {', '.join(difference.removed)}")
    for name, told in difference.changed.items():
        console.print(f"  changed {kind}: {name} ({escape(told)})")


def _retrained(change: Changes) -> list[str]:
    from fraud_pipelines.detection.backends import AMOUNT, MODEL_NAMES

    return [
        model
        for backend, model in MODEL_NAMES.items()
        if backend != AMOUNT.name and (change.supervised_model if backend == "supervised" else change.daily_models)
    ]


def schema() -> None:
    """Print the JSON Schema of a declarations file."""
    from fraud_pipelines.plan.declared import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _table(title: str, *columns: str) -> Table:
    return narrow_table(title, *columns, numbers=("from", "to"))


def _print(table: Table) -> None:
    if table.row_count:
        console.print(table)
    else:
        console.print(f"{table.title}: none")
    console.print()


def _yes(value: bool) -> str:
    return "yes" if value else ""


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
