"""``fraud-pipelines status``: what is stored, what waits for somebody, what is stale, what was rejected and why."""

from datetime import UTC, datetime

import polars as pl
from rich.markup import escape
from rich.table import Table

from fraud_pipelines.bootstrap import live_warehouse, publication_of
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.decisions.alert_delivery import NOT_CONFIGURED
from fraud_pipelines.decisions.cases.queue import read_case_queue
from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.settings import Settings

console = terminal()

_TABLES = (
    ("raw.transactions", "event_date"),
    ("features.transaction_features", "event_date"),
    ("scoring.transaction_scores", "event_date"),
    ("scoring.decisions", "event_date"),
    ("feedback.labels", "known_at::DATE"),
    ("monitoring.model_performance", "as_of"),
    ("monitoring.decision_thresholds", "effective_date"),
)

_MOST_LISTED = 10
"""So many of each list are shown; of the others it is said how many there are."""

_LISTS = {
    "raw.payments": (
        "Days over that are not decided yet",
        """
        SELECT event_date, count(*) AS transactions FROM raw.payments
        WHERE event_date < (now() AT TIME ZONE 'UTC')::DATE
          AND event_date NOT IN (SELECT event_date FROM scoring.decisions WHERE channel = 'batch')
        GROUP BY ALL ORDER BY ALL
        """,
    ),
    "raw.stale_days": (
        "Days that wait for a rerun",
        "SELECT event_date, reason FROM raw.stale_days ORDER BY ALL",
    ),
    "raw.landing_problems": (
        "What of the landing zones could not be taken in",
        "SELECT zone, name, reason FROM raw.landing_problems ORDER BY ALL LIMIT 20",
    ),
    "monitoring.contestants": (
        "Which model decides, and what else could: average precision on matured days, and over the amount alone",
        """
        SELECT as_of AS day, deciding_model AS decides, rule AS because, coalesce(model_name, '') AS model,
               coalesce(round(average_precision, 3)::VARCHAR, '') AS "average precision",
               coalesce(round(gain_over_amount_low, 3)::VARCHAR, '') AS "over the amount, at least",
               CASE WHEN beats_amount THEN 'yes' WHEN NOT beats_amount THEN 'no' ELSE '' END AS "beats the amount"
        FROM monitoring.contestants
        WHERE as_of = (SELECT max(as_of) FROM monitoring.contestants)
        ORDER BY average_precision DESC NULLS LAST
        """,
    ),
    "monitoring.audit_performance": (
        "What the audit sample tells of the last days: estimates with their 95 % intervals",
        """
        SELECT window_start AS "from", window_end AS "to", audited AS judged, audited_frauds AS frauds,
               coalesce(format('{:,.0f} ({:,.0f} to {:,.0f})', frauds_let_through, frauds_let_through_low,
                               frauds_let_through_high), '') AS "frauds let through",
               coalesce(format('{:.2f} ({:.2f} to {:.2f})', recall_audited, recall_audited_low, recall_audited_high),
                        '') AS recall,
               coalesce(format('{:,.0f} ({:,.0f} to {:,.0f})', value_lost_audited, value_lost_audited_low,
                               value_lost_audited_high), '') AS "value lost"
        FROM monitoring.audit_performance
        WHERE as_of = (SELECT max(as_of) FROM monitoring.audit_performance)
        """,
    ),
    "monitoring.threshold_proposals": (
        "Threshold proposals that wait for fraud-pipelines thresholds accept",
        """
        SELECT policy, as_of, round(current_review_threshold, 4) AS today, round(review_threshold, 4) AS proposed,
               objective
        FROM monitoring.threshold_proposals WHERE status = 'open' ORDER BY policy, as_of
        """,
    ),
    "monitoring.alerts": (
        "Alerts that could not be delivered, the latest first",
        f"""
        SELECT strftime(created_at, '%Y-%m-%d %H:%M') AS "raised (UTC)", kind, split_part(message, chr(10), 1) AS alert,
               attempts AS tries, coalesce(error, '') AS error
        FROM monitoring.alerts WHERE delivered_at IS NULL AND error IS DISTINCT FROM '{NOT_CONFIGURED}'
        ORDER BY created_at DESC, kind, subject
        """,
    ),
    **{
        table: (
            f"Quarantine: {table}",
            f"SELECT source, reason, count(*) AS rows FROM {table} GROUP BY ALL ORDER BY ALL",
        )
        for table in ("raw.rejected_transactions", "feedback.rejected_labels")
    },
    "raw.left_out_rows": (
        "Left out by mappings: raw.left_out_rows",
        "SELECT source, reason, count(*) AS rows FROM raw.left_out_rows GROUP BY ALL ORDER BY ALL",
    ),
}
"""Table or view → title and query of what is listed of it."""
_EXISTING = """
    SELECT schema_name || '.' || table_name FROM duckdb_tables()
    UNION ALL SELECT schema_name || '.' || view_name FROM duckdb_views()
"""

