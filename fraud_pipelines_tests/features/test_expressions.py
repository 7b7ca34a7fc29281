"""One definition by SQL: the same bits for a frame, for pieces of it, and for single rows."""

from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.features.expression_rows import compiled
from fraud_pipelines.features.expressions import Conditions, Expression, Expressions
from fraud_pipelines.features.feature_plan import feature_plan
from fraud_pipelines.plan.compile import compile_plan, shipped_plan
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.plan.files import written

TYPES = {"a": "DOUBLE", "b": "DOUBLE", "n": "BIGINT", "m": "TINYINT", "p": "BOOLEAN", "q": "BOOLEAN"}
TYPES |= {"s": "VARCHAR", "t": "TIMESTAMP"}
FRAME = {
    "a": pl.Float64(),
    "b": pl.Float64(),
    "n": pl.Int64(),
    "m": pl.Int8(),
    "p": pl.Boolean(),
    "q": pl.Boolean(),
    "s": pl.String(),
    "t": pl.Datetime("us"),
}

_numbers = st.sampled_from(["a", "b", "n", "m", "0", "1", "2.5", "-1", "NULL"])
_flags = st.sampled_from(["p", "q", "true", "s = 'x'", "s IN ('x', '')", "t IS NULL", "NULL"])


def _wider(parts: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
    """Pairs of a number and a flag, of pairs."""
    number = st.one_of(
        st.tuples(parts, st.sampled_from("+-*/"), parts).map(lambda p: f"({p[0][0]} {p[1]} {p[2][0]})"),
        st.tuples(parts, parts).map(lambda p: f"coalesce({p[0][0]}, {p[1][0]})"),
        st.tuples(parts, parts, parts).map(lambda p: f"CASE WHEN {p[0][1]} THEN {p[1][0]} ELSE {p[2][0]} END"),
        st.tuples(parts, parts, parts).map(lambda p: f"if({p[0][1]}, {p[1][0]}, {p[2][0]})"),
        parts.map(lambda p: f"abs({p[0]})"),
        parts.map(lambda p: f"CAST({p[1]} AS TINYINT)"),
        parts.map(lambda p: f"CAST({p[0]} AS DOUBLE)"),
        parts.map(lambda p: f"CAST({p[0]} AS INTEGER)"),
        parts.map(lambda p: f"round({p[0]}, 1)"),
        parts.map(lambda p: f"hour(t) * 60 + minute(t) + {p[0]}"),
        parts.map(lambda p: f"isodow(t) - dayofweek(t) + {p[0]}"),
    )
    flag = st.one_of(
        st.tuples(parts, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), parts).map(
            lambda p: f"({p[0][0]} {p[1]} {p[2][0]})"
        ),
        st.tuples(parts, st.sampled_from(["AND", "OR"]), parts).map(lambda p: f"({p[0][1]} {p[1]} {p[2][1]})"),
        parts.map(lambda p: f"NOT {p[1]}"),
        parts.map(lambda p: f"({p[0]} IS NOT NULL)"),
        st.tuples(parts, parts, parts).map(lambda p: f"({p[0][0]} BETWEEN {p[1][0]} AND {p[2][0]})"),
        st.tuples(parts, parts).map(lambda p: f"({p[0][0]} IN (1, {p[1][0]}))"),
    )
    return st.tuples(number, flag)


PAIRS = st.recursive(st.tuples(_numbers, _flags), _wider, max_leaves=8)

_row = st.fixed_dictionaries(
    {
        "a": st.none()
        | st.sampled_from([0.0, -0.0, 0.1, 1e308, -1e308, 5e-324])
        | st.floats(allow_nan=False, width=32),
        "b": st.none() | st.sampled_from([0.0, 3.0, 2.5, 1e200]),
        "n": st.none() | st.sampled_from([0, 1, -7, 2**62, -(2**63), 2**63 - 1, 2**53 + 1]),
        "m": st.none() | st.integers(-128, 127),
        "p": st.none() | st.booleans(),
        "q": st.none() | st.booleans(),
        "s": st.none() | st.sampled_from(["x", "", "ü", "X "]),
        "t": st.none() | st.datetimes(min_value=datetime(1960, 1, 1), max_value=datetime(2100, 1, 1)),
    }
)


