"""``fraud-pipelines import``: take files in, list what was taken in, and take a delivery back."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from fraud_pipelines.cli.publishing import publishes
from fraud_pipelines.settings import Settings

_FILES = "files"


class _PathOrCommand(click.Group):
    """A group whose own arguments are a path, unless the first of them is one of its commands."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return import_files if cmd_name == _FILES else super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [each for each in args if not each.startswith("-")]
        if not (words and words[0] in self.commands) and not {"-h", "--help"} & {*args}:
            args = [_FILES, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "PATH [OPTIONS]")
        formatter.write_usage(ctx.command_path, "list | undo DELIVERY")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = [record for each in import_files.get_params(ctx) if (record := each.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl(records)
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str()) for name, each in self.commands.items()])


@click.group("import", cls=_PathOrCommand)
def import_group() -> None:
    """Take in a file, or every file of a folder.

    CSV, Excel, Parquet or JSON, packed or not: docs/mappings.md.
    """


@click.command(_FILES)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--mapping", "mapping_file", type=click.Path(path_type=Path), help="Column mapping, a YAML file.")
@click.option("--labels", is_flag=True, help="The files hold labels, not transactions.")
@click.option("--dry-run", is_flag=True, help="Show what would be stored, and store nothing.")
@publishes
def import_files(path: Path, mapping_file: Path | None, labels: bool, dry_run: bool) -> None:
    """Take in a file, or every file of a folder."""
    from fraud_pipelines.cli.intake import import_path, preview_path

    do = preview_path if dry_run else import_path
    do(Settings.from_environment(), path, mapping_file, labels=labels, clock=_now)


@import_group.command("list")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, 100_000))
def list_deliveries(limit: int) -> None:
    """List what was taken in, latest first."""
    from fraud_pipelines.cli.deliveries import show_deliveries

    show_deliveries(Settings.from_environment(), limit=limit)


@import_group.command()
@click.argument("delivery")
@click.option("--yes", is_flag=True, help="Don't ask.")
@publishes
def undo(delivery: str, yes: bool) -> None:
    """Take a delivery back.

    Its transactions, the labels that came with it, and what was set aside of it. DELIVERY is the file's name as
    import list shows it, or the beginning of its hash.
    """
    from fraud_pipelines.cli.deliveries import undo_named

    undo_named(Settings.from_environment(), delivery, ask=not yes and sys.stdin.isatty(), now=_now())


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
