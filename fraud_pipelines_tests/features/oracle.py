"""Every history feature once more: slow, plain, and written from the definitions alone."""

import math
import statistics
from datetime import datetime, timedelta
from typing import NotRequired, TypedDict

from fraud_pipelines_tests.features.population_oracle import profile_of, usual_of


class Transaction(TypedDict):
    transaction_id: str
    user_id: str
    timestamp: datetime
    amount: float
    merchant_id: str | None
    device_fingerprint: str | None
    country: str | None
    judged_only: NotRequired[bool]


class Label(TypedDict):
    transaction_id: str
    actual_fraud: bool
    source: str
    known_at: datetime


Value = float | None
Features = dict[str, Value]


def user_features(transactions: list[Transaction], everybody: list[Transaction] | None = None) -> dict[str, Features]:
    """The features of one user's whole life, by transaction_id; ``everybody``: all payments, by default these."""
    everybody = transactions if everybody is None else everybody
    life = sorted(transactions, key=lambda t: (t["timestamp"], t["transaction_id"]))
    amounts = [t["amount"] for t in life]
    counts = [len(_within(life, i, timedelta(hours=24))) for i in range(len(life))]
    outsized = [_profile(life, i, everybody)["user_z"] > 4 for i in range(len(life))]
    return {
        life[i]["transaction_id"]: {
            **_rolling(amounts[: i + 1]),
            "tx_count_10m": len(_within(life, i, timedelta(minutes=10))),
            "user_earlier": i,
            "merchant_novelty": _novelty([t["merchant_id"] for t in life[: i + 1]], 50),
            "category_novelty": None,
            "device_novelty": _novelty([t["device_fingerprint"] for t in life[: i + 1]], 10),
            "country_novelty": _novelty([t["country"] for t in life[: i + 1]], 10),
            "user_hour_share": _hour_share([t["timestamp"].hour for t in life[: i + 1]]),
            "tx_count_1h": len(_within(life, i, timedelta(hours=1))),
            "tx_count_24h": counts[i],
            "tx_count_7d": len(_within(life, i, timedelta(days=7))),
            "tx_count_rolling_mean_5": statistics.fmean(counts[: i + 1][-5:]),
            **{f"amount_lag_{k}": amounts[i - k] if i >= k else None for k in (1, 5, 10)},
            **_previous(life, i),
            **_time(life[i]["timestamp"]),
            **_profile(life, i, everybody),
            "amount_below_usual": _negative(_profile(life, i, everybody)["user_log_ratio"]),
            "user_big_14d": len([j for j in _within(life, i, timedelta(days=14))[:-1] if outsized[j]]),
            "amount": amounts[i],
        }
        for i in range(len(life))
    }


def shared_features(transactions: list[Transaction]) -> dict[str, Features]:
    """The counts by device and by merchant, by transaction_id."""
    life = sorted(transactions, key=lambda t: (t["timestamp"], t["transaction_id"]))
    devices, merchants = [t["device_fingerprint"] for t in life], [t["merchant_id"] for t in life]
    found: dict[str, Features] = {}
    for i, now in enumerate(life):
        in_hour, in_day = _shared(merchants, life, i, hours=1), _shared(merchants, life, i, hours=24)
        found[now["transaction_id"]] = {
            "device_tx_count_1h": _shared(devices, life, i, hours=1),
            "device_tx_count_24h": _shared(devices, life, i, hours=24),
            "device_users_24h": _users(devices, life, i, hours=24),
            "device_users_7d": _users(devices, life, i, hours=7 * 24),
            "merchant_tx_count_1h": in_hour,
            "merchant_tx_count_24h": in_day,
            "merchant_burst": None if in_hour is None or in_day is None else (in_hour + 1) / (in_day / 24 + 1),
        }
    return found


def _shared(ids: list[str | None], life: list[Transaction], i: int, *, hours: int) -> Value:
    same = [j for j in _within(life, i, timedelta(hours=hours)) if ids[j] == ids[i]]
    return None if ids[i] is None else len(same)


def _users(ids: list[str | None], life: list[Transaction], i: int, *, hours: int) -> Value:
    same = {life[j]["user_id"] for j in _within(life, i, timedelta(hours=hours)) if ids[j] == ids[i]}
    return None if ids[i] is None else len(same)


def _negative(value: Value) -> Value:
    return None if value is None else 0 - value


def _novelty(values: list[str | None], remembered: int) -> Value:
    """Of the last of ``values`` among those before."""
    *before, now = values
    recent: list[str] = []
    n = new = 0
    for value in before:
        if value is not None:
            n, new = n + 1, new + (value not in recent)
            recent = [*(other for other in recent if other != value), value][-remembered:]
            n, new = (n // 2, new // 2) if n == 64 else (n, new)
    if now is None or not n:
        return None
    return 0.0 if now in recent else 1 - (new + 1) / (n + 1)


def _hour_share(hours: list[int]) -> Value:
    """Of the last of up to a hundred ``hours``, among those before."""
    *before, now = hours
    near = [hour for hour in before if (hour - now) % 24 in (23, 0, 1)]
    return (len(near) + 5 * 3 / 24) / (len(before) + 5) if before else None


def _within(life: list[Transaction], i: int, span: timedelta) -> list[int]:
    """Positions up to i, itself included, in (t − span, t]."""
    return [j for j in range(i + 1) if life[j]["timestamp"] > life[i]["timestamp"] - span]


def _rolling(amounts: list[float]) -> Features:
    features: Features = {}
    for window in (3, 5, 10, 50):
        last = amounts[-window:]
        features[f"amount_rolling_mean_{window}"] = statistics.fmean(last)
        features[f"amount_rolling_std_{window}"] = statistics.stdev(last) if len(last) > 1 else None
        features[f"amount_rolling_min_{window}"] = min(last)
        features[f"amount_rolling_max_{window}"] = max(last)
    return features


def _previous(life: list[Transaction], i: int) -> Features:
    names = ("minutes_since_last", "days_since_last_tx", "country_changed", "impossible_travel", "amount_vs_avg")
    if i == 0:
        return dict.fromkeys(names)
    now, last = life[i], life[i - 1]
    gap = now["timestamp"] - last["timestamp"]
    known = now["country"] is not None and last["country"] is not None
    changed = int(now["country"] != last["country"]) if known else None
    mean = math.fsum(t["amount"] for t in life[:i]) / i
    return {
        "minutes_since_last": gap / timedelta(minutes=1),
        "days_since_last_tx": gap / timedelta(days=1),
        "country_changed": changed,
        "impossible_travel": None if changed is None else int(changed and gap < timedelta(minutes=120)),
        "amount_vs_avg": now["amount"] / mean if mean > 0 else None,
    }


def _time(t: datetime) -> Features:
    return {
        "hour_of_day": t.hour,
        "day_of_week": t.weekday(),
        "is_weekend": int(t.weekday() >= 5),
        "is_night": int(t.hour < 6 or t.hour > 22),
    }


def _profile(life: list[Transaction], i: int, everybody: list[Transaction]) -> dict[str, float]:
    now, before = life[i], [t["amount"] for t in life[:i]]
    told = profile_of(before[-50:], now["amount"], usual_of(everybody, now, "amount"), {})
    return {f"user_{name}": value for name, value in told.items() if value is not None}
