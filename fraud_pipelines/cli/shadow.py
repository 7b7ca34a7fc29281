"""``fraud-pipelines rules shadow|promote|demote``: what is in shadow beside what is in force, and how it goes live."""

import getpass
import json
from datetime import UTC, datetime
from typing import Any

import click
from rich.markup import escape

from fraud_pipelines.cli.publishing import publishes
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.settings import Settings

console = terminal(highlight=False)
_by_option = click.option("--by", help="Who decides; by default the name you are logged in with.")


@click.command("shadow")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show_shadow(form: str) -> None:
    """Compare what is in shadow with what is in force.

    Rules and policies, over the days on which they were asked of every payment.
    """
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.evaluation.shadow_performance import read_latest

    rows = read_latest(warehouse_of(Settings.from_environment()))
    if form == "json":
        click.echo(json.dumps(rows.to_dicts(), indent=2, default=str, allow_nan=False))
        return
    if rows.is_empty():
        console.print(
            "Nothing was in shadow. Write shadow: true into a rule, or name policies in FRAUD_SHADOW_POLICIES; the "
            "next day that is run compares them.",
            soft_wrap=True,
        )
    for of, arms in rows.group_by("kind", "name", "channel", maintain_order=True):
        _show(*map(str, of), rows=arms.to_dicts())


@click.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why; it is kept beside the rule.")
@_by_option
@publishes
def promote(name: str, reason: str, by: str | None) -> None:
    """Let a rule in shadow decide, from today on.

    The file stays as it is.
    """
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.decisions.configuration import rules_in_force
    from fraud_pipelines.decisions.rule_promotions import promote_rule

    settings = Settings.from_environment()
    promotion = promote_rule(
        warehouse_of(settings),
        rules_in_force(settings),
        name,
        reason=reason,
        author=by or getpass.getuser(),
        now=datetime.now(UTC),
    )
    console.print(
        f"The rule {escape(name)} decides payments from {promotion.begins} on. The file still has shadow: true; "
        f"fraud-pipelines rules demote {escape(name)} puts the rule back.",
        soft_wrap=True,
    )


@click.command()
@click.argument("name")
@_by_option
@publishes
def demote(name: str, by: str | None) -> None:
    """Put a promoted rule back into shadow, from today on."""
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.decisions.rule_promotions import demote_rule

    warehouse = warehouse_of(Settings.from_environment())
    demote_rule(warehouse, name, author=by or getpass.getuser(), now=datetime.now(UTC))
    console.print(f"The rule {escape(name)} is in shadow again from today on.", soft_wrap=True)


def _show(kind: str, name: str, channel: str, *, rows: list[dict[str, Any]]) -> None:
    first = rows[0]
    table = narrow_table(
        f"{kind} {escape(name)}, {channel}, {first['days']} days from {first['window_start']} to {first['window_end']}",
        "",
        *(row["arm"] for row in rows),
        numbers=tuple(row["arm"] for row in rows),
    )
    table.add_row("payments", *(f"{row['transactions']:,}" for row in rows))
    table.add_row("known frauds", *(f"{row['frauds']:,}" for row in rows))
    for figure in ("hits", "alerts", "blocks"):
        table.add_row(figure, *(f"{row[figure]:,}" for row in rows))
    for figure, form in (("precision", ".0%"), ("recall", ".0%"), ("value_detection_rate", ".0%"), ("cost", ",.0f")):
        table.add_row(figure.replace("_", " "), *(_figure(row, figure, form) for row in rows))
    console.print(table)


def _figure(row: dict[str, Any], name: str, form: str) -> str:
    value, low, high = (row[name + suffix] for suffix in ("", "_low", "_high"))
    if value is None:
        return "not known yet"
    return f"{value:{form}}" if low is None else f"{value:{form}} ({low:{form}} to {high:{form}})"
