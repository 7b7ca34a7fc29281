"""The contract of an aggregate: every function that is registered keeps it, without being named here."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from fraud_pipelines.plan.folding.function import Function
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.features.declared_oracle import Row
from fraud_pipelines_tests.features.random_declarations import (
    ATTRIBUTES,
    CONDITIONS,
    NUMBERS,
    VALUES,
    assert_any_cut_gives_the_same_bits,
    assert_as_the_oracle_says,
    plan_of,
    transactions,
)

EXAMPLES = examples(6, unchecked=[HealthCheck.too_slow])
FOLDED = [how for how, function in FUNCTIONS.items() if not function.labels]


def declared(how: str, function: Function) -> str:
    """The function over every column it takes and both kinds of windows, with conditions and without, by two keys."""
    columns = VALUES if "text" in function.types else NUMBERS
    of = {0: [""], 1: [f", of: {column}" for column in columns], 2: [", of: [latitude, longitude]"]}[function.columns]
    windows = {"none": [""], "rows": ["1", "3"], "span": ["1h", "7d"], "either": ["1", "3", "1h", "7d"]}[function.over]
    conditions = ["", *(f', where: "{where}"' for where in CONDITIONS)] if function.where else [""]
    small = {"window": ", options: {window: 3}"} if "window" in function.options else {}
    lines = [ATTRIBUTES, "entities:"]
    for e, key in enumerate(("user_id", "[card_id, country, merchant_id]")):
        lines += [f"  entity_{e}:", f"    key: {key}", "    aggregates:"]
        chosen = [
            f"how: {how}{column}{f', over: {window}' if window else ''}{where}{small.get('window', '')}"
            for column in of
            for window in windows
            for where in conditions
        ]
        lines += [f"      - {{{fields}, name: f_{e}_{a}}}" for a, fields in enumerate(chosen)]
    return "\n".join(lines)


@pytest.mark.parametrize("how", FOLDED)
def test_it_is_the_same_to_the_bit_for_any_cut_of_the_rows(tmp_path_factory: Any, how: str) -> None:
    plan = plan_of(declared(how, FUNCTIONS[how]), tmp_path_factory.mktemp("plan"))

    @EXAMPLES
    @given(transactions(max_size=40), st.data())
    def holds(rows: list[Row], data: st.DataObject) -> None:
        assert_any_cut_gives_the_same_bits(plan, rows, data)

    holds()


@pytest.mark.parametrize("how", FOLDED)
def test_it_is_what_its_reference_says(tmp_path_factory: Any, how: str) -> None:
    plan = plan_of(declared(how, FUNCTIONS[how]), tmp_path_factory.mktemp("plan"))

    @EXAMPLES
    @given(transactions(max_size=40))
    def holds(rows: list[Row]) -> None:
        assert_as_the_oracle_says(plan, rows)

    holds()
