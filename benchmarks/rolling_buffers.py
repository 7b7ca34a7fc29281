"""The straightforward way to screen a stream: a Polars buffer per user, and PyOD's ecod asked for each transaction.

It does what the original's service does for the tutorial's transactions, in the process instead of over HTTP: of their
columns, which the buffer keeps, the amount alone is a number; the latest window of 10,000 is what ecod has learned.
It does less where that is to its advantage: no encoding of the texts, no retraining, no second stage, no decision.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl

WINDOW: Final = 1_000
TRAINED_ON: Final = 10_000
COLUMNS: Final = ("amount", "merchant_id", "device_fingerprint", "country", "timestamp")
FEATURES: Final = (
    "amount",
    *(f"amount_rolling_{statistic}_{window}" for window in (5, 10, 50) for statistic in ("mean", "std", "min", "max")),
    *(f"amount_lag_{lag}" for lag in (1, 5, 10)),
)


class Straightforward:
    """Appends each transaction to its user's buffer, rolls the windows over it, and scores the last row."""

    def __init__(self, features: pl.DataFrame) -> None:
        from pyod.models.ecod import ECOD

        self._buffers: dict[str, pl.DataFrame] = {}
        self._detector = ECOD(contamination=0.01)
        sample = features.sample(TRAINED_ON, seed=2).select(FEATURES).fill_null(0)
        self._detector.fit(sample.cast(pl.Float64).to_numpy())

    def know(self, earlier: pl.DataFrame, users: set[str]) -> None:
        """Fill the buffers of some users."""
        for user in users:
            own = earlier.filter(pl.col("user_id") == user)
            self._buffers[user] = own.select(COLUMNS).tail(WINDOW)

    def screen(self, transaction: Mapping[str, object]) -> float:
        """The raw score of one transaction."""
        user = str(transaction["user_id"])
        row = pl.DataFrame([{name: transaction[name] for name in COLUMNS}], schema=self._buffers[user].schema)
        buffer = pl.concat([self._buffers[user], row]).tail(WINDOW)
        self._buffers[user] = buffer
        amount = pl.col("amount")
        rolled = buffer.with_columns(
            *(
                getattr(amount, f"rolling_{statistic}")(window, min_samples=1).alias(
                    f"amount_rolling_{statistic}_{window}"
                )
                for window in (5, 10, 50)
                for statistic in ("mean", "std", "min", "max")
            ),
            *(amount.shift(lag).alias(f"amount_lag_{lag}") for lag in (1, 5, 10)),
        )
        last = rolled.tail(1).select(FEATURES).fill_null(0).cast(pl.Float64).to_numpy()
        return float(np.asarray(self._detector.decision_function(last))[0])
