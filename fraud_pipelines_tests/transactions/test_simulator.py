"""The simulation: frames as promised, users who differ, and frauds that look as their scenario says."""

import hashlib
from datetime import date, datetime, time, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from fraud_pipelines.transactions.schema import TRANSACTION_COLUMNS
from fraud_pipelines.transactions.simulator import (
    SCENARIOS,
    TRUTH_COLUMNS,
    WORLDS,
    Simulation,
    SimulationConfig,
    simulate,
    simulate_days,
)
from fraud_pipelines_tests.examples import examples

FIRST_DAY = date(2026, 3, 2)
MONTH = SimulationConfig(first_day=FIRST_DAY, days=30)


@pytest.fixture(scope="module")
def month() -> Simulation:
    return simulate(MONTH)


@pytest.fixture(scope="module")
def payments(month: Simulation) -> pl.DataFrame:
    """Transactions with their truth, ordered by user and time, and each user's median genuine amount."""
    truth = month.truth.select("transaction_id", "is_fraud", "scenario", "charged_back_at", "event_date")
    genuine_median = pl.col("amount").filter(~pl.col("is_fraud")).median().over("user_id")
    return (
        month.transactions.join(truth, on="transaction_id", validate="1:1")
        .sort("user_id", "timestamp", "transaction_id")
        .with_columns(ratio=pl.col("amount") / genuine_median)
    )


def campaigns(payments: pl.DataFrame, scenario: str, *, pause: timedelta) -> pl.DataFrame:
    """The frauds of one scenario, numbered by campaign: a pause longer than ``pause`` begins another."""
    begins = (pl.col("timestamp").diff() > pause).fill_null(True)
    return payments.filter(pl.col("scenario") == scenario).with_columns(
        campaign=pl.concat_str("user_id", begins.cum_sum().over("user_id"), separator="/")
    )


def test_transactions_and_truth_have_the_promised_columns(month: Simulation) -> None:
    assert month.transactions.schema == pl.Schema(TRANSACTION_COLUMNS)
    assert month.truth.schema == pl.Schema(TRUTH_COLUMNS)
    assert month.transactions.null_count().sum_horizontal().item() == 0


def test_truth_speaks_of_the_same_transactions(month: Simulation) -> None:
    shared = ["transaction_id", "user_id", "timestamp", "amount"]
    assert_frame_equal(month.transactions.select(shared), month.truth.select(shared))
    assert (month.truth["event_date"] == month.truth["timestamp"].dt.date()).all()
    assert (month.truth["scenario"].is_not_null() == month.truth["is_fraud"]).all()


def test_ids_are_unique_and_rows_ordered(month: Simulation) -> None:
    assert month.transactions["transaction_id"].is_unique().all()
    assert_frame_equal(month.transactions, month.transactions.sort("timestamp", "transaction_id"))


def test_the_same_configuration_gives_the_same_frames(month: Simulation) -> None:
    again = simulate(MONTH)
    assert_frame_equal(again.transactions, month.transactions)
    assert_frame_equal(again.truth, month.truth)


def test_another_seed_gives_other_transactions(month: Simulation) -> None:
    other = simulate(MONTH.model_copy(update={"seed": 8, "days": 1})).transactions
    same = other.join(month.transactions, on=["user_id", "timestamp", "amount"], how="semi")
    assert same.is_empty()


def test_a_longer_simulation_begins_with_the_shorter(month: Simulation) -> None:
    week = simulate(MONTH.model_copy(update={"days": 7}))
    assert_frame_equal(week.transactions, month.transactions.head(week.transactions.height))
    assert_frame_equal(week.truth, month.truth.head(week.truth.height))


def test_day_by_day_is_the_same_as_at_once(month: Simulation) -> None:
    days = list(simulate_days(MONTH))
    assert [day.truth["event_date"].unique().to_list() for day in days] == [
        [FIRST_DAY + timedelta(days=number)] for number in range(MONTH.days)
    ]
    assert_frame_equal(pl.concat([day.transactions for day in days]), month.transactions)


