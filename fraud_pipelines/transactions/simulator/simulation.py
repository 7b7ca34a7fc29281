"""The simulation itself: genuine traffic and frauds of each day, put together as frames."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_pipelines.transactions.schema import TIMESTAMP, TRANSACTION_COLUMNS
from fraud_pipelines.transactions.simulator import world
from fraud_pipelines.transactions.simulator.config import SimulationConfig
from fraud_pipelines.transactions.simulator.population import Population, build_population
from fraud_pipelines.transactions.simulator.scenarios import LONGEST_CAMPAIGN_DAYS, SCENARIOS, FraudCampaigns
from fraud_pipelines.transactions.simulator.traffic import GENUINE, SECONDS_PER_DAY, Events, Whereabouts, genuine_day
from fraud_pipelines.transactions.simulator.worlds import WORLDS

TRUTH_COLUMNS: Final[dict[str, pl.DataType]] = {
    "transaction_id": pl.String(),
    "user_id": pl.String(),
    "timestamp": TIMESTAMP,
    "event_date": pl.Date(),
    "amount": pl.Float64(),
    "is_fraud": pl.Boolean(),
    "scenario": pl.String(),
    "charged_back_at": TIMESTAMP,
}
"""What really happened, a row a transaction. ``scenario`` is null for a genuine payment, ``charged_back_at`` for a
payment that would never be charged back, were it let through."""

CHARGEBACK_SHARE: Final = WORLDS["ordinary"].chargeback_share
CHARGEBACK_DELAY_DAYS: Final = 7
"""A chargeback comes so many days after the payment at the earliest, and on average so many again later."""

_WEEKDAY_LEVEL = (0.94, 0.95, 0.97, 1.01, 1.12, 1.08, 0.93)
"""Traffic by day of the week, Monday first; the mean is one."""
_POPULATION, _GENUINE, _FRAUD, _CHARGEBACK = range(4)
_HEX = np.array([f"{byte:02x}" for byte in range(256)], dtype="S2")


@dataclass(frozen=True)
class Simulation:
    """``transactions`` have ``TRANSACTION_COLUMNS``, ``truth`` has ``TRUTH_COLUMNS``; both are ordered by
    (timestamp, transaction_id) and have the same ids."""

    transactions: pl.DataFrame
    truth: pl.DataFrame


def simulate(config: SimulationConfig) -> Simulation:
    """All days of ``config`` at once; each million transactions takes about 0.5 GB of memory."""
    days = list(simulate_days(config))
    return Simulation(
        transactions=pl.concat([day.transactions for day in days], rechunk=True),
        truth=pl.concat([day.truth for day in days], rechunk=True),
    )


def simulate_days(config: SimulationConfig) -> Iterator[Simulation]:
    """The days of ``config`` one by one, in order; memory is that of one day and of the users."""
    there = WORLDS[config.world]
    sleepers = config.users if "device_farm" in there.scenarios else 0
    population = build_population(_rng(config, _POPULATION), config.users, sleepers=sleepers)
    names = _Names(population)
    whereabouts = Whereabouts(population)
    frauds_per_day = config.transactions_per_day * config.fraud_rate
    campaigns = FraudCampaigns(
        _rng(config, _FRAUD), population, whereabouts, frauds_per_day=frauds_per_day, world_of_frauds=there
    )
    for day in range(-LONGEST_CAMPAIGN_DAYS, config.days):
        genuine_rng, fraud_rng = _rng(config, _GENUINE, day), _rng(config, _FRAUD, day)
        whereabouts.advance(genuine_rng, day)
        if day < 0:
            campaigns.begin(fraud_rng, day, None)
            campaigns.due_on(day)
            continue
        date_of_day = config.first_day + timedelta(days=day)
        weekday = date_of_day.weekday()
        level = _WEEKDAY_LEVEL[weekday] * there.traffic_level(date_of_day)
        genuine = genuine_day(
            genuine_rng,
            population,
            whereabouts,
            day=day,
            weekend=weekday >= 5,
            expected=(config.transactions_per_day - frauds_per_day) * level,
        )
        genuine = replace(genuine, amount=genuine.amount * there.amount_level(date_of_day))
        campaigns.begin(fraud_rng, day, genuine)
        events = Events.concatenate([genuine, *campaigns.due_on(day)])
        yield names.simulation(events, config, day)


class _Names:
    """The strings behind the indices."""

    def __init__(self, population: Population) -> None:
        merchants = population.merchants
        self.user = _numbered("user", len(population))
        self.merchant = _numbered("merchant", len(merchants))
        self.category = pl.Series([category.name for category in world.CATEGORIES]).gather(merchants.category)
        self.city = pl.Series(world.CITIES)
        self.country = pl.Series([country.code for country in world.COUNTRIES]).gather(world.COUNTRY_OF_CITY)
        self.ip_prefix = pl.Series(world.IP_PREFIXES)
        self.device_type = pl.Series(world.DEVICE_TYPES)
        self.scenario = pl.Series([*SCENARIOS, None])

    def simulation(self, events: Events, config: SimulationConfig, day: int) -> Simulation:
        """The frames of one day."""
        date = config.first_day + timedelta(days=day)
        # Ties are broken by the user and the amount, so that an id tells nothing of where its row came from.
        events = events.take(np.lexsort((events.amount, events.user, events.second)))
        since_midnight = pl.Series(events.second - day * SECONDS_PER_DAY) * 1_000_000
        midnight = datetime.combine(date, time())
        timestamp = pl.Series(np.asarray(midnight, dtype="datetime64[us]").astype(np.int64) + since_midnight)
        transactions = pl.DataFrame(
            {
                "transaction_id": _numbered(f"{date:%Y%m%d}", len(events)),
                "user_id": self.user.gather(events.user),
                "timestamp": timestamp.cast(TIMESTAMP),
                "amount": np.maximum(np.round(events.amount, 2), 0.01),
                "merchant_id": self.merchant.gather(events.merchant),
                "merchant_category": self.category.gather(events.merchant),
                "device_type": self.device_type.gather(events.device_type),
                "device_fingerprint": _hexadecimal(events.device),
                "country": self.country.gather(events.city),
                "city": self.city.gather(events.city),
                "ip_prefix": self.ip_prefix.gather(events.ip),
            },
            schema=TRANSACTION_COLUMNS,
        )
        is_fraud = events.scenario != GENUINE
        truth = transactions.select("transaction_id", "user_id", "timestamp", "amount").with_columns(
            event_date=pl.lit(date),
            is_fraud=pl.Series(is_fraud),
            scenario=self.scenario.gather(np.where(is_fraud, events.scenario, len(SCENARIOS))),
            charged_back_at=pl.col("timestamp")
            + chargeback_delays(_rng(config, _CHARGEBACK, day), is_fraud, share=WORLDS[config.world].chargeback_share),
        )
        return Simulation(transactions, truth.select(list(TRUTH_COLUMNS)).cast(pl.Schema(TRUTH_COLUMNS)))


def chargeback_delays(
    rng: np.random.Generator, is_fraud: NDArray[np.bool_], *, share: float = CHARGEBACK_SHARE
) -> pl.Series:
    """Whole seconds from a fraud to its chargeback; null where none would come, which one does of this ``share``."""
    frauds = int(is_fraud.sum())
    days = CHARGEBACK_DELAY_DAYS + rng.exponential(CHARGEBACK_DELAY_DAYS, frauds)
    seconds = np.where(rng.random(frauds) < share, np.ceil(days * SECONDS_PER_DAY), np.nan)
    delays = np.full(len(is_fraud), np.nan)
    delays[is_fraud] = seconds
    return (pl.Series(delays, nan_to_null=True) * 1_000_000).cast(pl.Int64).cast(pl.Duration("us"))


def _numbered(prefix: str, size: int) -> pl.Series:
    """``prefix-0000000`` and on."""
    number = pl.int_range(size, dtype=pl.Int64, eager=True).cast(pl.String).str.zfill(7)
    return pl.select(pl.concat_str(pl.lit(f"{prefix}-"), number)).to_series()


def _hexadecimal(numbers: NDArray[np.uint64]) -> pl.Series:
    """Each number as sixteen hexadecimal digits."""
    digits = _HEX[numbers.astype(">u8").view(np.uint8)].view("S16")
    return pl.Series(digits, dtype=pl.Binary).cast(pl.String)


def _rng(config: SimulationConfig, stream: int, day: int = -LONGEST_CAMPAIGN_DAYS - 1) -> np.random.Generator:
    """Random numbers of their own for each stream and day, whatever else is simulated."""
    return np.random.default_rng([config.seed, stream, day + LONGEST_CAMPAIGN_DAYS + 1])
