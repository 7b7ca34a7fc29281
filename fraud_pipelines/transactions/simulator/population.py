"""The population: users with a home, habits, devices and favourite merchants, and the merchants they pay."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.transactions.simulator import world

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FAVOURITES: Final = 8
"""Favourite merchants a user has; the k-th is visited in proportion to 1 / k."""

_FAVOURITE_WEIGHTS: Final[Floats] = 1 / np.arange(1, FAVOURITES + 1)
_FAVOURITE_CUMULATIVE: Final[Floats] = np.cumsum(_FAVOURITE_WEIGHTS / _FAVOURITE_WEIGHTS.sum())


@dataclass(frozen=True)
class Merchants:
    """Who is paid: arrays with one entry a merchant. ``popularity`` sums to one."""

    country: Ints
    category: Ints
    online: NDArray[np.bool_]
    price_level: Floats
    """Added to the log of an amount."""
    popularity: Floats
    _by_group: Ints
    """Merchants ordered by group: the shops of each country, then everything online."""
    _group_edges: Ints
    _cumulative: Floats

    def __len__(self) -> int:
        return len(self.country)

    def draw_shops(self, rng: np.random.Generator, countries: Ints) -> Ints:
        """A shop in each of ``countries``, the popular ones more often."""
        return self._draw(rng, countries)

    def draw_online(self, rng: np.random.Generator, size: int) -> Ints:
        """``size`` merchants that sell over the internet, the popular ones more often."""
        return self._draw(rng, np.full(size, len(world.COUNTRIES)))

    def _draw(self, rng: np.random.Generator, groups: Ints) -> Ints:
        edges = np.concatenate(([0.0], self._cumulative))[self._group_edges]
        low, high = edges[groups], edges[groups + 1]
        position = np.searchsorted(self._cumulative, low + (high - low) * rng.random(len(groups)), side="right")
        # A draw at the very edge may round into the next group.
        position = np.clip(position, self._group_edges[groups], self._group_edges[groups + 1] - 1)
        return self._by_group[position]


@dataclass(frozen=True)
class Population:
    """Who pays: arrays with one entry a user, and the merchants.

    ``hours`` (users × 2) are the centres of the two busy times of a user's day in UTC hours, ``hour_spread`` their
    standard deviation. ``category_level`` (users × categories) is the log of the user's median amount by category.
    """

    home_city: Ints
    home_ip: Ints
    activity: Floats
    weekend_activity: Floats
    hours: Floats
    hour_spread: Floats
    morning_share: Floats
    devices: Ints
    category_level: Floats
    favourites: Ints
    typical_amount: Floats
    """Median of what the user pays at favourite merchants."""
    merchants: Merchants
    sleepers: Ints
    """Users who never pay of themselves: names that a device farm makes up."""

    def __len__(self) -> int:
        return len(self.home_city)

    def draw_users(self, rng: np.random.Generator, size: int, *, weekend: bool = False) -> Ints:
        """``size`` users, each in proportion to its activity on such a day."""
        cumulative = np.cumsum(self.activity * self.weekend_activity if weekend else self.activity)
        position: Ints = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
        return np.minimum(position, len(self) - 1)

    def draw_favourites(self, rng: np.random.Generator, users: Ints) -> Ints:
        """One of the favourite merchants of each of ``users``."""
        rank = np.searchsorted(_FAVOURITE_CUMULATIVE, rng.random(len(users)), side="right")
        return self.favourites[users, np.minimum(rank, FAVOURITES - 1)]

    def draw_seconds(self, rng: np.random.Generator, users: Ints, *, later: Floats | float = 0.0) -> Ints:
        """A second of the UTC day for each of ``users`` by their habits, shifted ``later`` by some hours."""
        evening = (rng.random(len(users)) > self.morning_share[users]).astype(np.int64)
        hours = rng.normal(self.hours[users, evening] + later, self.hour_spread[users])
        hours = np.where(rng.random(len(users)) < 0.03, 24 * rng.random(len(users)), hours)
        return np.minimum((np.mod(hours, 24) * 3_600).astype(np.int64), 86_399)

    def draw_amounts(self, rng: np.random.Generator, users: Ints, merchants: Ints) -> Floats:
        """What ``users`` ordinarily pay at ``merchants``: lognormal by user and category; not yet rounded."""
        category = self.merchants.category[merchants]
        spread = _category_column("spread")[category]
        level = self.category_level[users, category] + self.merchants.price_level[merchants]
        return np.exp(rng.normal(level, spread))


def build_population(rng: np.random.Generator, users: int, *, sleepers: int = 0) -> Population:
    """Draw ``users`` users and the merchants around them, and further users who never pay of themselves."""
    merchants = _build_merchants(rng, max(300, users // 3))
    paying, users = users, users + sleepers
    home_country = _draw_index(rng, np.array([country.share for country in world.COUNTRIES]), users)
    # The first of a country's cities is home to half of its people.
    other = 1 + np.floor(rng.random(users) * (world.CITIES_IN_COUNTRY[home_country] - 1)).astype(np.int64)
    home_city = world.FIRST_CITY[home_country] + np.where(rng.random(users) < 0.5, 0, other)

    user_level = rng.normal(0, 0.55, users)
    category_level = (
        np.log(_category_column("median")) + user_level[:, None] + rng.normal(0, 0.2, (users, len(world.CATEGORIES)))
    )
    is_online = rng.random((users, FAVOURITES)) < 0.3
    favourites = np.where(
        is_online,
        merchants.draw_online(rng, users * FAVOURITES).reshape(users, FAVOURITES),
        merchants.draw_shops(rng, np.repeat(home_country, FAVOURITES)).reshape(users, FAVOURITES),
    )
    favourite_level = (
        np.take_along_axis(category_level, merchants.category[favourites], axis=1) + merchants.price_level[favourites]
    )
    hours = np.stack([rng.normal(11.5, 2.0, users), rng.normal(18.5, 2.0, users)], axis=1)
    return Population(
        home_city=home_city,
        home_ip=home_city * world.IP_PREFIXES_PER_CITY + rng.integers(0, world.IP_PREFIXES_PER_CITY, users),
        activity=rng.lognormal(0, 0.6, users) * (np.arange(users) < paying),
        weekend_activity=rng.lognormal(-0.05, 0.45, users),
        hours=hours - world.UTC_OFFSET[home_country][:, None],
        hour_spread=rng.uniform(1.0, 2.8, users),
        morning_share=rng.beta(3, 3, users),
        devices=rng.choice(3, size=users, p=[0.45, 0.4, 0.15]) + 1,
        category_level=category_level,
        favourites=favourites,
        typical_amount=np.exp(favourite_level @ (_FAVOURITE_WEIGHTS / _FAVOURITE_WEIGHTS.sum())),
        merchants=merchants,
        sleepers=np.arange(paying, users),
    )


def _build_merchants(rng: np.random.Generator, size: int) -> Merchants:
    # Every country has shops, every category merchants; the rest follows the shares.
    category = _draw_index(rng, _category_column("share"), size)
    category[: len(world.CATEGORIES)] = np.arange(len(world.CATEGORIES))
    online = np.array([item.online for item in world.CATEGORIES])[category]
    country = _draw_index(rng, np.array([item.share for item in world.COUNTRIES]), size)
    shops = np.flatnonzero(~online)
    guaranteed = shops[: 4 * len(world.COUNTRIES)]
    country[guaranteed] = np.arange(len(guaranteed)) % len(world.COUNTRIES)

    popularity = 1 / (1 + rng.permutation(size)) ** 0.9
    group = np.where(online, len(world.COUNTRIES), country)
    by_group = np.argsort(group, kind="stable")
    return Merchants(
        country=country,
        category=category,
        online=online,
        price_level=rng.normal(0, 0.15, size),
        popularity=popularity / popularity.sum(),
        _by_group=by_group,
        _group_edges=np.searchsorted(group[by_group], np.arange(len(world.COUNTRIES) + 2)),
        _cumulative=np.cumsum(popularity[by_group] / popularity.sum()),
    )


def _category_column(name: str) -> Floats:
    return np.array([getattr(category, name) for category in world.CATEGORIES], dtype=np.float64)


def _draw_index(rng: np.random.Generator, shares: Floats, size: int) -> Ints:
    return rng.choice(len(shares), size=size, p=shares / shares.sum())
