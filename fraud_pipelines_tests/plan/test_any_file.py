"""Whatever a file holds, it compiles or its problems are told, each once, with a line of the file."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.problems import InvalidDeclarations
from fraud_pipelines_tests.examples import examples

EXAMPLE = yaml.safe_load((Path(__file__).parents[2] / "data" / "fraud.example.yaml").read_text(encoding="utf-8"))

_WORDS = """
    amount|country|user_id|card|a|b|text|number|count|sum|z|1h|5|none||é|a + b|b * 2|amount > 1|sum(amount)|(|user|~
    |status = 'x'|tx_count_1h|is_night|<<|abroad: {}
"""
_KEYS = "type role how of over where name key aggregates sql daily min options"

_words = st.sampled_from(_WORDS.split("|"))
_keys = st.sampled_from(_KEYS.split()) | _words
_scalars = st.one_of(
    _words, st.none(), st.booleans(), st.integers(-3, 2000), st.floats(), st.dates(), st.text(max_size=5)
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)
_sections = st.sampled_from(["attributes", "entities", "features", "other"])


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, object]:
    """The example, with some values replaced by others."""
    content: dict[str, object] = yaml.safe_load(yaml.safe_dump(EXAMPLE))
    for _ in range(draw(st.integers(1, 4))):
        place: Any = content
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or draw(st.integers(0, 3)) == 0:
                place[key] = draw(_values)
                break
            place = place[key]
    return content


def check(folder: Path, text: str) -> None:
    path = folder / "any.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        compile_plan(path)
    except InvalidDeclarations as error:
        problems = error.problems
    else:
        return
    assert problems
    assert len({(problem.line, problem.key, problem.message) for problem in problems}) == len(problems)
    assert {problem.file for problem in problems} == {str(path)}
    assert all(1 <= problem.line <= len(text.splitlines()) + 1 for problem in problems)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@examples(100, unchecked=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(content=damaged() | st.dictionaries(_sections, st.dictionaries(_words, _values, max_size=3), max_size=3))
def test_any_content_is_told_what_is_wrong_with_it(folder: Path, content: dict[str, object]) -> None:
    check(folder, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


@given(text=st.text(st.characters(codec="utf-8"), max_size=60) | st.text("{}[]:,&*!|>'\"- \nab#?", max_size=40))
def test_any_text_is_told_what_is_wrong_with_it(folder: Path, text: str) -> None:
    check(folder, text)
