"""The review queue: what waits for a verdict, by what is at stake, and the verdicts given last."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from fraud_pipelines.decisions.blind_review import order_told, queue_told
from fraud_pipelines.decisions.hard_rules import RULE_REASON
from fraud_pipelines.decisions.payment_filters import Filters, condition_of
from fraud_pipelines.decisions.stages import deciding_version
from fraud_pipelines.storage.connection import select
from fraud_pipelines.storage.warehouse import Warehouse

NO_FILTERS: Final = Filters()
BY_LOSS: Final = "loss"


@dataclass(frozen=True)
class QueuedCase:
    """One transaction that waits, a row of ``scoring.review_queue``.

    ``decided_by`` names the model whose score it is; None where a rule decided, or nothing scored. ``audited`` says
    that it was approved, and drawn by the audit sample. In a blind review scores, probabilities and losses are None.
    """

    transaction_id: str
    user_id: str
    timestamp: datetime
    amount: float
    channel: str
    decision: str
    score: float | None
    reason: str
    reason_codes: list[str]
    fraud_probability: float | None
    expected_loss: float | None
    merchant_id: str | None = None
    country: str | None = None
    audited: bool = False
    decided_by: str | None = None


@dataclass(frozen=True)
class Queue:
    """The cases that stand first, how many wait in all, and what is at stake in all of them."""

    cases: tuple[QueuedCase, ...]
    waiting: int
    expected_loss: float | None


@dataclass(frozen=True)
class Place:
    """Whose turn it is before and after a transaction, and what is at stake in it; null where it doesn't wait.

    ``probability_as_of`` is the evening on which matured days told the probability; null where verdicts alone do.
    """

    before: str | None = None
    after: str | None = None
    fraud_probability: float | None = None
    expected_loss: float | None = None
    probability_as_of: date | None = None

    @property
    def probability_in_words(self) -> str:
        """What the probability is, and what tells it; empty where the transaction doesn't wait."""
        if self.fraud_probability is None:
            return ""
        share = f"{self.fraud_probability:.1%}" if self.fraud_probability < 0.1 else f"{self.fraud_probability:.0%}"
        if self.probability_as_of is None:
            return f"{share} of alerts like this are fraud, estimated from the verdicts of reviewers"
        return f"{share} of payments that score like this are fraud, by the labels known on {self.probability_as_of}"


@dataclass(frozen=True)
class GivenVerdict:
    """A verdict of a reviewer that is in force."""

    transaction_id: str
    actual_fraud: bool
    known_at: datetime
    reviewer: str | None
    reviewer_named_by: str | None
    comment: str | None


def read_queue(
    warehouse: Warehouse,
    *,
    limit: int,
    offset: int = 0,
    filters: Filters = NO_FILTERS,
    order: str = BY_LOSS,
    blind: bool = False,
) -> Queue:
    """``limit`` of the cases that wait and meet the filters, those after the first ``offset``, by expected loss or by
    another of `ORDERS`. The expected loss is the probability of fraud times the amount.

    The probability is that of the deciding model's score (``monitoring.score_probabilities``), or, while none is known,
    that of like alerts (``scoring.alert_precision``). ``blind``, the queue is as `decisions.blind_review` tells it.
    """
    of_transaction = ("merchant_id", "country")
    columns = ", ".join(
        f't."{name}"' if name in of_transaction else f'd."{name}"'
        for name in QueuedCase.__dataclass_fields__
        if name != "decided_by"
    )
    asked = condition_of(filters)
    with warehouse.connect(read_only=True) as connection:
        rows = select(
            connection,
            f"""
            SELECT {columns}, d.model_versions, count(*) OVER () AS waiting, sum(d.expected_loss) OVER () AS total
            FROM {queue_told(blind=blind)} d
            JOIN raw.transactions t USING (transaction_id)
            WHERE {asked.of_waiting}
            ORDER BY {order_told(order, blind=blind)} LIMIT $limit OFFSET $offset
            """,
            {**asked.parameters, "limit": limit, "offset": offset},
        )
    waiting, total = rows.select("waiting", "total").row(0) if rows.height else (0, 0.0)
    cases = tuple(_queued(row) for row in rows.drop("waiting", "total").iter_rows(named=True))
    return Queue(cases, int(waiting), None if total is None else float(total))


def _queued(row: dict[str, Any]) -> QueuedCase:
    versions = row.pop("model_versions")
    of_rule = row["reason"].startswith(RULE_REASON)
    decided_by = None if of_rule or not versions else deciding_version(row["reason"], row["score"], versions, None)
    return QueuedCase(**row, decided_by=decided_by)


def place_in_queue(
    warehouse: Warehouse,
    transaction_id: str,
    *,
    filters: Filters = NO_FILTERS,
    order: str = BY_LOSS,
    blind: bool = False,
) -> Place:
    """Where a transaction stands among what waits and meets the filters; one that doesn't is followed by the first."""
    asked = condition_of(filters)
    rows = warehouse.read(
        f"""
        SELECT transaction_id,
               lag(transaction_id) OVER places AS before,
               lead(transaction_id) OVER places AS after,
               d.fraud_probability,
               d.expected_loss,
               d.probability_as_of
        FROM {queue_told(blind=blind)} d
        JOIN raw.transactions t USING (transaction_id)
        WHERE {asked.of_waiting}
        WINDOW places AS (ORDER BY {order_told(order, blind=blind)})
        QUALIFY transaction_id = $id OR row_number() OVER places = 1
        ORDER BY transaction_id = $id DESC
        """,
        {**asked.parameters, "id": transaction_id},
    )
    if rows.is_empty():
        return Place()
    found, before, after, *at_stake = rows.row(0)
    return Place(before, after, *at_stake) if found == transaction_id else Place(after=found)


def recent_verdicts(warehouse: Warehouse, *, limit: int) -> list[GivenVerdict]:
    """The verdicts of reviewers that were given last, the newest first."""
    rows = warehouse.read(
        """
        SELECT transaction_id, actual_fraud, known_at, reviewer, reviewer_named_by, comment FROM feedback.labels
        WHERE source = 'review' AND known_at <= now() AT TIME ZONE 'UTC'
        ORDER BY known_at DESC, transaction_id LIMIT ?
        """,
        [limit],
    )
    return [GivenVerdict(**row) for row in rows.iter_rows(named=True)]
