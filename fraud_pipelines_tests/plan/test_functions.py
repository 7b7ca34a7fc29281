"""A registered function can be declared, named, described and versioned; names that would clash are refused."""

from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.detection.schema import MODEL_SCORES
from fraud_pipelines.detection.supervised import LABEL
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.folding.function import Function
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.names import RESERVED
from fraud_pipelines_tests.plan.files import plan_of


def declared(how: str, function: Function, *, more: str = "") -> str:
    of = {0: "", 1: ", of: amount", 2: ", of: [amount, fee]"}[function.columns]
    over = {"none": "", "rows": ", over: 1", "span": ", over: 3h", "either": ", over: [3h, 7]"}[function.over]
    return f"""
        attributes: {{fee: {{type: number}}}}
        entities: {{town: {{key: [city, country], aggregates: [{{how: {how}{of}{over}{more}}}]}}}}
    """


@pytest.mark.parametrize("how", FUNCTIONS)
def test_each_function_gives_features_with_a_name_a_type_and_words(tmp_path: Path, how: str) -> None:
    function = FUNCTIONS[how]
    plan = plan_of(tmp_path, declared(how, function))
    features = [feature for feature in plan.features.values() if feature.entity == "town"]
    of = "amount_" if function.columns == 1 else ""
    overs = {"none": [""], "rows": ["_1"], "span": ["_3h"], "either": ["_3h", "_7"]}[function.over]
    assert [feature.name for feature in features] == [f"town_{of}{how}{over}" for over in overs]
    for feature in features:
        assert feature.dtype in (pl.Float64(), pl.Int32(), pl.Int8())
        assert (feature.dtype == pl.Float64()) == (feature.type == "number")
        assert feature.model is not None
        assert not feature.model.daily
        assert feature.reads == ("city", "country", *["amount", "fee"][: function.columns], *function.reads)
        words = (feature.description, feature.formula, feature.null_rule)
        assert all(words)
        assert not any("{" in text or "  " in text or text.endswith(" ") for text in words)
        assert feature.null_rule.startswith("null without city or country")
    assert len({feature.definition for feature in features}) == len(features)
    assert plan.entities[-1].aggregates[0].options == {
        name: option.default for name, option in function.options.items()
    }


@pytest.mark.parametrize(("how", "option"), [(how, name) for how, each in FUNCTIONS.items() for name in each.options])
def test_an_option_counts_for_the_version_once_it_differs_from_the_default(
    tmp_path: Path, how: str, option: str
) -> None:
    function = FUNCTIONS[how]
    bounds = function.options[option]
    plans = [
        plan_of(tmp_path, declared(how, function, more=f", options: {{{option}: {value}}}"))
        for value in (bounds.default, bounds.minimum, bounds.maximum)
    ]
    usual = plan_of(tmp_path, declared(how, function)).version
    assert plans[0].version == usual
    assert [plan.version == usual for plan in plans[1:]] == [
        bound == bounds.default for bound in (bounds.minimum, bounds.maximum)
    ]


def test_no_name_is_free_that_a_table_beside_the_transactions_has(tmp_path: Path) -> None:
    warehouse = open_warehouse(tmp_path / "fraud.duckdb", plan=compile_plan(), wait_seconds=5)
    joined = ("raw.transactions", "raw.rejected_transactions", "scoring.transaction_scores", "scoring.decisions")
    rows = warehouse.read(
        "SELECT DISTINCT column_name FROM information_schema.columns "
        "WHERE list_contains($tables, table_schema || '.' || table_name)",
        {"tables": [*joined, "scoring.decision_revisions", "feedback.labels"]},
    )
    taken = {attribute.name for attribute in compile_plan().attributes}
    assert set(rows["column_name"]) <= RESERVED | taken
    assert {LABEL, *MODEL_SCORES} <= RESERVED
