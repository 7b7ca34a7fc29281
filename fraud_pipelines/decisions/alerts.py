"""Alerts: what of a day people should be told, each thing once."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

import polars as pl

from fraud_pipelines.decisions.policies import SET_BY_PERSON, Policy, thresholds_in_force
from fraud_pipelines.storage.connection import insert, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.timestamps import as_utc

Kind = Literal[
    "blocked", "second_stage", "threshold", "proposal", "drift", "failed_run", "failed_tick", "landing", "late"
]

CASES_NAMED: Final = 5
SMALL_CHANGE: Final = 0.02
"""A threshold that moves by no more is not worth a message."""
MAX_FAILURE_CHARACTERS: Final = 600


@dataclass(frozen=True)
class Alert:
    """Something to be told.

    Attributes:
        event_date: the UTC day it is about; None for what has no day.
        subject: with kind and day what makes it the same alert.
        transaction_ids: the blocked transactions that it tells of.
    """

    kind: Kind
    event_date: date | None
    subject: str
    message: str
    transaction_ids: tuple[str, ...] = ()

    @property
    def alert_id(self) -> str:
        """The same for the same kind, day and subject."""
        key = json.dumps([self.kind, str(self.event_date), self.subject])
        return hashlib.sha256(key.encode()).hexdigest()[:32]


def alerts_of_day(warehouse: Warehouse, policy: Policy, day: date) -> list[Alert]:
    """What the run of ``day`` found that people should know: blocks, another model that decides, a threshold that moved
    or that waits for a person to accept it, features that drifted."""
    found = (
        blocked_alert(warehouse, day),
        second_stage_alert(warehouse, day),
        threshold_alert(warehouse, policy, day),
        proposal_alert(warehouse, policy, day),
        drift_alert(warehouse, day),
    )
    return [alert for alert in found if alert]


def blocked_alert(warehouse: Warehouse, day: date) -> Alert | None:
    """The payments of ``day`` that are blocked, in whichever channel, and that no alert has told of yet."""
    blocked = warehouse.read(
        """
        WITH told AS (SELECT unnest(transaction_ids) AS transaction_id FROM monitoring.alerts WHERE kind = 'blocked')
        SELECT transaction_id, any_value(t.amount) AS amount, arg_max(d.reason_codes, d.score) AS reason_codes
        FROM scoring.decisions d
        JOIN raw.transactions t USING (transaction_id)
        WHERE d.event_date = $day AND d.decision = 'block' AND transaction_id NOT IN (FROM told)
        GROUP BY transaction_id
        ORDER BY max(d.score * t.amount) DESC, transaction_id
        """,
        {"day": day},
    )
    if blocked.is_empty():
        return None
    payments = f"{blocked.height:,} payment{'s' if blocked.height > 1 else ''}"
    lines = [f"{payments} of {day} blocked, {blocked['amount'].sum():,.2f} in all."]
    for transaction_id, amount, codes in blocked.head(CASES_NAMED).iter_rows():
        lines.append(f"• {transaction_id}: {amount:,.2f}" + (f", {codes[0]}" if codes else ""))
    if blocked.height > CASES_NAMED:
        lines.append(f"and {blocked.height - CASES_NAMED:,} more")
    ids = tuple(sorted(blocked["transaction_id"]))
    return Alert("blocked", day, json.dumps(ids), "\n".join(lines), ids)


def second_stage_alert(warehouse: Warehouse, day: date) -> Alert | None:
    """The model that decides from ``day`` on, where another one did before."""
    rows = warehouse.read(
        """
        SELECT as_of, deciding_model FROM monitoring.model_promotions
        WHERE deciding_model IS NOT NULL AND as_of <= $day ORDER BY as_of DESC LIMIT 2
        """,
        {"day": day},
    ).rows()
    chosen = [model for _, model in rows] if rows and rows[0][0] == day else []
    if len(set(chosen)) < 2:
        return None
    now, before = chosen
    message = (
        f"From {day} on {now} decides, and no longer {before}: fraud-pipelines models list says on which figures. "
        "The policy's own review threshold is in force until one is tuned on its scores."
    )
    return Alert("second_stage", day, now, message)


def threshold_alert(warehouse: Warehouse, policy: Policy, day: date) -> Alert | None:
    """The thresholds that take effect the day after ``day``, where they moved by more than a little."""
    before = thresholds_in_force(warehouse, policy, day)
    after = thresholds_in_force(warehouse, policy, day + timedelta(days=1))
    moved = [
        f"{name} {old:.3f} → {new:.3f}"
        for name, old, new in (
            ("review above", before.review_threshold, after.review_threshold),
            ("block above", before.block_threshold, after.block_threshold),
        )
        if abs(new - old) > SMALL_CHANGE
    ]
    if not moved:
        return None
    change = ", ".join(moved)
    how = "set by a person" if after.objective == SET_BY_PERSON else f"tuned for {after.objective}"
    message = f"Thresholds of {policy.name} from {after.effective_date} on: {change} ({how})."
    return Alert("threshold", day, f"{policy.name}: {change}", message)


def proposal_alert(warehouse: Warehouse, policy: Policy, day: date) -> Alert | None:
    """The threshold that was proposed at the end of ``day``, as long as it waits for a person to accept it."""
    waiting = warehouse.read(
        """
        SELECT current_review_threshold, review_threshold, block_threshold, objective,
               (evidence->>'$.blocks.before')::DOUBLE AS current_block_threshold
        FROM monitoring.threshold_proposals
        WHERE policy = ? AND as_of = ? AND status = 'open'
        """,
        [policy.name, day],
    )
    if waiting.is_empty():
        return None
    current, proposed, block, objective, current_block = waiting.row(0)
    change = f"review above {current:.3f} → {proposed:.3f}"
    if current_block is not None and current_block != block:
        change += f", block above {current_block:.3f} → {block:.3f}"
    message = (
        f"A threshold of {policy.name} is proposed as of {day}: {change} (tuned for {objective}). It takes effect once "
        "somebody accepts it: fraud-pipelines thresholds show, then thresholds accept."
    )
    return Alert("proposal", day, f"{policy.name}: {change}", message)


def drift_alert(warehouse: Warehouse, day: date) -> Alert | None:
    """The features of ``day`` that have drifted."""
    drifted = warehouse.read(
        "SELECT feature, psi, psi_expected FROM monitoring.feature_drift "
        "WHERE event_date = ? AND drifted ORDER BY psi DESC, feature",
        [day],
    )
    if drifted.is_empty():
        return None
    features = ", ".join(f"{name} (PSI {psi:.2f}, usual {expected:.2f})" for name, psi, expected in drifted.iter_rows())
    message = f"Features of {day} have drifted from the days the models were trained on: {features}."
    return Alert("drift", day, ", ".join(sorted(drifted["feature"])), message)


def failed_run_alert(job: str, run_id: str, day: date | None, failure: str) -> Alert:
    """A run that failed, and why."""
    cause = failure if len(failure) <= MAX_FAILURE_CHARACTERS else failure[:MAX_FAILURE_CHARACTERS] + " …"
    message = f"{job} failed{f' for {day}' if day else ''}: {cause}\nDagster run {run_id}"
    return Alert("failed_run", day, run_id, message)


def failed_tick_alert(name: str, day: date, failure: str) -> Alert:
    """A schedule or a sensor could not look or start anything; told once a day."""
    message = f"{name} failed, and started nothing: {failure[:MAX_FAILURE_CHARACTERS]}"
    return Alert("failed_tick", day, name, message)


def late_alert(day: date, missing: str) -> Alert:
    """The transactions of a day are late; the day was started with what there is."""
    return Alert(
        "late", day, "transactions", f"The transactions of {day} are late: {missing}. The day was run without."
    )


def landing_alert(zone: str, problems: Mapping[str, str], day: date) -> Alert | None:
    """Entries of a landing zone that could not be taken in, or files that can't be read, as found on ``day``.

    Args:
        zone: the name of its folder.
        problems: the name of each entry, and why.
    """
    if not problems:
        return None
    what = "1 entry" if len(problems) == 1 else f"{len(problems):,} entries"
    lines = [f"{what} of the landing zone {zone} could not be taken in; the others were."]
    lines += [f"• {name}: {reason}" for name, reason in list(problems.items())[:CASES_NAMED]]
    if len(problems) > CASES_NAMED:
        lines.append(f"and {len(problems) - CASES_NAMED:,} more")
    return Alert("landing", day, json.dumps([zone, sorted(problems.items())]), "\n".join(lines))


def store_alerts(warehouse: Warehouse, alerts: Sequence[Alert], *, now: datetime) -> list[Alert]:
    """Add to ``monitoring.alerts`` those that are not there yet, and return them."""
    if not alerts:
        return []
    with warehouse.transaction() as connection:
        known = set(select(connection, "SELECT alert_id FROM monitoring.alerts").to_series())
        new = list({alert.alert_id: alert for alert in alerts if alert.alert_id not in known}.values())
        rows = [
            {
                "alert_id": alert.alert_id,
                "kind": alert.kind,
                "event_date": alert.event_date,
                "subject": alert.subject,
                "message": alert.message,
                "transaction_ids": list(alert.transaction_ids),
                "created_at": as_utc(now),
                "attempts": 0,
            }
            for alert in new
        ]
        schema = select(connection, "SELECT * FROM monitoring.alerts LIMIT 0").schema
        insert(connection, "monitoring.alerts", pl.DataFrame(rows, schema=schema))
    return new
