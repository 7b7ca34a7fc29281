"""What ``fraud-pipelines cases`` shows in the shell: the list, one case, and where its export is."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.markup import escape

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.decisions.cases.case_file import CaseFile, read_case_file
from fraud_pipelines.decisions.cases.export import as_html, as_json, exported
from fraud_pipelines.decisions.cases.queue import QueuedCase, check_case_column, read_case_queue, read_closed_cases
from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.transactions.currency import base_currency

console = terminal()


def show_cases(settings: Settings, *, shown: str, tag: str, limit: int, as_json: bool, person: str) -> None:
    """Print the cases, and what today's minutes won't reach."""
    policy, now = policy_in_force(settings), datetime.now(UTC).replace(tzinfo=None)
    check_case_column(policy.cases, plan_in_force(settings))
    warehouse = warehouse_of(settings)
    with warehouse.connect(read_only=True):
        found, number, workload = read_case_queue(
            warehouse,
            policy.cases,
            now=now,
            limit=limit,
            shown="open" if shown == "closed" else shown,
            tag=tag,
            person=person,
            blind=policy.audit_blind,
        )
        closed, closed_number = read_closed_cases(warehouse, limit=limit, tag=tag) if shown == "closed" else ([], 0)
    number = closed_number if shown == "closed" else number
    if as_json:
        listed = [dataclasses.asdict(each) for each in (closed if shown == "closed" else found)]
        content = {"cases": listed, "number": number, "workload": dataclasses.asdict(workload)}
        click.echo(json.dumps(content, indent=2, default=str))
        return
    if shown == "closed":
        table = narrow_table(f"{number:,} closed cases", "case", "of", "outcome", "payments", "closed (UTC)", "by")
        for each in closed:
            table.add_row(
                each.case_id,
                escape(each.value),
                each.outcome,
                str(len(each.judged_transactions)),
                f"{each.closed_at:%Y-%m-%d %H:%M}",
                escape(each.closed_by or "(erased)"),
            )
        console.print(table)
        return
    if not found:
        console.print("No case is here.")
    else:
        console.print(_table(found, f"{number:,} cases"))
        if number > len(found):
            console.print(f"{number - len(found):,} more: --limit shows them.")
    if workload.in_words:
        console.print(workload.in_words, highlight=False, soft_wrap=True)
    if found:
        console.print("Next: fraud-pipelines cases next, then cases show CASE and cases judge CASE OUTCOME")


def _table(found: list[QueuedCase], title: str) -> object:
    table = narrow_table(
        title,
        *("case", "of", "payments", "amount", "stoppable", "loss", "severity", "due (UTC)", "state"),
        numbers=("payments", "amount", "stoppable", "loss"),
    )
    for each in found:
        state = "set aside" if each.state == "waiting" else "not reached" if each.reached_today is False else "open"
        if each.claimed_by:
            state = f"{each.claimed_by} until {each.claimed_until:%H:%M}"
        elif each.proposed_by:
            state = f"{each.proposed_by} says {each.proposed_outcome}"
        table.add_row(
            each.case_id,
            escape(each.value),
            str(each.payments),
            f"{each.amount:,.2f}",
            "" if each.stoppable_loss is None else f"{each.stoppable_loss:,.2f}",
            "" if each.expected_loss is None else f"{each.expected_loss:,.2f}",
            each.severity,
            f"{each.due_at:%m-%d %H:%M}",
            escape(state),
        )
    return table


def show_case_file(settings: Settings, case_id: str, *, now: datetime) -> None:
    """Print one case."""
    case = _read(settings, case_id, now=now)
    state = f"{case.state} as {case.outcome}" if case.outcome else case.state
    console.print(
        f"Case {case.case_id} of {escape(case.key.column_name)} {escape(case.key.value)}: {state}"
        + (f", {case.queued.severity}, due {case.queued.due_at:%Y-%m-%d %H:%M} UTC" if case.queued else "")
        + (f", tags {', '.join(case.tags)}" if case.tags else ""),
        highlight=False,
        soft_wrap=True,
    )
    table = narrow_table(
        "Payments",
        *("payment", "when (UTC)", "amount", "decision", "verdict", "reasons"),
        numbers=("amount",),
    )
    for payment in case.payments:
        decisions = payment.stored["decisions"]
        table.add_row(
            escape(payment.transaction_id),
            f"{payment.stored['timestamp']:%m-%d %H:%M}",
            f"{payment.stored['amount']:,.2f}",
            ", ".join(each["decision"] for each in decisions),
            "" if payment.verdict is None else "fraud" if payment.verdict else "legitimate",
            escape("; ".join(code for each in decisions for code in each["reason_codes"])),
        )
    console.print(table)
    happened = narrow_table("What happened", "when (UTC)", "what", "about", "by", "note")
    for each in case.timeline:
        happened.add_row(
            f"{each.at:%Y-%m-%d %H:%M}",
            escape(each.words),
            escape(each.about),
            escape(each.who or ""),
            escape(each.note or ""),
        )
    console.print(happened)


def export_case(settings: Settings, case_id: str, path: Path, *, now: datetime) -> None:
    """Write a case to a file, and say where."""
    case = _read(settings, case_id, now=now)
    warehouse = warehouse_of(settings)
    content = exported(warehouse, case, now=now, currency=base_currency(warehouse))
    path.write_text(as_html(content) if path.suffix == ".html" else as_json(content))
    console.print(f"The case {case_id} is in {escape(str(path))}.", highlight=False, soft_wrap=True)
    console.print(f"SHA-256 of its JSON: {content['sha256']}", highlight=False, soft_wrap=True)


def _read(settings: Settings, case_id: str, *, now: datetime) -> CaseFile:
    policy = policy_in_force(settings)
    return read_case_file(warehouse_of(settings), case_id, policy.cases, now=now, blind=policy.audit_blind)