@examples(25)
@given(
    config=st.builds(
        SimulationConfig,
        first_day=st.dates(date(1970, 1, 1), date(2100, 1, 1)),
        days=st.integers(1, 5),
        users=st.integers(1, 50),
        transactions_per_day=st.integers(1, 300),
        fraud_rate=st.floats(0, 0.2),
        seed=st.integers(0, 2**70),
        world=st.sampled_from(sorted(WORLDS)),
    )
)
def test_any_configuration_gives_valid_transactions(config: SimulationConfig) -> None:
    simulation = simulate(config)
    transactions = simulation.transactions
    assert transactions.schema == pl.Schema(TRANSACTION_COLUMNS)
    assert simulation.truth.schema == pl.Schema(TRUTH_COLUMNS)
    assert transactions["transaction_id"].n_unique() == transactions.height == simulation.truth.height
    start = datetime.combine(config.first_day, time())
    assert transactions["timestamp"].is_between(start, start + timedelta(days=config.days), closed="left").all()
    assert (transactions["amount"] > 0).all()
    assert transactions["amount"].is_finite().all()
    assert (transactions["amount"].round(2) == transactions["amount"]).all()
    assert transactions["user_id"].n_unique() <= config.users * (2 if config.world == "device-farms" else 1)


@pytest.mark.parametrize(
    "field", [{"fraud_rate": 0.5}, {"days": 0}, {"users": 0}, {"seed": -1}, {"user": 3}, {"world": "flat"}]
)
def test_a_configuration_out_of_range_is_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(field))):
        SimulationConfig.model_validate({"first_day": FIRST_DAY, "days": 3} | field)


@pytest.mark.parametrize("seed", [1, 7])
@pytest.mark.parametrize("fraud_rate", [0.005, 0.03])
def test_the_share_of_fraud_is_near_the_one_asked_for(seed: int, fraud_rate: float) -> None:
    truth = simulate(MONTH.model_copy(update={"seed": seed, "fraud_rate": fraud_rate})).truth
    assert truth["is_fraud"].mean() == pytest.approx(fraud_rate, rel=0.2)


def test_no_fraud_where_none_is_asked_for() -> None:
    assert not simulate(MONTH.model_copy(update={"fraud_rate": 0.0, "days": 5})).truth["is_fraud"].any()


def test_traffic_has_the_size_asked_for(month: Simulation) -> None:
    assert month.transactions.height / MONTH.days == pytest.approx(MONTH.transactions_per_day, rel=0.05)
    assert month.transactions["user_id"].n_unique() > 0.98 * MONTH.users


def test_every_day_has_frauds_and_every_scenario_its_part(month: Simulation) -> None:
    frauds = month.truth.filter("is_fraud")
    assert frauds["event_date"].n_unique() == MONTH.days
    shares = dict(frauds["scenario"].value_counts(normalize=True).iter_rows())
    assert set(shares) == WORLDS["ordinary"].scenarios < set(SCENARIOS)
    assert min(shares.values()) > 0.06


def test_users_differ_in_amounts_hours_and_devices(payments: pl.DataFrame) -> None:
    genuine = payments.filter(~pl.col("is_fraud"))
    users = genuine.group_by("user_id").agg(
        payments=pl.len(),
        amount=pl.col("amount").median(),
        hour=pl.col("timestamp").dt.hour().median(),
        countries=pl.col("country").n_unique(),
        merchants=pl.col("merchant_id").value_counts(sort=True).struct.field("count").first(),
    )
    busy = users.filter(pl.col("payments") >= 30)
    assert busy["amount"].quantile(0.9) > 3 * busy["amount"].quantile(0.1)  # type: ignore[operator]
    assert busy["hour"].quantile(0.95) - busy["hour"].quantile(0.05) > 4  # type: ignore[operator]
    assert 0.05 < (users["countries"] > 1).mean() < 0.7  # type: ignore[operator]
    # The favourite merchant gets a good part of a user's payments.
    assert (busy["merchants"] / busy["payments"]).median() > 0.15  # type: ignore[operator]


