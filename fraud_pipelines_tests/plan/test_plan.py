"""The plan: names, types, order, what a model gets, and versions that follow what is computed and nothing else."""

import pickle
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.plan.compile import compile_plan, plan_in_force
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import Aggregate, Modelled
from fraud_pipelines.settings import Settings
from fraud_pipelines_tests.plan.files import plan_of, problems_of, written

EXAMPLE = Path(__file__).parents[2] / "data" / "fraud.example.yaml"

# Of DESIGN, where a comma stands in a text without quotes.
CONTRACT = """
    attributes:                                  # further columns of a transaction
      currency:  {type: text}
      status:    {type: text, role: label}
      card_id:   {type: text, pii: true}
      latitude:  {type: number, min: -90, max: 90}
      longitude: {type: number, min: -180, max: 180}
      v1:        {type: number, role: numeric, direction: both, daily: true}   # enters the daily models as it is
    entities:
      card:
        key: card_id                             # a column, or a list of columns
        aggregates:
          - {how: count, over: [1h, 24h], where: "status = 'declined'", name: card_declines}
          - {how: sum, of: amount, over: 24h}
          - {how: distinct, of: merchant_id, over: 7d, daily: true, direction: high}
          - {how: speed, of: [latitude, longitude]}
      customer_at_merchant:
        key: [user_id, merchant_id]
        aggregates:
          - {how: days_since_first}
    features:
      amount_in_new_country:
        {sql: "amount * coalesce(country_changed, 0)", daily: true, description: the amount, abroad}
"""


def own(plan: Plan) -> list[str]:
    """The features that don't ship, in order."""
    shipped = compile_plan().features
    return [name for name in plan.features if name not in shipped]


def test_the_declarations_of_the_contract_compile(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, CONTRACT)
    assert own(plan) == [
        "card_declines_1h",
        "card_declines_24h",
        "card_amount_sum_24h",
        "card_merchant_id_distinct_7d",
        "card_speed",
        "customer_at_merchant_days_since_first",
        "amount_in_new_country",
    ]
    assert {name: plan.feature_types[name] for name in own(plan)} == {
        "card_declines_1h": pl.Int32(),
        "card_declines_24h": pl.Int32(),
        "card_amount_sum_24h": pl.Float64(),
        "card_merchant_id_distinct_7d": pl.Int32(),
        "card_speed": pl.Float64(),
        "customer_at_merchant_days_since_first": pl.Float64(),
        "amount_in_new_country": pl.Float64(),
    }
    shipped = compile_plan()
    assert list(plan.attribute_types)[len(shipped.attributes) :] == [
        "currency",
        "status",
        "card_id",
        "latitude",
        "longitude",
        "v1",
        "source_amount",
    ]
    assert plan.daily_schema == {
        **shipped.daily_schema,
        "card_merchant_id_distinct_7d": Modelled("numeric", "high", daily=True, group="card"),
        "amount_in_new_country": Modelled("numeric", "high", daily=True, group="own"),
        "v1": Modelled("numeric", "both", daily=True, group="own"),
    }
    assert plan.model_schema["status"] == Modelled("label", "both")
    assert plan.features["amount_in_new_country"].description == "the amount, abroad"
    card = plan.entities[3]
    assert (card.name, card.key) == ("card", ("card_id",))
    assert card.aggregates[1] == Aggregate(
        "card_declines_24h",
        "count",
        over=timedelta(hours=24),
        where="status = 'declined'",
        where_reads=("status",),
    )


def test_the_example_that_ships_is_valid() -> None:
    plan = compile_plan(EXAMPLE)
    assert {"card_amount_mean_10", "merchant_days_since_fraud", "customer_at_merchant_amount_z"} <= plan.features.keys()
    assert plan.features["account_age_days"].type == "number"
    assert (plan.features["is_round"].sql_type, plan.features["is_round"].model) == (
        "TINYINT",
        Modelled("binary", "high"),
    )
    assert plan.model_schema["merchant_category"] == Modelled("label", "both", daily=True, group="own")
    assert plan.features["card_speed"].phrase == "the card moves faster than anybody travels"
    assert plan.features["card_amount_mean_10"].model is None


def test_features_come_in_the_order_of_their_passes_and_expressions_as_declared(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        """
        features:
          last: {sql: middle + 1}
          middle: {sql: amount * 2}
        entities:
          merchant: {aggregates: [{how: days_since_fraud}, {how: sum, of: amount, over: 3}]}
        """,
    )
    names = list(plan.features)
    assert names.index("merchant_amount_sum_3") < names.index("user_fraud_count_30d")
    assert names.index("merchant_days_since_fraud") < names.index("amount")
    assert names[-2:] == ["last", "middle"]
    assert [each.name for each in plan.expressions][-2:] == ["middle", "last"]


