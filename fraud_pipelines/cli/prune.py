"""``fraud-pipelines prune``: removes what is older than is kept, and says what went."""

from datetime import UTC, datetime

import click

from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.settings import Settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
def prune(dry_run: bool) -> None:
    """Remove old runs, model versions and landed files.

    What is older than FRAUD_KEEP_… says goes, but for what the replay of a stored decision, an alias or a pin needs.
    """
    import dagster as dg
    from rich.table import Table

    from fraud_pipelines.bootstrap import prepare_dagster_home
    from fraud_pipelines.defs.pruning import prune_installation

    settings = Settings.from_environment()
    prepare_dagster_home(settings.dagster_home)
    now = datetime.now(UTC).replace(tzinfo=None)
    with dg.DagsterInstance.get() as instance:
        pruning = prune_installation(settings, instance, now=now, dry_run=dry_run)
    table = Table(box=None, pad_edge=False)
    for name in ("", "kept days", "would go" if dry_run else "went", "MB", "older, and stay"):
        table.add_column(name, justify="right" if name else "left")
    for each in pruning.done:
        stay = f"{each.kept_older:,}" if each.kept_older else ""
        table.add_row(each.what, str(each.kept_days), f"{each.count:,}", f"{each.bytes / 1e6:,.1f}", stay)
    console = terminal(highlight=False)
    console.print(table)
    for note in dict.fromkeys(each.note for each in pruning.done if each.note):
        console.print(note)
    given_back = f", {pruning.freed / 1e6:,.1f} MB more given back by databases" if pruning.freed else ""
    console.print(f"{pruning.seconds:.1f} s{given_back}." + (" Nothing was removed." if dry_run else ""))