def test_merchants_are_popular_in_very_different_measure(month: Simulation) -> None:
    shares = month.transactions["merchant_id"].value_counts(sort=True, normalize=True)["proportion"]
    assert shares.head(len(shares) // 10).sum() > 0.4
    assert month.transactions["merchant_category"].n_unique() == 15
    assert (
        month.transactions.group_by("merchant_id")
        .agg(pl.col("merchant_category").n_unique())["merchant_category"]
        .max()
        == 1
    )


def test_honest_users_travel_change_devices_and_buy_large_things(payments: pl.DataFrame) -> None:
    genuine = payments.filter(~pl.col("is_fraud")).with_columns(
        travelled=(pl.col("country") != pl.col("country").shift()).over("user_id"),
        pause=pl.col("timestamp").diff().over("user_id"),
        new_device=pl.col("device_fingerprint").is_first_distinct().over("user_id"),
        visit=pl.int_range(pl.len()).over("user_id"),
    )
    impossible = genuine.filter(pl.col("travelled") & (pl.col("pause") < timedelta(hours=2)))
    assert 0 < impossible.height < 0.005 * genuine.height
    assert 0 < genuine.filter(pl.col("new_device") & (pl.col("visit") > 20)).height < 0.02 * genuine.height
    assert 0.001 < (genuine["ratio"] > 10).mean() < 0.02  # type: ignore[operator]


def test_large_amounts_are_far_above_what_the_user_pays(payments: pl.DataFrame) -> None:
    ratio = payments.filter(pl.col("scenario") == "large_amount")["ratio"]
    assert (ratio > 4).mean() > 0.95  # type: ignore[operator]
    assert ratio.median() > 10  # type: ignore[operator]


def test_card_testing_is_a_burst_of_small_amounts_and_then_a_large_one(payments: pl.DataFrame) -> None:
    whole_days = payments.filter(pl.col("event_date").is_between(FIRST_DAY, MONTH.last_day, closed="none"))
    small = pl.col("amount") <= 3
    bursts = (
        campaigns(whole_days, "card_testing", pause=timedelta(hours=1))
        .group_by("campaign")
        .agg(
            tests=small.sum(),
            minutes=(
                pl.col("timestamp").filter(small).max() - pl.col("timestamp").filter(small).min()
            ).dt.total_minutes(),
            merchants=pl.col("merchant_id").filter(small).n_unique(),
            devices=pl.col("device_fingerprint").n_unique(),
            large=(~small).sum(),
            large_is_last=pl.col("amount").last() == pl.col("amount").max(),
        )
    )
    # Campaigns that cross midnight at either end of the month are seen in part.
    whole = bursts.filter((pl.col("tests") > 0) & (pl.col("large") > 0))
    assert whole.height > 0.9 * bursts.height > 5
    assert whole["tests"].is_between(4, 7).all()
    assert (whole["minutes"] <= 10).all()
    assert (whole["merchants"] == 1).all()
    assert (whole["devices"] == 1).all()
    assert (whole["large"] == 1).all()
    assert whole["large_is_last"].all()


def test_an_account_takeover_is_impossible_travel_on_a_new_device(payments: pl.DataFrame) -> None:
    known = (~pl.col("is_fraud")).fill_null(False)
    with_last = payments.with_columns(
        last_country=pl.when(known).then("country").forward_fill().shift().over("user_id"),
        last_paid=pl.when(known).then("timestamp").forward_fill().shift().over("user_id"),
        new_device=pl.col("device_fingerprint").is_first_distinct().over("user_id"),
    )
    takeovers = (
        campaigns(with_last, "account_takeover", pause=timedelta(hours=1))
        .filter(pl.col("event_date") > FIRST_DAY)
        .group_by("campaign", maintain_order=True)
        .agg(
            pl.all().first(),
            countries=pl.col("country").n_unique(),
            devices=pl.col("device_fingerprint").n_unique(),
        )
    )
    assert takeovers.height > 20
    assert (takeovers["timestamp"] - takeovers["last_paid"] < timedelta(hours=2)).all()
    assert (takeovers["country"] != takeovers["last_country"]).mean() > 0.95  # type: ignore[operator]
    assert takeovers["new_device"].all()
    assert (takeovers["devices"] == 1).all()
    assert (takeovers["countries"] == 1).all()
    assert payments.filter(pl.col("scenario") == "account_takeover")["ratio"].median() > 4  # type: ignore[operator]


def test_a_compromised_merchant_is_seen_by_place_and_not_by_amount(payments: pl.DataFrame) -> None:
    frauds = payments.filter(pl.col("scenario") == "compromised_merchant")
    assert 0.5 < frauds["ratio"].median() < 2  # type: ignore[operator]
    assert (frauds["ratio"] > 4).mean() < 0.2  # type: ignore[operator]

    places = frauds["merchant_id"].value_counts(sort=True).filter(pl.col("count") >= 5)
    there = frauds.filter(pl.col("merchant_id").is_in(places["merchant_id"].to_list()))
    assert there.height > 0.45 * frauds.height
    spans = there.group_by("merchant_id").agg(days=pl.col("event_date").max() - pl.col("event_date").min())
    assert (spans["days"] <= timedelta(days=28)).all()
    assert spans["days"].max() >= timedelta(days=10)  # type: ignore[operator]


def test_cards_misused_after_a_compromise_had_been_used_at_the_merchant() -> None:
    config = SimulationConfig(first_day=FIRST_DAY, days=45, users=500, transactions_per_day=1_500, fraud_rate=0.03)
    simulation = simulate(config)
    payments = simulation.transactions.join(
        simulation.truth.select("transaction_id", "is_fraud", "scenario"), on="transaction_id"
    )
    # What is misused elsewhere is misused on the internet: a fraud in a shop names the merchant that was compromised.
    in_shops = payments.filter((pl.col("scenario") == "compromised_merchant") & (pl.col("device_type") == "card"))
    victims = in_shops.group_by("merchant_id", "user_id").agg(misused=pl.col("timestamp").min())
    # Merchants compromised before the first day were visited before it; after four weeks their cards are spent.
    settled = datetime.combine(FIRST_DAY, time()) + timedelta(days=28)
    victims = victims.filter(pl.col("misused").min().over("merchant_id") > settled)
    genuine = payments.filter(~pl.col("is_fraud")).select("merchant_id", "user_id", "timestamp", "device_fingerprint")
    visited = victims.join(genuine, on=["merchant_id", "user_id"]).filter(pl.col("timestamp") < pl.col("misused"))
    assert victims.height > 5
    assert visited.select("merchant_id", "user_id").n_unique() == victims.height

    # The copy reads as the card: its fingerprint is the one of the user's genuine payments in shops.
    copies = in_shops.select("user_id", "device_fingerprint").unique()
    assert copies.join(genuine, on=["user_id", "device_fingerprint"], how="semi").height > 0.95 * copies.height


def test_a_slow_ramp_grows_over_days(payments: pl.DataFrame) -> None:
    ramps = (
        campaigns(payments, "slow_ramp", pause=timedelta(days=3))
        .group_by("campaign")
        .agg(
            payments=pl.len(),
            devices=pl.col("device_fingerprint").n_unique(),
            days=(pl.col("timestamp").max() - pl.col("timestamp").min()).dt.total_hours() / 24,
            growth=pl.col("amount").last() / pl.col("amount").first(),
            growing=(pl.col("amount").diff() > 0).mean(),
        )
        .filter((pl.col("payments") >= 6) & (pl.col("devices") == 1))
    )
    assert ramps.height >= 3
    assert (ramps["growth"] > 3).all()
    assert (ramps["growing"] >= 0.8).all()
    assert ramps["days"].is_between(2.5, 16).all()


def test_a_chargeback_comes_for_seventy_percent_and_never_within_a_week() -> None:
    truth = simulate(MONTH.model_copy(update={"fraud_rate": 0.1})).truth
    assert truth.filter(~pl.col("is_fraud"))["charged_back_at"].is_null().all()
    frauds = truth.filter("is_fraud")
    assert frauds["charged_back_at"].is_not_null().mean() == pytest.approx(0.7, abs=0.03)
    days = (frauds["charged_back_at"] - frauds["timestamp"]).dt.total_seconds().drop_nulls() / 86_400
    assert (days >= 7).all()
    assert days.mean() == pytest.approx(14, abs=0.5)


def median(values: pl.Series) -> float:
    middle = values.cast(pl.Float64).median()
    assert isinstance(middle, float)
    return middle


def of_world(world: str) -> pl.DataFrame:
    """A month of payments with their truth."""
    simulation = simulate(MONTH.model_copy(update={"world": world}))
    return simulation.transactions.join(simulation.truth.drop("user_id", "timestamp", "amount"), on="transaction_id")


def test_a_world_does_not_change_what_the_demo_simulates() -> None:
    first = simulate(SimulationConfig(first_day=FIRST_DAY, days=1, users=100, transactions_per_day=200)).transactions
    before_worlds = "e0d6ae5191b414cc35624660f8c38acf3b4297ecbb4f23a12456f7c0485f0ce1"
    assert hashlib.sha256(first.write_csv().encode()).hexdigest() == before_worlds


@pytest.mark.parametrize("world", sorted(WORLDS))
def test_frauds_of_a_world_are_of_its_kinds_and_of_the_share_asked_for(world: str) -> None:
    rows = of_world(world)
    kinds = dict(rows.filter("is_fraud")["scenario"].value_counts(normalize=True).iter_rows())
    assert set(kinds) <= WORLDS[world].scenarios
    assert sum(WORLDS[world].shares.values()) == pytest.approx(1)
    assert rows["is_fraud"].mean() == pytest.approx(MONTH.fraud_rate, rel=0.3)


def test_small_frauds_are_smaller_than_what_users_pay(payments: pl.DataFrame) -> None:
    rows = of_world("small-amounts")
    small = rows.filter(pl.col("scenario") == "small_amount")["amount"]
    assert median(small) < 0.4 * median(rows.filter(~pl.col("is_fraud"))["amount"])


def test_at_night_the_hour_tells_a_fraud_and_the_amount_does_not() -> None:
    rows = of_world("night").filter(country="DE").with_columns(hour=pl.col("timestamp").dt.hour())
    frauds, genuine = rows.filter("is_fraud"), rows.filter(~pl.col("is_fraud"))
    assert frauds["hour"].is_in([1, 2, 3]).all()  # 2 to 5 o'clock, an hour ahead of UTC
    assert genuine.filter(pl.col("hour").is_in([1, 2, 3])).height < 0.05 * genuine.height
    assert 0.3 < median(frauds["amount"]) / median(genuine["amount"]) < 3


def test_a_velocity_attack_is_dozens_of_payments_of_one_on_a_card_in_ten_minutes() -> None:
    attacks = (
        of_world("velocity")
        .filter(scenario="velocity")
        .group_by("user_id", "device_fingerprint", "merchant_id")
        .agg(pl.len(), pl.col("amount").max(), span=pl.col("timestamp").max() - pl.col("timestamp").min())
    )
    assert attacks["amount"].to_list() == [1.0] * attacks.height
    assert attacks.filter(pl.col("span") > timedelta(minutes=10)).is_empty()
    assert median(attacks["len"]) >= 25


def test_a_device_farm_is_dozens_of_new_users_on_one_device() -> None:
    rows = of_world("device-farms").sort("timestamp")
    farms = rows.filter(scenario="device_farm").group_by("device_fingerprint").agg(pl.col("user_id").n_unique())
    assert median(farms["user_id"]) >= 25
    seen = rows.group_by("user_id").agg(
        pl.col("scenario").n_unique(), pl.len(), farm=(pl.col("scenario") == "device_farm").any()
    )
    assert seen.filter("farm")["len"].max() == 1


def test_where_little_is_reported_three_frauds_of_four_are_never_charged_back() -> None:
    reported = of_world("unlabelled").filter("is_fraud")["charged_back_at"].is_not_null().mean()
    assert reported == pytest.approx(0.25, abs=0.06)


def test_after_payday_there_are_more_payments_of_more() -> None:
    rows = of_world("seasons").filter(~pl.col("is_fraud")).with_columns(day=pl.col("event_date").dt.day())
    rich, poor = rows.filter(pl.col("day").is_in([15, 16, 17])), rows.filter(pl.col("day").is_in([10, 11, 12]))
    assert rich.height > 1.2 * poor.height
    assert median(rich["amount"]) > 1.3 * median(poor["amount"])


def test_a_new_kind_of_fraud_begins_in_the_third_week() -> None:
    first = of_world("new-fraud").filter("is_fraud").group_by("scenario").agg(pl.col("event_date").min())
    begins = dict(first.iter_rows())
    assert begins["velocity"] >= FIRST_DAY + timedelta(days=14)
    assert begins["large_amount"] < FIRST_DAY + timedelta(days=3)
