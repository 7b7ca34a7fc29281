"""Labels as they become known: a review's finding after a day, a chargeback after weeks."""

import hashlib
from datetime import date, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.schema import LABEL_COLUMNS

DECISIONS: Final = ("approve", "review", "block")
REVIEW_DELAY: Final = timedelta(days=1)


def labels_known_on(
    day: date, truth: pl.DataFrame, decisions: pl.DataFrame, *, reviewer_error_rate: float = 0.0
) -> pl.DataFrame:
    """What the world tells on ``day`` about earlier transactions, given how they were decided.

    A transaction held for review or blocked on the day before is reviewed: label ``review``, known one day after
    the payment. So is one that was approved and drawn by an audit sample. A fraud that was let through, by approval or
    by a reviewer's mistake, gives a ``chargeback`` at its ``charged_back_at``, if it has one, whoever has looked at it
    since. A transaction without a decision gives no label.

    Args:
        day: the UTC day on which ``known_at`` falls.
        truth: columns of ``TRUTH_COLUMNS``.
        decisions: ``transaction_id`` and ``decision``, and ``audited`` where there is an audit sample. Of several
            decisions on a transaction (one a channel), one to review or block is enough for a review.
        reviewer_error_rate: share of the reviews, in [0, 1], that find the opposite of the truth; which ones
            follows from the transaction's id.

    Returns:
        ``LABEL_COLUMNS``, ordered by (known_at, transaction_id, source).

    Raises:
        InvalidInput: a column is missing, a decision has no such name, or the rate is no share.
    """
    _check(truth, decisions, reviewer_error_rate)
    blocked = _ids(decisions, "block")
    held = pl.concat([blocked, _ids(decisions, "review")]).unique()

    looked_at = pl.concat([held, _audited(decisions)]).unique()
    reviewed = truth.filter(pl.col("event_date") == day - REVIEW_DELAY).join(looked_at, on="transaction_id", how="semi")
    reviews = _with_finding(reviewed, reviewer_error_rate).select(
        "transaction_id",
        actual_fraud="found_fraud",
        source=pl.lit("review"),
        known_at=pl.col("timestamp") + REVIEW_DELAY,
    )

    due = truth.filter(pl.col("is_fraud") & (pl.col("charged_back_at").dt.date() == day))
    caught = _with_finding(due.join(held, on="transaction_id", how="semi"), reviewer_error_rate).filter("found_fraud")
    let_through = (
        due.join(decisions, on="transaction_id", how="semi")
        .join(blocked, on="transaction_id", how="anti")
        .join(caught, on="transaction_id", how="anti")
    )
    chargebacks = let_through.select(
        "transaction_id",
        actual_fraud=pl.lit(True),
        source=pl.lit("chargeback"),
        known_at=pl.col("charged_back_at"),
    )
    labels = pl.concat([reviews, chargebacks]).select(list(LABEL_COLUMNS)).cast(pl.Schema(LABEL_COLUMNS))
    return labels.sort("known_at", "transaction_id", "source")


def _ids(decisions: pl.DataFrame, decision: str) -> pl.DataFrame:
    return decisions.filter(pl.col("decision") == decision).select("transaction_id").unique()


def _audited(decisions: pl.DataFrame) -> pl.DataFrame:
    drawn = pl.col("audited").fill_null(value=False) if "audited" in decisions.columns else pl.lit(value=False)
    return decisions.filter(drawn).select("transaction_id")


def _with_finding(transactions: pl.DataFrame, error_rate: float) -> pl.DataFrame:
    """``transactions`` with ``found_fraud``: the truth, but for the reviews that err."""
    errs = pl.Series([_share_of(key) < error_rate for key in transactions["transaction_id"]], dtype=pl.Boolean)
    return transactions.with_columns(found_fraud=pl.col("is_fraud") ^ errs)


def _share_of(key: str) -> float:
    """A number in [0, 1) that follows from ``key`` on every machine, evenly spread over keys."""
    return float(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=6).digest()) / 2**48)


def _check(truth: pl.DataFrame, decisions: pl.DataFrame, reviewer_error_rate: float) -> None:
    needed = {
        "truth": (truth, ("transaction_id", "timestamp", "event_date", "is_fraud", "charged_back_at")),
        "decisions": (decisions, ("transaction_id", "decision")),
    }
    for name, (frame, columns) in needed.items():
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise InvalidInput(f"{name} lacks the column {missing[0]!r}; it has {', '.join(frame.columns) or 'none'}.")
    unknown = decisions.filter(~pl.col("decision").is_in(DECISIONS).fill_null(False))
    if unknown.height:
        row = unknown.row(0, named=True)
        raise InvalidInput(
            f"the decision on {row['transaction_id']} is {row['decision']!r}; it must be one of {', '.join(DECISIONS)}."
        )
    if not 0 <= reviewer_error_rate <= 1:
        raise InvalidInput(f"reviewer_error_rate is {reviewer_error_rate}; it must be between 0 and 1.")
