"""Genuine traffic: what the users pay on one day, with their travels, new devices and large purchases."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.transactions.simulator import world
from fraud_pipelines.transactions.simulator.population import Floats, Ints, Population

SECONDS_PER_DAY: Final = 86_400
GENUINE: Final = -1
"""The scenario of a transaction that is no fraud."""

_TRIP_RATE = 1 / 120
"""Trips begun per user and day."""
_DEVICE_LIFE_DAYS = 500
_WALLET_SHARE = 0.35
"""Shop payments made with the phone."""
_BORROWED_DEVICE_RATE = 0.004
_VPN_RATE = 0.003
_LARGE_PURCHASE_RATE = 0.004


@dataclass(frozen=True)
class Events:
    """Transactions as parallel arrays of indices into the world and the population.

    ``second`` counts from the midnight that begins the simulation, ``amount`` is not yet rounded, ``device`` is the
    number behind the fingerprint, ``scenario`` an index or ``GENUINE``.
    """

    user: Ints
    second: Ints
    amount: Floats
    merchant: Ints
    device: NDArray[np.uint64]
    device_type: Ints
    city: Ints
    ip: Ints
    scenario: Ints

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence["Events"]) -> "Events":
        """All of ``parts``, at least one, in their order."""
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )


class Whereabouts:
    """What changes from day to day: who is abroad, and which devices were replaced."""

    def __init__(self, population: Population) -> None:
        users = len(population)
        self._population = population
        self.city = population.home_city.copy()
        self.ip = population.home_ip.copy()
        self.left_at = np.full(users, -1, dtype=np.int64)
        """The second from which a traveller pays abroad."""
        self._back_on = np.full(users, np.iinfo(np.int64).min)
        self.device_generation = np.zeros((users, len(world.DEVICE_TYPES)), dtype=np.int64)

    def advance(self, rng: np.random.Generator, day: int) -> None:
        """Move on to ``day``: travellers come home, others leave, devices are replaced."""
        population = self._population
        home = np.flatnonzero(self._back_on <= day)
        self.city[home] = population.home_city[home]
        self.ip[home] = population.home_ip[home]

        leaving = home[rng.random(len(home)) < _TRIP_RATE]
        country = other_country(rng, world.COUNTRY_OF_CITY[population.home_city[leaving]])
        self.city[leaving] = draw_city(rng, country)
        self.ip[leaving] = draw_ip(rng, self.city[leaving])
        self.left_at[leaving] = day * SECONDS_PER_DAY + rng.integers(0, SECONDS_PER_DAY, len(leaving))
        self._back_on[leaving] = day + rng.integers(2, 11, len(leaving))

        replaced = rng.random(self.device_generation.shape) < 1 / _DEVICE_LIFE_DAYS
        replaced[:, world.CARD] = False
        self.device_generation += replaced

    def device(self, user: Ints, device_type: Ints) -> NDArray[np.uint64]:
        """The device of this type that each of the users has today."""
        return device_number(user, device_type, self.device_generation[user, device_type])


def genuine_day(
    rng: np.random.Generator,
    population: Population,
    whereabouts: Whereabouts,
    *,
    day: int,
    weekend: bool,
    expected: float,
) -> Events:
    """The genuine transactions of ``day``, about ``expected`` of them, in no particular order."""
    merchants = population.merchants
    size = int(rng.poisson(expected))
    user = population.draw_users(rng, size, weekend=weekend)
    second = day * SECONDS_PER_DAY + population.draw_seconds(rng, user, later=1.0 if weekend else 0.0)

    home_city = population.home_city[user]
    abroad = (whereabouts.city[user] != home_city) & (second >= whereabouts.left_at[user])
    country = world.COUNTRY_OF_CITY[np.where(abroad, whereabouts.city[user], home_city)]
    merchant = _choose_merchants(rng, population, user, country, abroad)
    online = merchants.online[merchant]

    # Most of life happens in one city; a traveller's too.
    out_of_town = ~abroad & (rng.random(size) < 0.04)
    city = np.where(abroad, whereabouts.city[user], np.where(out_of_town, draw_city(rng, country), home_city))
    ip = np.where(abroad, whereabouts.ip[user], population.home_ip[user])
    on_the_move = (city != whereabouts.city[user]) | (rng.random(size) < 0.2)
    ip = np.where(on_the_move, draw_ip(rng, city), ip)
    behind_vpn = online & (rng.random(size) < _VPN_RATE)
    city = np.where(behind_vpn, draw_city(rng, other_country(rng, country)), city)
    ip = np.where(behind_vpn, draw_ip(rng, city), ip)

    own_device = world.MOBILE + np.floor(rng.random(size) ** 1.5 * population.devices[user]).astype(np.int64)
    in_shop = np.where(rng.random(size) < _WALLET_SHARE, world.MOBILE, world.CARD)
    device_type = np.where(online, own_device, in_shop)
    borrowed = online & (rng.random(size) < _BORROWED_DEVICE_RATE)
    device = np.where(borrowed, draw_devices(rng, size), whereabouts.device(user, device_type))

    amount = population.draw_amounts(rng, user, merchant)
    large = rng.random(size) < _LARGE_PURCHASE_RATE
    amount = np.where(large, amount * np.exp(rng.uniform(np.log(4), np.log(15), size)), amount)
    return Events(
        user=user,
        second=second,
        amount=amount,
        merchant=merchant,
        device=device,
        device_type=device_type,
        city=city,
        ip=ip,
        scenario=np.full(size, GENUINE, dtype=np.int64),
    )


def device_number(user: Ints, device_type: Ints, generation: Ints) -> NDArray[np.uint64]:
    """A number of its own for each device: the finaliser of SplitMix64 (Steele, Lea and Flood 2014), a bijection."""
    key = (generation.astype(np.uint64) << np.uint64(44)) | (device_type.astype(np.uint64) << np.uint64(40))
    number = (key | user.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


def draw_devices(rng: np.random.Generator, size: int) -> NDArray[np.uint64]:
    """Devices that nobody has used before."""
    return rng.integers(0, 2**64 - 1, size, dtype=np.uint64, endpoint=True)


def draw_city(rng: np.random.Generator, country: Ints) -> Ints:
    """A city in each of the countries."""
    return world.FIRST_CITY[country] + np.floor(rng.random(len(country)) * world.CITIES_IN_COUNTRY[country]).astype(
        np.int64
    )


def draw_ip(rng: np.random.Generator, city: Ints) -> Ints:
    """An address block of each of the cities."""
    return city * world.IP_PREFIXES_PER_CITY + rng.integers(0, world.IP_PREFIXES_PER_CITY, len(city))


def other_country(rng: np.random.Generator, country: Ints) -> Ints:
    """A country other than the one given, for each."""
    return (country + rng.integers(1, len(world.COUNTRIES), len(country))) % len(world.COUNTRIES)


def _choose_merchants(
    rng: np.random.Generator, population: Population, user: Ints, country: Ints, abroad: NDArray[np.bool_]
) -> Ints:
    merchants = population.merchants
    favourite = population.draw_favourites(rng, user)
    elsewhere = np.where(
        rng.random(len(user)) < 0.3,
        merchants.draw_online(rng, len(user)),
        merchants.draw_shops(rng, country),
    )
    # Abroad, of the favourites only those on the internet are in reach.
    reachable = ~abroad | merchants.online[favourite]
    return np.where(reachable & (rng.random(len(user)) < 0.75), favourite, elsewhere)
