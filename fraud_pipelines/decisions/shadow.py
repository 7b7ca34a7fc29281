"""Shadow: rules and policies that decide beside those in force, are recorded and compared, and have no effect.

A rule in shadow is asked of the payments of its days, and stands beside whatever decides them. A policy in shadow
decides with its own thresholds and model, and with the rules and lists in force; of a day's batch its alerts are capped
as it says, and no audit sample is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import polars as pl

from fraud_pipelines.decisions.configuration import engine_of_day, policies, rules_in_force
from fraud_pipelines.decisions.decided_day import decide_candidates, read_candidates
from fraud_pipelines.decisions.engine import DecisionEngine, Version, version_of
from fraud_pipelines.decisions.hard_rules import HardRule, beside
from fraud_pipelines.decisions.policies import policy_named
from fraud_pipelines.decisions.rule_promotions import rules_of_day
from fraud_pipelines.decisions.shadow_records import SHADOW_DAY, SHADOW_DECISION, ShadowRows
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.frames import read_columns
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

Kind = Literal["rule", "policy"]
_APPROVE: Final = "approve"


@dataclass(frozen=True)
class ShadowRule:
    """A rule in shadow, on a day for which it is dated."""

    rule: HardRule

    @property
    def columns(self) -> tuple[str, ...]:
        """What it looks at."""
        return tuple(dict.fromkeys((*self.rule.when, *self.rule.unless)))

    def decide(self, payments: pl.DataFrame, decided: pl.DataFrame) -> ShadowRows:
        """What it would have made of payments of one day.

        Args:
            payments: ``transaction_id`` and `columns`.
            decided: the decisions in force on them: ``transaction_id``, ``event_date``, ``decision``, ``score``,
                ``reason``.
        """
        hits = payments.filter(self.rule.condition()).select("transaction_id")
        rows = decided.join(hits, on="transaction_id", how="semi", maintain_order="left").with_columns(
            in_force=pl.col("decision"),
            decision=beside(self.rule, pl.col("decision"), pl.col("reason")),
            reason=pl.lit(self.rule.reason),
        )
        live = self.rule.model_copy(update={"shadow": False})
        return _rows("rule", self.rule.name, version_of("rule", live), decided, rows)


@dataclass(frozen=True)
class ShadowPolicy:
    """A policy in shadow, as it decides a day."""

    engine: DecisionEngine

    def compared(self, own: pl.DataFrame, decided: pl.DataFrame) -> ShadowRows:
        """What it decides beside what is in force, of payments of one day.

        Args:
            own: what the policy decides: ``transaction_id``, ``decision``, ``score``, ``reason``.
            decided: the decisions in force, as of a `ShadowRule`.
        """
        in_force = decided.select("transaction_id", "event_date", in_force=pl.col("decision"))
        rows = in_force.join(
            own.select("transaction_id", "decision", "score", "reason"), on="transaction_id", maintain_order="left"
        ).filter((pl.col("decision") != _APPROVE) | (pl.col("in_force") != _APPROVE))
        policy = self.engine.policy
        return _rows("policy", policy.name, version_of("policy", policy), decided, rows)


@dataclass(frozen=True)
class Shadows:
    """All that is in shadow on a day."""

    rules: Sequence[ShadowRule] = ()
    policies: Sequence[ShadowPolicy] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What the rules look at."""
        return tuple(dict.fromkeys(column for rule in self.rules for column in rule.columns))


NO_SHADOWS: Final = Shadows()


def shadows_of_day(warehouse: Warehouse, settings: Settings, day: date) -> Shadows:
    """What is in shadow on ``day``: the file's rules marked so that are dated for it and weren't promoted, and the
    policies that ``FRAUD_SHADOW_POLICIES`` names.

    Raises:
        InvalidInput: there is no policy of a name, or it is the one in force; or a file can't be used.
    """
    rules = rules_in_force(settings)
    names = settings.shadow_policy_names
    if not rules.in_shadow and not names:
        return NO_SHADOWS
    live = {rule.name for rule in rules_of_day(warehouse, rules, day).rules}
    if settings.policy in names:
        raise InvalidInput(f"FRAUD_SHADOW_POLICIES: {settings.policy} is the policy in force; leave it out")
    every, plan = policies(settings), plan_in_force(settings)
    engines = [engine_of_day(warehouse, policy_named(name, every), day, rules=rules, plan=plan) for name in names]
    return Shadows(
        rules=tuple(
            ShadowRule(rule)
            for rule in rules.in_shadow
            if rule.name not in live and (rule.begins or date.min) <= day <= rule.expires
        ),
        policies=tuple(ShadowPolicy(engine) for engine in engines),
    )


def decide_day_in_shadow(warehouse: Warehouse, shadows: Shadows, decided: pl.DataFrame, day: date) -> ShadowRows:
    """What is in shadow decides all payments of a day's batch.

    Args:
        decided: the day's decisions in force, as `ShadowRule.decide` takes them.

    Raises:
        MissingData, InvalidInput: as `decided_day.decide_day`.
    """
    parts = []
    if shadows.rules:
        payments = read_columns(warehouse, day, shadows.columns)
        parts += [rule.decide(payments, decided) for rule in shadows.rules]
    for policy in shadows.policies:
        _, own = decide_candidates(policy.engine, read_candidates(warehouse, policy.engine, day))
        parts.append(policy.compared(own, decided))
    return ShadowRows.joined(parts)


def _rows(kind: Kind, name: str, version: Version, decided: pl.DataFrame, rows: pl.DataFrame) -> ShadowRows:
    told = {"kind": kind, "name": name, "version": version.hash, "content": version.content}
    constants = [pl.lit(value).alias(column) for column, value in told.items()]
    days = decided.group_by("event_date").agg(payments=pl.len()).with_columns(*constants)
    return ShadowRows(
        days.select(SHADOW_DAY.names()).cast(SHADOW_DAY),
        rows.with_columns(*constants).select(SHADOW_DECISION.names()).cast(SHADOW_DECISION),
    )
