"""``fraud-pipelines lake``: the snapshots of the lake, and its maintenance."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fraud_pipelines.cli.publishing import publishes
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import Settings

if TYPE_CHECKING:
    from fraud_pipelines.storage.lake.warehouse import LakeWarehouse


@click.group("lake")
def lake_group() -> None:
    """List the snapshots of the lake, and keep it small.

    With FRAUD_WAREHOUSE=lake: docs/lake.md.
    """


@lake_group.command("snapshots")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="The latest so many.")
def list_snapshots(limit: int) -> None:
    """List the states of all tables that can be read."""
    from fraud_pipelines.storage.lake.maintenance import snapshots

    for each in snapshots(_lake().path)[:limit]:
        click.echo(f"{each.number:>8}  {each.written_at:%Y-%m-%d %H:%M:%S} UTC")


@lake_group.command("compact")
@publishes
def compact_lake() -> None:
    """Put small files together; no row changes."""
    from fraud_pipelines.storage.lake.maintenance import compact

    done = compact(_lake())
    click.echo(f"{done.before} small files were put together into {done.after}." if done.before else "Nothing to do.")


@lake_group.command("vacuum")
@publishes
@click.option("--keep-days", type=click.FloatRange(0), help="Keep the snapshots of so many days; by default 7.")
def vacuum_lake(keep_days: float | None) -> None:
    """Remove old snapshots, and the files that no other needs.

    The last snapshot stays, with every row that is stored.
    """
    from fraud_pipelines.storage.lake.maintenance import KEPT_DAYS, vacuum

    now = datetime.now(UTC).replace(tzinfo=None)
    done = vacuum(_lake(), now=now, kept_days=KEPT_DAYS if keep_days is None else keep_days)
    click.echo(f"Removed {done.snapshots} snapshots and {done.files} files of {done.bytes / 1e6:,.1f} MB.")


def _lake() -> "LakeWarehouse":
    settings = Settings.from_environment()
    if settings.warehouse != "lake":
        raise InvalidInput("The tables lie in a DuckDB file; FRAUD_WAREHOUSE=lake keeps them in a lake (docs/lake.md).")
    from fraud_pipelines.storage.lake.warehouse import LakeWarehouse

    return LakeWarehouse(settings.warehouse_path, wait_seconds=settings.warehouse_wait_seconds)
