"""Lateness: what share of the chargebacks that will come has come by now."""

from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

FEWEST_CHARGEBACKS: Final = 20
"""With fewer, nothing is said about how late they are."""


def reported_shares(chargebacks: pl.DataFrame, as_of: date) -> Floats:
    """Share of the chargebacks that ever come which have come by an age of 0, 1, 2 … days.

    Of a young payment only early chargebacks can be known, so that a plain count of delays would call them
    quicker than they are. Counted backwards that is no matter: of those that came within k days, the share that
    came on day k is told by payments of that age or older alone. The product of what remains is the distribution
    (Kaplan and Meier's estimate for right truncation; actuaries know it as the chain ladder). It ends with the
    longest delay that has been seen: of what takes longer it knows nothing, and what is never reported isn't in it.

    Args:
        chargebacks: ``event_date`` of the payment and ``known_on``, both days, of every chargeback known at the end
            of ``as_of``.

    Returns:
        Shares by age in days, ascending up to 1; empty with fewer than `FEWEST_CHARGEBACKS`.

    Reference:
        Lagakos, Barraj, De Gruttola: Nonparametric analysis of truncated survival data, Biometrika 75 (1988).
    """
    if chargebacks.height < FEWEST_CHARGEBACKS:
        return np.empty(0)
    day = chargebacks["event_date"]
    delay = (chargebacks["known_on"] - day).dt.total_days().to_numpy()
    age = (pl.Series([as_of] * len(day)) - day).dt.total_days().to_numpy()
    longest = int(delay.max())
    came = np.bincount(delay, minlength=longest + 1)
    at_risk = np.array([((delay <= k) & (age >= k)).sum() for k in range(longest + 1)])
    remaining = 1 - came / np.maximum(at_risk, 1)
    # The share by k is the product of what remains of all later days.
    shares: Floats = np.append(np.cumprod(remaining[:0:-1])[::-1], 1.0)
    return shares


def reported_share(chargebacks: pl.DataFrame, as_of: date, days: pl.Series) -> float:
    """Share of the chargebacks on payments of these ``days`` that has come, if each day has equally many.

    1 where nothing is known of their lateness. ``chargebacks`` as for `reported_shares`.
    """
    shares = reported_shares(chargebacks, as_of)
    distinct = days.unique()
    if not len(shares) or distinct.is_empty():
        return 1.0
    ages = (pl.Series([as_of] * len(distinct)) - distinct).dt.total_days().to_numpy()
    share = float(shares[np.minimum(ages, len(shares) - 1)].mean())
    return share if share > 0 else 1.0
