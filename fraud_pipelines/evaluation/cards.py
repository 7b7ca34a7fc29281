"""Card precision: how many compromised cards are among those that could be looked at in a day."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

CARDS_A_DAY: Final = 100


def cards_by_day(outcomes: pl.DataFrame, codes: npt.NDArray[np.int64], frauds: npt.NDArray[np.float64]) -> pl.DataFrame:
    """A row for each card and day, within a day the highest-ranked card first: ``day``, ``card``, ``compromised``.

    Args:
        outcomes: ``event_date``, ``user_id``.
        codes: rank of each row, the highest the most suspicious.
        frauds: how many frauds each row stands for. A card is compromised as much as the surest of its frauds is
            known: by a review it counts once, by a chargeback also for those that are still to come.
    """
    return (
        outcomes.lazy()
        .select(
            "event_date",
            "user_id",
            pl.lit(pl.Series("frauds", frauds)),
            pl.lit(pl.Series("code", codes, dtype=pl.Int64)),
        )
        .group_by("event_date", "user_id")
        .agg(pl.col("code").max(), pl.col("frauds").filter(pl.col("frauds") > 0).min().fill_null(0.0))
        .select(
            pl.col("event_date").rank("dense").cast(pl.Int64).alias("day"),
            pl.col("user_id").rank("dense").cast(pl.Int64).alias("card"),
            "code",
            pl.col("frauds").alias("compromised"),
        )
        .sort("day", "code", "card", descending=[False, True, False])
        .select("day", "card", "compromised")
        .collect()
    )


def card_precision(cards: pl.DataFrame, k: int) -> float | None:
    """Card precision@k: per day the share of compromised cards among the k that rank highest; mean over days.

    A card (``user_id``) ranks by the highest score it had that day and is compromised if any of its transactions
    that day was a fraud. A compromised card among the k is detected: it is blocked, and leaves the days after.
    With fewer than k cards in a day the share is still of k. Null without a day.

    Reference:
        Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud Detection,
        chapter 4, "Precision top-k metrics".
    """
    if not cards.height:
        return None
    card, compromised = cards["card"].to_numpy(), cards["compromised"].to_numpy()
    gone = np.zeros(int(card.max()) + 1, dtype=bool)
    found = 0.0
    days = np.flatnonzero(np.diff(cards["day"].to_numpy())) + 1
    for of_day in np.split(np.arange(len(card)), days):
        looked_at = of_day[~gone[card[of_day]]][:k]
        detected = looked_at[compromised[looked_at] > 0]
        gone[card[detected]] = True
        found += min(float(compromised[detected].sum()), k)
    return found / (k * (len(days) + 1))


def card_precision_ceiling(cards: pl.DataFrame, k: int) -> float | None:
    """The card precision@k that no ranking can exceed; a perfect one reaches it if no day has over k compromised.

    A card is detected once, and k of them a day, hence min(distinct compromised cards, Σ over days of min(k,
    compromised cards)) / (k × days). Null without a day.
    """
    if not cards.height:
        return None
    compromised = cards.filter(pl.col("compromised") > 0)
    # Exact sums: the order in which groups come doesn't show in the last digit.
    days = compromised.group_by("day").agg("compromised")["compromised"]
    a_day = math.fsum(min(math.fsum(of_day), k) for of_day in days)
    distinct = math.fsum(compromised.group_by("card").agg(pl.col("compromised").max())["compromised"])
    return min(distinct, a_day) / (k * cards["day"].n_unique())
