"""``fraud-pipelines lists``: who is allowed, blocked or watched, and for whom a rule is silent."""

import dataclasses
import getpass
import json
from datetime import UTC, date, datetime

import click
from rich.markup import escape

from fraud_pipelines.cli.days import DAY
from fraud_pipelines.cli.publishing import publishes
from fraud_pipelines.settings import Settings

_LISTS = click.Choice(["allow", "block", "watch", "snooze"])
_by_option = click.option("--by", help="Who decides; by default the name you are logged in with.")


@click.group()
def lists() -> None:
    """Allow, block or watch, or silence a rule for somebody."""


@lists.command()
@click.argument("list_name", metavar="LIST", type=_LISTS)
@click.argument("column")
@click.argument("value")
@click.option("--reason", required=True, help="Why; reviewers see it.")
@click.option("--expires", type=DAY, help="The last day that it counts for.  [default: in 90 days]")
@click.option("--rule", default="", help="Of snooze: the rule that is silent.")
@_by_option
@publishes
def add(list_name: str, column: str, value: str, reason: str, expires: date | None, rule: str, by: str | None) -> None:
    """Put a value of a column on a list, from today on.

    LIST is allow (approve), block, watch (review), or snooze.
    """
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.cli.terminal import terminal
    from fraud_pipelines.decisions.configuration import rules_in_force
    from fraud_pipelines.decisions.entity_lists import add_entry
    from fraud_pipelines.decisions.rule_promotions import rules_of_day
    from fraud_pipelines.plan.compile import plan_in_force

    settings, now = Settings.from_environment(), datetime.now(UTC)
    warehouse = warehouse_of(settings)
    entry = add_entry(
        warehouse,
        plan_in_force(settings),
        list_name=list_name,
        column=column,
        value=value,
        reason=reason,
        author=by or getpass.getuser(),
        expires=expires,
        rule=rule,
        rules=rules_of_day(warehouse, rules_in_force(settings), now.date()),
        now=now,
    )
    terminal().print(
        f"{escape(column)} {escape(entry.value)} is on the list {list_name} from {entry.begins} to {entry.expires}, as "
        f"{entry.entry_id}.",
        soft_wrap=True,
    )


@lists.command()
@click.argument("entry_id")
@_by_option
@publishes
def remove(entry_id: str, by: str | None) -> None:
    """Take an entry off its list, from today on."""
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.cli.terminal import terminal
    from fraud_pipelines.decisions.entity_lists import end_entry

    warehouse = warehouse_of(Settings.from_environment())
    entry = end_entry(warehouse, entry_id, author=by or getpass.getuser(), now=datetime.now(UTC))
    terminal().print(
        f"{escape(entry.column_name)} {escape(entry.value)} is off the list {entry.list_name} from today on.",
        soft_wrap=True,
    )


@lists.command()
@click.option("--list", "list_name", type=_LISTS, help="Only this one.")
@click.option("--all", "ended", is_flag=True, help="Those that have ended, too.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(list_name: str | None, ended: bool, form: str) -> None:
    """Show the entries, the newest first."""
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.cli.terminal import narrow_table, terminal
    from fraud_pipelines.decisions.entity_lists import read_entries

    today = None if ended else datetime.now(UTC).date()
    entries = read_entries(warehouse_of(Settings.from_environment()), day=today, list_name=list_name or "")
    if form == "json":
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=2, default=str))
        return
    console = terminal()
    if not entries:
        console.print("No list has an entry.")
        return
    table = narrow_table(None, "entry", "list", "column", "value", "rule", "from", "to", "by", "reason")
    for entry in entries:
        last = f"{entry.expires}" if entry.ended_on is None else f"off on {entry.ended_on}"
        table.add_row(
            entry.entry_id,
            entry.list_name,
            escape(entry.column_name),
            escape(entry.value),
            escape(entry.rule or ""),
            str(entry.begins),
            last,
            escape(entry.author),
            escape(entry.reason),
        )
    console.print(table)
