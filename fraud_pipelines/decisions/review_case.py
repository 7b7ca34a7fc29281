"""A case: all that a reviewer looks at to judge one transaction."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.warehouse import Warehouse, select
from fraud_pipelines.transactions.schema import TRANSACTION_COLUMNS

PAYMENTS_BEFORE: Final = 40
PAYMENTS_AFTER: Final = 10
_PAYMENTS: Final = Path(__file__).with_name("payments_around.sql")


@dataclass(frozen=True)
class CaseDecision:
    """What a channel decided, and why."""

    channel: str
    decision: str
    score: float
    reason: str
    reason_codes: list[str]
    policy: str
    review_threshold: float
    block_threshold: float
    decided_at: datetime


@dataclass(frozen=True)
class CaseScore:
    """What a model said of the transaction; ``score`` is in [0, 1]."""

    model_name: str
    model_version: int
    channel: str
    score: float
    is_anomaly: bool


@dataclass(frozen=True)
class CaseLabel:
    """A verdict on it; ``in_force`` where its source has not corrected it."""

    source: str
    actual_fraud: bool
    known_at: datetime
    reviewer: str | None
    comment: str | None
    in_force: bool


@dataclass(frozen=True)
class Payment:
    """A payment of the same user; ``is_case`` is the transaction itself."""

    transaction_id: str
    timestamp: datetime
    amount: float
    merchant_id: str | None
    merchant_category: str | None
    country: str | None
    device_type: str | None
    decision: str | None
    actual_fraud: bool | None
    is_case: bool


@dataclass(frozen=True)
class Case:
    """One transaction, what was decided on it, and the user's payments before and after, in order of time.

    Attributes:
        transaction: the columns of ``raw.transactions`` that are a transaction's own.
        actual_fraud: the verdict that holds, null while there is none.
    """

    transaction_id: str
    transaction: dict[str, object]
    decisions: tuple[CaseDecision, ...]
    scores: tuple[CaseScore, ...]
    labels: tuple[CaseLabel, ...]
    payments: tuple[Payment, ...]
    actual_fraud: bool | None


def read_case(warehouse: Warehouse, transaction_id: str) -> Case:
    """The case of a transaction, whether it waits for a verdict or not.

    Raises:
        InvalidInput: no such transaction is stored.
    """
    where = "WHERE transaction_id = ?"
    with warehouse.connect(read_only=True) as connection:
        columns = ", ".join(f'"{name}"' for name in TRANSACTION_COLUMNS)
        transaction = select(connection, f"SELECT {columns} FROM raw.transactions {where} LIMIT 1", [transaction_id])
        if transaction.is_empty():
            raise InvalidInput(f"No transaction is stored under the id {transaction_id!r}. Check the id.")
        decisions = select(
            connection,
            f"""
            SELECT channel, decision, score, reason, reason_codes, policy, review_threshold, block_threshold, decided_at
            FROM scoring.decisions {where} ORDER BY channel
            """,
            [transaction_id],
        )
        scores = select(
            connection,
            f"""
            SELECT model_name, model_version, channel, score, is_anomaly
            FROM scoring.transaction_scores {where} ORDER BY channel, model_name
            """,
            [transaction_id],
        )
        labels = select(
            connection,
            """
            SELECT source, actual_fraud, known_at, reviewer, comment, true AS in_force
            FROM feedback.labels WHERE transaction_id = $id
            UNION ALL
            SELECT source, actual_fraud, known_at, reviewer, comment, false
            FROM feedback.superseded_labels WHERE transaction_id = $id
            ORDER BY known_at
            """,
            {"id": transaction_id},
        )
        payments = select(
            connection,
            _PAYMENTS.read_text(),
            {"id": transaction_id, "before": PAYMENTS_BEFORE, "after": PAYMENTS_AFTER},
        )
    found = tuple(Payment(**row) for row in payments.iter_rows(named=True))
    return Case(
        transaction_id=transaction_id,
        transaction=transaction.row(0, named=True),
        decisions=tuple(CaseDecision(**row) for row in decisions.iter_rows(named=True)),
        scores=tuple(CaseScore(**row) for row in scores.iter_rows(named=True)),
        labels=tuple(CaseLabel(**row) for row in labels.iter_rows(named=True)),
        payments=found,
        actual_fraud=next(payment.actual_fraud for payment in found if payment.is_case),
    )
