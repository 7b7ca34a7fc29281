"""The reference of the site, written from the code: commands, settings, tables, metrics, assets and errors.

Each function gives a page as Markdown. `tools.site_hooks` puts them into the site when it is built, so that none of
them can be out of date.
"""

import inspect
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud_pipelines import errors
from fraud_pipelines.cli import main
from fraud_pipelines.cli.commands import SECTIONS
from fraud_pipelines.settings_tables import TABLES, settings_table

if TYPE_CHECKING:
    import dagster as dg

PERFORMANCE = "monitoring.model_performance"


def commands() -> str:
    """Every command with its arguments, options, defaults and help."""
    listed = {name: title for title, names in SECTIONS.items() for name in names}
    order = [*listed, *(name for name in main.commands if name not in listed)]
    parts = ["# Commands\n", "What `fraud-pipelines COMMAND --help` prints, on one page.\n"]
    for title, names in groupby((name for name in order if name in main.commands), lambda name: listed.get(name, "")):
        parts.append(f"## {title or 'Further'}\n")
        for name in names:
            parts += _command(main.commands[name], name)
    return "\n".join(parts)


def _command(command: click.Command, *path: str) -> Iterator[str]:
    # A command keeps the options for its help as they were first asked for.
    context = click.Context(command, info_name=" ".join(("fraud-pipelines", *path)), **main.context_settings)
    yield f"### `fraud-pipelines {' '.join(path)}`\n"
    yield inspect.cleandoc(command.help or "").replace("\b\n", "") + "\n"
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _command(below, *path, name)
        return
    yield "```text\n" + context.command.get_usage(context).removeprefix("Usage: ") + "\n```\n"
    rows = [record for option in command.params if (record := option.get_help_record(context))]
    if rows:
        yield "| option | what it means |\n|---|---|"
        yield "\n".join(f"| `{_cell(name)}` | {_cell(words)} |" for name, words in rows) + "\n"


def settings() -> str:
    """Every setting with its default and meaning."""
    parts = [
        "# Settings\n",
        "From the environment, `.env`, or a file in `FRAUD_SECRETS_DIR`; the environment comes first.\n",
    ]
    for name, (model, prefix) in TABLES.items():
        parts += [f"## {name[0].upper()}{name[1:]}\n", settings_table(model, prefix) + "\n"]
    return "\n".join(parts)


def tables() -> str:
    """Every table and view of the warehouse with its columns and their comments, as a new file has them."""
    parts = [
        "# Tables\n",
        "`data/fraud.duckdb` as this release makes it. The descriptions are stored as comments, and DuckDB shows them: "
        "`SELECT column_name, comment FROM duckdb_columns()`. Each entity has besides a table of histories in "
        "`features` and `streaming`, as `features.user_history`: [what is kept of an entity](../features.md).\n",
    ]
    rows = [row for row in _columns() if not (row[1].endswith("_history") and row[0] in ("features", "streaming"))]
    for schema, of_schema in groupby(rows, lambda row: row[0]):
        parts.append(f"## {schema}\n")
        for table, columns in groupby(of_schema, lambda row: row[1]):
            parts.append(f"### `{schema}.{table}`\n\n| column | type | what it holds |\n|---|---|---|")
            parts.append(
                "\n".join(f"| `{name}` | {kind} | {_cell(comment)} |" for _, _, name, kind, comment in columns) + "\n"
            )
    return "\n".join(parts)


def metrics() -> str:
    """The figures of models and policies, with their formulas."""
    parts = [
        "# Metrics\n",
        f"The columns of `{PERFORMANCE}`: a row for each model, policy and channel as of each day. "
        "How they are estimated: [Performance and tuning](../tuning.md). How one is added: [Metrics](../metrics.md).\n",
        "| metric | what it is |\n|---|---|",
    ]
    schema, table = PERFORMANCE.split(".")
    parts += [f"| `{row[2]}` | {_cell(row[4])} |" for row in _columns() if row[:2] == (schema, table)]
    return "\n".join(parts) + "\n"


