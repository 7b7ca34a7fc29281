"""Versions of features as releases before the plan named them, for models that were trained by one.

Now it is `Plan.version_of`.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan

_EARLIER: Final[Mapping[str, str]] = {
    "amount_rolling_mean_3": "e2824670d852",
    "amount_rolling_std_3": "cfc995b2fbe6",
    "amount_rolling_min_3": "bf977bd8d1fd",
    "amount_rolling_max_3": "a9e8b9a95986",
    "amount_rolling_mean_5": "f60554472f5a",
    "amount_rolling_std_5": "84b3813da9b9",
    "amount_rolling_min_5": "4c07c3f2999f",
    "amount_rolling_max_5": "4b38dc32b164",
    "amount_rolling_mean_10": "44e8b9e4ff39",
    "amount_rolling_std_10": "4a67a5049504",
    "amount_rolling_min_10": "d061efea32c9",
    "amount_rolling_max_10": "19992e2338db",
    "amount_rolling_mean_50": "fad1056046f7",
    "amount_rolling_std_50": "d26cfe29d9dd",
    "amount_rolling_min_50": "67af66e26105",
    "amount_rolling_max_50": "f5daa285636f",
    "tx_count_1h": "8c2f282d0f4a",
    "tx_count_24h": "2698f653ee24",
    "tx_count_7d": "954ac28d96cd",
    "tx_count_rolling_mean_5": "d5306fdb25ed",
    "amount_lag_1": "121cf1b60690",
    "amount_lag_5": "d3eb9cbac09b",
    "amount_lag_10": "41832ab7ebe1",
    "minutes_since_last": "1b94c9fa0198",
    "days_since_last_tx": "5246048d0a86",
    "country_changed": "67f67592f796",
    "amount_vs_avg": "4f927d6adb8f",
    "device_tx_count_24h": "fd2aed702a1d",
    "merchant_tx_count_24h": "82aa1129dec8",
    "amount": "1f242daef337",
    "hour_of_day": "4fffb900a758",
    "day_of_week": "62ae48f87c84",
    "is_weekend": "301cdacec4e5",
    "is_night": "2e7ddebdb4c5",
    "impossible_travel": "5af6283ca186",
}
"""Feature → how an earlier release named its definition. Profiles and what is from labels are computed otherwise."""


def earlier_version(names: Collection[str], plan: Plan) -> str | None:
    """The version that earlier releases gave these features; None where one of them is computed otherwise now."""
    shipped = shipped_plan()
    chosen = [name for name in sorted(set(names)) if name in plan.features]
    for name in chosen:
        then = shipped.features.get(name)
        if name not in _EARLIER or then is None or plan.features[name].definition != then.definition:
            return None
    content = ([_EARLIER[name] for name in chosen],)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]
