"""``fraud-pipelines rules`` and ``policies``: whether a file is sound, and what is in force, resolved."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import click
from rich.markup import escape

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.decisions.configuration import policies, policy_in_force, rules_in_force
from fraud_pipelines.decisions.hard_rules import Condition, HardRule, HardRules
from fraud_pipelines.decisions.policies import Policy, policy_named
from fraud_pipelines.decisions.rule_promotions import rules_of_day
from fraud_pipelines.settings import Settings

console = terminal(highlight=False)

_SHOWN: Final = 5
"""Values of a list that are shown; the rest is counted."""


def check_rules(settings: Settings, file: Path | None) -> None:
    """Say that the rules are sound, what they look at, and which don't apply today.

    Raises:
        InvalidInput: names the file, the rule and the field.
    """
    path, rules = _rules(settings, file)
    if path is None:
        console.print(_nowhere(settings), soft_wrap=True)
        return
    today = datetime.now(UTC).date()
    columns = ", ".join(rules.columns[1:]) or "nothing"
    console.print(f"{escape(str(path))} is sound: {_number(rules)}, which look at {columns}.", soft_wrap=True)
    for rule in rules.rules:
        if when := _not_today(rule, today):
            console.print(f"  {rule.name} {when}", soft_wrap=True)


def show_rules(settings: Settings, file: Path | None, *, as_json: bool) -> None:
    """Print the rules in their order, with what each asks; lists are counted, and whole as JSON."""
    path, rules = _rules(settings, file)
    if as_json:
        click.echo(rules.model_dump_json(indent=2, exclude_none=True))
        return
    if path is None:
        console.print(_nowhere(settings), soft_wrap=True)
        return
    console.print(f"{_number(rules)} of {escape(str(path))}", soft_wrap=True)
    table = narrow_table(None, "rule", "decision", "from", "to", "today", "when")
    today = datetime.now(UTC).date()
    live = {each.name for each in (rules.live if file else rules_of_day(warehouse_of(settings), rules, today)).rules}
    for rule in rules.rules:
        conditions = "; ".join(f"{column} {_asked(condition)}" for column, condition in rule.when.items())
        applies = "no" if _not_today(rule, today) else "yes" if rule.name in live else "in shadow"
        table.add_row(rule.name, rule.decision, str(rule.begins or ""), str(rule.expires), applies, escape(conditions))
    console.print(table)


def show_policies(settings: Settings, name: str | None, *, as_json: bool) -> None:
    """Print a policy with all that it takes from others, or the names of all with the one in force.

    Raises:
        InvalidInput: there is no policy of that name, or the file can't be used.
    """
    every, in_force = policies(settings), policy_in_force(settings)
    if name is None and not as_json:
        table = narrow_table(None, "policy", "in force", "review", "block", "contamination", "second stage", "segments")
        for policy in every.values():
            table.add_row(
                escape(policy.name),
                "yes" if policy.name == in_force.name else "",
                f"{policy.review_threshold:g}",
                f"{policy.block_threshold:g}",
                f"{policy.contamination:g}",
                policy.second_stage,
                ", ".join(escape(segment.name) for segment in policy.segments),
            )
        console.print(table)
        console.print(
            "Thresholds are those that a policy begins with; fraud-pipelines thresholds list has the tuned ones."
        )
        return
    wanted = [policy_named(name, every)] if name else list(every.values())
    if as_json:
        click.echo(json.dumps([each.model_dump(mode="json") for each in wanted], indent=2))
        return
    _show_policy(wanted[0], in_force=wanted[0].name == in_force.name)


def _show_policy(policy: Policy, *, in_force: bool) -> None:
    console.print(f"{escape(policy.name)}{', in force' if in_force else ''}")
    table = narrow_table(None, "field", "value")
    for field in Policy.model_fields:
        if field not in {"name", "segments"}:
            value = getattr(policy, field)
            table.add_row(field, "" if value is None else str(value))
    console.print(table)
    for segment in policy.segments:
        fits = ", ".join(f"{column} is {' or '.join(values)}" for column, values in segment.selectors)
        review, block = segment.thresholds(policy.review_threshold, policy.block_threshold)
        console.print(
            f"segment {escape(segment.name)}: {escape(fits)}; review {review:g}, block {block:g}", soft_wrap=True
        )


def _rules(settings: Settings, file: Path | None) -> tuple[Path | None, HardRules]:
    return file or settings.rules_path, rules_in_force(settings, file)


def _nowhere(settings: Settings) -> str:
    return (
        f"There are no rules: looked for rules.yaml in {escape(str(settings.data_dir))} and in "
        f"{escape(str(settings.config_dir))}. The models decide alone."
    )


def _number(rules: HardRules) -> str:
    return f"{len(rules.rules)} rule{'' if len(rules.rules) == 1 else 's'}"


def _not_today(rule: HardRule, today: date) -> str | None:
    """Why the rule doesn't apply today; None where it does."""
    if rule.expires < today:
        return f"ended on {rule.expires}"
    return f"begins on {rule.begins}" if rule.begins and rule.begins > today else None


def _asked(condition: Condition) -> str:
    """What a condition asks, in words."""
    asked = [f"{name.replace('_', ' ')} {bound:g}" for name, bound in condition.bounds.items()]
    for word, values in (("is", condition.any_of), ("is not", condition.none_of)):
        if values:
            more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
            asked.append(f"{word} {' or '.join(map(str, values[:_SHOWN]))}{more}")
    if condition.missing is not None:
        asked.append("is missing" if condition.missing else "is not missing")
    return ", ".join(asked)
