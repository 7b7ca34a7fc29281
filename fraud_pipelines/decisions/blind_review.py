"""Blind review: decisions as they are told where reviewers may not tell audited payments from alerts.

What the audit sample drew is told as a review. Of no decision is there a score, a threshold, a model or a probability:
they would tell what was drawn, and so would the order by them. Filters, lists and counts go by what is told.
"""

from typing import Final

from fraud_pipelines.decisions.payment_filters import ORDERS
from fraud_pipelines.decisions.stages import FLAGGED

_AS_REVIEWS: Final = f"""
    CASE WHEN audited THEN 'review' ELSE decision END AS decision,
    CASE WHEN audited THEN '{FLAGGED}' ELSE reason END AS reason,
    NULL::DOUBLE AS score,
    []::VARCHAR[] AS model_versions,
    false AS audited
"""
_DECISIONS: Final = f"""(
    SELECT * REPLACE ({_AS_REVIEWS}, NULL::DOUBLE AS review_threshold, NULL::DOUBLE AS block_threshold)
    FROM scoring.decisions
)"""
_QUEUE: Final = f"""(
    SELECT * REPLACE (
        {_AS_REVIEWS},
        NULL::DOUBLE AS fraud_probability, NULL::DOUBLE AS expected_loss, NULL::DATE AS probability_as_of
    )
    FROM scoring.review_queue
)"""
_TELLING: Final = ("loss", "score")


def decisions_told(*, blind: bool) -> str:
    """``scoring.decisions`` for a FROM clause."""
    return _DECISIONS if blind else "scoring.decisions"


def queue_told(*, blind: bool) -> str:
    """``scoring.review_queue`` for a FROM clause."""
    return _QUEUE if blind else "scoring.review_queue"


def order_told(order: str, *, blind: bool) -> str:
    """One of `ORDERS` in SQL; by amount where it would tell."""
    return ORDERS["amount" if blind and order in _TELLING else order]
