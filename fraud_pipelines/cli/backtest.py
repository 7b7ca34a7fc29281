"""``fraud-pipelines backtest``: what rules, a policy or a threshold would have done with the stored days."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.decisions.configuration import engine_of_day, policies, policy_in_force, rules_in_force
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.policies import Thresholds, policy_named
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.evaluation.frauds_among import Range
from fraud_pipelines.evaluation.rule_backtest import Effect, backtest_policy, backtest_rules
from fraud_pipelines.evaluation.stored_days import Payments, StoredDays
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
    if last < first:
        raise InvalidInput(f"--to {last} lies before --from {first}")
    by_policy = policy_name is not None or review is not None or block is not None
    if by_policy and channel != "batch":
        raise InvalidInput("a policy is tried on the scores of the daily run: leave --channel out, or try rules alone")
    warehouse, plan = warehouse_of(settings), plan_in_force(settings)
    policy = policy_in_force(settings)
    tried = policy_named(policy_name, policies(settings)) if policy_name else policy
    rules = rules_in_force(settings, rules_file)
    if not by_policy and not rules.rules:
        raise InvalidInput("there is no rule to try: name a file with --rules, or a policy with --policy")
    with warehouse.connect(read_only=True):
        stored = StoredDays(
            warehouse, first, last, channel=channel, policy=policy, unreported_share=settings.unreported_share
        )
        each, together = backtest_rules(stored, rules) if rules_file or not by_policy else ([], None)
        of_policy = None
        if by_policy:
            engines = {
                day: _at(engine_of_day(warehouse, tried, day, rules=rules, plan=plan), review, block)
                for day in stored.by_day["event_date"]
            }
            of_policy = backtest_policy(stored, engines)
        every = stored.every
    if as_json:
        click.echo(json.dumps(_json(stored, every, each, together, of_policy), indent=2, allow_nan=False))
    else:
        _print(stored, every, each, together, of_policy)


def _at(engine: DecisionEngine, review: float | None, block: float | None) -> DecisionEngine:
    """The engine with the thresholds to be tried, where there are any."""
    in_force = engine.thresholds
    at_review = in_force.review_threshold if review is None else review
    at_block = max(in_force.block_threshold, at_review) if block is None else block
    if not 0 <= at_review <= at_block <= 1:
        raise InvalidInput(f"thresholds lie from 0 to 1, review {at_review} at or below block {at_block}")
    tried = in_force.model_dump() | {"review_threshold": at_review, "block_threshold": at_block}
    return replace(engine, thresholds=Thresholds.model_validate(tried))


def _json(
    stored: StoredDays, every: Payments, each: Sequence[Effect], together: Effect | None, of_policy: Effect | None
) -> dict[str, Any]:
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
        "rules": [_effect_json(effect) for effect in each],
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


def _print(
    stored: StoredDays, every: Payments, each: Sequence[Effect], together: Effect | None, of_policy: Effect | None
) -> None:
    console.print(
        f"{stored.payments:,} payments of {stored.days} days, {stored.first} to {stored.last}, channel "
        f"{stored.channel}: {stored.alerts:,} alerts, {every.known_frauds:,} known frauds"
        f"{_about(every.frauds)}.",
        soft_wrap=True,
    )
    effects = [*each, *([together] if together and len(each) > 1 else []), *([of_policy] if of_policy else [])]
    for effect in effects:
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
