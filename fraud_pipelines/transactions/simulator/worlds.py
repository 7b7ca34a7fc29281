"""Named worlds: what kinds of fraud there are, how much of it is ever reported, and how the year goes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

_ORDINARY: Final[Mapping[str, float]] = {
    "large_amount": 0.36,
    "card_testing": 0.11,
    "account_takeover": 0.25,
    "compromised_merchant": 0.16,
    "slow_ramp": 0.12,
}
_PAYDAYS: Final = (1, 15)
_PAYDAY_LASTS: Final = 3


@dataclass(frozen=True)
class World:
    """One world that can be simulated.

    Attributes:
        description: what it is like.
        shares: of the fraudulent transactions, by scenario; they sum to one.
        changes: the day, counted from 0, from which on ``changed`` are the shares.
        chargeback_share: of the frauds that nobody stopped, those that are ever charged back.
        seasonal: whether traffic and amounts swell and ebb over months, and rise after each payday.
    """

    description: str
    shares: Mapping[str, float]
    changes: int | None = None
    changed: Mapping[str, float] | None = None
    chargeback_share: float = 0.7
    seasonal: bool = False

    def shares_on(self, day: int) -> Mapping[str, float]:
        """The shares of the campaigns that begin on a day."""
        return (
            self.changed
            if self.changed is not None and self.changes is not None and day >= self.changes
            else self.shares
        )

    @property
    def scenarios(self) -> frozenset[str]:
        """All that ever occur."""
        return frozenset(self.shares) | frozenset(self.changed or {})

    def traffic_level(self, day: date) -> float:
        """How many payments there are on a day, as a factor of the average day."""
        if not self.seasonal:
            return 1.0
        return (1 + 0.3 * math.sin(2 * math.pi * day.timetuple().tm_yday / 365.25)) * (
            1.4 if _after_payday(day) else 1.0
        )

    def amount_level(self, day: date) -> float:
        """What genuine payments amount to on a day, as a factor of the ordinary."""
        return 1.5 if self.seasonal and _after_payday(day) else 1.0


def _after_payday(day: date) -> bool:
    return any(payday <= day.day < payday + _PAYDAY_LASTS for payday in _PAYDAYS)


WORLDS: Final[Mapping[str, World]] = {
    "ordinary": World("five kinds of fraud; seven frauds of ten that are let through are charged back", _ORDINARY),
    "small-amounts": World(
        "frauds are smaller than what the user ordinarily pays", {"small_amount": 0.85, "account_takeover": 0.15}
    ),
    "night": World("frauds have ordinary amounts, and happen from 2 to 5 o'clock at the user's home", {"night": 1.0}),
    "velocity": World(
        "dozens of payments of 1.00 on one card within ten minutes", {"velocity": 0.7, "card_testing": 0.3}
    ),
    "device-farms": World("dozens of new users on one device", {"device_farm": 0.8, "account_takeover": 0.2}),
    "compromised-merchants": World(
        "cards that were used at one merchant are misused for weeks, at ordinary amounts", {"compromised_merchant": 1.0}
    ),
    "unlabelled": World("one fraud of four that is let through is ever charged back", _ORDINARY, chargeback_share=0.25),
    "seasons": World(
        "traffic swells and ebbs over the year, with larger purchases after paydays", _ORDINARY, seasonal=True
    ),
    "new-fraud": World(
        "takeovers and large amounts for two weeks; from the third on, velocity attacks and slow ramps",
        {"large_amount": 0.6, "account_takeover": 0.4},
        changes=14,
        changed={"velocity": 0.6, "slow_ramp": 0.4},
    ),
}
"""The worlds by name; the demo's is the first."""
