"""The simulated world's constants: countries with their cities, and merchant categories with their prices."""

from typing import Final, NamedTuple

import numpy as np


class Country(NamedTuple):
    """Share of the users who live there, standard time in hours ahead of UTC, cities with the largest first."""

    code: str
    share: float
    utc_offset: int
    cities: tuple[str, ...]


class Category(NamedTuple):
    """Share of the merchants' custom, median amount, log-scale spread, and whether it sells over the internet."""

    name: str
    share: float
    median: float
    spread: float
    online: bool


COUNTRIES: Final = (
    Country("DE", 0.24, 1, ("Berlin", "Hamburg", "Munich", "Cologne", "Leipzig")),
    Country("FR", 0.18, 1, ("Paris", "Lyon", "Marseille", "Toulouse")),
    Country("ES", 0.12, 1, ("Madrid", "Barcelona", "Valencia", "Seville")),
    Country("IT", 0.12, 1, ("Rome", "Milan", "Naples", "Turin")),
    Country("NL", 0.09, 1, ("Amsterdam", "Rotterdam", "Utrecht")),
    Country("PL", 0.08, 1, ("Warsaw", "Krakow", "Gdansk")),
    Country("GB", 0.06, 0, ("London", "Manchester", "Leeds")),
    Country("PT", 0.04, 0, ("Lisbon", "Porto")),
    Country("US", 0.03, -5, ("New York", "Boston", "Miami")),
    Country("TR", 0.02, 3, ("Istanbul", "Ankara")),
    Country("BR", 0.01, -3, ("Sao Paulo", "Rio de Janeiro")),
    Country("TH", 0.01, 7, ("Bangkok", "Chiang Mai")),
)

CATEGORIES: Final = (
    Category("grocery", 0.200, 30.0, 0.50, online=False),
    Category("restaurant", 0.120, 26.0, 0.45, online=False),
    Category("coffee_shop", 0.090, 9.0, 0.35, online=False),
    Category("fuel", 0.070, 42.0, 0.30, online=False),
    Category("pharmacy", 0.050, 18.0, 0.50, online=False),
    Category("public_transport", 0.070, 9.0, 0.40, online=False),
    Category("clothing", 0.060, 45.0, 0.55, online=False),
    Category("home_improvement", 0.030, 48.0, 0.60, online=False),
    Category("electronics", 0.025, 80.0, 0.65, online=False),
    Category("hotel", 0.015, 95.0, 0.45, online=False),
    Category("online_marketplace", 0.120, 32.0, 0.60, online=True),
    Category("subscription", 0.060, 13.0, 0.30, online=True),
    Category("gaming", 0.030, 15.0, 0.55, online=True),
    Category("food_delivery", 0.045, 24.0, 0.35, online=True),
    Category("travel", 0.015, 120.0, 0.55, online=True),
)

DEVICE_TYPES: Final = ("card", "mobile", "desktop", "tablet")
"""What a payment is made with. The first is the plastic card itself, read in a shop; a copy of it reads the same."""

CARD: Final = 0
MOBILE: Final = 1

CITIES: Final = tuple(city for country in COUNTRIES for city in country.cities)
COUNTRY_OF_CITY: Final = np.repeat(np.arange(len(COUNTRIES)), [len(country.cities) for country in COUNTRIES])
FIRST_CITY: Final = np.searchsorted(COUNTRY_OF_CITY, np.arange(len(COUNTRIES)))
CITIES_IN_COUNTRY: Final = np.bincount(COUNTRY_OF_CITY)
UTC_OFFSET: Final = np.array([country.utc_offset for country in COUNTRIES])

IP_PREFIXES_PER_CITY: Final = 64
IP_PREFIXES: Final = tuple(f"10.{city}.{block}" for city in range(len(CITIES)) for block in range(IP_PREFIXES_PER_CITY))
"""Private addresses: a simulated fraud must not name a real network."""