def test_what_a_feature_reads_is_followed_to_the_columns(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        """
        attributes: {status: {type: text}, fee: {type: number}}
        entities:
          town:
            key: [country, city]
            aggregates:
              - {how: sum, of: fee, over: 1h, where: "status = 'ok' AND amount > 5"}
              - {how: max, of: town_fee_sum_1h, over: 3}
        features:
          rate: {sql: "town_town_fee_sum_1h_max_3 / hour(timestamp)"}
        """,
    )
    assert plan.columns_read(["rate"]) == ("timestamp", "amount", "country", "city", "status", "fee")
    assert plan.columns_read(["amount", "nothing"]) == ("amount",)
    assert plan.columns_read(["device_tx_count_24h"]) == ("device_fingerprint",)


BASE = """
    attributes: {status: {type: text}, fee: {type: number, min: 0}}
    entities:
      card: {key: status, aggregates: [{how: sum, of: fee, over: 24h, where: "status = 'ok'", name: paid}]}
    features: {share: {sql: paid / (amount + 1)}, other: {sql: fee * 2}}
"""


@pytest.mark.parametrize(
    "same",
    [
        BASE.replace("paid}", "paid, description: what was paid, phrase: much was paid, role: none}"),
        BASE.replace("paid / (amount + 1)", "'PAID /* of all */ / (Amount + 1) -- a share'"),
        BASE.replace("status = 'ok'", "(STATUS='ok')"),
        BASE.replace("24h", "1d"),
        BASE.replace("sql: fee * 2", "sql: fee * 2, daily: true, direction: low"),
        BASE.replace("    attributes", "    # a comment\n\n    attributes"),
        BASE.replace("fee: {type: number, min: 0}", "fee: {min: 0.0, type: number}"),
        BASE.replace("{status: {type: text}", "{status: {type: text, pii: true}"),
        BASE.replace("{share: {sql: paid / (amount + 1)},", "{third: {sql: amount},")
        .replace("sql: fee * 2}}", "sql: fee * 2}, share: {sql: paid / (amount + 1)}}")
        .replace("third: {sql: amount}, ", ""),
    ],
)
def test_words_layout_roles_and_order_leave_the_version_alone(tmp_path: Path, same: str) -> None:
    assert same != BASE
    plan, again = plan_of(tmp_path, BASE), plan_of(tmp_path, same)
    assert again.version == plan.version
    assert again.version_of(plan.features) == plan.version_of(plan.features)


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        (BASE.replace("24h", "23h"), {"paid", "share"}),
        (BASE.replace("24h", "24"), {"paid", "share"}),
        (BASE.replace("'ok'", "'OK'"), {"paid", "share"}),
        (BASE.replace("of: fee", "of: amount"), {"paid", "share"}),
        (BASE.replace("how: sum", "how: max"), {"paid", "share"}),
        (BASE.replace("key: status", "key: country"), {"paid", "share"}),
        (BASE.replace("amount + 1", "amount + 2"), {"share"}),
        (BASE.replace("type: number, min: 0", "type: integer, min: 0"), {"paid", "share", "other"}),
        (BASE.replace("min: 0", "min: 1"), set()),
        (BASE.replace("fee * 2}", "fee * 2}, further: {sql: other + 1}"), set()),
        (BASE.replace("status: {type: text}", "status: {type: text, required: true}"), set()),
    ],
)
def test_a_version_covers_what_is_read_and_nothing_else(tmp_path: Path, other: str, changed: set[str]) -> None:
    plan, now = plan_of(tmp_path, BASE), plan_of(tmp_path, other)
    assert now.version != plan.version
    assert {name for name in plan.features if now.version_of([name]) != plan.version_of([name])} == changed
    untouched = [name for name in plan.features if name not in changed]
    assert now.version_of(untouched) == plan.version_of(reversed(untouched))


def test_a_model_that_reads_a_column_follows_its_type_alone(tmp_path: Path) -> None:
    plans = [plan_of(tmp_path, BASE.replace("min: 0", bound)) for bound in ("min: 0", "max: 9")]
    assert plans[0].version_of(["fee"]) == plans[1].version_of(["fee"])
    assert plans[0].version_of(["fee"]) != plan_of(tmp_path, BASE.replace("number", "integer")).version_of(["fee"])


def test_a_group_is_the_declared_one_or_that_of_what_a_daily_feature_is_computed_from(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        """
        attributes: {fee: {type: number, group: costs}, tip: {type: number, daily: true}, toll: {type: number}}
        entities:
          shop:
            key: city
            aggregates:
              - {how: count, over: [1h, 24h], group: velocity}
              - {how: sum, of: fee, over: 1h, daily: true}
              - {how: max, of: fee, over: 1h}
              - {how: fraud_count, over: 7d, daily: true}
        features: {dear: {sql: fee > 3, daily: true}}
        """,
    )
    groups = {name: model.group for name, model in plan.grouped_schema.items() if name in {*own(plan), "fee", "tip"}}
    assert groups == {
        "shop_count_1h": "velocity",
        "shop_count_24h": "velocity",
        "shop_fee_sum_1h": "shop",
        "shop_fraud_count_7d": "labels",
        "dear": "own",
        "fee": "costs",
        "tip": "own",
    }
    assert not plan.model_schema["fee"].daily
    assert plan.daily_schema.keys() <= plan.grouped_schema.keys()


