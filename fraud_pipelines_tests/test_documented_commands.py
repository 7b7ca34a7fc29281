"""The commands in the pages exist, with the options that they are given; those that are marked to be run, run."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import click
import pytest

from fraud_pipelines.cli import main
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.documented import FRESH, OURS, ROOT, Block, blocks, run_in, runnable

BLOCKS = blocks()
TYPED = (click.Choice, click.IntRange, click.FloatRange)
PLACEHOLDER = re.compile(r"[A-Z_]{3,}|…|\.\.\.")


def parse(words: list[str]) -> None:
    """Check the words after ``fraud-pipelines``: the command is there, knows the options, and lacks none.

    Raises:
        click.UsageError: it isn't so; the message says what.
    """
    command: click.Command = main
    # A command keeps the option for its help as it was first asked for.
    context = click.Context(main, info_name="fraud-pipelines", **main.context_settings)
    while isinstance(command, click.Group):
        parser = command.make_parser(context)
        parser.allow_interspersed_args = False
        given, words, _ = parser.parse_args(list(words))
        if not words:
            assert given or command.invoke_without_command or command.callback, (
                f"{context.command_path}: which command?"
            )
            return
        below = command.get_command(context, words[0]) or command.get_command(context, "files")
        if below is None:
            raise click.UsageError(f"there is no command {words[0]!r} in {context.command_path}")
        context = click.Context(below, info_name=words[0], parent=context)
        command, words = below, words[1:]
    values, left, _ = command.make_parser(context).parse_args(list(words))
    if left:
        raise click.UsageError(f"{context.command_path} takes no {left[0]!r}")
    for parameter in command.params:
        if parameter.required and values.get(str(parameter.name)) is None and "--help" not in words:
            raise click.UsageError(f"{context.command_path} needs {parameter.human_readable_name}")
        value = values.get(str(parameter.name))
        if isinstance(parameter.type, TYPED) and isinstance(value, str) and not PLACEHOLDER.fullmatch(value):
            parameter.process_value(context, value)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_every_command_is_one(block: Block) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for words in block.commands():
        if words[0] in OURS:
            parse([word.strip("[]") for word in words[1:]])
        elif words[0] == "make":
            for target in words[1:]:
                assert "=" in target or re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
        elif words[0] in {"python", ".venv/bin/python"} and words[1].endswith(".py"):
            assert (ROOT / words[1]).exists(), words[1]


def test_the_check_finds_what_is_wrong() -> None:
    for words in (["demos"], ["demo", "--dayz", "3"], ["demo", "--days", "x"], ["run", "--from", "2026-10-01"]):
        with pytest.raises(click.UsageError):
            parse(words)
    with pytest.raises(click.UsageError):
        parse(["review", "labels"])


def rows_of_the_table() -> Iterator[str]:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Commands\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            yield line.replace("\\|", "/").split("|")[1]


def test_the_readmes_table_has_every_command_and_no_other_option() -> None:
    named: set[str] = set()
    for row in rows_of_the_table():
        words = [word for word in re.findall(r"`(?:fraud-pipelines )?([a-z-]+)", row) if word in main.commands]
        assert words, row
        named |= set(words)
        known = {option for each in words for option in options(main.commands[each])}
        assert set(re.findall(r"--[a-z-]+", row)) <= known, row
    # `compile` is what make install runs.
    assert named >= main.commands.keys() - {"compile"}


def options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from parameter.opts
    if isinstance(command, click.Group):
        for below in (*command.commands.values(), command.get_command(click.Context(command), "files")):
            yield from options(below) if below else ()


@pytest.mark.parametrize("page", FRESH)
def test_the_commands_of_a_page_run(
    page: str, installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_in(tmp_path, runnable()[page], installation)


def test_a_rule_of_the_docs_has_not_expired() -> None:
    for block in BLOCKS:
        for day in re.findall(r"expires: (\d{4}-\d\d-\d\d)", block.text):
            assert date.fromisoformat(day) > date(2099, 1, 1), block.name
