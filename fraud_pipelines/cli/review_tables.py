"""What ``fraud-pipelines review`` shows in the shell: the queue, a case, and what became of a verdict."""

from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.decisions.review import record_verdict
from fraud_pipelines.decisions.review_case import Case, CaseDecision, read_case
from fraud_pipelines.decisions.review_queue import place_in_queue, read_queue
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings

console = terminal()

PAYMENTS_SHOWN = 15
COLUMNS_SHOWN = 4
_BESIDE = 120
"""From so many columns on reasons stand beside their case; `review show` tells them in any case."""


def show_queue(settings: Settings, *, limit: int) -> None:
    """Print the first ``limit`` cases of the queue."""
    queue = read_queue(warehouse_of(settings), limit=limit, blind=policy_in_force(settings).audit_blind)
    if not queue.waiting:
        console.print("Nothing waits for a verdict.")
        return
    table = narrow_table(
        f"{queue.waiting:,} wait for a verdict"
        + ("" if queue.expected_loss is None else f", {queue.expected_loss:,.0f} are expected to be lost"),
        *("transaction", "when (UTC)", "user", "amount", "score", "decision", "loss"),
        numbers=("amount", "score", "loss"),
    )
    beside = console.width >= _BESIDE
    if beside:
        table.add_column("reasons")
    for case in queue.cases:
        table.add_row(
            escape(case.transaction_id),
            format(case.timestamp, "%Y-%m-%d %H:%M" if beside else "%m-%d %H:%M"),
            escape(case.user_id),
            f"{case.amount:,.2f}",
            "" if case.score is None else f"{case.score:.3f}",
            "audit" if case.audited else case.decision,
            "" if case.expected_loss is None else f"{case.expected_loss:,.2f}",
            *([escape("; ".join(case.reason_codes) or case.reason)] if beside else []),
        )
    console.print(table)
    if queue.waiting > len(queue.cases):
        console.print(f"{queue.waiting - len(queue.cases):,} more: --limit shows them.")
    console.print(
        "Next: fraud-pipelines review show TRANSACTION, then review label TRANSACTION --fraud or --legitimate"
    )


def show_case(settings: Settings, transaction_id: str) -> None:
    """Print all that is known of one transaction."""
    warehouse = warehouse_of(settings)
    with warehouse.connect(read_only=True):
        blind = policy_in_force(settings).audit_blind
        case = read_case(warehouse, transaction_id, plan=plan_in_force(settings), blind=blind)
        place = place_in_queue(warehouse, transaction_id, blind=blind)
    facts = Table(title=f"Transaction {escape(transaction_id)}", box=SIMPLE_HEAD, show_header=False)
    for name, value in case.transaction.items():
        if value is not None:
            facts.add_row(name, escape(str(value)))
    if place.expected_loss is not None:
        facts.add_row("probability of fraud", place.probability_in_words)
        facts.add_row("expected loss", f"{place.expected_loss:,.2f}")
    console.print(facts)
    for decided in case.decisions:
        _show_decision(decided)
    if not blind:
        _show_scores(case)
    _show_labels(case)
    _show_payments(case)


def _show_decision(decided: CaseDecision) -> None:
    by = f" by {escape(decided.decided_by)}" if decided.decided_by else ""
    score = "" if decided.score is None else f", score {decided.score:.3f}{by}"
    levels = (
        ""
        if decided.review_threshold is None
        else f"; {escape(decided.policy)} reviews above {decided.review_threshold:.3f} and blocks above "
        f"{decided.block_threshold:.3f}"
    )
    drawn = "; drawn for the audit sample" if decided.audited else ""
    console.print(
        f"[bold]{decided.decision}[/bold] ({decided.channel}, {decided.decided_at:%Y-%m-%d %H:%M} UTC): "
        f"{escape(decided.reason)}{score}{levels}{drawn}"
    )
    for reason in decided.reason_codes:
        console.print(f"  • {escape(reason)}")


def _show_scores(case: Case) -> None:
    if not case.scores:
        console.print("No model has scored it.")
        return
    table = Table(title="Scores", box=SIMPLE_HEAD)
    for name in ("model", "version", "channel", "score", "anomaly", ""):
        table.add_column(name)
    for score in case.scores:
        anomaly = "yes" if score.is_anomaly else "no"
        table.add_row(
            score.model_name,
            str(score.model_version),
            score.channel,
            f"{score.score:.3f}",
            anomaly,
            "decided" if score.decided else "",
        )
    console.print(table)


def _show_labels(case: Case) -> None:
    if not case.labels:
        console.print("No label is known.")
        return
    table = Table(title="Labels", box=SIMPLE_HEAD)
    for name in ("known at (UTC)", "source", "verdict", "by", "comment", ""):
        table.add_column(name)
    for label in case.labels:
        table.add_row(
            f"{label.known_at:%Y-%m-%d %H:%M}",
            label.source,
            _verdict(label.actual_fraud),
            escape(label.reviewer or ""),
            escape(label.comment or ""),
            "" if label.in_force else "corrected",
        )
    console.print(table)
    if case.actual_fraud is not None:
        console.print(f"What counts: {_verdict(case.actual_fraud)} (a chargeback outranks a review).")


def _show_payments(case: Case) -> None:
    payments, columns = case.payments, case.columns[:COLUMNS_SHOWN]
    place = next(n for n, payment in enumerate(payments) if payment.is_case)
    table = narrow_table(
        "The user's payments around it", "", "when (UTC)", "transaction", "amount", numbers=("amount",)
    )
    for name in columns:
        table.add_column(name.removesuffix("_id").replace("_", " "))
    for name in ("decision", "verdict"):
        table.add_column(name, no_wrap=True)
    for payment in payments[max(0, place - PAYMENTS_SHOWN + 1) : place + 6]:
        table.add_row(
            "▶" if payment.is_case else "",
            payment.time_told + (" refund" if payment.is_refund else ""),
            escape(payment.transaction_id),
            f"{payment.amount:,.2f}",
            *(escape(payment.columns[name] or "") for name in columns),
            payment.decision or "",
            "" if payment.actual_fraud is None else _verdict(payment.actual_fraud),
        )
    console.print(table)


def label_case(
    settings: Settings,
    transaction_id: str,
    *,
    actual_fraud: bool,
    reviewer: str,
    comment: str | None,
    known_at: datetime | None,
    now: datetime,
) -> None:
    """Record a verdict, and say what became of it."""
    verdict = record_verdict(
        warehouse_of(settings),
        transaction_id,
        actual_fraud=actual_fraud,
        reviewer=reviewer,
        comment=comment,
        known_at=known_at,
        now=now,
        skew=settings.clock_skew,
    )
    name = escape(transaction_id)
    if verdict.outcome == "repeated":
        console.print(f"{name} is {_verdict(actual_fraud)} already, known since {verdict.known_at:%Y-%m-%d %H:%M} UTC.")
        return
    done = "Corrected" if verdict.outcome == "corrected" else "Recorded"
    console.print(f"{done}: {name} is {_verdict(actual_fraud)}, known at {verdict.known_at:%Y-%m-%d %H:%M} UTC.")
    for day in verdict.late_days:
        console.print(f"{day} was processed already, and is stale now (fraud-pipelines status lists such days)")


def _verdict(actual_fraud: bool) -> str:
    return "fraud" if actual_fraud else "legitimate"