_NOWHERE_TO_SEND = f"""
    SELECT count(*), strftime(max(created_at), '%Y-%m-%d %H:%M') FROM monitoring.alerts
    WHERE delivered_at IS NULL AND error = '{NOT_CONFIGURED}'
"""


def show_status(settings: Settings) -> None:
    """Print the state of the warehouse. Of one that an earlier release made, tables may be missing: nothing is in them.

    Raises:
        MissingData: there is no warehouse yet.
    """
    warehouse = live_warehouse(settings)
    with warehouse.connect(read_only=True):
        existing = set(warehouse.read(_EXISTING).to_series())
        counts = {
            name: warehouse.read(f"SELECT count(*), min({day}), max({day}) FROM {name}").row(0)
            for name, day in _TABLES
            if name in existing
        }
        lists = {
            title: warehouse.read(query) if table in existing else pl.DataFrame()
            for table, (title, query) in _LISTS.items()
        }
        kept, latest = warehouse.read(_NOWHERE_TO_SEND).row(0) if "monitoring.alerts" in existing else (0, None)
    table = Table(title=f"Warehouse {warehouse.path}")
    for name in ("table", "rows", "first day", "last day"):
        table.add_column(name, justify="right" if name == "rows" else "left")
    for name, (rows, first, last) in counts.items():
        table.add_row(name, f"{rows:,}", str(first or ""), str(last or ""))
    console.print(table)
    _show_publication(settings)
    for title, found in lists.items():
        _show(title, found)
    if "feedback.case_events" in existing:
        _show_workload(settings)
    if kept:
        console.print(
            f"Alerts for which no webhook is configured (FRAUD_ALERT_WEBHOOK): {kept} in monitoring.alerts, "
            f"the latest of {latest}"
        )


def _show_workload(settings: Settings) -> None:
    """The cases that wait, and what today's minutes won't reach of them."""
    policy, now = policy_in_force(settings), datetime.now(UTC).replace(tzinfo=None)
    _, _, workload = read_case_queue(live_warehouse(settings), policy.cases, now=now, limit=1, blind=policy.audit_blind)
    console.print(
        f"Cases that wait for a reviewer: {workload.cases:,} with {workload.payments:,} payments, {workload.overdue:,} "
        f"overdue. {workload.in_words}".strip(),
        highlight=False,
        soft_wrap=True,
    )


def _show_publication(settings: Settings) -> None:
    """How old the file is that people open, and why it could not be made new."""
    publication = publication_of(settings)
    record, age = publication.record(), publication.age_seconds()
    of = f"as of {record.published_at:%Y-%m-%d %H:%M} UTC, {_duration(age)} ago" if age is not None else "not known"
    behind = "" if publication.is_current() else "; not what is live now (fraud-pipelines publish makes it new)"
    console.print(f"Published {escape(str(settings.published_path))}: {of}{behind}", highlight=False, soft_wrap=True)
    if record.left_out:
        console.print(f"[bold red]It could not be made new[/]: {escape(record.left_out)}", soft_wrap=True)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"


def _show(title: str, rows: pl.DataFrame) -> None:
    if rows.is_empty():
        console.print(f"{title}: none")
        return
    table = Table(*rows.columns, title=title)
    for row in rows.head(_MOST_LISTED).iter_rows():
        table.add_row(*(escape(str(value)) for value in row))
    console.print(table)
    if rows.height > _MOST_LISTED:
        console.print(f"... and {rows.height - _MOST_LISTED} more")
