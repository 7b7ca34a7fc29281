"""``fraud-pipelines thresholds``: what is in force, what is proposed, and a person's word on it."""

import getpass
import json
from datetime import date, datetime, timedelta
from typing import Any, Final

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.decisions.configuration import policies
from fraud_pipelines.decisions.policies import Policy, policy_named
from fraud_pipelines.errors import MissingData
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

console = terminal()

_IN_FORCE: Final = "monitoring.decision_thresholds"
_FIGURES: Final = ("review_threshold", "alerts_per_day", "precision", "recall", "f1", "cost")


def show_list(settings: Settings, policy: str | None, *, limit: int) -> None:
    """The latest thresholds and proposals of a policy."""
    name, warehouse = _policy(settings, policy).name, warehouse_of(settings)
    in_force = warehouse.read(
        """
        SELECT effective_date AS "from", review_threshold AS review, block_threshold AS block, objective,
               coalesce(origin, 'tuned') AS origin, decided_by AS "by", reason
        FROM monitoring.decision_thresholds WHERE policy = $policy ORDER BY effective_date DESC LIMIT $limit
        """,
        {"policy": name, "limit": limit},
    )
    proposals = warehouse.read(
        """
        SELECT as_of, current_review_threshold AS "current", review_threshold AS proposed, block_threshold AS block,
               objective, status,
               accepted_by AS "by", effective_date AS "from"
        FROM monitoring.threshold_proposals WHERE policy = $policy ORDER BY as_of DESC LIMIT $limit
        """,
        {"policy": name, "limit": limit},
    )
    if in_force.is_empty():
        console.print(f"{name} has no tuned thresholds yet: its first run begins with those of the policy.")
    else:
        _print(f"Thresholds of {name}", in_force)
    if proposals.height:
        _print("Proposals", proposals)
    console.print(
        f"FRAUD_TUNING_MODE is {settings.tuning_mode}: "
        + ("tuned thresholds take effect." if settings.tuning_mode == "auto" else "proposals wait for `accept`.")
    )


def show_evidence(settings: Settings, policy: str | None, *, as_of: date | None) -> None:
    """The proposal that waits, or else the thresholds in force, with the evidence that led to them.

    Args:
        as_of: what was tuned at the end of that day, put in force or proposed; by default the latest.

    Raises:
        MissingData: nothing was tuned at the end of that day.
    """
    policy_wanted, warehouse = _policy(settings, policy), warehouse_of(settings)
    name = policy_wanted.name
    proposal = _latest(warehouse, "monitoring.threshold_proposals", "as_of", name, as_of)
    tuned = _latest(warehouse, _IN_FORCE, "effective_date", name, as_of and as_of + timedelta(days=1))
    if as_of and not (proposal or tuned):
        raise MissingData(f"nothing was tuned for {name} as of {as_of}; fraud-pipelines thresholds list shows the days")
    if proposal and (as_of or proposal["status"] == "open" or not tuned):
        _show_proposal(name, proposal)
    elif tuned:
        _show_in_force(name, tuned)
    else:
        console.print(
            f"{name} has no tuned thresholds yet: its first run begins with those of the policy, review above "
            f"{policy_wanted.review_threshold:.4g} and block above {policy_wanted.block_threshold:.4g}."
        )


def _latest(warehouse: Warehouse, table: str, column: str, policy: str, day: date | None) -> dict[str, Any] | None:
    rows = warehouse.read(
        f"""
        SELECT * FROM {table} WHERE policy = $policy AND ($day IS NULL OR {column} = $day)
        ORDER BY {column} DESC LIMIT 1
        """,
        {"policy": policy, "day": day},
    )
    return rows.row(0, named=True) if rows.height else None


def _show_in_force(policy: str, row: dict[str, Any]) -> None:
    evidence = json.loads(row["evidence"])
    console.print(
        f"{policy} from {row['effective_date']}: review above {row['review_threshold']:.4g}, "
        f"block above {row['block_threshold']:.4g}.",
        highlight=False,
    )
    if "before" in evidence:
        _print_before_and_after("What was tuned", evidence, "before", "in force")
    if row["origin"] == "accepted":
        console.print(f"Accepted by {escape(row['decided_by'])}: {escape(row['reason'])}.")
    _print_why(evidence)


def _show_proposal(policy: str, row: dict[str, Any]) -> None:
    evidence = json.loads(row["evidence"])
    title = f"Proposal as of {row['as_of']} for {policy}: {row['status'].replace('_', ' ')}"
    _print_before_and_after(title, evidence, "today", "proposed")
    _print_why(evidence)
    if row["status"] == "open":
        console.print("Accept it with: fraud-pipelines thresholds accept")
    elif row["status"] == "accepted":
        console.print(f"Accepted by {escape(row['accepted_by'])}, in force from {row['effective_date']}.")


def _print_before_and_after(title: str, evidence: dict[str, Any], *columns: str) -> None:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", caption_justify="left", min_width=72)
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left")
    for figure in _FIGURES:
        table.add_row(figure, _figure(evidence["before"][figure]), _figure(evidence["after"][figure]))
    table.caption = "alerts a day by the latest scores; the rest by the matured window, cost a day; …: not known yet"
    console.print(table)


def _print_why(evidence: dict[str, Any]) -> None:
    from fraud_pipelines.evaluation.guards import why, why_blocks

    for sentence in (*why(evidence), *why_blocks(evidence)):
        console.print(escape(sentence), highlight=False)


def accept(settings: Settings, policy: str | None, *, by: str | None, as_of: date | None, now: datetime) -> None:
    """Put a proposal in force.

    Raises:
        MissingData: there is none that is open.
        InvalidInput: it was superseded, or proposes no change.
    """
    from fraud_pipelines.evaluation.proposals import accept_proposal

    name = _policy(settings, policy).name
    done = accept_proposal(warehouse_of(settings), name, by=by or getpass.getuser(), now=now, as_of=as_of)
    text = f"{done.review_threshold:.4g}, proposed as of {done.as_of}, is in force from {done.effective_date} on"
    console.print(f"Accepted before, by {done.accepted_by}: {text}." if done.again else f"Accepted: {text}.")


def set_own(settings: Settings, policy: str | None, *, review: float, reason: str, by: str | None) -> None:
    """Put a person's own review threshold in force.

    Raises:
        InvalidInput: the threshold lies outside [0, 1], or above the policy's block threshold.
        MissingData: nothing has been decided yet.
    """
    from fraud_pipelines.evaluation.proposals import set_thresholds

    thresholds = set_thresholds(
        warehouse_of(settings),
        _policy(settings, policy),
        review_threshold=review,
        by=by or getpass.getuser(),
        reason=reason,
    )
    console.print(
        f"Review above {thresholds.review_threshold:.4g}, block above {thresholds.block_threshold:.4g}, "
        f"from {thresholds.effective_date} on."
    )


def _policy(settings: Settings, name: str | None) -> Policy:
    return policy_named(name or settings.policy, policies(settings))


def _print(title: str, rows: pl.DataFrame) -> None:
    table = Table(*rows.columns, title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    for row in rows.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.isoformat(" ", "minutes")
    return f"{value:,.4g}" if isinstance(value, float) else escape(str(value))


def _figure(value: float | None) -> str:
    return "…" if value is None else f"{value:,.4g}"
