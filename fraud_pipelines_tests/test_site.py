"""The site: every page is in it, every link leads somewhere, and what is made from code has all there is."""

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fraud_pipelines import errors
from fraud_pipelines.cli import main
from fraud_pipelines_tests.documented import PAGES, ROOT
from tools import architecture, measurements, reference
from tools.site_links import AT_ROOT, example_page, examples, in_site

CODE = re.compile(r"^( *)```.*?^\1```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LINKED = [*PAGES, ROOT / "CHANGELOG.md"]


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and MkDocs make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for address in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = address.partition("#")
        if "://" in address:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), address
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), address


def in_nav(entry: object) -> set[str]:
    if isinstance(entry, str):
        return {entry}
    below = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    return {page for each in below for page in in_nav(each)}


def test_every_page_is_in_the_navigation() -> None:
    nav = in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    docs = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    made = {*reference.PAGES, *AT_ROOT.values(), "measurements.md"}
    assert docs <= nav
    assert nav - docs <= made
    assert made - nav <= {"security-policy.md"}


def test_links_lead_to_pages_of_the_site() -> None:
    assert in_site("[a](docs/x.md#y)", "README.md", "index.md") == "[a](x.md#y)"
    assert in_site("[a](../../CONTRIBUTING.md)", "docs/how-to/rule.md", "how-to/rule.md") == "[a](../contributing.md)"
    assert in_site("[a](docs/x.md) [b](y.md)", "-", "reference/z.md") == "[a](../x.md) [b](y.md)"
    assert in_site("[a](../data/rules.example.yaml)", "docs/x.md", "x.md") == "[a](examples/rules.example.md)"
    assert in_site("[the code](fraud_pipelines/errors.py)", "README.md", "index.md") == "the code"
    assert in_site("[a](https://x.example/y.md)", "README.md", "index.md") == "[a](https://x.example/y.md)"


def test_the_examples_that_pages_link_to_are_pages() -> None:
    assert "data/rules.example.yaml" in examples(ROOT / "docs" / "decisions.md")
    assert example_page("data/rules.example.yaml") == "examples/rules.example.md"


def test_the_page_of_commands_has_every_command() -> None:
    page = reference.commands()
    assert all(f"### `fraud-pipelines {name}`\n" in page for name in main.commands)
    assert "| `--dry-run` |" in page
    # A command keeps the options for its help as they were first asked for: the page leaves them as they are.
    assert CliRunner().invoke(main, ["demo", "-h"]).exit_code == 0


def test_the_page_of_tables_describes_every_column() -> None:
    page = reference.tables()
    assert "### `scoring.decisions`" in page
    assert "| `amount_vs_avg` |" in page
    assert not re.findall(r"^\| `\w+` \| .+ \|  \|$", page, re.MULTILINE)


def test_the_page_of_errors_has_every_error() -> None:
    page = reference.error_types()
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.FraudPipelinesError) and kind.__subclasses__() == []:
            assert f"| `{name}` |" in page


@pytest.mark.parametrize("section", measurements.SECTIONS, ids=lambda section: section.heading)
def test_measurements_are_there_and_so_is_what_measures_them(section: measurements.Section) -> None:
    assert any(character.isdigit() for character in measurements.section(section))
    _, *words = section.command.split()
    assert (ROOT / (words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0])).exists()


def test_the_picture_is_the_one_that_is_drawn() -> None:
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.picture(), (
        "run: python -m tools.architecture"
    )
