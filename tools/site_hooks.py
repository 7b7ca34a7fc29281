"""What MkDocs does besides: adds the pages that are made from code and those at the root, and mends their links.

The pages of ``docs/`` and the README are read as files, too. There links lead to files; in the site, to pages.
"""

import posixpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools import measurements, reference
from tools.site_links import AT_ROOT, ROOT, example_page, examples, in_site

_SHIM = "https://unpkg.com/iframe-worker/shim"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what isn't in ``docs/``."""
    for source, target in AT_ROOT.items():
        if (ROOT / source).exists():
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, target, content=in_site(text, source, target)))
    made = {path: page() for path, page in reference.PAGES.items()} | {"measurements.md": measurements.page()}
    for target, text in made.items():
        # Their links lead from the root, as those of the settings do, or from where they stand.
        files.append(File.generated(config, target, content=in_site(text, "-", target)))
    for source in sorted({path for page in (ROOT / "docs").rglob("*.md") for path in examples(page)}):
        text = (ROOT / source).read_text(encoding="utf-8")
        shown = f"# {source}\n\n```yaml\n{text}```\n"
        files.append(File.generated(config, example_page(source), content=shown))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Let links of the pages in ``docs/`` lead to pages of the site."""
    source = page.file.src_uri
    if page.file.generated_by:
        return markdown
    return in_site(markdown, f"docs/{source}", source)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001
    """Take the script that makes the search work from a folder from the site itself."""
    own = posixpath.relpath("assets/frame-worker.js", posixpath.dirname(page.url) or ".")
    return output.replace(_SHIM, own)


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:  # noqa: ARG001
    """The same for the page that a server shows where there is none."""
    return output_content.replace(_SHIM, "/assets/frame-worker.js")
