"""Whatever is declared: the same bits for any cut of the rows, and what the words say."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.plan.compile import compile_text
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines_tests.features.declared_oracle import Row
from fraud_pipelines_tests.features.random_declarations import (
    ATTRIBUTES,
    CONDITIONS,
    EXAMPLES,
    KEYS,
    NUMBERS,
    SPANS,
    START,
    VALUES,
    assert_any_cut_gives_the_same_bits,
    assert_as_the_oracle_says,
    frame,
    plan_of,
    transactions,
)


@st.composite
def aggregates(draw: st.DrawFn) -> str:
    """One aggregate as YAML, without a name."""
    how = draw(st.sampled_from(sorted(name for name, function in FUNCTIONS.items() if not function.labels)))
    function = FUNCTIONS[how]
    fields = [f"how: {how}"]
    if function.columns == 2:
        fields.append("of: [latitude, longitude]")
    elif function.columns:
        fields.append(f"of: {draw(st.sampled_from(VALUES if 'text' in function.types else NUMBERS))}")
    rows = st.integers(1, 12).map(str)
    if function.over == "either":
        fields.append(f"over: {draw(st.one_of(rows, st.sampled_from(SPANS)))}")
    elif function.over == "rows":
        fields.append(f"over: {draw(rows)}")
    options: dict[str, float] = {name: each.default for name, each in function.options.items()}
    options |= {"window": draw(st.integers(1, 8)), "weight": draw(st.sampled_from([0.5, 5])), "share": 0.5}
    options |= {"outsized_z": draw(st.sampled_from([0.5, 2])), "outsized_days": draw(st.integers(1, 9))}
    chosen = [f"{name}: {options[name]:g}" for name in function.options]
    if chosen:
        fields.append(f"options: {{{', '.join(chosen)}}}")
    where = draw(st.sampled_from([None, None, *CONDITIONS]))
    if where:
        fields.append(f'where: "{where}"')
    return ", ".join(fields)


@st.composite
def declarations(draw: st.DrawFn) -> str:
    """Up to three entities with up to eight aggregates each, of which some are computed from others."""
    text = [ATTRIBUTES, "entities:"]
    for e in range(draw(st.integers(1, 3))):
        text += [f"  entity_{e}:", f"    key: {draw(st.sampled_from(KEYS))}", "    aggregates:"]
        names = []
        for a, fields in enumerate(draw(st.lists(aggregates(), min_size=1, max_size=8))):
            names.append(f"f_{e}_{a}")
            text.append(f"      - {{{fields}, name: {names[-1]}}}")
        for a in range(draw(st.integers(0, 2))):
            how = draw(st.sampled_from(["mean", "max", "sum", "std"]))
            over = draw(st.sampled_from(["3", "5", "24h"]))
            text.append(f"      - {{how: {how}, of: {draw(st.sampled_from(names))}, over: {over}, name: g_{e}_{a}}}")
            names.append(f"g_{e}_{a}")
    return "\n".join(text)


@EXAMPLES
@given(declarations(), transactions(), st.data())
def test_any_cut_gives_the_same_bits(tmp_path_factory: Any, text: str, rows: list[Row], data: st.DataObject) -> None:
    assert_any_cut_gives_the_same_bits(plan_of(text, tmp_path_factory.mktemp("plan")), rows, data)


@EXAMPLES
@given(declarations())
def test_the_text_that_is_kept_of_a_plan_makes_the_same_plan(tmp_path_factory: Any, text: str) -> None:
    plan = plan_of(text, tmp_path_factory.mktemp("plan"))
    assert compile_text(plan.text) == plan


@EXAMPLES
@given(declarations(), transactions())
def test_features_agree_with_the_words(tmp_path_factory: Any, text: str, rows: list[Row]) -> None:
    assert_as_the_oracle_says(plan_of(text, tmp_path_factory.mktemp("plan")), rows)


def test_the_same_outsized_twice_counts_each_row_once(tmp_path: Path) -> None:
    fields = "how: outsized, of: amount, options: {outsized_z: 0.5, outsized_days: 3}"
    declared = f"entities: {{e: {{key: user_id, aggregates: [{{{fields}, name: x}}, {{{fields}, name: y}}]}}}}"
    plan = plan_of(declared, tmp_path)
    rows = [
        {"transaction_id": f"t{k}", "user_id": "u", "timestamp": START, "amount": a} for k, a in enumerate((1, 2.44, 0))
    ]
    features, _ = compute_features(frame(rows, plan), plan=plan)
    assert features.select("x", "y").rows() == [(0, 0), (0, 0), (1, 1)]
