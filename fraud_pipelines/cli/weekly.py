"""``fraud-pipelines report``: how a week went, as a page for a manager, as Markdown or as JSON."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import click

from fraud_pipelines.cli.days import DAY
from fraud_pipelines.settings import Settings

_LAST: Final = "last"


class _Week(click.ParamType[date | str]):
    """A day, or no day: the last full week."""

    name = "day"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date | str:
        return _LAST if value == _LAST else DAY.convert(value, param, ctx)


@click.command()
@click.option(
    "--week",
    "day",
    type=_Week(),
    is_flag=False,
    flag_value=_LAST,
    default=_LAST,
    metavar="[DATE]",
    help="The week that this day lies in; by default the last that is over.",
)
@click.option("--format", "form", type=click.Choice(["html", "json", "md"]), default="html", show_default=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A file to write; by default a page goes to reports/ in the data directory, the others to the terminal.",
)
def report(day: date | str, form: str, output: Path | None) -> None:
    """Report how a week went.

    Alerts, precision, recall, value saved and lost, and what lies behind them. The page needs nothing else to be read.
    """
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.evaluation.weekly.rendering import as_html, as_json, as_markdown
    from fraud_pipelines.evaluation.weekly.report import weekly_report
    from fraud_pipelines.evaluation.weekly.storing import write_page
    from fraud_pipelines.evaluation.weekly.week import last_full_week, monday_of

    settings = Settings.from_environment()
    monday = monday_of(day) if isinstance(day, date) else last_full_week(datetime.now(UTC).date())
    made = weekly_report(warehouse_of(settings), settings, monday)
    if output is None and form == "html":
        click.echo(f"Written to {write_page(made, settings.reports_dir)}.")
        return
    text = {"html": as_html, "json": as_json, "md": as_markdown}[form](made)
    if output is None:
        click.echo(text)
        return
    output.write_text(text + "\n", encoding="utf-8")
    click.echo(f"Written to {output}.")
