"""The transaction schema: names, types and which columns a source may leave out."""

from typing import Final

import polars as pl

TIMESTAMP: Final = pl.Datetime("us")
"""Every timestamp in the project: microseconds, without a zone, UTC by definition."""

REQUIRED_COLUMNS: Final[dict[str, pl.DataType]] = {
    "transaction_id": pl.String(),
    "user_id": pl.String(),
    "timestamp": TIMESTAMP,
    "amount": pl.Float64(),
}

OPTIONAL_COLUMNS: Final[dict[str, pl.DataType]] = {
    "merchant_id": pl.String(),
    "merchant_category": pl.String(),
    "device_type": pl.String(),
    "device_fingerprint": pl.String(),
    "country": pl.String(),
    "city": pl.String(),
    "ip_prefix": pl.String(),
}

TRANSACTION_COLUMNS: Final[dict[str, pl.DataType]] = REQUIRED_COLUMNS | OPTIONAL_COLUMNS
"""The content of a transaction, in the order of ``raw.transactions``; ``event_date`` follows from ``timestamp``."""

FURTHER_COLUMNS: Final[dict[str, pl.DataType]] = {
    "kind": pl.String(),
    "local_time": TIMESTAMP,
    "date_only": pl.Boolean(),
    "judged_only": pl.Boolean(),
}
"""What is told of every transaction besides, and need not be a column of its source."""

LABEL_COLUMNS: Final[dict[str, pl.DataType]] = {
    "transaction_id": pl.String(),
    "actual_fraud": pl.Boolean(),
    "source": pl.String(),
    "known_at": TIMESTAMP,
}

LABEL_SOURCES: Final = ("review", "chargeback")
