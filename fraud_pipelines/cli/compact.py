"""``fraud-pipelines compact``: the warehouse takes no more room than it needs."""

import click

from fraud_pipelines.cli.publishing import publishes
from fraud_pipelines.settings import Settings


@click.command()
@publishes
def compact() -> None:
    """Give back what is empty in the warehouse; no row changes.

    A DuckDB file is written anew. In a lake small files are put together, and snapshots older than 7 days go.
    """
    from fraud_pipelines.bootstrap import live_warehouse
    from fraud_pipelines.storage.compaction import compact as compact_file

    settings = Settings.from_environment()
    if settings.warehouse == "lake":
        from fraud_pipelines.cli.lake import compact_lake, vacuum_lake

        context = click.get_current_context()
        context.invoke(compact_lake)
        context.invoke(vacuum_lake)
        return
    done = compact_file(live_warehouse(settings))
    if done.done:
        click.echo(f"{done.before / 1e6:,.1f} MB are now {done.after / 1e6:,.1f} MB, in {done.seconds:.1f} s.")
    else:
        click.echo(f"{done.before / 1e6:,.1f} MB, hardly any of it empty: nothing to do.")
