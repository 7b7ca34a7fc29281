"""Fraud: campaigns in named scenarios, begun day by day so that the wanted share of fraud is kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fraud_pipelines.transactions.simulator import world
from fraud_pipelines.transactions.simulator.population import Floats, Ints, Population
from fraud_pipelines.transactions.simulator.traffic import (
    SECONDS_PER_DAY,
    Events,
    Whereabouts,
    draw_city,
    draw_devices,
    draw_ip,
    other_country,
)
from fraud_pipelines.transactions.simulator.worlds import World

ORDINARY: Final = ("large_amount", "card_testing", "account_takeover", "compromised_merchant", "slow_ramp")
SCENARIOS: Final = (*ORDINARY, "small_amount", "night", "velocity", "device_farm")
LARGE_AMOUNT, CARD_TESTING, ACCOUNT_TAKEOVER, COMPROMISED_MERCHANT, SLOW_RAMP = range(len(ORDINARY))
SMALL_AMOUNT, NIGHT, VELOCITY, DEVICE_FARM = range(len(ORDINARY), len(SCENARIOS))

LONGEST_CAMPAIGN_DAYS: Final = 28
"""Campaigns that began up to so many days before the first reach into it."""

_SIZES = ((1, 2), (5, 8), (2, 5), (12, 40), (6, 10), (1, 3), (1, 3), (25, 45), (25, 60))
"""Fewest and most transactions of a campaign by scenario."""
_SKIMMING_DAYS = 3
"""The cards seen by a compromised merchant in the last so many days are copied."""
_FEWEST_VISITORS = 5
_CASH_OUT_CATEGORIES = ("online_marketplace", "gaming", "travel")
"""Where stolen money is turned into goods that sell again."""


class FraudCampaigns:
    """The campaigns under way, and the budget out of which new ones begin.

    Each scenario is due its share of a day's expected frauds. Campaigns begin while their transactions fit into what
    is due, to be spread over the days to come; the remainder is carried to the next day.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        population: Population,
        whereabouts: Whereabouts,
        *,
        frauds_per_day: float,
        world_of_frauds: World,
    ) -> None:
        self._population = population
        self._whereabouts = whereabouts
        self._frauds_per_day = frauds_per_day
        self._world = world_of_frauds
        occurring = np.array([name in world_of_frauds.scenarios for name in SCENARIOS])
        # As if campaigns had always been running: some remainder is left from the day before.
        left = [rng.uniform(0, np.mean(size)) for size in _SIZES]
        self._due = np.array(left) * occurring * (frauds_per_day > 0)
        self._sleepers_used = 0
        self._under_way: list[Events] = []
        self._visits: list[tuple[Ints, Ints]] = []

        categories = [index for index, item in enumerate(world.CATEGORIES) if item.name in _CASH_OUT_CATEGORIES]
        self._cash_out = np.flatnonzero(np.isin(population.merchants.category, categories))
        popularity = population.merchants.popularity[self._cash_out]
        self._cash_out_shares = popularity / popularity.sum()

    def begin(self, rng: np.random.Generator, day: int, genuine: Events | None) -> None:
        """Begin the campaigns of ``day``. ``genuine`` are its genuine payments; None before the first day."""
        shares = self._world.shares_on(day)
        due = self._frauds_per_day * np.array([shares.get(name, 0.0) for name in SCENARIOS])
        self._due += due
        if genuine is None:
            # A takeover follows a genuine payment, and is over within hours.
            self._due[ACCOUNT_TAKEOVER] -= due[ACCOUNT_TAKEOVER]
        elif len(genuine):
            self._visits = [*self._visits[1 - _SKIMMING_DAYS :], (genuine.merchant, genuine.user)]
            self._add(self._account_takeovers(rng, genuine, self._sizes(rng, ACCOUNT_TAKEOVER)))
        self._add(self._large_amounts(rng, day, self._sizes(rng, LARGE_AMOUNT)))
        self._add(self._card_tests(rng, day, self._sizes(rng, CARD_TESTING)))
        self._add(self._slow_ramps(rng, day, self._sizes(rng, SLOW_RAMP)))
        for size in self._sizes(rng, COMPROMISED_MERCHANT):
            self._add(self._compromised_merchant(rng, day, int(size)))
        further: Sequence[tuple[int, Callable[[np.random.Generator, int, Ints], Events]]] = (
            (SMALL_AMOUNT, self._small_amounts),
            (NIGHT, self._at_night),
            (VELOCITY, self._velocity_attacks),
            (DEVICE_FARM, self._device_farms),
        )
        for scenario, events_of in further:
            if SCENARIOS[scenario] in self._world.scenarios:
                self._add(events_of(rng, day, self._sizes(rng, scenario)))

    def due_on(self, day: int) -> list[Events]:
        """The frauds that happen on ``day`` and were not handed out before; ask for the days in order."""
        end = (day + 1) * SECONDS_PER_DAY
        today = [events.take(events.second < end) for events in self._under_way]
        later = [events.take(events.second >= end) for events in self._under_way]
        self._under_way = [events for events in later if len(events)]
        return [events for events in today if len(events)]

    def _add(self, events: Events) -> None:
        if len(events):
            self._under_way.append(events)

    def _sizes(self, rng: np.random.Generator, scenario: int) -> Ints:
        """The sizes of the campaigns that begin today."""
        low, high = _SIZES[scenario]
        sizes: Ints = rng.integers(low, high + 1, int(self._due[scenario] // low) + 1)
        sizes = sizes[np.cumsum(sizes) <= self._due[scenario]]
        self._due[scenario] -= sizes.sum()
        return sizes

    def _large_amounts(self, rng: np.random.Generator, day: int, sizes: Ints) -> Events:
        """One or two payments within the hour, many times what the user ordinarily spends."""
        victims, start = self._victims(rng, day, len(sizes))
        campaign, step = _unroll(sizes)
        # Half on the victim's own phone: stolen, or used by an owner who was deceived.
        phone = np.full(len(sizes), world.MOBILE)
        own = rng.random(len(sizes)) < 0.5
        return self._online_events(
            rng,
            LARGE_AMOUNT,
            campaign,
            victims=victims,
            second=start[campaign] + step * rng.integers(300, 3_600, len(step)),
            factor=_log_uniform(rng, 6, 45, len(step)),
            device=np.where(own, self._whereabouts.device(victims, phone), draw_devices(rng, len(sizes))),
            device_type=np.where(own, phone, _draw_device_types(rng, len(sizes))),
            city=self._whereabouts.city[victims],
        )

    def _card_tests(self, rng: np.random.Generator, day: int, sizes: Ints) -> Events:
        """A burst of tiny payments within ten minutes at one merchant, then a large one within the hour."""
        victims, start = self._victims(rng, day, len(sizes))
        campaign, step = _unroll(sizes)
        is_test = step < sizes[campaign] - 1
        home = world.COUNTRY_OF_CITY[self._whereabouts.city[victims]]
        country = np.where(rng.random(len(sizes)) < 0.5, home, other_country(rng, home))
        burst = np.sort(rng.integers(0, 600, (len(sizes), _SIZES[CARD_TESTING][1])), axis=1)
        large_one = rng.integers(900, 3_600, len(sizes))
        events = self._online_events(
            rng,
            CARD_TESTING,
            campaign,
            victims=victims,
            second=start[campaign] + np.where(is_test, burst[campaign, step], large_one[campaign]),
            factor=_log_uniform(rng, 5, 25, len(step)),
            device=draw_devices(rng, len(sizes)),
            device_type=_draw_device_types(rng, len(sizes)),
            city=draw_city(rng, country),
        )
        tested_at = self._population.merchants.draw_online(rng, len(sizes))
        return replace(
            events,
            amount=np.where(is_test, rng.uniform(0.5, 3.0, len(step)), events.amount),
            merchant=np.where(is_test, tested_at[campaign], events.merchant),
        )

    def _account_takeovers(self, rng: np.random.Generator, genuine: Events, sizes: Ints) -> Events:
        """Raised amounts from a new device in another country, begun within two hours of a genuine payment."""
        last = genuine.take(rng.integers(0, len(genuine), len(sizes)))
        campaign, step = _unroll(sizes)
        pauses = rng.integers(120, 2_400, (len(sizes), _SIZES[ACCOUNT_TAKEOVER][1]))
        pauses[:, 0] = rng.integers(300, 6_600, len(sizes))
        return self._online_events(
            rng,
            ACCOUNT_TAKEOVER,
            campaign,
            victims=last.user,
            second=last.second[campaign] + np.cumsum(pauses, axis=1)[campaign, step],
            factor=_log_uniform(rng, 2.5, 22, len(step)),
            device=draw_devices(rng, len(sizes)),
            device_type=_draw_device_types(rng, len(sizes)),
            city=draw_city(rng, other_country(rng, world.COUNTRY_OF_CITY[last.city])),
        )

    def _slow_ramps(self, rng: np.random.Generator, day: int, sizes: Ints) -> Events:
        """About a payment a day on one new device, from ordinary amounts up to some ten times as much."""
        victims, start = self._victims(rng, day, len(sizes))
        campaign, step = _unroll(sizes)
        first, growth = rng.uniform(0.7, 1.3, len(sizes)), rng.uniform(8, 20, len(sizes))
        interval = rng.uniform(0.6, 1.4, len(sizes))[campaign] * SECONDS_PER_DAY
        delay = interval * (step + rng.uniform(0, 0.4, len(step)))
        progress = step / (sizes[campaign] - 1)
        return self._online_events(
            rng,
            SLOW_RAMP,
            campaign,
            victims=victims,
            second=start[campaign] + delay.astype(np.int64),
            factor=first[campaign] * growth[campaign] ** progress * rng.lognormal(0, 0.05, len(step)),
            device=draw_devices(rng, len(sizes)),
            device_type=_draw_device_types(rng, len(sizes)),
            city=self._population.home_city[victims],
        )

    def _small_amounts(self, rng: np.random.Generator, day: int, sizes: Ints) -> Events:
        """A few payments within hours, each a fraction of what the user ordinarily spends."""
        victims, start = self._victims(rng, day, len(sizes))
        campaign, step = _unroll(sizes)
        return self._online_events(
            rng,
            SMALL_AMOUNT,
            campaign,
            victims=victims,
            second=start[campaign] + step * rng.integers(600, 7_200, len(step)),
            factor=_log_uniform(rng, 0.04, 0.3, len(step)),
            device=draw_devices(rng, len(sizes)),
            device_type=_draw_device_types(rng, len(sizes)),
            city=self._whereabouts.city[victims],
        )

    def _at_night(self, rng: np.random.Generator, day: int, sizes: Ints) -> Events:
        """Payments of ordinary amounts on the user's own phone, between two and five o'clock at home."""
        victims, _ = self._victims(rng, day, len(sizes))
        campaign, step = _unroll(sizes)
        country = world.COUNTRY_OF_CITY[self._population.home_city[victims]]
        hours = np.mod(2 - world.UTC_OFFSET[country], 24)[campaign] + rng.uniform(0, 3, len(step))
        phone = np.full(len(sizes), world.MOBILE)
        return self._online_events(
            rng,
            NIGHT,
            campaign,
            victims=victims,
            second=day * SECONDS_PER_DAY + (np.mod(hours, 24) * 3_600).astype(np.int64),
            factor=_log_uniform(rng, 0.6, 1.6, len(step)),
            device=self._whereabouts.device(victims, phone),
            device_type=phone,
            city=self._population.home_city[victims],
        )

    def _velocity_attacks(self, rng: np.random.Generator, day: int, sizes: Ints) -> Events:
        """Payments of 1.00 on one card at one merchant, all within ten minutes."""
        victims, start = self._victims(rng, day, len(sizes))
        campaign, step = _unroll(sizes)
        events = self._online_events(
            rng,
            VELOCITY,
            campaign,
            victims=victims,
            second=start[campaign]
            + np.sort(rng.integers(0, 600, (len(sizes), _SIZES[VELOCITY][1])), axis=1)[campaign, step],
            factor=np.ones(len(step)),
            device=draw_devices(rng, len(sizes)),
            device_type=_draw_device_types(rng, len(sizes)),
            city=self._whereabouts.city[victims],
        )
        attacked = self._population.merchants.draw_online(rng, len(sizes))
        return replace(events, amount=np.ones(len(step)), merchant=attacked[campaign])

    def _device_farms(self, rng: np.random.Generator, day: int, sizes: Ints) -> Events:
        """New users, all on one device within hours, with a payment of an ordinary amount each."""
        campaign, step = _unroll(sizes)
        start = day * SECONDS_PER_DAY + rng.integers(0, SECONDS_PER_DAY, len(sizes))
        users = self._new_users(len(step))
        device = draw_devices(rng, len(sizes))
        device_type = _draw_device_types(rng, len(sizes))
        city = draw_city(rng, rng.integers(0, len(world.COUNTRIES), len(sizes)))
        place = rng.choice(self._cash_out, size=len(step), p=self._cash_out_shares)
        return Events(
            user=users,
            second=start[campaign] + step * rng.integers(60, 900, len(step)),
            amount=self._population.draw_amounts(rng, users, place),
            merchant=place,
            device=device[campaign],
            device_type=device_type[campaign],
            city=city[campaign],
            ip=draw_ip(rng, city)[campaign],
            scenario=np.full(len(step), DEVICE_FARM),
        )

    def _new_users(self, size: int) -> Ints:
        """Users who have never paid; once none are left, those whose turn is longest ago."""
        sleepers = self._population.sleepers
        found = sleepers[(self._sleepers_used + np.arange(size)) % len(sleepers)]
        self._sleepers_used += size
        return found

    def _compromised_merchant(self, rng: np.random.Generator, day: int, size: int) -> Events:
        """Cards used at one merchant are misused for two to four weeks, mostly there, at ordinary amounts."""
        population = self._population
        merchants = population.merchants
        merchant, visitors = self._skimmed(rng)
        copied = rng.permutation(visitors)[: max(1, size // 2)]
        victim = copied[rng.integers(0, len(copied), size)]
        place = np.where(rng.random(size) < 0.6, merchant, merchants.draw_online(rng, size))
        online = merchants.online[place]
        abroad = ~online & (merchants.country[place] != world.COUNTRY_OF_CITY[population.home_city[victim]])
        city = np.where(abroad, draw_city(rng, merchants.country[place]), population.home_city[victim])
        # A shop reads the copy as the card itself; on the internet the number is typed into any device.
        device_type = np.where(online, world.MOBILE, world.CARD)
        device = np.where(online, draw_devices(rng, size), self._whereabouts.device(victim, device_type))
        days = int(rng.integers(14, LONGEST_CAMPAIGN_DAYS))
        return Events(
            user=victim,
            second=(day + 1 + rng.integers(0, days, size)) * SECONDS_PER_DAY + population.draw_seconds(rng, victim),
            amount=population.draw_amounts(rng, victim, place) * rng.lognormal(0.2, 0.2, size),
            merchant=place,
            device=device,
            device_type=device_type,
            city=city,
            ip=draw_ip(rng, city),
            scenario=np.full(size, COMPROMISED_MERCHANT),
        )

    def _skimmed(self, rng: np.random.Generator) -> tuple[int, Ints]:
        """A merchant and the users who paid there lately; before the first day, users who might have."""
        if not self._visits:
            users = self._population.draw_users(rng, 50)
            return int(self._population.draw_favourites(rng, users[:1])[0]), np.unique(users)
        merchants, users = (np.concatenate(part) for part in zip(*self._visits, strict=True))
        visits = np.bincount(merchants)
        candidates = np.flatnonzero(visits >= min(_FEWEST_VISITORS, visits.max()))
        merchant = int(rng.choice(candidates))
        return merchant, np.unique(users[merchants == merchant])

    def _victims(self, rng: np.random.Generator, day: int, size: int) -> tuple[Ints, Ints]:
        """Users, the active ones more often, and a second of the day: thieves keep no office hours."""
        return (
            self._population.draw_users(rng, size),
            day * SECONDS_PER_DAY + rng.integers(0, SECONDS_PER_DAY, size),
        )

    def _online_events(
        self,
        rng: np.random.Generator,
        scenario: int,
        campaign: Ints,
        *,
        victims: Ints,
        second: Ints,
        factor: Floats,
        device: NDArray[np.uint64],
        device_type: Ints,
        city: Ints,
    ) -> Events:
        """Payments on the internet of ``factor`` times the victim's typical amount.

        ``second`` and ``factor`` are given by payment; the victim, the device and the place by campaign.
        """
        return Events(
            user=victims[campaign],
            second=second,
            amount=self._population.typical_amount[victims][campaign] * factor,
            merchant=rng.choice(self._cash_out, size=len(campaign), p=self._cash_out_shares),
            device=device[campaign],
            device_type=device_type[campaign],
            city=city[campaign],
            ip=draw_ip(rng, city)[campaign],
            scenario=np.full(len(campaign), scenario),
        )


def _draw_device_types(rng: np.random.Generator, size: int) -> Ints:
    return rng.integers(world.MOBILE, len(world.DEVICE_TYPES), size)


def _unroll(sizes: Ints) -> tuple[Ints, Ints]:
    """For each transaction of campaigns of ``sizes``: the campaign's index, and the place within it."""
    campaign = np.repeat(np.arange(len(sizes)), sizes)
    return campaign, np.arange(len(campaign)) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _log_uniform(rng: np.random.Generator, low: float, high: float, size: int) -> Floats:
    return np.exp(rng.uniform(np.log(low), np.log(high), size))
