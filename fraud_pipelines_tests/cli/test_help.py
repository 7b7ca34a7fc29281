"""The help: every command with the whole of its description, in 80 columns and in sections."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from fraud_pipelines.cli import main
from fraud_pipelines.cli.commands import SECTIONS


def groups(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Group]]:
    """``group`` and the groups below it, with the words that call each."""
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from groups(command, *path, name)


def shown(*words: str) -> str:
    done = CliRunner().invoke(main, words, terminal_width=80)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("path", [path for path, _ in groups(main)], ids=lambda path: " ".join(path) or "main")
def test_every_description_stands_whole_on_its_line(path: tuple[str, ...]) -> None:
    group = dict(groups(main))[path]
    lines = shown(*path, "-h").splitlines()
    assert max(map(len, lines)) <= 80
    described = {
        line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith("  ") and line.split()[1:]
    }
    for name, command in group.commands.items():
        assert described[name].endswith("."), name
        assert "..." not in described[name], name
        assert (command.help or "").startswith(described[name]), name


def test_short_and_long_help_are_the_same_for_every_command() -> None:
    for path, group in groups(main):
        for name in group.commands:
            assert shown(*path, name, "-h") == shown(*path, name, "--help")


def test_every_command_stands_in_a_section() -> None:
    lines = shown("-h").splitlines()
    titles = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Options", *SECTIONS]
    assert set(main.commands) <= {name for names in SECTIONS.values() for name in names}
