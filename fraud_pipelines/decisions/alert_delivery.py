"""Delivery: alerts that are stored go to the webhook, after the fact and without ever failing a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fraud_pipelines.decisions.alerts import Alert, store_alerts
from fraud_pipelines.decisions.webhook import WebhookError, post_text
from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.storage.connection import select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.timestamps import as_utc

MAX_ATTEMPTS: Final = 9
"""An alert that was sent so often in vain stays in the table, with the error."""
REST: Final = timedelta(minutes=10)
"""How long an alert that could not be delivered rests, and one that another process may be delivering."""
NOT_CONFIGURED: Final = "no webhook is configured"
_ALERTS: Final = "monitoring.alerts"


@dataclass(frozen=True)
class Delivery:
    """What became of alerts: the new ones, how many were delivered (earlier ones too), and why delivery failed."""

    new: tuple[Alert, ...] = ()
    delivered: int = 0
    error: str = ""


def raise_alerts(warehouse: Warehouse, alerts: Sequence[Alert], *, webhook: str, now: datetime) -> Delivery:
    """Store the alerts that are new, then deliver what waits.

    Delivery is at least once: a process that dies between the webhook's answer and the note of it leaves the alert to
    the next call. Where the warehouse stays locked, which may be what there is to tell, they are sent without a row.
    """
    try:
        new = store_alerts(warehouse, alerts, now=now)
        return Delivery(tuple(new), *_deliver_waiting(warehouse, webhook, now=as_utc(now)))
    except WarehouseBusy as busy:
        delivered, error = 0, f"the warehouse was busy, so there is no row of it: {busy}"
        for alert in alerts if webhook else ():
            try:
                post_text(webhook, alert.message)
                delivered += 1
            except WebhookError as failure:
                error = f"{error}; {failure}"
                break
        return Delivery(tuple(alerts), delivered, error)


def _deliver_waiting(warehouse: Warehouse, webhook: str, *, now: datetime) -> tuple[int, str]:
    """How many were delivered, and why one wasn't: the first failure ends it, since the next would fail alike."""
    if not webhook:
        with warehouse.transaction() as connection:
            connection.update(
                _ALERTS, "error = ?", "delivered_at IS NULL AND attempts = 0 AND error IS NULL", [NOT_CONFIGURED]
            )
        return 0, ""
    delivered = 0
    while claimed := _claim(warehouse, now):
        alert_id, message = claimed
        try:
            attempts, error = post_text(webhook, message), None
        except WebhookError as failure:
            attempts, error = failure.attempts, str(failure)
        with warehouse.transaction() as connection:
            connection.update(
                _ALERTS,
                "attempts = attempts + $attempts, error = $error, "
                "delivered_at = CASE WHEN $error IS NULL THEN $now::TIMESTAMP END",
                "alert_id = $alert_id",
                {"attempts": attempts, "error": error, "now": now, "alert_id": alert_id},
            )
        if error:
            return delivered, error
        delivered += 1
    return delivered, ""


def _claim(warehouse: Warehouse, now: datetime) -> tuple[str, str] | None:
    """The id and the message of the oldest alert that waits, marked so that no other process sends it too."""
    with warehouse.transaction() as connection:
        waiting = select(
            connection,
            """
            SELECT alert_id, message FROM monitoring.alerts
            WHERE delivered_at IS NULL AND attempts < $most AND error IS DISTINCT FROM $not_configured
              AND (attempted_at IS NULL OR attempted_at < $rested)
            ORDER BY created_at, event_date, kind, subject LIMIT 1
            """,
            {"most": MAX_ATTEMPTS, "not_configured": NOT_CONFIGURED, "rested": now - REST},
        )
        if waiting.is_empty():
            return None
        alert_id, message = waiting.row(0)
        connection.update(_ALERTS, "attempted_at = ?", "alert_id = ?", [now, alert_id])
        return alert_id, message
