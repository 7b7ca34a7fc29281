"""Feature rows for the tests: skewed numbers with outliers, categories and flags."""

import importlib.util

import numpy as np
import polars as pl

from fraud_pipelines.detection.backends import BACKENDS
from fraud_pipelines.detection.schema import DEFAULT_SCHEMA

TRAINABLE = [name for name in BACKENDS if name != "autoencoder" or importlib.util.find_spec("torch") is not None]
"""The backends that can be fitted here: PyTorch is an extra."""

MIXED_SCHEMA = {
    "amount": "numeric",
    "merchant_id": "hash",
    "country": "label",
    "is_weekend": "binary",
    "minutes_since_last": "numeric",
}


def numeric_rows(rows: int, seed: int = 0) -> pl.DataFrame:
    """The default features, heavy-tailed, with ``transaction_id``."""
    rng = np.random.default_rng(seed)
    values = {name: rng.standard_t(3, rows) * (1 + place) for place, name in enumerate(DEFAULT_SCHEMA)}
    return pl.DataFrame({"transaction_id": [f"t{seed}-{row}" for row in range(rows)], **values})


def mixed_rows(rows: int, seed: int = 0) -> pl.DataFrame:
    """The columns of `MIXED_SCHEMA`, some values missing."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "amount": rng.lognormal(3, 1, rows),
            "merchant_id": [f"m{number}" for number in rng.integers(0, 300, rows)],
            "country": rng.choice(["DE", "FR", "US"], rows),
            "is_weekend": rng.random(rows) < 2 / 7,
            "minutes_since_last": np.where(rng.random(rows) < 0.1, np.nan, rng.exponential(600, rows)),
        }
    ).with_columns(pl.col("minutes_since_last").fill_nan(None))
