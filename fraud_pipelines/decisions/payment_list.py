"""Payments as lists show them: each with the strictest decision on it and the verdict that holds."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from fraud_pipelines.decisions.blind_review import decisions_told, order_told
from fraud_pipelines.decisions.hard_rules import RULE_REASON
from fraud_pipelines.decisions.payment_filters import Filters, condition_of
from fraud_pipelines.decisions.stages import ALERT_CAP, deciding_version
from fraud_pipelines.plan.types import REFUND
from fraud_pipelines.storage.connection import select
from fraud_pipelines.storage.warehouse import Warehouse

_STRICTEST: Final = "{blocked: d.decision = 'block', alerted: d.decision <> 'approve', score: d.score}"


@dataclass(frozen=True)
class ListedPayment:
    """A payment, or a refund; what was decided is None where nothing was."""

    transaction_id: str
    user_id: str
    timestamp: datetime
    amount: float
    merchant_id: str | None
    country: str | None
    kind: str | None
    date_only: bool | None
    decision: str | None
    score: float | None
    decided_by: str | None
    actual_fraud: bool | None

    @property
    def is_refund(self) -> bool:
        return self.kind == REFUND


@dataclass(frozen=True)
class PaymentList:
    """Some of the payments that were asked for, and of all of them the number, the amount, alerts and known frauds."""

    payments: tuple[ListedPayment, ...]
    number: int
    amount: float
    alerts: int
    known_frauds: int


def read_payments(
    warehouse: Warehouse, filters: Filters, *, order: str = "newest", limit: int, offset: int = 0, blind: bool = False
) -> PaymentList:
    """``limit`` of the stored payments that meet the filters, those after the first ``offset``, refunds included.

    ``blind``, decisions are as `decisions.blind_review` tells them.
    """
    ordered = order_told(order, blind=blind).replace("d.", "t.")
    asked = condition_of(filters)
    kept = "LEFT" if (asked.of_decision, asked.of_channel) == ("true", "true") else ""
    with warehouse.connect(read_only=True) as connection:
        rows = select(
            connection,
            f"""
            WITH chosen AS (
                SELECT t.transaction_id, t.user_id, t."timestamp", t.amount, t.merchant_id, t.country, t.kind,
                       t.date_only
                FROM raw.transactions t
                WHERE {asked.of_transaction}
            ),
            decided AS (
                SELECT transaction_id,
                       arg_max({{decision: d.decision, score: d.score, reason: d.reason, versions: d.model_versions}},
                               {_STRICTEST}) AS d
                FROM {decisions_told(blind=blind)} d
                SEMI JOIN chosen USING (transaction_id)
                WHERE {asked.of_channel}
                GROUP BY transaction_id
            ),
            listed AS MATERIALIZED (
                SELECT t.*, d.* EXCLUDE decided_id, l.actual_fraud
                FROM chosen t
                {kept} JOIN (SELECT transaction_id AS decided_id, d.* FROM decided) d ON decided_id = transaction_id
                LEFT JOIN feedback.labels_before(now() AT TIME ZONE 'UTC') l USING (transaction_id)
                WHERE {asked.of_decision} AND {asked.of_verdict}
            )
            SELECT t.*, totals.*
            FROM (FROM listed AS t ORDER BY {ordered} LIMIT $limit OFFSET $offset) t
            CROSS JOIN (
                SELECT count(*) AS number,
                       sum(amount) AS total,
                       count(*) FILTER (WHERE decision <> 'approve') AS alerts,
                       count(*) FILTER (WHERE actual_fraud) AS frauds
                FROM listed
            ) totals
            ORDER BY {ordered}
            """,
            {**asked.parameters, "limit": limit, "offset": offset},
        )
    totals = rows.select("number", "total", "alerts", "frauds")
    number, total, alerts, frauds = totals.row(0) if rows.height else (0, 0.0, 0, 0)
    payments = tuple(_listed(row) for row in rows.drop(totals.columns).iter_rows(named=True))
    return PaymentList(payments, int(number), float(total), int(alerts), int(frauds))


def days_of(warehouse: Warehouse, filters: Filters) -> tuple[date | None, date | None]:
    """The first and the last event day of the payments whose columns are as the filters ask; None without any."""
    asked = condition_of(filters)
    query = f"SELECT min(event_date), max(event_date) FROM raw.transactions t WHERE {asked.of_transaction}"
    first, last = warehouse.read(query, asked.parameters).row(0)
    return first, last


def last_stored_day(warehouse: Warehouse) -> date | None:
    """The last event day that any payment is of."""
    last: date | None = warehouse.read("SELECT max(event_date) FROM raw.transactions").item()
    return last


def rules_that_decided(warehouse: Warehouse) -> list[str]:
    """The names of the hard rules that stored decisions were made by."""
    reasons = warehouse.read(
        "SELECT DISTINCT reason FROM scoring.decisions WHERE starts_with(reason, ?) ORDER BY reason", [RULE_REASON]
    )
    return [reason.removeprefix(RULE_REASON) for (reason,) in reasons.iter_rows()]


def _listed(row: dict[str, Any]) -> ListedPayment:
    versions, reason = row.pop("versions"), row.pop("reason")
    by_models = bool(versions) and reason is not None and reason != ALERT_CAP and not reason.startswith(RULE_REASON)
    decided_by = deciding_version(reason, row["score"], versions, None) if by_models else None
    return ListedPayment(**row, decided_by=decided_by)
