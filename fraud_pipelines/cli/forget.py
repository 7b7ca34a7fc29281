"""``fraud-pipelines forget``: a person is removed from everything that the project writes."""

import sys
from datetime import UTC, datetime

import click
from rich.markup import escape

from fraud_pipelines.settings import Settings


@click.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Don't ask.")
def forget(user: str, yes: bool) -> None:
    """Remove a person from everything that is written here.

    USER is an id or its token. Payments, histories, decisions, comments, alerts, landed files, Dagster's and MLflow's
    records go; the decision log keeps numbers and hashes. Backups are elsewhere: they are not looked at.
    """
    from fraud_pipelines.cli.terminal import narrow_table, terminal
    from fraud_pipelines.forgetting.forget import forget as forget_person
    from fraud_pipelines.forgetting.forget import person_named

    settings = Settings.from_environment()
    person, sources = person_named(settings, user)
    if not yes and sys.stdin.isatty():
        click.confirm(f"Remove the person with {len(person.payments):,} payments for good?", abort=True)
    done = forget_person(settings, person, sources, now=datetime.now(UTC).replace(tzinfo=None))
    console = terminal(highlight=False)
    table = narrow_table(None, "where", "what", "how many", numbers=("how many",))
    for rows in done.tables:
        table.add_row(rows.table, "rows redacted" if rows.redacted else "rows removed", f"{rows.rows:,}")
    for path, values in done.databases.items():
        table.add_row(escape(_below(path, settings)), "values redacted", f"{values:,}")
    for what in ("removed", "redacted"):
        for file in (each for each in done.files if each.what == what):
            table.add_row(escape(_below(file.path, settings)), what, "1")
    for copy in done.copies:
        table.add_row(escape(_below(copy, settings)), "removed", "1")
    console.print(table)
    for file in done.left:
        console.print(f"Still names the person: {escape(str(file.path))}: {file.why}", soft_wrap=True)
    for server in done.servers:
        console.print(f"Not looked at: {server}", soft_wrap=True)
    console.print(f"{done.payments:,} payments are forgotten. Backups and your own sources may still have them.")
    sys.exit(1 if done.left else 0)


def _below(path: object, settings: Settings) -> str:
    return str(path).removeprefix(f"{settings.data_dir}/")
