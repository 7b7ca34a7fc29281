"""A case: all that a reviewer looks at to judge one transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fraud_pipelines.decisions.blind_review import decisions_told
from fraud_pipelines.decisions.reasons import reasons_and_context
from fraud_pipelines.decisions.stages import deciding_version
from fraud_pipelines.detection.backends import MODEL_NAMES
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import KIND, REFUND
from fraud_pipelines.storage.connection import columns_of, select
from fraud_pipelines.storage.warehouse import Warehouse

PAYMENTS_BEFORE: Final = 40
PAYMENTS_AFTER: Final = 10
MOST_COLUMNS: Final = 6
_OF_STREAM: Final = MODEL_NAMES["ecod"]
_PAYMENTS: Final = Path(__file__).with_name("payments_around.sql")


@dataclass(frozen=True)
class CaseDecision:
    """What a channel decided, and why.

    Attributes:
        reason_codes: as stored: the reasons, and then what else a reviewer should know.
        audited: whether it was approved, and drawn by the audit sample.
        decided_by: the version whose score it has, as ``fraud-ensemble/12``; None where no model scored.

    In a blind review score and thresholds are None.
    """

    channel: str
    decision: str
    score: float | None
    reason: str
    reason_codes: list[str]
    policy: str
    review_threshold: float | None
    block_threshold: float | None
    decided_at: datetime
    audited: bool
    decided_by: str | None

    @property
    def reasons(self) -> list[str]:
        """What decided, what counts most first."""
        return reasons_and_context(self.reason_codes)[0]

    @property
    def context(self) -> list[str]:
        """What had no part in the decision."""
        return reasons_and_context(self.reason_codes)[1]


@dataclass(frozen=True)
class CaseScore:
    """What a model said of the transaction; ``score`` is in [0, 1], ``decided`` where it is that of the decision."""

    model_name: str
    model_version: int
    channel: str
    score: float
    is_anomaly: bool
    decided: bool = False

    @property
    def version(self) -> str:
        """As decisions name it: that of the stream's own detector by the transactions it came after."""
        of_stream = self.channel == "stream" and self.model_name == _OF_STREAM
        return f"{self.model_name}{'@' if of_stream else '/'}{self.model_version}"


@dataclass(frozen=True)
class CaseLabel:
    """A verdict on it; ``in_force`` where its source has not corrected it."""

    source: str
    actual_fraud: bool
    known_at: datetime
    reviewer: str | None
    reviewer_named_by: str | None
    comment: str | None
    in_force: bool


@dataclass(frozen=True)
class Payment:
    """A payment of the same user, or a refund; ``is_case`` is the transaction itself.

    ``columns`` are what `columns_told` names of it.
    """

    transaction_id: str
    timestamp: datetime
    amount: float
    columns: dict[str, str | None]
    decision: str | None
    actual_fraud: bool | None
    is_case: bool
    kind: str | None = None
    local_time: datetime | None = None
    date_only: bool | None = None

    @property
    def is_refund(self) -> bool:
        return self.kind == REFUND

    @property
    def time_told(self) -> str:
        """When it was, as a reviewer reads it: in UTC, and where a zone is declared on the clock there."""
        if self.date_only:
            return f"{self.timestamp:%Y-%m-%d}"
        local = f" ({self.local_time:%a %H:%M} local time)" if self.local_time else ""
        return f"{self.timestamp:%Y-%m-%d %H:%M}{local}"


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

    @property
    def columns(self) -> list[str]:
        """The columns that are told of the payments: the first `MOST_COLUMNS` of which any payment has a value."""
        names = self.payments[0].columns if self.payments else {}
        return [name for name in names if any(each.columns[name] is not None for each in self.payments)][:MOST_COLUMNS]

    @property
    def happened(self) -> datetime:
        """When the transaction was, UTC."""
        return next(payment.timestamp for payment in self.payments if payment.is_case)


def columns_told(plan: Plan) -> list[str]:
    """What a payment says of itself in a list, beside its time and amount: the texts that aren't personal."""
    return [
        each.name
        for each in plan.attributes
        if each.type == "text" and not each.required and not each.pii and each.name != KIND
    ]


def read_case(warehouse: Warehouse, transaction_id: str, *, plan: Plan | None = None, blind: bool = False) -> Case:
    """The case of a transaction, whether it waits for a verdict or not.

    Of the user's payments it has the columns that ``plan`` declares, by default what ships.

    ``blind``, decisions are as `decisions.blind_review` tells them, and there are no scores.

    Raises:
        InvalidInput: no such transaction is stored.
    """
    where = "WHERE transaction_id = ?"
    with warehouse.connect(read_only=True) as connection:
        query = f"SELECT * EXCLUDE (event_date, source, ingested_at) FROM raw.transactions {where} LIMIT 1"
        transaction = select(connection, query, [transaction_id])
        if transaction.is_empty():
            raise InvalidInput(f"No transaction is stored under the id {transaction_id!r}. Check the id.")
        decisions = select(
            connection,
            f"""
            SELECT channel, decision, score, reason, reason_codes, policy, review_threshold, block_threshold,
                   decided_at, coalesce(audited, false) AS audited, model_versions
            FROM {decisions_told(blind=blind)} {where} ORDER BY channel
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
            SELECT source, actual_fraud, known_at, reviewer, reviewer_named_by, comment, true AS in_force
            FROM feedback.labels WHERE transaction_id = $id
            UNION ALL
            SELECT source, actual_fraud, known_at, reviewer, reviewer_named_by, comment, false
            FROM feedback.superseded_labels WHERE transaction_id = $id
            ORDER BY known_at
            """,
            {"id": transaction_id},
        )
        stored = columns_of(connection, "raw.transactions")
        told = [name for name in columns_told(plan or shipped_plan()) if name in stored]
        query = _PAYMENTS.read_text().replace("{columns}", "".join(f'a."{name}", ' for name in told))
        payments = select(
            connection,
            query.replace("{decisions}", decisions_told(blind=blind)),
            {"id": transaction_id, "before": PAYMENTS_BEFORE, "after": PAYMENTS_AFTER},
        )
    around = tuple(
        Payment(**row, columns=of_row)
        for row, of_row in zip(
            payments.drop(told).iter_rows(named=True), payments.select(told).iter_rows(named=True), strict=True
        )
    )
    scored = [] if blind else [CaseScore(**row) for row in scores.iter_rows(named=True)]
    decided = [_decision(row, scored) for row in decisions.iter_rows(named=True)]
    deciding = {(each.channel, each.decided_by) for each in decided}
    return Case(
        transaction_id=transaction_id,
        transaction=transaction.row(0, named=True),
        decisions=tuple(decided),
        scores=tuple(replace(each, decided=(each.channel, each.version) in deciding) for each in scored),
        labels=tuple(CaseLabel(**row) for row in labels.iter_rows(named=True)),
        payments=around,
        actual_fraud=next(payment.actual_fraud for payment in around if payment.is_case),
    )


def _decision(row: dict[str, Any], scores: Iterable[CaseScore]) -> CaseDecision:
    """A row of ``scoring.decisions``, with the version that decided."""
    versions = row.pop("model_versions")
    given = {each.version: each.score for each in scores if each.channel == row["channel"]}
    second_score = given.get(versions[-1]) if len(versions) > 1 else None
    return CaseDecision(**row, decided_by=deciding_version(row["reason"], row["score"], versions, second_score))
