"""Links: in a file of the project they lead to files, in the site to pages."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

AT_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
    "fraud_pipelines/storage/migrations/README.md": "reference/migrations.md",
}
"""Pages that lie elsewhere, and where they are in the site."""

SHOWN = ("data", "fraud_pipelines")
"""YAML files of these folders that pages link to are pages of their own."""

_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")


def in_site(text: str, source: str, target: str) -> str:
    """The text of a page with its links as the site needs them.

    Args:
        text: Markdown.
        source: the page's path from the root of the project; ``-`` for one that is made.
        target: its path in the site.
    """

    def link(match: re.Match[str]) -> str:
        label, address = match.groups()
        path, hash_, anchor = address.partition("#")
        if "://" in address or not path or (source == "-" and not path.startswith("docs/")):
            return match.group()
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page = page_of(whole)
        if page is None:
            return f"`{whole}`" if label.startswith("![") else label[1:-1]
        leads = posixpath.relpath(page, posixpath.dirname(target) or ".")
        return f"{label}({leads}{hash_}{anchor})"

    return _LINK.sub(link, text)


def page_of(path: str) -> str | None:
    """Where a file of the project is in the site; None where it isn't."""
    if path in AT_ROOT:
        return AT_ROOT[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith(".yaml") and path.split("/", maxsplit=1)[0] in SHOWN:
        return example_page(path)
    return None


def example_page(path: str) -> str:
    """The page that shows a YAML file."""
    return f"examples/{Path(path).name.removesuffix('.yaml')}.md"


def examples(page: Path) -> list[str]:
    """The YAML files outside of ``docs/`` that a page links to."""
    found = []
    for _, address in _LINK.findall(page.read_text(encoding="utf-8")):
        whole = posixpath.normpath(posixpath.join("docs", address.partition("#")[0]))
        if whole.endswith(".yaml") and whole.split("/")[0] in SHOWN:
            found.append(whole)
    return found
