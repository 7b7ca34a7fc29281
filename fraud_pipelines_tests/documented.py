"""The commands in the pages: README, CONTRIBUTING and docs, block by block."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fraud_pipelines_tests.conftest import Installation

ROOT = Path(__file__).parents[1]
OURS = ("fraud-pipelines", ".venv/bin/fraud-pipelines")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(r"^(?P<indent> *)(?P<run><!-- run -->\n *)?```sh\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_OPERATORS = {">", "|", "&&", "&", "||"}
_SET = re.compile(r"[A-Z_]+=")
_HEREDOC = re.compile(r"^cat > (?P<path>\S+) <<'END'\n(?P<text>.*?)^END\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of shell commands; one below ``<!-- run -->`` can be run as it stands."""

    page: Path
    number: int
    text: str
    runnable: bool

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}"

    def commands(self) -> Iterator[list[str]]:
        """Each command, as words; what a ``cat`` writes into a file is left out."""
        for line in _HEREDOC.sub("", self.text).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            end = next((place for place, word in enumerate(words) if word in _OPERATORS), len(words))
            begin = next((place for place, word in enumerate(words) if not _SET.match(word)), end)
            if words[begin:end]:
                yield words[begin:end]

    def files(self) -> dict[str, str]:
        """The files that it writes: path → content."""
        return {found["path"]: found["text"] for found in _HEREDOC.finditer(self.text)}


def blocks() -> list[Block]:
    """All blocks of all pages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, number, match["text"], match["run"] is not None))
    return found


FRESH = ("docs/how-to/own-data.md",)
"""Pages that begin with an empty data directory; the others are run on a demo."""


def runnable() -> dict[str, list[Block]]:
    """The blocks to be run, by page."""
    found: dict[str, list[Block]] = {}
    for block in blocks():
        if block.runnable:
            found.setdefault(block.page.relative_to(ROOT).as_posix(), []).append(block)
    return found


def run_in(folder: Path, to_run: list[Block], installation: Installation) -> None:
    """Write the files of the blocks into ``folder``, the working directory, and run their commands."""
    exported = {"FRAUD_CONFIG_DIR": str(folder / "config")}
    for block in to_run:
        for path, text in block.files().items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        for words in block.commands():
            if words[0] == "export":
                exported |= dict(word.split("=", maxsplit=1) for word in words[1:])
            elif words[0] != "mkdir":
                assert words[0] in OURS, f"{block.name}: only commands of fraud-pipelines can be run"
                assert installation.invoke(*words[1:], succeeds=True, **exported).strip(), words
