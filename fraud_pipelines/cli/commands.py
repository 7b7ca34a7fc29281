"""The group of all commands: their help in sections, and their own errors as one message."""

from collections.abc import Iterator
from typing import Final

import click

from fraud_pipelines.environment import keep_files_private, load_env_file
from fraud_pipelines.errors import FraudPipelinesError
from fraud_pipelines.logs import set_up_logs
from fraud_pipelines.storage.faults import in_words, is_fault, store_errors

SECTIONS: Final = {
    "Begin": ("demo", "up", "status", "doctor", "sql", "publish", "compile"),
    "Days": ("import", "mapping", "declarations", "features", "simulate", "run"),
    "Models": ("compare", "evaluate", "try", "models", "thresholds", "report"),
    "Decisions": ("review", "cases", "lists", "backtest", "rules", "policies", "audit", "replay"),
    "Maintenance": ("prune", "compact", "backup", "restore", "relocate", "token", "forget"),
    "Lake": ("lake",),
    "Stream": ("stream-demo", "stream-load", "stream-consume"),
}
"""Section of the help → its commands, in order. One that no section names is listed last."""

HELP_OPTIONS: Final = {"help_option_names": ["-h", "--help"]}
"""For the settings of a command's context; the commands below it take them over."""


class Commands(click.Group):
    """Commands in sections, whose own errors are shown as one message, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        load_env_file()
        set_up_logs()
        try:
            keep_files_private()
            return super().invoke(ctx)
        except FraudPipelinesError as error:
            message = str(error)
        except store_errors() as error:
            if not is_fault(error):
                raise
            message = in_words(error)
        # Not from the error: its traceback would hold open connections until Python ends, which DuckDB complains about.
        raise click.ClickException(message)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(map(len, self.commands))
        for title, names in self._sections():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", self._summary(name, formatter.width)) for name in names])

    def _sections(self) -> Iterator[tuple[str, list[str]]]:
        listed = {name for names in SECTIONS.values() for name in names}
        further = [name for name in self.commands if name not in listed]
        for title, names in ({**SECTIONS, "Further": tuple(further)}).items():
            if present := [name for name in names if name in self.commands]:
                yield title, present

    def _summary(self, name: str, width: int) -> str:
        return self.commands[name].get_short_help_str(limit=width)
