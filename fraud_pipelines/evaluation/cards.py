"""Card precision: how many compromised cards are among those that could be looked at in a day."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Final

CARDS_A_DAY: Final = 100

Ranked = Mapping[date, Sequence[str]]
"""The cards of each day, the one with the highest score first."""
Compromised = Mapping[tuple[date, str], float]
"""For how many each compromised card stands, by day: 1, or more where it is known by chargebacks alone, and others
like it are still to come."""


def compromised_cards(days: Iterable[date], cards: Iterable[str], frauds: Iterable[float]) -> Compromised:
    """From the frauds, and for how many each stands. A card is known as well as the surest of its frauds that day."""
    found: dict[tuple[date, str], float] = {}
    for day, card, stands_for in zip(days, cards, frauds, strict=True):
        found[day, card] = min(found.get((day, card), math.inf), stands_for)
    return found


def card_precision(ranked: Ranked, compromised: Compromised, k: int) -> float | None:
    """Card precision@k: per day the share of compromised cards among the k that rank highest; mean over days.

    A card (``user_id``) ranks by the highest score it had that day and is compromised if any of its transactions
    that day was a fraud. A compromised card among the k is detected: it is blocked, and leaves the days after.
    With fewer than k cards in a day the share is still of k. Null without a day.

    Reference:
        Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud Detection,
        chapter 4, "Precision top-k metrics".
    """
    if not ranked:
        return None
    gone: set[str] = set()
    found = []
    for day, cards in sorted(ranked.items()):
        looked_at = islice((card for card in cards if card not in gone), k)
        detected = {card: compromised[day, card] for card in looked_at if (day, card) in compromised}
        gone |= detected.keys()
        found.append(min(math.fsum(detected.values()), k))
    return math.fsum(found) / (k * len(ranked))


def card_precision_ceiling(days: int, compromised: Compromised, k: int) -> float | None:
    """The card precision@k that no ranking can exceed; a perfect one reaches it if no day has over k compromised.

    A card is detected once, and k of them a day, hence min(distinct compromised cards, Σ over days of min(k,
    compromised cards)) / (k × days). Null without a day.
    """
    if not days:
        return None
    a_day: dict[date, list[float]] = {}
    of_card: dict[str, float] = {}
    for (day, card), stands_for in compromised.items():
        a_day.setdefault(day, []).append(stands_for)
        of_card[card] = max(of_card.get(card, 0.0), stands_for)
    found = math.fsum(min(math.fsum(of_day), k) for of_day in a_day.values())
    return min(math.fsum(of_card.values()), found) / (k * days)