def test_whole_numbers_have_room_in_an_expression(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "features: {minutes: {sql: hour_of_day * 60 + minute(timestamp)}}")
    assert plan.features["minutes"].sql_type == "BIGINT"


def test_a_column_that_ships_keeps_its_place_when_its_settings_are_replaced(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "attributes: {country: {type: text, role: label, daily: true}}")
    assert list(plan.attribute_types) == list(compile_plan().attribute_types)
    assert plan.daily_schema["country"] == Modelled("label", "both", daily=True, group="own")
    assert plan.version == compile_plan().version


def test_what_is_left_out_of_a_column_that_ships_stays(tmp_path: Path) -> None:
    shipped = {each.name: each for each in compile_plan().attributes}
    plan = plan_of(tmp_path, "attributes: {ip_prefix: {type: text, role: hash}, city: {type: text, required: true}}")
    now = {each.name: each for each in plan.attributes}
    assert now["ip_prefix"] == replace(shipped["ip_prefix"], model=Modelled("hash", "both"))
    assert now["ip_prefix"].pii
    assert now["city"] == replace(shipped["city"], required=True)


@pytest.mark.parametrize(
    "sql",
    [
        "CAST(country AS TIMESTAMP) > timestamp",
        "CAST(country AS DOUBLE) + amount",
        "strptime(country, '%Y') > timestamp",
        "CAST(amount * 300 AS TINYINT)",
        "amount > '3'",
        "timestamp > '2026-01-01'",
        "TRY(amount > 'high')",
        "CASE country WHEN 'x' THEN amount END",
    ],
)
def test_what_depends_on_the_values_of_a_row_is_no_mistake(tmp_path: Path, sql: str) -> None:
    plan = plan_of(tmp_path, f'features: {{a: {{sql: "{sql}", role: none}}}}')
    assert own(plan) == ["a"]


def test_a_null_rule_speaks_of_missing_values_only_where_there_can_be_some(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        """
        attributes: {fee: {type: number}, tax: {type: number, required: true}}
        entities:
          user:
            aggregates:
              - {how: mean, of: tax, over: 5}
              - {how: mean, of: tax, over: 5, where: tax > 1, name: large}
              - {how: mean, of: fee, over: 5}
              - {how: mean, of: tax_mean_5, over: 3}
              - {how: mean, of: fee_mean_5, over: 3}
              - {how: z, of: tax}
              - {how: z, of: fee}
        """,
    )
    assert {name: plan.features[name].null_rule for name in own(plan)} == {
        "tax_mean_5": "never null",
        "large": "null without a value",
        "fee_mean_5": "null without a value",
        "tax_mean_5_mean_3": "never null",
        "fee_mean_5_mean_3": "null without a value",
        "tax_z": "never null; 0 without a history and a population",
        "fee_z": "null without fee; 0 without a history and a population",
    }


def test_a_feature_that_is_a_column_leaves_alone_what_others_read(tmp_path: Path) -> None:
    base = "attributes: {abroad: {type: boolean}}\nfeatures: {far: {sql: abroad AND amount > 5}REST}"
    plan = plan_of(tmp_path, base.replace("REST", ""))
    more = plan_of(tmp_path, base.replace("REST", ", abroad: {sql: abroad}"))
    assert list(more.features)[-2:] == ["far", "abroad"]
    assert more.features["abroad"].model == Modelled("binary", "high")
    assert more.version_of(["far"]) == plan.version_of(["far"])


def test_the_plan_in_force_is_that_of_the_installation(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, config_dir=tmp_path / "config")
    assert plan_in_force(settings) == compile_plan()
    written(tmp_path, CONTRACT)
    assert "card_speed" in plan_in_force(settings).features


def test_a_rate_waits_for_labels_as_the_settings_say_unless_it_is_declared_otherwise(tmp_path: Path) -> None:
    rates = "[{how: fraud_rate, over: 30d}, {how: fraud_rate, over: 30d, name: own, options: {delay_days: 2}}]"
    text = f"entities: {{town: {{key: city, aggregates: {rates}}}}}"
    path = written(tmp_path, text)
    for delay in (7, 3):
        plan = plan_in_force(Settings(data_dir=tmp_path, label_delay_days=delay))
        assert plan == compile_plan(path, label_delay_days=delay)
        assert [each.options["delay_days"] for each in plan.entities[-1].aggregates] == [delay, 2]


def test_an_empty_section_declares_nothing(tmp_path: Path) -> None:
    assert plan_of(tmp_path, "attributes:\nfeatures:\n").version == compile_plan().version
    assert problems_of(tmp_path, "attributes:\n") == []


def test_a_plan_can_be_sent_to_another_process(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, CONTRACT)
    again = pickle.loads(pickle.dumps(plan))
    assert (again, again.version, again.feature_types) == (plan, plan.version, plan.feature_types)