def bits(frame: pl.DataFrame) -> pl.DataFrame:
    floats = [name for name, dtype in frame.schema.items() if dtype == pl.Float64]
    return frame.with_columns(pl.col(name).reinterpret(signed=True) for name in floats)


def _reads(*sql: str) -> tuple[str, ...]:
    return tuple(TYPES)


@examples(120)
@given(PAIRS, st.lists(_row, min_size=1, max_size=12), st.integers(0, 12))
def test_rows_get_the_bits_of_the_frame(pair: tuple[str, str], rows: list[dict[str, Any]], cut: int) -> None:
    number, flag = pair
    computed = Expressions(
        [
            Expression("x", f"{number} -- a comment", "DOUBLE", _reads(number)),
            Expression("y", flag, "TINYINT", _reads(flag)),
            Expression("z", "coalesce(x, 0) + y", "DOUBLE", ("x", "y")),
        ],
        TYPES,
    )
    frame = pl.DataFrame(rows, schema=FRAME)
    names = ("x", "y", "z")
    whole = computed.on_frame(frame).select(names)
    pieces = [computed.on_frame(piece).select(names) for piece in (frame[:cut], frame[cut:])]
    assert_frame_equal(bits(pl.concat(pieces)), bits(whole))
    single = pl.DataFrame([computed.on_row(row) for row in rows], schema=whole.schema)
    assert_frame_equal(bits(single.select(names)), bits(whole))
    assert whole.select(pl.col("x", "z").is_finite().all()).row(0) in ((True, True), (None, True), (True, None))


@examples(60)
@given(PAIRS, st.lists(_row, min_size=1, max_size=12))
def test_a_condition_that_is_null_does_not_hold(pair: tuple[str, str], rows: list[dict[str, Any]]) -> None:
    sql = pair[1]
    conditions = Conditions([(sql, _reads(sql))], TYPES)
    frame = pl.DataFrame(rows, schema=FRAME)
    found = conditions.on_frame(frame)[sql].tolist()
    assert [conditions.on_row(row)[sql] for row in rows] == found
    known = Expressions([Expression("f", sql, "BOOLEAN", _reads(sql))], TYPES).on_frame(frame)["f"]
    assert found == known.fill_null(value=False).to_list()


@pytest.mark.parametrize("sql", ["n + 9223372036854775807", "CAST(s AS DOUBLE)", "n * n", "a / 0", "ln(a - 1)"])
def test_a_row_on_which_it_fails_is_null_and_stops_nobody(sql: str) -> None:
    rows: list[dict[str, Any]] = [dict.fromkeys(FRAME) | {"n": 2**62, "s": "no number", "a": 1.0}]
    rows.append(dict.fromkeys(FRAME) | {"n": -1, "s": "1.5", "a": 3.0})
    computed = Expressions([Expression("x", sql, "DOUBLE", _reads(sql))], TYPES)
    values = computed.on_frame(pl.DataFrame(rows, schema=FRAME))["x"].to_list()
    assert values[0] is None
    assert [computed.on_row(row)["x"] for row in rows] == values


def test_what_ships_is_compiled_for_single_rows() -> None:
    plan = shipped_plan()
    types = plan.attribute_sql_types | {name: each.sql_type for name, each in plan.features.items()}
    assert all(compiled(each.sql, each.sql_type, types) for each in plan.expressions)


def test_a_feature_of_a_columns_name_is_that_column(tmp_path: Any) -> None:
    plan = compile_plan(written(tmp_path, "features: {twice: {sql: amount * 2}}"))
    row = dict.fromkeys([*plan.attribute_types, *plan.features]) | {"amount": 2.5, "timestamp": datetime(2026, 3, 1)}
    values = feature_plan(plan).expressions.on_row(row)
    assert (values["amount"], values["twice"]) == (2.5, 5.0)
