"""What ships as declarations is what the engine computes today: names, types, roles, and every bit of an expression."""

from datetime import datetime, timedelta

import duckdb
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_pipelines.features.catalog import FEATURES, table_schema
from fraud_pipelines.features.declarations import ENTITIES
from fraud_pipelines.features.derived import DERIVED
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.expressions import read_type
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.plan import POLARS_TYPES
from fraud_pipelines.plan.types import Aggregate, EntityPlan
from fraud_pipelines.transactions.cleaning import MAX_AMOUNT
from fraud_pipelines.transactions.schema import REQUIRED_COLUMNS, TRANSACTION_COLUMNS

PLAN = compile_plan()
FROM_LABELS = {
    aggregate.name for entity in PLAN.entities for aggregate in entity.aggregates if FUNCTIONS[aggregate.how].labels
}
"""Features that count what was known before the payment, with no fixed delay: other ones than the engine's."""


def test_the_columns_are_those_of_today() -> None:
    assert list(PLAN.attribute_types.items()) == list(TRANSACTION_COLUMNS.items())
    assert [each.name for each in PLAN.attributes if each.required] == list(REQUIRED_COLUMNS)


def test_an_amount_has_the_bounds_that_rows_are_judged_by() -> None:
    [amount] = [each for each in PLAN.attributes if each.name == "amount"]
    assert (amount.minimum, amount.maximum) == (0, MAX_AMOUNT)


def test_the_features_are_those_of_today_in_order() -> None:
    assert list(PLAN.feature_types.items()) == list(table_schema().items())


def test_models_get_each_feature_as_today() -> None:
    schema = {
        name: (feature.role, feature.direction, feature.daily) for name, feature in FEATURES.items() if feature.modelled
    }
    assert {name: (model.role, model.direction, model.daily) for name, model in PLAN.model_schema.items()} == schema


def test_words_are_those_of_today() -> None:
    declared = {name: (feature.description, feature.null_rule) for name, feature in PLAN.features.items()}
    today = {name: (feature.description, feature.null_rule) for name, feature in FEATURES.items()}
    for name in FROM_LABELS:
        del declared[name], today[name]
    # Said of any column by now, not of amounts alone.
    told = declared.pop("amount_vs_avg"), today.pop("amount_vs_avg")
    assert told[0][0] == told[1][0]
    assert told[0][1] == told[1][1].replace("amounts", "values")
    assert declared == today


def test_each_feature_requires_the_columns_of_today() -> None:
    read = {name: {*PLAN.columns_read([name])} - {*REQUIRED_COLUMNS} for name in PLAN.features}
    assert read == {name: {*feature.requires} for name, feature in FEATURES.items()}


def test_the_entities_are_those_of_today() -> None:
    assert [(each.name, each.key) for each in PLAN.entities] == [(each.name, (each.column,)) for each in ENTITIES]


def today(entity: EntityPlan, aggregate: Aggregate) -> tuple[object, ...]:
    """What `FEATURES` says of how an aggregate is computed, from its declaration."""
    of, how, over, options = aggregate.of, aggregate.how, aggregate.over, aggregate.options
    seconds = over.total_seconds() if isinstance(over, timedelta) else None
    shrunk = [options[name] for name in ("window", "weight", "share") if name in options]
    parameters: dict[str, tuple[object, ...]] = {
        "count": ("count", seconds),
        "lag": ("lag", *of, over),
        "minutes_since_last": ("since_last", "minutes"),
        "days_since_last": ("since_last", "days"),
        "changed": ("changed", *of),
        "ratio_to_mean": ("ratio_to_average", *of),
        **{name: (name, *of, *shrunk) for name in ("z", "rz", "log_ratio", "max_ratio")},
        "outsized": (how, *of, *shrunk, options.get("outsized_z"), options.get("outsized_days", 0) * 86_400),
        **{name: ("rolling", *of, name, over) for name in ("mean", "std", "min", "max")},
    }
    counted = ("count_mean", 86_400, over) if of == ("tx_count_24h",) else None
    return (*entity.key, *(counted or parameters[how]))


def test_each_aggregate_is_declared_with_the_parameters_of_today() -> None:
    declared = {
        each.name: today(entity, each)
        for entity in PLAN.entities
        for each in entity.aggregates
        if each.name not in FROM_LABELS
    }
    assert declared == {name: feature.computed for name, feature in FEATURES.items() if name in declared}
    assert len(declared) + len(FROM_LABELS) + len(PLAN.expressions) == len(FEATURES)
    assert not [each for entity in PLAN.entities for each in entity.aggregates if each.where]


_moments = st.datetimes(min_value=datetime(1960, 1, 1), max_value=datetime(2100, 1, 1)) | st.integers(0, 400).map(
    lambda hours: datetime(2026, 2, 26) + timedelta(hours=hours)
)
_numbers = st.floats(allow_nan=False) | st.sampled_from([119.99999, 120.0, 120.00001, -0.0])
_values = {
    "timestamp": _moments,
    "amount": _numbers,
    "country_changed": st.none() | st.sampled_from([0, 1]),
    "minutes_since_last": st.none() | _numbers,
}


@given(st.lists(st.fixed_dictionaries(_values), min_size=1, max_size=40))
def test_each_expression_gives_the_bits_of_today(rows: list[dict[str, object]]) -> None:
    schema = {"timestamp": pl.Datetime("us"), "amount": pl.Float64(), "country_changed": pl.Int8()}
    frame = pl.DataFrame(rows, schema=pl.Schema(schema | {"minutes_since_last": pl.Float64()}))
    expected = frame
    for each in DERIVED:
        expected = expected.with_columns(each.expression)
    expected = expected.select(expression.name for expression in PLAN.expressions)

    wide, declared = frame.with_columns(pl.selectors.integer().cast(pl.Int64)), []
    with duckdb.connect() as connection:
        for expression in PLAN.expressions:
            connection.register("so_far", wide.to_arrow())
            [value] = connection.sql(f"SELECT ({expression.sql})::{expression.sql_type} FROM so_far").pl()
            declared.append(value.alias(expression.name))
            if expression.name not in wide.columns:
                read = POLARS_TYPES[read_type(expression.sql_type)]
                wide = wide.with_columns(value.cast(read).alias(expression.name))

    bits = [pl.col("amount").reinterpret(signed=True), pl.exclude("amount")]
    assert_frame_equal(pl.DataFrame(declared).select(bits), expected.select(bits))
