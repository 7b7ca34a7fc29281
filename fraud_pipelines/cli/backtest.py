"""``fraud-pipelines backtest``: what rules, a policy or a threshold would have done with the stored days."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.decisions.configuration import rules_in_force
from fraud_pipelines.evaluation.backtest_run import Findings, Trial, run_backtest
from fraud_pipelines.evaluation.frauds_among import Range
from fraud_pipelines.evaluation.rule_backtest import Effect
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings

console = terminal(highlight=False)


def show_backtest(
    settings: Settings,
    first: date,
    last: date,
    *,
    rules_file: Path | None,
    policy_name: str | None,
    review: float | None,
    block: float | None,
    channel: str,
    as_json: bool,
) -> None:
    """Print what the rules of a file, those in force, or a policy would have done from ``first`` to ``last``.

    Raises:
        InvalidInput: the days, the file, the policy or a threshold can't be used.
        MissingData: nothing was decided on these days.
    """
    plan = plan_in_force(settings)
    rules = rules_in_force(settings, rules_file) if rules_file else None
    trial = Trial(first, last, channel, rules, policy_name, review, block)
    findings = run_backtest(warehouse_of(settings), settings, plan, trial)
    if as_json:
        click.echo(json.dumps(_json(findings), indent=2, allow_nan=False))
    else:
        _print(findings)


def _json(findings: Findings) -> dict[str, Any]:
    stored, every, together, of_policy = findings.stored, findings.every, findings.together, findings.of_policy
    return {
        "from": stored.first.isoformat(),
        "to": stored.last.isoformat(),
        "channel": stored.channel,
        "days": stored.days,
        "payments": stored.payments,
        "alerts": stored.alerts,
        "known_frauds": every.known_frauds,
        "known_frauds_then": every.known_frauds_then,
        "estimated_frauds": _range_json(every.frauds),
        "policy_in_force": stored.policy.name,
        "rules": [_effect_json(effect) for effect in findings.each],
        "all_rules": None if together is None else _effect_json(together),
        "policy": None if of_policy is None else _effect_json(of_policy),
    }


def _range_json(found: Range | None) -> dict[str, float] | None:
    return None if found is None else found.json()


def _effect_json(effect: Effect) -> dict[str, Any]:
    return {
        "name": effect.name,
        "decision": effect.decision,
        "hits": effect.hits.number,
        "new_alerts": effect.new_alerts.number,
        "spared_alerts": effect.spared_alerts.number,
        "new_blocks": effect.new_blocks,
        "known_frauds": effect.hits.known_frauds,
        "known_frauds_then": effect.hits.known_frauds_then,
        "new_known_frauds": effect.new_alerts.known_frauds,
        "spared_known_frauds": effect.spared_alerts.known_frauds,
        "amount": round(effect.hits.amount, 2),
        "new_amount": round(effect.new_alerts.amount, 2),
        "estimated_frauds": _range_json(effect.hits.frauds),
        "new_estimated_frauds": _range_json(effect.new_alerts.frauds),
        "precision": _range_json(effect.hits.precision),
        "new_precision": _range_json(effect.new_alerts.precision),
        "recall": _range_json(effect.recall),
        "cost_change": _range_json(effect.cost_change),
        "alerts_per_day": round(effect.alerts_per_day, 3),
        "alerts_per_day_now": round(effect.alerts_per_day_now, 3),
        "alert_budget": round(effect.alert_budget, 3),
        "overlap": dict(effect.overlap),
        "counter_examples": list(effect.counter_examples),
    }


def _print(findings: Findings) -> None:
    stored, every = findings.stored, findings.every
    console.print(
        f"{stored.payments:,} payments of {stored.days} days, {stored.first} to {stored.last}, channel "
        f"{stored.channel}: {stored.alerts:,} alerts, {every.known_frauds:,} known frauds"
        f"{_about(every.frauds)}.",
        soft_wrap=True,
    )
    for effect in findings.effects:
        console.print()
        _print_effect(effect)


def _print_effect(effect: Effect) -> None:
    title = escape(effect.name) + (f" ({effect.decision})" if effect.decision else "")
    table = narrow_table(
        title, "", "payments", "amount", "known frauds", "then", "frauds", "precision", numbers=_NUMBERS
    )
    for name, payments in (("hits", effect.hits), ("new alerts", effect.new_alerts), ("spared", effect.spared_alerts)):
        table.add_row(
            name,
            f"{payments.number:,}",
            f"{payments.amount:,.0f}",
            f"{payments.known_frauds:,}",
            f"{payments.known_frauds_then:,}",
            _shown(payments.frauds, ".0f"),
            _shown(payments.precision, ".2f"),
        )
    console.print(table)
    console.print(
        f"alerts a day {effect.alerts_per_day:,.1f}, now {effect.alerts_per_day_now:,.1f}, aimed at "
        f"{effect.alert_budget:,.1f}; new blocks {effect.new_blocks:,}; recall {_shown(effect.recall, '.2f')}; cost "
        f"{_shown(effect.cost_change, '+,.0f')}",
        soft_wrap=True,
    )
    if effect.overlap:
        shared = ", ".join(f"{escape(name)} {count:,}" for name, count in effect.overlap.items())
        console.print(f"hits of both: {shared}", soft_wrap=True)
    if effect.counter_examples:
        console.print("hits that aren't known as frauds:")
        for each in effect.counter_examples:
            console.print(
                f"  {escape(str(each['transaction_id']))}  {each['event_date']}  {escape(str(each['user_id']))}  "
                f"{each['amount']:,.2f}  {each['decision']}, {each['known']}",
                soft_wrap=True,
            )


_NUMBERS = ("payments", "amount", "known frauds", "then", "frauds", "precision")


def _shown(found: Range | None, form: str) -> str:
    if found is None:
        return "not known yet"
    return f"{found.value:{form}} ({found.low:{form}} to {found.high:{form}})"


def _about(frauds: Range | None) -> str:
    return "" if frauds is None else f", {_shown(frauds, ',.0f')} with those still unknown"