def assets() -> str:
    """Assets, checks, jobs, schedules and sensors."""
    from fraud_pipelines.definitions import defs

    definitions = defs()
    parts = [
        "# Assets, checks and jobs\n",
        "What Dagster finds in the code location. How to read its pages: [Dagster's pages](../dagster.md).\n",
    ]
    specs = sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key)
    for layer, of_layer in groupby(specs, lambda spec: spec.group_name):
        parts.append(f"## {layer}\n")
        for spec in of_layer:
            parts += _asset(spec, definitions)
    parts.append("## Jobs, schedules and sensors\n\n| name | kind | what it does |\n|---|---|---|")
    repository = definitions.get_repository_def()
    jobs = [repository.get_job(name) for name in sorted(repository.job_names) if not name.startswith("__")]
    rows = [(each.name, "job", each.description) for each in jobs]
    rows += [(each.name, f"schedule, `{each.cron_schedule}`", each.description) for each in repository.schedule_defs]
    rows += [(each.name, "sensor", each.description) for each in repository.sensor_defs]
    parts += [f"| `{name}` | {kind} | {_cell(description or '')} |" for name, kind, description in rows]
    return "\n".join(parts) + "\n"


def _asset(spec: "dg.AssetSpec", definitions: "dg.Definitions") -> Iterator[str]:
    graph = definitions.resolve_asset_graph()
    reads = ", ".join(f"`{key.to_user_string()}`" for key in sorted({dep.asset_key for dep in spec.deps}))
    yield f"### `{spec.key.to_user_string()}`\n\n{_prose(spec.description)}\n"
    yield f"Reads: {reads or 'the landing zone'}.\n"
    for key in sorted(key for key in graph.asset_check_keys if key.asset_key == spec.key):
        check = graph.get(key)
        blocking = "stops what lies downstream" if check.blocking else "is shown"
        yield f"- check `{key.name}`, which {blocking}: {_prose(check.description)}"
    yield ""


def error_types() -> str:
    """The errors that a person has to act on."""
    parts = [
        "# Errors\n",
        "Each is one message, which names the cause and the remedy; there is no traceback. A command that ends with "
        "one exits with 1. A step of a run shows it as its failure.\n",
        "| error | when | what Dagster does |\n|---|---|---|",
    ]
    passing = {errors.WarehouseBusy, errors.RegistryUnavailable}
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.FraudPipelinesError) and kind is not errors.FraudPipelinesError:
            retried = "tries the step again, up to three times" if kind in passing else "fails the step"
            parts.append(f"| `{name}` | {_cell(_prose(kind.__doc__))} | {retried} |")
    return (
        "\n".join(parts) + "\n\nWhy a row of a file is rejected: [the reasons](../mappings.md#why-a-row-is-rejected).\n"
    )


PAGES = {
    "reference/commands.md": commands,
    "reference/settings.md": settings,
    "reference/tables.md": tables,
    "reference/metrics.md": metrics,
    "reference/assets.md": assets,
    "reference/errors.md": error_types,
}
"""Where each lies in the site."""


def _columns() -> list[tuple[str, str, str, str, str]]:
    """Schema, table, column, type and comment, of a new warehouse with what ships."""
    from fraud_pipelines.bootstrap import open_warehouse
    from fraud_pipelines.plan.compile import shipped_plan

    with tempfile.TemporaryDirectory() as folder:
        warehouse = open_warehouse(Path(folder) / "new.duckdb", plan=shipped_plan(), wait_seconds=5)
        with warehouse.connect(read_only=True) as connection:
            rows = connection.execute(
                "SELECT schema_name, table_name, column_name, data_type, coalesce(comment, '') FROM duckdb_columns() "
                "WHERE NOT internal ORDER BY schema_name, table_name, column_index"
            ).fetchall()
    return [(str(a), str(b), str(c), str(d), str(e)) for a, b, c, d, e in rows]


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
