"""The page about declarations names every key, function, option and limit there is."""

import re
from pathlib import Path
from typing import Any

import pytest

from fraud_pipelines.plan import source, spans
from fraud_pipelines.plan.compile_aggregates import MAX_KEY_COLUMNS
from fraud_pipelines.plan.declared import DeclaredAggregate, DeclaredAttribute, DeclaredFeature
from fraud_pipelines.plan.expressions import MAX_LENGTH
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.functions_table import with_table
from fraud_pipelines.plan.registry import MAX_ATTRIBUTES, MAX_ENTITIES, MAX_FEATURES
from fraud_pipelines.plan.sql_functions import SCALAR_FUNCTIONS
from fraud_pipelines.plan.types import Aggregate

PAGE = (Path(__file__).parents[2] / "docs" / "declarations.md").read_text(encoding="utf-8")


def test_the_table_of_functions_is_the_one_that_is_generated() -> None:
    assert with_table(PAGE) == PAGE, "run: python -m fraud_pipelines.plan.functions_table"
    assert all(f"| `{name}` |" in PAGE for name in FUNCTIONS)


def test_the_example_of_an_aggregate_is_one() -> None:
    [code] = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    module: dict[str, Any] = {}
    exec(code, module)
    function = module["FUNCTIONS"]["range"]
    assert function.layout
    assert [step.name for step in function.steps if callable(step.code())] == ["range"]
    rows = [{"amount": value} for value in (9.0, None, 2.0, 5.0)]
    declared = Aggregate("a", "range", of=("amount",), over=3)
    assert function.reference(declared, rows, [True] * 4, 3) == 3.0


def test_every_key_is_explained() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    for model in (DeclaredAttribute, DeclaredAggregate, DeclaredFeature):
        assert model.model_fields.keys() <= named


def test_the_sql_functions_are_those_of_the_list() -> None:
    lists = re.findall(r"^- (?:numbers|conditions|text|times): ((?:.+\n)(?:  .+\n)*)", PAGE, re.MULTILINE)
    told = [name.strip() for names in lists for name in names.split(",")]
    assert sorted(told) == sorted(name for name in SCALAR_FUNCTIONS if name[0].isalpha())


@pytest.mark.parametrize(
    "limit",
    [
        f"up to {MAX_ATTRIBUTES} columns, {MAX_ENTITIES} entities and {MAX_FEATURES} features",
        f"up to {source.MAX_BYTES // 1_000_000} MB",
        f"up to {MAX_LENGTH:,} characters",
        f"up to {spans.MAX_SPAN.days} days",
        f"up to {spans.MAX_ROWS:,}",
        f"a list of up to {MAX_KEY_COLUMNS}",
    ],
)
def test_the_limits_are_those_in_force(limit: str) -> None:
    assert limit in PAGE
