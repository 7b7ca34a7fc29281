"""The page with the weekly report: what the command writes, with links, and no style of its own."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from fraud_pipelines_tests.evaluation.test_weekly import MONDAY, fill
from fraud_pipelines_tests.review.conftest import Client, served


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(fill(tmp_path_factory.mktemp("reporting") / "fraud.duckdb")) as port:
        yield Client(port)


def test_the_report_of_a_week_is_served_with_links_to_its_neighbours(pages: Client) -> None:
    page = pages.get("/report?week=2026-09-17")
    assert page.status == 200
    assert "Fraud report, 14 to 20 September 2026" in page.text
    assert '<link rel="stylesheet" href="/report.css">' in page.text
    assert "<style" not in page.text
    assert f'href="/report?week={MONDAY.replace(day=7)}"' in page.text
    assert "&lt;script&gt;" in page.text
    style = pages.get("/report.css")
    assert (style.status, style.headers["content-type"].split(";")[0]) == (200, "text/css")


@pytest.mark.parametrize(("asked", "words"), [("2030-01-01", "nothing was decided"), ("<b>", "&lt;b&gt;")])
def test_a_week_that_can_t_be_told_is_named(pages: Client, asked: str, words: str) -> None:
    page = pages.get(f"/report?week={quote(asked)}")
    assert page.status == 404
    assert words in page.text
    assert "<b>" not in page.text
