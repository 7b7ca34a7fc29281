"""Deliveries: the list of what was taken in, and taking one back."""

from datetime import datetime

import click
from rich.markup import escape

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.decisions.deliveries import deliveries, find_delivery, undo_delivery
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings

console = terminal()

_NUMBERS = ("read", "accepted", "rejected", "left out")


def show_deliveries(settings: Settings, *, limit: int) -> None:
    """List the latest deliveries with their hashes."""
    known = deliveries(warehouse_of(settings))
    if not known:
        console.print("Nothing was taken in yet.")
        return
    table = narrow_table("Taken in", "hash", "when, UTC", "what", *_NUMBERS, "file", numbers=_NUMBERS)
    for each in known[:limit]:
        counts = (each.rows_read, each.rows_accepted, each.rows_rejected, each.rows_left_out)
        table.add_row(
            each.content_hash[:12],
            f"{each.landed_at:%Y-%m-%d %H:%M}",
            each.kind,
            *(f"{count or 0:,}" for count in counts),
            escape(each.source),
        )
    console.print(table)
    if len(known) > limit:
        console.print(f"and {len(known) - limit:,} more (--limit)")
    console.print("Take one back: fraud-pipelines import undo HASH")


def undo_named(settings: Settings, name: str, *, ask: bool, now: datetime) -> None:
    """Take the delivery back that ``name`` tells, and say what became of what.

    Raises:
        InvalidInput: there is no such delivery, or there are several.
    """
    warehouse = warehouse_of(settings)
    delivery = find_delivery(warehouse, name)
    if ask:
        what = f"{delivery.rows_accepted:,} {delivery.kind} of {delivery.source}"
        click.confirm(f"Take back {what}, taken in at {delivery.landed_at:%Y-%m-%d %H:%M}?", abort=True)
    undone = undo_delivery(warehouse, delivery, now=now, entities=plan_in_force(settings).entities)
    console.print(
        f"Taken back: {escape(delivery.source)}: {undone.transactions:,} transactions, {undone.labels:,} labels, "
        f"{undone.rejected:,} rejected rows, {undone.left_out:,} rows left out"
    )
    if undone.reopened:
        console.print(
            f"{undone.reopened:,} rows of other deliveries repeated these. "
            "Deliver their files again to have them taken in."
        )
    if undone.decided:
        console.print(
            f"{undone.decided:,} of the transactions had been decided; "
            "their decisions stay in the log, which is never changed."
        )
    if undone.stale:
        days = undone.stale
        console.print(f"Stale now: {days[0]} to {days[-1]}, {len(days)} days (fraud-pipelines status lists them)")
    console.print("The same file can be taken in again, through another mapping.")
