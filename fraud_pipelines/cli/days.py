"""A day as it is given on the command line."""

from datetime import date
from typing import Final

import click


class Day(click.ParamType[date]):
    """A UTC day, written ``YYYY-MM-DD``."""

    name = "YYYY-MM-DD"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no day; write it as 2026-10-31", param, ctx)


DAY: Final = Day()
