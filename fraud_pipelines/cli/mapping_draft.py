"""``fraud-pipelines mapping``: a first mapping of a file, and the mappings of known sources."""

from pathlib import Path

import click

from fraud_pipelines.settings import Settings


@click.group()
def mapping() -> None:
    """Draft a column mapping for a file; see those of known sources."""


@mapping.command("draft")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Write it to this file, which must not exist.")
def draft(file: Path, output: Path | None) -> None:
    """Write a first mapping of FILE, with comments.

    Every line of it is a guess by names and values of its first rows. Comments say what has to be chosen.
    """
    from fraud_pipelines.errors import InvalidInput
    from fraud_pipelines.plan.compile import plan_in_force
    from fraud_pipelines.transactions.mapping_draft import draft_mapping

    text = draft_mapping(file, plan_in_force(Settings.from_environment()).attributes)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as target:
            target.write(text)
    except OSError as error:
        raise InvalidInput(f"{output} can't be written: {error.strerror}. Name a new file.") from error
    click.echo(f"Wrote {output}. Read it through, then: fraud-pipelines import {file} --mapping {output} --dry-run")


@mapping.command("list")
def list_sources() -> None:
    """List the public data sets and exports that need no mapping."""
    from fraud_pipelines.transactions.recognition import known_sources

    width = max(map(len, known_sources()))
    for name, source in known_sources().items():
        click.echo(f"{name:<{width}}  {source.title}")


@mapping.command("show")
@click.argument("source")
@click.option("--declarations", is_flag=True, help="What it has beyond the columns that ship, for fraud.yaml.")
def show(source: str, declarations: bool) -> None:
    """Print the mapping that ships for SOURCE, to begin your own with.

    SOURCE is a name that mapping list shows, or a file of such a source.
    """
    from fraud_pipelines.transactions.recognition import shown

    click.echo(shown(source, declarations=declarations), nl=False)
