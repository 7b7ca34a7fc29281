"""The report of a week, put together from what is stored."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.decisions.policies import Policy
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.evaluation.estimates import Figure
from fraud_pipelines.evaluation.outcomes import matured_window, reporting_delay
from fraud_pipelines.evaluation.summaries import BATCH, POLICY_PREFIX
from fraud_pipelines.evaluation.weekly.cuts import (
    COLUMNS,
    DAY,
    FRAUD_COLUMNS,
    MODEL,
    MOST_ROWS,
    RULE,
    Known,
    column_cut,
    rows_by,
    rows_by_kind,
    segment_cut,
)
from fraud_pipelines.evaluation.weekly.people import (
    BACKLOG_COLUMNS,
    FIRST_ALERT_COLUMNS,
    REVIEWER_COLUMNS,
    backlog,
    first_alerts,
    reviewers,
)
from fraud_pipelines.evaluation.weekly.schemes import (
    DISPUTE_COLUMNS,
    FEWEST_SETTLED,
    RATE_COLUMNS,
    WINDOW_DAYS,
    disputes,
    exemptions,
    fraud_rate,
)
from fraud_pipelines.evaluation.weekly.table import FEWEST, Cell, Column, Estimate, Report, Table
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.currency import base_currency

CONTEXT_DAYS: Final = 28
"""Up to the end of the week, for what a week alone has too little of."""
_ENTITIES: Final = (("user_id", "customers"), ("merchant_id", "merchants"), ("device_fingerprint", "devices"))
_MATURED: Final = (
    Column("alerts"),
    Column("known frauds"),
    Column("precision", "share"),
    Column("recall", "share"),
    Column("value detected", "share"),
    Column("cost", "money"),
)
_AUDITED: Final = (
    Column("audited payments"),
    Column("frauds among them"),
    Column("frauds let through", "money"),
    Column("recall of all frauds", "share"),
    Column("value lost", "money"),
)


def weekly_report(warehouse: Warehouse, settings: Settings, monday: date) -> Report:
    """How the week from ``monday`` on went, by what was known at the end of its Sunday.

    Raises:
        InvalidInput: ``monday`` is none.
        MissingData: nothing was decided in the week.
    """
    if monday.weekday():
        raise InvalidInput(f"a week begins on a Monday, and {monday} is none")
    sunday, first = monday + timedelta(days=6), monday + timedelta(days=7 - CONTEXT_DAYS)
    policy = policy_in_force(settings)
    matured = matured_window(sunday, label_delay_days=settings.label_delay_days, evaluation_days=CONTEXT_DAYS)
    span = f"{matured[0]} to {matured[1]}: {CONTEXT_DAYS} days whose labels have had time to arrive"
    with warehouse.connect(read_only=True):
        known = Known(warehouse, sunday, reporting_delay(warehouse, sunday), settings.unreported_share)
        week = f"CASE WHEN d.event_date >= DATE '{monday}' THEN 'this week' ELSE 'the week before' END"
        weeks = rows_by(known, week, monday - timedelta(days=7), sunday, most=None)
        if not any(row[0] == "this week" for row in weeks):
            raise MissingData(
                f"nothing was decided from {monday} to {sunday}: there is nothing to report. fraud-pipelines status "
                "shows the days there are."
            )
        tables = [
            _cut("weeks", "The week", "", _SUMMARY_NOTE, weeks[::-1]),
            Table(
                "matured",
                "The days that have matured",
                _MATURED_NOTE,
                [_named("days"), *_MATURED],
                _matured(known, policy),
            ),
            _cut("days", "Day by day", "day", _DAYS_NOTE, rows_by(known, DAY, first, sunday, most=None)),
            Table(
                "audited",
                "What the audit sample tells",
                _AUDITED_NOTE,
                [_named(""), *_AUDITED],
                _audited(known, policy),
            ),
            Table(
                "kinds",
                "By kind of fraud",
                f"{span}, where a label names the kind.",
                [_named("kind"), *FRAUD_COLUMNS],
                rows_by_kind(known, *matured),
            ),
            *(
                _cut(key, title, name, f"{span}; {_CUT_NOTE}", rows_by(known, cut, *matured))
                for key, title, name, cut in _cuts(policy)
            ),
            Table(
                "reviewers",
                "Reviewers",
                _REVIEWERS_NOTE,
                [_named("reviewer"), *REVIEWER_COLUMNS],
                reviewers(known, monday),
            ),
            Table(
                "backlog", "What waits for a verdict", _BACKLOG_NOTE, [_named("age"), *BACKLOG_COLUMNS], backlog(known)
            ),
            Table(
                "first_alerts",
                "From the first fraud to the first alert",
                _FIRST_NOTE,
                [_named("of"), *FIRST_ALERT_COLUMNS],
                [first_alerts(known, column, name, first) for column, name in _ENTITIES],
            ),
            Table(
                "disputes",
                "Dispute ratios of merchants",
                _DISPUTES_NOTE,
                [_named("merchant"), *DISPUTE_COLUMNS],
                disputes(known),
            ),
            _rate_table(fraud_rate(known)),
        ]
        return Report(monday, sunday, base_currency(warehouse) or "", policy.name, tables)


def _cuts(policy: Policy) -> list[tuple[str, str, str, str]]:
    """Key, title, heading and SQL of each further cut of the payments."""
    found = [
        ("merchants", "By merchant", "merchant", column_cut("merchant_id")),
        ("countries", "By country", "country", column_cut("country")),
        ("models", "By the model that decided", "model", MODEL),
        ("rules", "By the rule that decided", "rule", RULE),
    ]
    by_segment = segment_cut(policy)
    return [*found, ("segments", "By segment of the policy", "segment", by_segment)] if by_segment else found


def _cut(key: str, title: str, name: str, note: str, rows: Sequence[Sequence[Cell]]) -> Table:
    return Table(key, title, note, [_named(name), *COLUMNS], rows)


def _named(name: str) -> Column:
    return Column(name, "text")


def _audited(known: Known, policy: Policy) -> list[list[Cell]]:
    """What `evaluation.audited_performance` stored at the end of the week."""
    names = ("frauds_let_through", "recall_audited", "value_lost_audited")
    rows = known.warehouse.read(
        """
        SELECT * FROM monitoring.audit_performance
        WHERE as_of = $day AND channel = $channel AND model_name = $name
        """,
        {"day": known.as_of, "channel": BATCH, "name": POLICY_PREFIX + policy.name},
    )
    return [
        [
            f"{row['window_start']} to {row['window_end']}",
            row["audited"],
            row["audited_frauds"],
            *(
                Estimate(
                    row[name],
                    row[f"{name}_low"],
                    row[f"{name}_high"],
                    row["audited"],
                    "" if row[name] is not None else "not known yet",
                )
                for name in names
            ),
        ]
        for row in rows.iter_rows(named=True)
    ]


def _matured(known: Known, policy: Policy) -> list[list[Cell]]:
    """The row of ``monitoring.model_performance`` of the end of the week."""
    rows = known.warehouse.read(
        """
        SELECT * FROM monitoring.model_performance
        WHERE as_of = $day AND channel = $channel AND model_name = $name
        """,
        {"day": known.as_of, "channel": BATCH, "name": POLICY_PREFIX + policy.name},
    )
    names = (("precision", "alerts"), ("recall", "frauds"), ("value_detection_rate", "frauds"), ("cost", "alerts"))
    return [
        [
            f"{row['window_start']} to {row['window_end']}",
            row["alerts"],
            row["frauds"],
            *(Estimate.told(Figure(row[name], row[f"{name}_low"], row[f"{name}_high"]), row[of]) for name, of in names),
        ]
        for row in rows.iter_rows(named=True)
    ]


def _rate_table(rows: list[list[Cell]]) -> Table:
    note = f"{_RATE_NOTE} {exemptions(*(row[-1] for row in rows))}"
    return Table(
        "fraud_rate", f"Fraud rate by value over {WINDOW_DAYS} days", note, [_named("by"), *RATE_COLUMNS], rows
    )


_SUMMARY_NOTE: Final = (
    "Known by the end of Sunday. Precision is the share of frauds among the alerts, recall the share of the frauds "
    "that were alerted: estimates for all frauds that are ever reported, with 95 % intervals. At least: the recall if "
    "as many missed frauds are never reported as FRAUD_UNREPORTED_SHARE says. Saved is the value of the frauds "
    "alerted, lost that of the others: what is known so far, and an estimate with what is still to be reported."
)
_DAYS_NOTE: Final = (
    f"The last {CONTEXT_DAYS} days. Too few: fewer than {FEWEST} alerts, or known frauds. Not known yet: less than "
    "half of the day's chargebacks are expected to be in."
)
_CUT_NOTE: Final = f"the {MOST_ROWS} with the most value in known frauds, then those with the most alerts."
_MATURED_NOTE: Final = (
    "The figures that thresholds are tuned by, of the latest days whose labels have had time to arrive; "
    "monitoring.model_performance."
)
_AUDITED_NOTE: Final = (
    "Estimates for all frauds, reported or not, from approved payments that were reviewed by chance: the policy's "
    "audit_per_day."
)
_REVIEWERS_NOTE: Final = (
    f"Verdicts given in the week, and how long the payment had waited for each. Too few: fewer than {FEWEST} verdicts."
)
_BACKLOG_NOTE: Final = "At the end of Sunday: alerts and audited payments without any label, by the age of their day."
_FIRST_NOTE: Final = (
    f"Customers, merchants and devices with a known fraud in the last {CONTEXT_DAYS} days, counted from their first "
    "fraud in these. Frauds before the alert include those of the ones that were never alerted."
)
_DISPUTES_NOTE: Final = (
    "Chargebacks of frauds that came in a month, over the payments of the merchant that were not blocked: of the same "
    "month as in Visa's VAMP, and of the month before as in Mastercard's ECM. A scheme also counts disputes for other "
    f"reasons, and its own figure can only be higher. Too few: fewer than {FEWEST_SETTLED} payments."
)
_RATE_NOTE: Final = (
    "The value of frauds over that of all payments that were not blocked, as Commission Delegated Regulation (EU) "
    "2018/389, Article 19, has it. What is stored doesn't say which payments are remote: all are counted."
)
