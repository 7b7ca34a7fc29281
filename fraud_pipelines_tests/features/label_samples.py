"""Entities with label features of every kind, labels of every kind, and where a lookup finds them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import cast

import polars as pl
from hypothesis import strategies as st

from fraud_pipelines.features.known_labels import LabelLookup
from fraud_pipelines.features.label_events import with_label_features
from fraud_pipelines.plan.types import Aggregate, EntityPlan
from fraud_pipelines_tests.features.label_oracle import Value
from fraud_pipelines_tests.features.oracle import Label, Transaction
from fraud_pipelines_tests.features.random_transactions import frame

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


def rate(name: str, over: timedelta, *, delay: int = 7, weight: float = 0.1, prior: float = 0.005) -> Aggregate:
    options = {"delay_days": delay, "weight": weight, "prior": prior}
    return Aggregate(name, "fraud_rate", over=over, options=options)


def last(name: str, count: int, *, delay: int = 7, days: int = 30) -> Aggregate:
    return Aggregate(name, "last_labels", over=count, options={"delay_days": delay, "days": days})


AGGREGATES = (
    Aggregate("count_3h", "fraud_count", over=timedelta(hours=3)),
    rate("rate_1d", DAY),
    Aggregate("count_30d", "fraud_count", over=30 * DAY),
    Aggregate("since", "days_since_fraud"),
    rate("rate_30d", 30 * DAY, weight=1.5, prior=0.02),
    rate("at_once_36h", timedelta(hours=36), delay=0),
    rate("unshrunk_7d", 7 * DAY, weight=0),
    Aggregate("n_30d", "labelled_count", over=30 * DAY, options={"delay_days": 7}),
    Aggregate("n_90m", "labelled_count", over=timedelta(minutes=90), options={"delay_days": 2}),
    last("last_1", 1),
    last("last_3", 3),
    last("last_2_of_a_day", 2, days=1),
    last("at_once_2", 2, delay=0),
    last("last_40", 40, delay=2),
    Aggregate("first_8d", "days_since_first_fraud", over=8 * DAY),
    Aggregate("last_8d", "days_since_last_fraud", over=8 * DAY),
    Aggregate("first_30d", "days_since_first_fraud", over=30 * DAY),
)
ENTITIES = (
    EntityPlan("user", ("user_id",), AGGREGATES),
    EntityPlan("merchant", ("merchant_id",), AGGREGATES[::-1]),
    EntityPlan("user_at_merchant", ("user_id", "merchant_id"), AGGREGATES),
    EntityPlan("device", ("device_fingerprint",), (Aggregate("device_since", "days_since_fraud"),)),
    EntityPlan("city", ("city",), (Aggregate("cities", "count", over=DAY),)),
)
READ = with_label_features(ENTITIES)


@st.composite
def labels(draw: st.DrawFn, rows: Sequence[Transaction]) -> list[Label]:
    """Reviews and chargebacks of some of ``rows``, known at once or after up to 48 days, some corrected later."""
    waits = st.sampled_from([timedelta(0), INSTANT, timedelta(hours=3), DAY, 7 * DAY, 11 * DAY, 48 * DAY])
    found: list[Label] = []
    for row in rows:
        for source in draw(st.sets(st.sampled_from(["review", "chargeback"]))):
            fraud, known_at = draw(st.booleans()), row["timestamp"] + draw(waits)
            for correction in range(draw(st.integers(1, 3))):
                known_at += correction * (draw(waits) + INSTANT)
                found.append(
                    {
                        "transaction_id": row["transaction_id"],
                        "source": source,
                        "actual_fraud": fraud != bool(correction % 2),
                        "known_at": known_at,
                    }
                )
    return draw(st.permutations(found))


def looked_up(lookup: LabelLookup, rows: Sequence[Transaction]) -> list[dict[str, Value]]:
    columns = {name: [dict(row)[name] for row in rows] for name in lookup.entity.key}
    instants = frame(list(rows))["timestamp"].to_physical().to_numpy().copy()
    found = lookup.features_of(cast(dict[str, list[str | None]], columns), instants)
    values = pl.DataFrame({name: pl.Series(value, nan_to_null=True) for name, value in found.items()})
    return values.to_dicts()


def busy_days(seed: int = 5) -> tuple[list[Transaction], list[Label]]:
    """Transactions on days that lie at the edges of each other's windows, many of them labelled."""
    rng = Random(seed)
    rows: list[Transaction] = []
    known: list[Label] = []
    for day in (0, 1, 2, 6, 7, 8, 14, 15, 30, 37, 38, 60, 86):
        for _ in range(30):
            moment = datetime(2026, 3, 1) + day * DAY + rng.choice([0, 1, rng.randrange(1440), 1439]) * DAY / 1440
            rows.append(
                {
                    "transaction_id": f"t{len(rows):04d}",
                    "user_id": f"u{rng.randrange(6)}",
                    "timestamp": moment,
                    "amount": rng.randrange(1, 9_999) / 100,
                    "merchant_id": rng.choice(["m1", "m2", "m3", None]),
                    "device_fingerprint": rng.choice(["d1", "d2", None]),
                    "country": "DE",
                    "judged_only": rng.random() < 0.3,
                }
            )
            for source in rng.sample(["review", "chargeback"], rng.randrange(3)):
                known_at = moment + rng.choice([timedelta(0), DAY, 7 * DAY, 48 * DAY, rng.randrange(30) * DAY])
                fraud = rng.random() < 0.5
                for correction in range(rng.choice([1, 1, 2])):
                    known.append(
                        {
                            "transaction_id": rows[-1]["transaction_id"],
                            "source": source,
                            "actual_fraud": fraud != bool(correction),
                            "known_at": known_at + correction * rng.randrange(1, 20) * DAY,
                        }
                    )
    return rows, known
